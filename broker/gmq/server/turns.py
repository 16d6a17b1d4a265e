"""Turns for connections that have more to be done than is fair at once."""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter
from typing import Final, Protocol

SLICE: Final = 0.00005
"""Seconds of work, about, after which a connection lets others have their turn."""
MOST: Final = 0.0002
"""Seconds for which turns go on before what has arrived meanwhile is looked at."""

PART: Final = 0.5
"""Of the time that serving what had arrived took, which turns may take after it."""


class Member(Protocol):
    """A connection with requests that wait for their turn."""

    def turn(self) -> None:
        """Serve some, and come back for another turn where there are more."""


class Turns:
    """Gives connections turns, one after the other.

    Between two looks at what has arrived, turns take half as long as serving that took the last time, and at least one turn: so those with
    a few requests have more than half of the broker however many others send all that they can.
    """

    def __init__(self) -> None:
        self._waiting: deque[Member] = deque()
        self._scheduled = False
        self._ended = 0.0  # when the last turns did

    @property
    def idle(self) -> bool:
        """Whether nobody waits for a turn."""
        return not self._waiting

    def add(self, member: Member) -> None:
        """Let a connection have another turn, behind all that wait."""
        self._waiting.append(member)
        if not self._scheduled:
            self._ended = perf_counter()
            self._schedule()

    def _schedule(self) -> None:
        self._scheduled = True
        asyncio.get_running_loop().call_soon(self._go)

    def _go(self) -> None:
        begun = perf_counter()
        until = begun + min(MOST, PART * (begun - self._ended))
        waiting = self._waiting
        try:
            for _ in range(len(waiting)):
                waiting.popleft().turn()  # it may come back, at the end
                if perf_counter() >= until:
                    break
        finally:
            self._ended = perf_counter()
            self._scheduled = False
            if waiting:
                self._schedule()
