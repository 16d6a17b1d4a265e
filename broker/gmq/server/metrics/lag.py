"""How late the event loop is."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Final

from gmq.histogram import Histogram

PERIOD: Final = 1.0
"""Seconds between two looks."""
LATE: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Seconds; the timers themselves are exact to a millisecond."""


class Lag:
    """Sets a timer, looks how late it rings, and sets it again. It runs while anybody wants it to."""

    def __init__(self) -> None:
        self.histogram = Histogram(LATE)
        self._wanted = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def start(self) -> None:
        """Somebody wants to know."""
        self._wanted += 1
        if self._timer is None:
            self._set()

    def stop(self) -> None:
        """Somebody who did does not any more."""
        self._wanted -= 1
        if not self._wanted and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self) -> None:
        self._due = perf_counter() + PERIOD
        self._timer = asyncio.get_running_loop().call_later(PERIOD, self._ring)

    def _ring(self) -> None:
        self.histogram.observe(max(0.0, perf_counter() - self._due))
        self._set()
