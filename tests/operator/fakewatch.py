"""A watch that tells what a test has it tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gmq_operator.observed import Kind


class FakeWatch:
    """A watch that tells what a test has it tell, and ends when a test wants it to."""

    def __init__(self, kinds: frozenset[Kind], sink: Callable[..., None], asked: Callable[[Kind], None]) -> None:
        self.kinds = kinds
        self.sink = sink
        self.asked = asked
        self.running = False
        self._ended: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    def start(self) -> None:
        self.running = True
        for kind in self.kinds:
            self.asked(kind)

    async def ended(self) -> BaseException | None:
        return await asyncio.shield(self._ended)

    async def stop(self) -> None:
        self.running = False

    def fail(self, error: BaseException | None) -> None:
        self._ended.set_result(error)
