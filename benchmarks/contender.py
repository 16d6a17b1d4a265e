"""A server under measurement: its process, its connections, and how many messages it holds."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

from benchmarks.load import BenchmarkError, Exchange, Lane, blaming, connect, drive, lane, latencies, rehearse
from benchmarks.results import Sample
from benchmarks.rounds import Player
from benchmarks.servers import Cores, Entrant, Process, Server, running
from benchmarks.work import Operation, Row, Shape
from benchmarks.yardsticks import Yardstick

CONNECTIONS: Final = 16
MOST_MESSAGES: Final = 1_000_000  # that a measurement queues
MOST_BYTES: Final = 384 << 20  # of their payloads
MOST_ECHOES: Final = 100_000_000  # messages, where none is kept
ENOUGH: Final = 0.1  # seconds of publish and take that tell the pace


class Contender:
    """Plays the rows over connections."""

    def __init__(self, process: Process) -> None:
        self.name = process.server.name
        self._process = process
        self._keeps = process.server.keeps
        self._dialect = process.server.dialect
        self._links = [connect(process.port) for _ in range(CONNECTIONS)]
        self._exchanges: dict[Row, list[Exchange] | None] = {}
        self._sizes: dict[Row, int] = {}
        self._windows: dict[Shape, int] = {}
        self._level = 0  # messages in the queue
        with blaming(self.name):
            for number, link in enumerate(self._links):
                self._dialect.greet(link, number)
            self._dialect.prepare(self._links)

    def offers(self, row: Row) -> bool:
        """Whether the protocol has such an operation."""
        return self._of(row) is not None

    def calibrate(self, shape: Shape, seconds: float) -> None:
        """Choose how much of this shape a measurement publishes and takes, so that both together take twice `seconds`."""
        windows = shape.connections
        most = min(MOST_MESSAGES, MOST_BYTES // shape.size) // shape.messages if self._keeps else MOST_ECHOES // shape.messages
        while True:
            self._windows[shape] = windows
            took = self.fill(shape)
            drained = self.drain(shape)
            took += took if shape.queues > 1 else drained  # many queues are cleared, which tells nothing of a pace
            if took > ENOUGH or windows >= most:
                break
            windows *= 4
        self._windows[shape] = max(shape.connections, min(round(windows * 2 * seconds / took), most))

    def fill(self, shape: Shape, messages: int = 0) -> float:
        """Publish outside the measurements, until the queue holds so many messages, or as many as a take of this shape is measured with.

        Return the seconds that took.
        """
        missing = (messages or self._windows[shape] * shape.messages) - self._level
        return self._run(self._plain(Operation.PUBLISH, shape), missing // shape.messages).seconds if missing > 0 else 0.0

    def drain(self, shape: Shape) -> float:
        """Take everything outside the measurements, and return the seconds that took."""
        if shape.queues > 1 and self._level:
            # Which connection published how much is left to chance, and each has queues of its own: takes would miss some.
            self._dialect.clear(self._links[0], shape.queues)
            self._level = 0
            return 0.0
        return self._run(self._plain(Operation.TAKE, shape), self._level // shape.messages).seconds if self._level else 0.0

    def measure(self, row: Row) -> Sample:
        """Run a row once: a publish fills the empty queue, a take or a lease empties the filled one."""
        if row.operation is Operation.PUBLISH:
            self.drain(row.shape)
        else:
            self.fill(row.shape)
        return self._run(row, self._windows[row.shape])

    def time(self, row: Row, count: int) -> Sample:
        """Latencies of `count` requests, one after the other, on one connection."""
        if row.operation is not Operation.PUBLISH and self._level < count:
            self._run(Row(Operation.PUBLISH, row.shape), count - self._level)
        exchange = self._ready(row)[0]
        link = self._links[0]
        server, generator, started = self._process.cpu(), time.process_time(), time.perf_counter()
        times, tail = latencies(link, exchange, count)
        seconds = time.perf_counter() - started
        sample = Sample(count, seconds, time.process_time() - generator, self._process.cpu() - server, tuple(times))
        self._account(row.operation, count, tail)
        return sample

    def close(self) -> None:
        """Hang up."""
        for link in self._links:
            link.close()

    def _run(self, row: Row, windows: int) -> Sample:
        exchanges = self._ready(row)
        size = self._sizes[row]
        lanes: dict[socket.socket, Lane] = {link: lane(link, one, size) for link, one in zip(self._links, exchanges, strict=False)}
        server, generator = self._process.cpu(), time.process_time()
        seconds, tail = drive(lanes, windows)
        sample = Sample(windows * row.shape.messages, seconds, time.process_time() - generator, self._process.cpu() - server)
        self._account(row.operation, sample.messages, tail)
        return sample

    def _account(self, operation: Operation, messages: int, tail: bytes) -> None:
        """Hold the server's own count against what was done: replies that were errors are not work."""
        self._level += messages if operation is Operation.PUBLISH else -messages
        found = self._dialect.count(self._links[0], self._level)
        if found != self._level:
            raise BenchmarkError(
                f"It holds {found} messages after {operation} of {messages}, not {self._level}; the last replies ended in {tail!r}"
            )

    def _ready(self, row: Row) -> list[Exchange]:
        """The exchanges of a row, which were seen to work once."""
        exchanges = self._of(row)
        if exchanges is None:
            raise BenchmarkError(f"It has no {row}")
        if row not in self._sizes:
            self._rehearse(row, exchanges[0])
        return exchanges

    def _rehearse(self, row: Row, exchange: Exchange) -> None:
        """Play a window and its opposite, so that the queue is as it was."""
        publish = self._of(self._plain(Operation.PUBLISH, row.shape))
        take = self._of(self._plain(Operation.TAKE, row.shape))
        if publish is None or take is None:
            raise BenchmarkError(f"It has no way to publish and take {row.shape}")
        link = self._links[0]
        if row.operation is Operation.PUBLISH:
            self._sizes[row] = rehearse(link, exchange)
            rehearse(link, take[0])
        else:
            rehearse(link, publish[0])
            self._sizes[row] = rehearse(link, exchange)

    def _of(self, row: Row) -> list[Exchange] | None:
        if row not in self._exchanges:
            made = [self._dialect.exchange(row.operation, row.shape, number) for number in range(row.shape.connections)]
            there = [one for one in made if one]
            self._exchanges[row] = there or None
        return self._exchanges[row]

    def _plain(self, operation: Operation, shape: Shape) -> Row:
        """The row of this operation in batches, or one by one where there are none."""
        row = Row(operation, shape)
        return row if self.offers(row) else Row(operation, shape.unbatched)


@contextmanager
def playing(entrant: Entrant, cores: Cores) -> Iterator[Player]:
    """Let a server run, or a yardstick be laid, for as long as the block lasts."""
    if isinstance(entrant, Server):
        with running(entrant, cores) as process, closing(Contender(process)) as player:
            yield player
    elif isinstance(entrant, Yardstick):
        with entrant.playing(cores) as player:
            yield player
