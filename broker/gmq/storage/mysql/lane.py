"""Requests that wait for their turn, and are served together with those that arrive meanwhile."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, Protocol, TypeVar

import structlog

log = structlog.get_logger()


class Entry(Protocol):
    """A request with the future of its outcome."""

    future: Future[Any]


E = TypeVar("E", bound=Entry)
K = TypeVar("K", bound=Hashable)


class Lanes(Generic[K, E]):
    """A line of requests for each key. `serve` takes some from the front, and settles their futures; one call at a time for each key.

    So requests with one key take effect in their order, and all that arrive while a transaction is under way share the next.
    """

    def __init__(self, serve: Callable[[K, deque[E]], Awaitable[None]]) -> None:
        self._serve = serve
        self._pending: dict[K, deque[E]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, key: K, entry: E) -> None:
        """Put a request at the end of its line."""
        pending = self._pending.get(key)
        if pending is not None:
            pending.append(entry)
            return
        self._pending[key] = deque((entry,))
        task = asyncio.get_running_loop().create_task(self._run(key))  # it begins when what arrived in this round is here
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drained(self) -> None:
        """Return when no request is left."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _run(self, key: K) -> None:
        pending = self._pending[key]
        try:
            while pending:
                await self._serve(key, pending)
        finally:
            del self._pending[key]
            for entry in pending:  # only where something went badly wrong
                fail(entry, asyncio.CancelledError())


def settle(entry: Entry, result: object) -> None:
    """Give a request its result; nobody may be interested any more."""
    if not entry.future.done():
        entry.future.set_result(result)


def fail(entry: Entry, error: BaseException) -> None:
    """Give a request its error."""
    if entry.future.done():
        return
    if isinstance(error, asyncio.CancelledError):
        entry.future.cancel()
    else:
        entry.future.set_exception(error)
