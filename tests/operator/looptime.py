"""An event loop whose clock stands still while there is work, and jumps to the next timer when there is none."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any


class _Selector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]  # chosen at run time
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout:
            self.now += timeout
        return super().select(0)  # type: ignore[no-any-return]  # as above


class FakeTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._fake = _Selector()
        super().__init__(self._fake)

    def time(self) -> float:
        return self._fake.now


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a scenario in which sleeping takes no time. What never ends is ended by pytest's timeout."""
    loop = FakeTimeLoop()
    try:
        loop.run_until_complete(scenario())
    finally:
        loop.close()
