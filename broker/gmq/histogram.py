"""Observations counted in buckets, cheaply enough for what happens all the time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

LATENCIES = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Seconds: from what a request takes in memory to where something is badly wrong."""
SIZES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000)
"""How many things were done together."""


class Histogram:
    """How many observations there were up to each of `bounds`, which ascend, and how many above the last; `sum` is their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)  # of each bucket alone
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count an observation that was made so many times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    @property
    def count(self) -> int:
        """Observations so far."""
        return sum(self.counts)


class Commits:
    """What a storage made durable, and how that went: for each commit the seconds it took and the changes it had.

    `written` is in bytes; `errors` are what failed and should not have.
    """

    __slots__ = ("durations", "errors", "sizes", "written")

    def __init__(self) -> None:
        self.durations = Histogram(LATENCIES)
        self.sizes = Histogram(SIZES)
        self.written = 0
        self.errors = 0

    def done(self, seconds: float, changes: int, written: int = 0) -> None:
        """Count a commit."""
        self.durations.observe(seconds)
        self.sizes.observe(changes)
        self.written += written
