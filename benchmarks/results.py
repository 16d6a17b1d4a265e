"""What was measured, and what is told about it: medians over the rounds, and ratios within each round."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from benchmarks.work import Row

OURS: Final = "gmq"


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of one row on one server in one round. Times are in seconds, latencies in nanoseconds."""

    messages: int
    seconds: float
    generator: float  # processor time of the load generator
    server: float  # processor time of the server
    latencies: tuple[int, ...] = ()

    def __add__(self, other: Self) -> Sample:
        return Sample(
            self.messages + other.messages,
            self.seconds + other.seconds,
            self.generator + other.generator,
            self.server + other.server,
            self.latencies + other.latencies,
        )

    def rate(self) -> float:
        """Messages per second."""
        return self.messages / self.seconds

    def generator_share(self) -> float:
        """How busy the generator's core was, 0 to 1."""
        return self.generator / self.seconds

    def server_share(self) -> float:
        """How busy the server's core was, 0 to 1."""
        return self.server / self.seconds

    def percentile(self, percent: int) -> float:
        """Microseconds that `percent` of the latencies do not exceed."""
        return statistics.quantiles(self.latencies, n=100)[percent - 1] / 1000

    def p50(self) -> float:
        return self.percentile(50)

    def p99(self) -> float:
        return self.percentile(99)


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over the rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Self:
        return cls(statistics.median(figures), min(figures), max(figures))


@dataclass(slots=True)
class Footprint:
    """What a server takes before it does anything: start-up in seconds, memory in bytes."""

    start_up: Spread | None = None  # from the process's start to its first reply
    idle: int = 0
    loaded: int = 0
    messages: int = 0  # that were queued when `loaded` was measured

    @property
    def per_message(self) -> float:
        """Bytes of memory that each queued message took."""
        return (self.loaded - self.idle) / self.messages


@dataclass(slots=True)
class Results:
    """Samples by row and server, in the order of the rounds, and footprints by server."""

    samples: dict[Row, dict[str, list[Sample]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    footprints: dict[str, Footprint] = field(default_factory=lambda: defaultdict(Footprint))
    figures: dict[str, float] = field(default_factory=dict)  # that stand alone, by their titles

    def add(self, row: Row, server: str, sample: Sample) -> None:
        self.samples[row][server].append(sample)

    def spread(self, row: Row, server: str, figure: Callable[[Sample], float]) -> Spread:
        return Spread.of([figure(sample) for sample in self.samples[row][server]])

    def ratio(self, row: Row, server: str, figure: Callable[[Sample], float]) -> Spread | None:
        """Our figure divided by the server's, round by round: the machine's drift is in both. None where one was not measured."""
        samples = self.samples.get(row, {})
        pairs = zip(samples.get(OURS, []), samples.get(server, []), strict=False)
        ratios = [figure(our) / figure(their) for our, their in pairs]
        return Spread.of(ratios) if ratios else None
