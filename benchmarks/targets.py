"""The figures to reach. Ratios are within one run, round by round."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from benchmarks import http_footprints
from benchmarks.results import OURS, Results, Sample
from benchmarks.work import HTTP_BATCH, MANY, SMALL, Operation, Row, Shape

ONE: Final = Shape(1, 1, SMALL)
SIXTEEN: Final = Shape(16, 16, SMALL)
DEEP: Final = Shape(16, 256, SMALL)
MANY_QUEUES: Final = Shape(16, 16, SMALL, queues=MANY)
MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Target:
    """A figure, its bound, and how it is got from the results (None: not measured in this run)."""

    title: str
    bound: float
    at_least: bool
    unit: str
    measure: Callable[[Results], float | None]

    def reached(self, measured: float) -> bool:
        return measured >= self.bound if self.at_least else measured <= self.bound

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.bound:g}{self.unit}"


def faster(operation: Operation, peer: str, theirs: str, times: float, shape: Shape = SIXTEEN) -> Target:
    """So many times the peer's messages per second."""
    row = Row(operation, shape)

    def measure(results: Results) -> float | None:
        ratio = results.ratio(row, peer, Sample.rate)
        return ratio.median if ratio else None

    return Target(f"{operation} {shape}, against {peer} {theirs}", times, at_least=True, unit=" x", measure=measure)


def latency(operation: Operation, times: float) -> Target:
    """With one request in flight, at most so many times the echo's median latency."""
    row = Row(operation, ONE)

    def measure(results: Results) -> float | None:
        ratio = results.ratio(row, "echo", Sample.p50)
        return ratio.median if ratio else None

    return Target(f"{operation}, window 1, p50 against the echo's", times, at_least=False, unit=" x", measure=measure)


def durable_latency(times: float) -> Target:
    """With one publish in flight, at most so many times what the network and the disk take by themselves: echo, append and sync."""
    row = Row(Operation.PUBLISH, ONE)

    def measure(results: Results) -> float | None:
        samples = [results.samples.get(row, {}).get(name, []) for name in (OURS, "echo", "disk")]
        ratios = [our.p50() / (echo.p50() + disk.p50()) for our, echo, disk in zip(*samples, strict=False)]
        return statistics.median(ratios) if ratios else None

    return Target("publish, window 1, p50 against the echo's and the disk's together", times, at_least=False, unit=" x", measure=measure)


def spread(times: float) -> Target:
    """Publishes that go over many queues, at least so many times as fast as those to one."""

    def measure(results: Results) -> float | None:
        samples = [results.samples.get(Row(Operation.PUBLISH, shape), {}).get(OURS, []) for shape in (MANY_QUEUES, SIXTEEN)]
        ratios = [many.rate() / one.rate() for many, one in zip(*samples, strict=False)]
        return statistics.median(ratios) if ratios else None

    return Target(f"publish {MANY_QUEUES}, against one queue", times, at_least=True, unit=" x", measure=measure)


def batches(times: float) -> Target:
    """Publishes in batches, at least so many times as many messages as publishes one by one."""
    shapes = (Shape(16, 1, SMALL, HTTP_BATCH), Shape(16, 1, SMALL))

    def measure(results: Results) -> float | None:
        samples = [results.samples.get(Row(Operation.PUBLISH, shape), {}).get(OURS, []) for shape in shapes]
        ratios = [batch.rate() / one.rate() for batch, one in zip(*samples, strict=False)]
        return statistics.median(ratios) if ratios else None

    return Target(f"messages of publish {shapes[0]}, against {shapes[1]}", times, at_least=True, unit=" x", measure=measure)


def at_most(title: str, bound: float) -> Target:
    """A figure that stands alone."""
    return Target(title, bound, at_least=False, unit="", measure=lambda results: results.figures.get(title))


def start_up(seconds: float) -> Target:
    def measure(results: Results) -> float | None:
        footprint = results.footprints.get(OURS)
        return footprint.start_up.median if footprint and footprint.start_up else None

    return Target("start-up to first reply", seconds, at_least=False, unit=" s", measure=measure)


def per_message(size: int) -> Target:
    def measure(results: Results) -> float | None:
        footprint = results.footprints.get(OURS)
        return footprint.per_message if footprint and footprint.messages == MILLION else None

    return Target("memory per message of 128 B, a million queued", size, at_least=False, unit=" B", measure=measure)


MEMORY: Final = (
    faster(Operation.PUBLISH, "redis-server", "LPUSH", 1),
    faster(Operation.PUBLISH, "beanstalkd", "put", 8),
    faster(Operation.PUBLISH, "nats-server", "JetStream publish, acknowledged", 3),
    faster(Operation.TAKE, "redis-server", "RPOP", 1),
    faster(Operation.TAKE, "beanstalkd", "reserve + delete", 15),
    faster(Operation.LEASE, "beanstalkd", "reserve + delete", 5),
    latency(Operation.PUBLISH, 1.15),
    latency(Operation.TAKE, 1.15),
    start_up(0.35),
    per_message(400),
)

DURABLE: Final = (
    faster(Operation.PUBLISH, "redis-server", "LPUSH, appendfsync always", 1.2),
    faster(Operation.PUBLISH, "redis-server", "LPUSH, appendfsync always", 1.3, DEEP),
    faster(Operation.PUBLISH, "beanstalkd", "put, -b -f 0", 30),
    faster(Operation.PUBLISH, "nats-server", "JetStream publish, file", 1.3),
    faster(Operation.TAKE, "redis-server", "RPOP, appendfsync always", 1.4),
    spread(0.8),
    durable_latency(1.3),
)

SQL: Final = (
    faster(Operation.PUBLISH, "sql", "INSERT + COMMIT on 16 connections", 5),
    faster(Operation.TAKE, "sql", "SELECT ... SKIP LOCKED + DELETE + COMMIT on 16 connections", 5),
)

HTTP: Final = (
    faster(Operation.PUBLISH, "aiohttp", "a bare handler that answers 201", 0.8, Shape(16, 1, SMALL)),
    batches(40),
    at_most(http_footprints.STREAM, 50),
    at_most(http_footprints.POLL, 40),
    at_most(http_footprints.WAKE_UPS, 1),
)
