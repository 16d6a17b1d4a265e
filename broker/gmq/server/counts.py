"""What was asked over one transport, how it was answered, and how long that took."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from time import perf_counter

from gmq.histogram import LATENCIES, Histogram


class Counts:
    """Requests of one transport, by the letter of their operation ("" where it could not be read).

    `requests` counts every one of them, `refusals` those that were refused, by operation and code. `durations` has those that were
    answered: from when the broker began with those that arrived together to when the reply left, without the time that a take waited
    for a message.
    """

    __slots__ = ("durations", "refusals", "requests")

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.refusals: Counter[tuple[str, str]] = Counter()
        self.durations: dict[str, Histogram] = {}

    def answered(self, operation: str, begun: float, times: int) -> None:
        """So many replies left just now to requests with which the broker began at `begun`, by `time.perf_counter`."""
        seconds = perf_counter() - begun
        histogram = self.durations.get(operation)
        if histogram is None:
            histogram = self.durations[operation] = Histogram(LATENCIES)
        histogram.counts[bisect_left(LATENCIES, seconds)] += times  # as its `observe` does, without a call
        histogram.sum += seconds * times

    def codes(self) -> dict[str, int]:
        """Refusals by code."""
        codes: Counter[str] = Counter()
        for (_, code), count in self.refusals.items():
            codes[code] += count
        return dict(codes)
