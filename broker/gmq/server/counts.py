"""What was asked over one transport, how it was answered, and how long that took."""

from __future__ import annotations

from collections import Counter
from time import perf_counter
from typing import Any

from gmq.histogram import LATENCIES, Histogram
from gmq.message import GmqError

MOST_LOGGED = 1500
"""Members of the log, three for each entry, with which it is sorted."""


class Counts:
    """Requests of one transport, by the letter of their operation ("" where it could not be read).

    `requests` counts every one of them, `refusals` those that were refused, by operation and code, `limits` those of them that came up
    against a limit, by its name.
    """

    __slots__ = ("_durations", "_log", "limits", "refusals", "requests")

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.refusals: Counter[tuple[str, str]] = Counter()
        self.limits: Counter[str] = Counter()
        self._durations: dict[str, Histogram] = {}
        self._log: list[Any] = []  # operation, seconds and number of replies, again and again: to be sorted into buckets later

    def refused(self, operation: str, error: GmqError, times: int = 1) -> None:
        """So many requests were refused with this."""
        self.refusals[operation, error.code] += times
        if error.limit is not None:
            self.limits[error.limit] += times

    def answered(self, operation: str, begun: float, times: int) -> None:
        """So many replies left just now to requests with which the broker began at `begun`, by `time.perf_counter`."""
        log = self._log
        log += (operation, perf_counter() - begun, times)
        if len(log) > MOST_LOGGED:
            self._sort()

    def _sort(self) -> None:
        """Sort what was noted into buckets: for each as it comes, when caches are cold for it, that would take several times as long."""
        log = self._log
        for operation, seconds, times in zip(log[::3], log[1::3], log[2::3], strict=True):
            histogram = self._durations.get(operation)
            if histogram is None:
                histogram = self._durations[operation] = Histogram(LATENCIES)
            histogram.observe(seconds, times)
        log.clear()

    @property
    def durations(self) -> dict[str, Histogram]:
        """The times of requests that were answered, by operation.

        Each is from when the broker began with the requests that arrived together to when the reply left, without the time that a take
        waited for a message.
        """
        self._sort()
        return self._durations

    def codes(self) -> dict[str, int]:
        """Refusals by code."""
        codes: Counter[str] = Counter()
        for (_, code), count in self.refusals.items():
            codes[code] += count
        return dict(codes)
