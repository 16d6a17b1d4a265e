"""How many messages every queue of the database has, for the metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import structlog

from gmq.message import GmqError, Measure, Totals
from gmq.storage.mysql.core import Core
from gmq.storage.mysql.records import COUNT_AGE, COUNT_SHARE
from gmq.storage.mysql.sql import CLOCK, DELAYED, LEASED, READY

log = structlog.get_logger()

PATIENCE = 0.5
"""Seconds that a refresh is waited for; what comes later is there the next time."""
_COUNT = (
    b"""%b; SELECT q.name, m.state, COUNT(m.id), CAST(COALESCE(SUM(m.size), 0) AS SIGNED), MIN(m.published), @now FROM gmq_queue q
    LEFT JOIN gmq_message m ON m.queue = q.generation GROUP BY q.name, m.state"""
    % CLOCK
)

Start = Callable[[Coroutine[Any, Any, None]], asyncio.Future[None]]


class Census:
    """Counts when asked, but not again within COUNT_AGE, nor COUNT_SHARE times as long as counting took. While the database is away what
    was counted last stands.
    """

    def __init__(self, core: Core, start: Start) -> None:
        self._core = core
        self._start = start
        self._found: dict[str, Measure] | None = None
        self._good_until = 0.0
        self._counting: asyncio.Future[None] | None = None

    async def refresh(self) -> None:
        """Count, where it is time for that."""
        if self._counting is None and time.monotonic() >= self._good_until:
            self._counting = self._start(self._count())
        if self._counting is not None:
            await asyncio.wait([self._counting], timeout=PATIENCE)

    def measured(self) -> Iterator[Measure]:
        """Every queue that this broker knows; none before the first count."""
        if self._found is None:
            return
        for record in self._core.records.all():
            found = self._found.get(record.name)
            if found is None:  # it is newer than the count
                yield Measure(record.name, record.totals, 0, 0, 0, 0, 0.0)
            else:
                yield Measure(record.name, record.totals, found.ready, found.delayed, found.leased, found.bytes, found.oldest_age)

    async def _count(self) -> None:
        started = time.monotonic()
        try:
            rows = (await self._core.transactions.read(_COUNT))[1].rows
        except GmqError as error:
            log.debug("the messages could not be counted", reason=error.text)
        else:
            self._found = _measures(rows)
        finally:
            now = time.monotonic()
            self._good_until = now + max(COUNT_AGE, COUNT_SHARE * (now - started))
            self._counting = None


def _measures(rows: tuple[tuple[Any, ...], ...]) -> dict[str, Measure]:
    """What the rows of _COUNT say of each queue."""
    found: dict[str, Measure] = {}
    for name, state, count, size, oldest, now in rows:
        text = name.decode()
        measure = found.setdefault(text, Measure(text, Totals(), 0, 0, 0, 0, 0.0))
        measure.bytes += size
        if state == READY:
            measure.ready = count
        elif state == DELAYED:
            measure.delayed = count
        elif state == LEASED:
            measure.leased = count
        if state in {READY, LEASED}:
            measure.oldest_age = max(measure.oldest_age, (now - oldest) / 1000)
    return found
