"""The broker's clock."""

from __future__ import annotations

import time

from gmq.message import Clock


def steady_clock() -> Clock:
    """A clock in Unix milliseconds that goes on evenly when somebody sets the machine's: leases and delays keep their length."""
    offset = time.time_ns() - time.monotonic_ns()
    monotonic_ns = time.monotonic_ns

    def now() -> int:
        return (monotonic_ns() + offset) // 1_000_000

    return now
