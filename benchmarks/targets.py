"""The figures to reach. Ratios are within one run, round by round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from benchmarks.results import OURS, Results, Sample
from benchmarks.work import SMALL, Operation, Row, Shape

ONE: Final = Shape(1, 1, SMALL)
SIXTEEN: Final = Shape(16, 16, SMALL)
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


def faster(operation: Operation, peer: str, theirs: str, times: float) -> Target:
    """At 16 x 16 and 128 bytes, so many times the peer's messages per second."""
    row = Row(operation, SIXTEEN)

    def measure(results: Results) -> float | None:
        ratio = results.ratio(row, peer, Sample.rate)
        return ratio.median if ratio else None

    return Target(f"{operation} 16 x 16, against {peer} {theirs}", times, at_least=True, unit=" x", measure=measure)


def latency(operation: Operation, times: float) -> Target:
    """With one request in flight, at most so many times the echo's median latency."""
    row = Row(operation, ONE)

    def measure(results: Results) -> float | None:
        ratio = results.ratio(row, "echo", Sample.p50)
        return ratio.median if ratio else None

    return Target(f"{operation}, window 1, p50 against the echo's", times, at_least=False, unit=" x", measure=measure)


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
