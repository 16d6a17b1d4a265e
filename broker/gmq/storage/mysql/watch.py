"""One loop that looks at the database for what other brokers, and time, have brought about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

import structlog

from gmq.message import GmqError
from gmq.storage.mysql.core import Core
from gmq.storage.mysql.taking import with_a_message
from gmq.storage.mysql.upkeep import DUES, Upkeep

log = structlog.get_logger()

INTERVAL = 0.22
"""Seconds between looks while consumers wait: other brokers' messages wake them within 300 ms, with under 5 queries a second."""
BUSY_INTERVAL = 0.05
BUSY_FOR = 1.0
"""Seconds between looks for a while after one that found something."""
IDLE_INTERVAL = 1.0
"""Seconds between looks while nobody waits: for what time brings about and another broker had promised."""
LEAST_INTERVAL = 0.01


class Watch:
    """Looks, every now and then, and when something is due."""

    def __init__(self, core: Core, upkeep: Upkeep, waited: Callable[[], Collection[str]]) -> None:
        self._core = core
        self._upkeep = upkeep
        self._waited = waited
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._due_at = float("inf")
        self._asleep_until = 0.0
        self._busy_until = 0.0

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def due(self, after: int) -> None:
        """Something will be due in so many milliseconds."""
        self._due_at = min(self._due_at, asyncio.get_running_loop().time() + after / 1000)
        if self._due_at < self._asleep_until:
            self._wake.set()

    def attend(self) -> None:
        """Somebody takes, and may begin to wait."""
        soon = asyncio.get_running_loop().time() + INTERVAL
        if soon < self._asleep_until:
            self._asleep_until = soon
            self._wake.set()

    def hurry(self) -> None:
        """There is something to do now."""
        self._wake.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._look()
                await self._upkeep.chores()
            except GmqError as error:
                log.debug("looking at the database failed", reason=error.text)  # the pool has told it
            except Exception:  # the loop must go on
                log.exception("looking at the database failed")
            await self._sleep(began)

    async def _sleep(self, began: float) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        interval = IDLE_INTERVAL
        if now < self._busy_until:
            interval = BUSY_INTERVAL
        elif self._waited():
            interval = INTERVAL
        self._asleep_until = max(now + LEAST_INTERVAL, min(began + interval, self._due_at + 0.001))
        while (left := self._asleep_until - loop.time()) > 0:
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._wake.wait()
                    self._asleep_until = max(now + LEAST_INTERVAL, min(self._asleep_until, self._due_at + 0.001))
                    if self._upkeep.garbage:
                        break

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        waited = list(self._waited())
        self._due_at = float("inf")  # what is said from now on counts beside what the database says
        sql = DUES  # in one statement with the rest, as a look should be one query
        if waited:
            sql = b"%b, NULL UNION ALL SELECT NULL, NULL, NULL, NULL, ready.name FROM (%b) ready" % (DUES, with_a_message(waited))
        started = loop.time()
        first, *found = (await self._core.transactions.read(sql))[0].rows
        dues: Sequence[int | None] = first[:4]
        for row in found:
            self._core.ready(row[4].decode())
        if found:
            self._busy_until = loop.time() + BUSY_FOR
        times = [due for due in dues[1:] if due is not None]
        now = dues[0] or 0
        if times and min(times) <= now:
            await self._upkeep.sweep(dues)
            self._due_at = started  # there may be more
        elif times:
            self._due_at = min(self._due_at, started + (min(times) - now) / 1000)
