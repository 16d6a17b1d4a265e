"""What an application does that keeps its queue in a table: one transaction for each message, on as many connections as there are."""

from __future__ import annotations

import asyncio
import importlib.metadata
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import asyncmy
import uvloop
from asyncmy import Connection
from asyncmy.cursors import Cursor

from benchmarks.load import BenchmarkError
from benchmarks.mariadb import NAME, MariaDb
from benchmarks.results import Sample
from benchmarks.rounds import Player
from benchmarks.servers import Cores
from benchmarks.work import Operation, Row, Shape, payloads
from benchmarks.yardsticks import Yardstick

CONNECTIONS: Final = 16
WINDOW: Final = 16  # the deepest shape that it is compared in; a connection of its own has one statement in flight
FILLED: Final = 500  # messages in each statement outside the measurements
FIRST: Final = 256  # messages that tell the pace

_TABLE: Final = """
    CREATE TABLE plain (
        id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        queue INT UNSIGNED NOT NULL,
        state TINYINT UNSIGNED NOT NULL,
        urgency TINYINT UNSIGNED NOT NULL,
        payload MEDIUMBLOB NOT NULL,
        KEY take (queue, state, urgency, id)
    ) ENGINE=InnoDB
"""
_INSERT: Final = "INSERT INTO plain (queue, state, urgency, payload) VALUES (1, 0, 5, %s)"
_SELECT: Final = "SELECT id, payload FROM plain WHERE queue = 1 AND state = 0 ORDER BY urgency, id LIMIT 1 FOR UPDATE SKIP LOCKED"
_DELETE: Final = "DELETE FROM plain WHERE id = %s"


class PlainSql(Yardstick):
    name = "sql"

    def __init__(self, database: MariaDb) -> None:
        self._database = database

    @property
    def installed(self) -> bool:
        return self._database.installed

    @property
    def remedy(self) -> str:
        return self._database.remedy

    def version(self) -> str:
        return f"{self._database.version()}, asyncmy {importlib.metadata.version('asyncmy')}"

    @contextmanager
    def playing(self, cores: Cores) -> Iterator[Player]:  # noqa: ARG002
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            player = _Statements(runner, self._database)
            try:
                yield player
            finally:
                player.close()


class _Statements:
    name = PlainSql.name

    def __init__(self, runner: asyncio.Runner, database: MariaDb) -> None:
        self._run = runner.run
        self._database = database
        self._connections: list[Connection] = []
        self._cursors: list[Cursor] = []
        self._counts: dict[Shape, int] = {}
        self._run(self._open())

    def offers(self, row: Row) -> bool:
        shape = row.shape
        return row.operation is not Operation.LEASE and shape.batch == shape.queues == 1 and shape.window <= WINDOW

    def calibrate(self, shape: Shape, seconds: float) -> None:
        self._counts[shape] = FIRST
        took = self.measure(Row(Operation.PUBLISH, shape)).seconds + self.measure(Row(Operation.TAKE, shape)).seconds
        self._counts[shape] = max(CONNECTIONS, round(FIRST * 2 * seconds / took))

    def measure(self, row: Row) -> Sample:
        return self._run(self._measure(row, self._counts[row.shape], self._cursors[: row.shape.connections], timed=False))

    def time(self, row: Row, count: int) -> Sample:
        return self._run(self._measure(row, count, self._cursors[:1], timed=True))

    def drain(self, shape: Shape) -> float:  # noqa: ARG002
        started = time.perf_counter()
        self._run(self._execute("TRUNCATE TABLE plain"))
        return time.perf_counter() - started

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    async def _open(self) -> None:
        for _ in range(CONNECTIONS):
            # Without the locks of gaps that REPEATABLE READ takes, which would make the takes wait for each other.
            connection = await asyncmy.connect(
                host="127.0.0.1",
                port=self._database.port,
                user=NAME,
                password=NAME,
                database=NAME,
                init_command="SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            )
            self._connections.append(connection)
            self._cursors.append(connection.cursor())
        await self._execute(_TABLE)

    async def _execute(self, statement: str, values: Sequence[object] | None = None) -> None:
        await self._cursors[0].execute(statement, values)
        await self._connections[0].commit()

    async def _measure(self, row: Row, count: int, cursors: Sequence[Cursor], *, timed: bool) -> Sample:
        before = await self._count()
        bodies = payloads(count, row.shape.size, 0)
        if row.operation is Operation.TAKE:
            await self._fill(bodies[before:])
            before = await self._count()
        work = {Operation.PUBLISH: self._publish, Operation.TAKE: self._take}[row.operation]
        times: list[int] = []
        left = iter(bodies)
        server, generator, started = self._database.cpu(), time.process_time(), time.perf_counter()
        await asyncio.gather(*(self._repeat(work, cursor, left, times) for cursor in cursors))
        seconds = time.perf_counter() - started
        sample = Sample(count, seconds, time.process_time() - generator, self._database.cpu() - server, tuple(times) if timed else ())
        after, expected = await self._count(), before + (count if row.operation is Operation.PUBLISH else -count)
        if after != expected:
            raise BenchmarkError(f"The table holds {after} messages after {row.operation} of {count}, not {expected}")
        return sample

    async def _repeat(
        self, work: Callable[[Cursor, bytes], Awaitable[None]], cursor: Cursor, left: Iterator[bytes], times: list[int]
    ) -> None:
        commit = cursor.connection.commit
        for body in left:
            started = time.perf_counter_ns()
            await work(cursor, body)
            await commit()
            times.append(time.perf_counter_ns() - started)

    async def _publish(self, cursor: Cursor, body: bytes) -> None:
        await cursor.execute(_INSERT, (body,))

    async def _take(self, cursor: Cursor, body: bytes) -> None:  # noqa: ARG002
        await cursor.execute(_SELECT)
        row = await cursor.fetchone()
        if row is None:
            raise BenchmarkError("A take found nothing in a table that is not empty")
        await cursor.execute(_DELETE, (row[0],))

    async def _fill(self, bodies: Sequence[bytes]) -> None:
        for start in range(0, len(bodies), FILLED):
            some = bodies[start : start + FILLED]
            await self._execute(_INSERT + ", (1, 0, 5, %s)" * (len(some) - 1), some)

    async def _count(self) -> int:
        await self._execute("SELECT COUNT(*) FROM plain")
        found = await self._cursors[0].fetchone()
        return int(found[0])
