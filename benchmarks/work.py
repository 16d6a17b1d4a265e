"""What is measured: operations, shapes of traffic, and the rows of the table they make."""

from __future__ import annotations

import base64
import enum
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

BATCH: Final = 64  # messages
HTTP_BATCH: Final = 100  # messages
MANY: Final = 256  # queues
SMALL: Final = 128  # bytes
LARGE: Final = 1024  # bytes
MARK: Final = b"benchmark"  # every payload begins with it; 9 bytes, so that its base64 is the beginning of the payload's


class Operation(enum.StrEnum):
    PUBLISH = "publish"
    TAKE = "take"
    LEASE = "lease + acknowledge"


@dataclass(frozen=True, slots=True)
class Shape:
    """Traffic: `window` requests in flight on each connection, `batch` messages of `size` bytes in each request.

    Consecutive requests of a connection go to consecutive ones of the `queues`.
    """

    connections: int
    window: int
    size: int
    batch: int = 1
    queues: int = 1

    @property
    def messages(self) -> int:
        """Messages of one connection's window."""
        return self.window * self.batch

    @property
    def single(self) -> bool:
        """One request in flight in all: what counts is its latency."""
        return self.connections == self.window == 1

    @property
    def unbatched(self) -> Shape:
        """As many messages in flight, each in a request of its own."""
        return replace(self, window=self.messages, batch=1)

    def __str__(self) -> str:
        batches = f" of {self.batch}" if self.batch > 1 else ""
        queues = f" over {self.queues} queues" if self.queues > 1 else ""
        return f"{self.connections} x {self.window}{batches}{queues}"


@dataclass(frozen=True, slots=True)
class Row:
    """An operation under one shape of traffic: on every server that has it, a line of the table."""

    operation: Operation
    shape: Shape

    @property
    def part(self) -> str:
        """The word that selects it on the command line."""
        if self.shape.queues > 1:
            return "queues"
        if self.shape.batch > 1:
            return "batch"
        if self.shape.single:
            return "latency"
        return self.operation.name.lower()

    def __str__(self) -> str:
        return f"{self.operation}, {self.shape.size} B, {self.shape}"


def rows(sizes: Sequence[int] = (SMALL, LARGE)) -> tuple[Row, ...]:
    """Every row of the table, those that share a shape together: a take drains what the publish before it filled."""
    made: list[Row] = []
    for size in sizes:
        depths = (Shape(1, 1, size), Shape(16, 1, size), Shape(16, 16, size), Shape(16, 256, size))
        leased = (depths[0], depths[2])
        for shape in depths:
            made += [Row(Operation.PUBLISH, shape), Row(Operation.TAKE, shape)]
            made += [Row(Operation.LEASE, shape)] if shape in leased else []
        made += [Row(operation, Shape(16, 1, size, BATCH)) for operation in (Operation.PUBLISH, Operation.TAKE)]
    return tuple(made)


def durable_rows() -> tuple[Row, ...]:
    """The rows of the small size, and a publish over many queues beside the one on a single queue."""
    made = list(rows((SMALL,)))
    single = Row(Operation.PUBLISH, Shape(16, 16, SMALL))
    made.insert(made.index(single), Row(Operation.PUBLISH, replace(single.shape, queues=MANY)))
    return tuple(made)


def sql_rows() -> tuple[Row, ...]:
    """The rows of the small size without batches."""
    return tuple(row for row in rows((SMALL,)) if row.shape.batch == 1)


def http_rows() -> tuple[Row, ...]:
    """Publishes and takes one by one, and in batches of a hundred."""
    shapes = (Shape(1, 1, SMALL), Shape(16, 1, SMALL), Shape(16, 1, SMALL, HTTP_BATCH))
    return tuple(Row(operation, shape) for shape in shapes for operation in (Operation.PUBLISH, Operation.TAKE))


def payloads(count: int, size: int, seed: int) -> list[bytes]:
    """Random messages of `size` bytes each, without a newline in them: replies are counted by their newlines."""
    chance = random.Random(seed)
    return [(MARK + base64.b64encode(chance.randbytes(size)))[:size] for _ in range(count)]
