"""Queues in a MySQL or MariaDB database that any number of brokers share."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import structlog

from gmq.database import Database
from gmq.message import GmqError, Limits, Measure, Message, Options, QueueCounts, QueueInfo, QueuePolicy, Settled, Taken
from gmq.storage.base import Storage
from gmq.storage.mysql.administration import Administration
from gmq.storage.mysql.census import Census
from gmq.storage.mysql.core import Core
from gmq.storage.mysql.lane import Lanes
from gmq.storage.mysql.pool import Pool
from gmq.storage.mysql.publishing import Publish, Publishing
from gmq.storage.mysql.records import Records
from gmq.storage.mysql.schema import migrate
from gmq.storage.mysql.settling import Settle, Settling
from gmq.storage.mysql.taking import Take, Taking, with_a_message
from gmq.storage.mysql.transaction import Transactions
from gmq.storage.mysql.undoing import Undoing
from gmq.storage.mysql.upkeep import Upkeep
from gmq.storage.mysql.watch import Watch

log = structlog.get_logger()
T = TypeVar("T")

CLOSE_TIMEOUT = 10.0
"""Seconds that what is under way may take when the storage is closed."""


class MysqlStorage(Storage):
    """Queues in a database. Every operation gives a future.

    Publishes to one queue take effect in the order in which they are given, and so do takes from one queue, and requests of one kind
    that have receipts; requests of different kinds, or for different queues, do not wait for each other.
    """

    name = "mysql"
    immediate = False

    def __init__(self, database: Database, limits: Limits, policy_for: Callable[[str], QueuePolicy]) -> None:
        super().__init__()
        self._pool = Pool(database, migrate)
        transactions = Transactions(self._pool, database.statement_timeout, self.commits)
        records = Records(transactions, limits, policy_for, self.departed)
        self._core = core = Core(transactions, records, limits, self._ready, self._due, self._garbage)
        self._publishing = Publishing(core)
        self._publishes: Lanes[str, Publish] = Lanes(self._publishing.serve)
        self._takes: Lanes[str, Take] = Lanes(Taking(core).serve)
        self._settles: Lanes[str, Settle] = Lanes(Settling(core).serve)
        self._undoing = Undoing(core)
        self._upkeep = Upkeep(core)
        self._administration = Administration(core, self._upkeep)
        self._census = Census(core, self._start)
        self._watch = Watch(core, self._upkeep, self._waited)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Connect, bring the tables up to date, and begin to watch; where the database is away, that happens when it comes."""
        await self._pool.open()
        self._watch.start()

    async def close(self) -> None:
        """Finish what is under way, and close the connections."""
        await self._watch.stop()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                for lanes in (self._publishes, self._takes, self._settles):
                    await lanes.drained()
                await self._undoing.drained()
                while self._tasks:
                    await asyncio.wait(self._tasks)
        except TimeoutError:
            log.warning("the database did not finish in time what was under way", seconds=CLOSE_TIMEOUT)
        await self._pool.close()

    @property
    def problem(self) -> str | None:
        return self._pool.problem

    @property
    def memory(self) -> int:
        return self._publishing.pending_bytes

    async def measure(self) -> None:
        await self._census.refresh()

    def measured(self) -> Iterator[Measure]:
        return self._census.measured()

    def _waited(self) -> Collection[str]:
        return self.waited()

    def _ready(self, name: str) -> None:
        self.on_ready(name)

    def _due(self, after: int) -> None:
        self._watch.due(after)

    def _garbage(self) -> None:
        self._upkeep.garbage = True
        self._watch.hurry()

    def publish(self, queue: str, payloads: Sequence[bytes], size: int, options: Options | None) -> Future[Sequence[int]]:
        return self._publish(queue, payloads, size, options, singly=False)

    def publish_run(self, queue: str, payloads: Sequence[bytes], size: int) -> Future[Sequence[int | GmqError]]:
        return self._publish(queue, payloads, size, None, singly=True)

    def _publish(self, queue: str, payloads: Sequence[bytes], size: int, options: Options | None, *, singly: bool) -> Future[Any]:
        future: Future[Any] = asyncio.get_running_loop().create_future()
        self._publishing.pending_bytes += size
        self._publishes.add(queue, Publish(payloads, size, options, future, singly=singly))
        return future

    def take(self, queues: Sequence[str], count: int, max_bytes: int, lease: int | None) -> Future[Taken]:
        self._watch.attend()
        if len(queues) > 1:
            return self._start(self._take_first(queues, count, max_bytes, lease))
        return self._take(queues[0], count, max_bytes, lease)

    def _take(self, queue: str, count: int, max_bytes: int, lease: int | None) -> Future[Taken]:
        future: Future[Taken] = asyncio.get_running_loop().create_future()
        self._takes.add(queue, Take(count, max_bytes, lease, future))
        return future

    async def _take_first(self, queues: Sequence[str], count: int, max_bytes: int, lease: int | None) -> Taken:
        """Take from the first of several queues that has anything."""
        result = (await self._core.transactions.read(with_a_message(list(dict.fromkeys(queues)))))[0]
        good = {row[0].decode() for row in result.rows}
        for name in queues:
            if name in good:
                taken = await self._take(name, count, max_bytes, lease)
                if taken.entries:
                    return taken
        return Taken("")

    def undo(self, taken: Taken) -> None:
        self._undoing.start(taken)

    def acknowledge(self, receipts: Sequence[str]) -> Future[Settled]:
        return self._settle("A", receipts)

    def put_back(self, receipts: Sequence[str], delay: int) -> Future[Settled]:
        return self._settle("N", receipts, delay)

    def extend(self, receipts: Sequence[str], lease: int) -> Future[Settled]:
        return self._settle("E", receipts, lease)

    def _settle(self, operation: str, receipts: Sequence[str], argument: int = 0) -> Future[Settled]:
        future: Future[Settled] = asyncio.get_running_loop().create_future()
        self._settles.add(operation, Settle(receipts, argument, future))
        return future

    def length(self, queue: str) -> Future[int]:
        return self._start(self._administration.length(queue))

    def queues(self) -> Future[list[QueueCounts]]:
        return self._start(self._administration.queues())

    def info(self, queue: str) -> Future[QueueInfo]:
        return self._start(self._administration.info(queue))

    def peek(self, queue: str, count: int, max_bytes: int) -> Future[list[Message]]:
        return self._start(self._administration.peek(queue, count, max_bytes))

    def move(self, queue: str, to: str | None, count: int) -> Future[int]:
        return self._start(self._administration.move(queue, to, count))

    def clear(self, queue: str) -> Future[int]:
        return self._start(self._administration.clear(queue))

    def delete(self, queue: str) -> Future[int]:
        return self._start(self._administration.delete(queue))

    def create(self, queue: str, policy: QueuePolicy | None) -> Future[bool]:
        return self._start(self._administration.create(queue, policy))

    def set_policy(self, queue: str, policy: QueuePolicy) -> Future[QueuePolicy]:
        return self._start(self._administration.set_policy(queue, policy))

    def _start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(partial(_forget, self._tasks))
        return task


def _forget(tasks: set[asyncio.Task[Any]], task: asyncio.Task[Any]) -> None:
    tasks.discard(task)
    if not task.cancelled():
        task.exception()  # whoever asked may be gone; the error is no surprise then
