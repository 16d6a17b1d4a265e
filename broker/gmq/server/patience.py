"""Timers for a client that takes its time: it is let go when it has not taken any of its replies for too long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

LOOKS: Final = 4
"""How often the clock is looked at within the time that a client has."""


class SlowReader:
    """Watches a transport while its client does not keep up with its replies, and calls `give_up` when none were taken for `seconds`."""

    __slots__ = ("_give_up", "_left", "_seconds", "_since", "_timer", "_transport")

    def __init__(self, transport: asyncio.Transport, seconds: float, give_up: Callable[[str], None]) -> None:
        self._transport = transport
        self._seconds = seconds
        self._give_up = give_up
        self._timer: asyncio.TimerHandle | None = None
        self._left = 0
        self._since = 0.0

    def start(self) -> None:
        """It does not keep up any more."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._left, self._since = self._transport.get_write_buffer_size(), loop.time()
            self._timer = loop.call_later(self._seconds / LOOKS, self._look)

    def stop(self) -> None:
        """It does again, or is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        left, now = self._transport.get_write_buffer_size(), loop.time()
        if left != self._left:
            self._left, self._since = left, now
        elif now - self._since >= self._seconds:
            self._timer = None
            self._give_up("write_timeout")
            return
        self._timer = loop.call_later(self._seconds / LOOKS, self._look)
