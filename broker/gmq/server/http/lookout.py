"""Looks at the broker for those who view the console."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from operator import attrgetter
from time import monotonic, time
from typing import Any, Final, cast

from msgspec import Struct

from gmq.access import Access, Rule
from gmq.message import GmqError, Measure, QueueInfo, Totals
from gmq.server.http.views import PAGE, RATE_PAUSE, Detail, Meter, Page, Query, Rates, Row, Sight, Sums, View, state_of
from gmq.server.hub import Hub
from gmq.storage.base import Outcome, T

SLICE: Final = 0.002
"""Seconds of computing after which others have their turn."""
CHUNK: Final = 100
"""Queues that are looked through between looks at the clock."""
PATIENCE: Final = 2.0
"""Seconds for which answers of the storage are waited for; then views go out without them."""
UNKNOWN: Final = Totals()


class Pace:
    """Lets others have their turn while much is computed, and tells how long it took without their turns."""

    def __init__(self) -> None:
        self._spent = 0.0
        self._began = monotonic()

    @property
    def effort(self) -> float:
        """Seconds so far."""
        return self._spent + monotonic() - self._began

    def resume(self) -> None:
        """Go on after a pause that does not count."""
        self._began = monotonic()

    async def breathe(self) -> None:
        """Go on; in a moment, where this took a slice of time."""
        passed = monotonic() - self._began
        if passed > SLICE:
            self._spent += passed
            await asyncio.sleep(0)
            self._began = monotonic()


class Part(Struct):
    """The queues that some users may inspect, by name. `rules` are those by which they may, empty for all queues."""

    rules: tuple[Rule, ...]
    queues: list[Measure]
    sums: Sums
    rates: Rates | None
    pages: dict[Query, Page] = {}


class Lookout:
    """The broker as it was at the last look, and what viewers see of it.

    All viewers share what was found out, until the next look. What a storage answers later is not asked again before the answer came.
    """

    def __init__(self, hub: Hub, started: float) -> None:
        self._hub = hub
        self._broker = hub.broker
        self._storage = hub.broker.storage
        self._started = started
        self._asked: dict[str, Future[Any]] = {}  # where no answer came in time, by the queue, "" for all of them
        self._meter = Meter()  # of all queues
        self._meters: dict[str, Meter] = {}
        self._meters_of_users: dict[Access, Meter] = {}  # of the queues that each may inspect
        self._all: Part | None = None  # None where the storage does not tell
        self._parts: dict[Access, Part] = {}
        self._details: dict[str, Detail | None] = {}
        self._pace = Pace()
        self._patient_until = 0.0

    @property
    def effort(self) -> float:
        """Seconds that the last look took with the views since, the storage's answers included, without what others did meanwhile."""
        return self._pace.effort

    async def look(self) -> None:
        """Look at all queues from far, and forget what was seen."""
        self._pace = Pace()
        self._patient_until = monotonic() + PATIENCE
        self._all = None
        self._parts = {}
        self._details = {}
        recent = monotonic() - RATE_PAUSE
        self._meters = {queue: meter for queue, meter in self._meters.items() if meter.used > recent}
        self._meters_of_users = {user: meter for user, meter in self._meters_of_users.items() if meter.used > recent}
        queues = await (self._measured() if self._storage.immediate else self._counted())
        if queues is not None:
            self._all = await self._sum(queues, (), self._storage.departed, self._meter)

    async def views(self, sights: Iterable[Sight]) -> dict[Sight, View]:
        """What viewers see."""
        self._pace.resume()
        self._patient_until = monotonic() + PATIENCE
        return {sight: await self._view(sight.query, sight.access) for sight in sights}

    async def _view(self, query: Query, access: Access | None) -> View:
        part = self._all if access is None else await self._part(access)
        view = View(time(), state_of(self._hub, self._started))
        if part is not None:
            view.sums, view.rates = part.sums, part.rates
        if query.queue is not None:
            if access is None or access.may("inspect", query.queue):
                view.detail, view.gone = await self._closely(query.queue)
        elif part is not None:
            view.page = await self._page(query, part)
        return view

    async def _part(self, access: Access) -> Part | None:
        """What a user sees by the rules that hold now."""
        part, rules = self._parts.get(access), access.rules
        if self._all is not None and (part is None or part.rules is not rules):
            queues: list[Measure] = []
            for start in range(0, len(self._all.queues), CHUNK):
                queues += [one for one in self._all.queues[start : start + CHUNK] if access.may("inspect", one.queue)]
                await self._pace.breathe()
            meter = self._meters_of_users.setdefault(access, Meter())
            part = self._parts[access] = await self._sum(queues, rules, Totals(), meter)
        return part

    # All queues

    async def _measured(self) -> list[Measure]:
        """Every queue, where that is known here."""
        await self._storage.measure()
        found: list[Measure] = []
        for measure in self._storage.measured():
            found.append(measure)
            if not len(found) % CHUNK:
                await self._pace.breathe()
        found.sort(key=attrgetter("queue"))
        await self._pace.breathe()
        return found

    async def _counted(self) -> list[Measure] | None:
        """Every queue of a database: those of other brokers too, of which only the counts are known."""
        counted = None
        with suppress(GmqError):  # the view tells what the storage's problem is
            counted = await self._answer("", self._broker.queues)
        if counted is None:
            return None
        own = {measure.queue: measure for measure in await self._measured()}
        found: list[Measure] = []
        for counts in counted:
            measure = own.get(counts.queue)
            totals, age = (UNKNOWN, 0.0) if measure is None else (measure.totals, measure.oldest_age)
            found.append(Measure(counts.queue, totals, counts.ready, counts.delayed, counts.leased, counts.bytes, age))
            if not len(found) % CHUNK:
                await self._pace.breathe()
        return found

    async def _sum(self, queues: list[Measure], rules: tuple[Rule, ...], departed: Totals, meter: Meter) -> Part:
        sums = Sums(len(queues))
        totals = Totals()
        totals.add(departed)
        for start in range(0, len(queues), CHUNK):
            for one in queues[start : start + CHUNK]:
                sums.ready += one.ready
                sums.delayed += one.delayed
                sums.leased += one.leased
                sums.bytes += one.bytes
                totals.add(one.totals)
            await self._pace.breathe()
        return Part(rules, queues, sums, meter.rates(totals, monotonic()))

    async def _page(self, query: Query, part: Part) -> Page:
        if query not in part.pages:
            found = await self._found(query, part.queues)
            pages = max(1, -(-len(found) // PAGE))
            page = min(query.page, pages - 1)
            rows = [self._row(one) for one in found[page * PAGE : (page + 1) * PAGE]]
            part.pages[query] = Page(len(found), page, pages, rows)
        return part.pages[query]

    async def _found(self, query: Query, queues: Sequence[Measure]) -> list[Measure]:
        """The queues that a search is for, sorted."""
        found: list[Measure] = []
        for start in range(0, len(queues), CHUNK):
            found += [one for one in queues[start : start + CHUNK] if query.search in one.queue.casefold()]
            await self._pace.breathe()
        if query.sort != "name":
            found.sort(key=attrgetter(query.sort), reverse=query.descending)
        elif query.descending:
            found.reverse()
        await self._pace.breathe()
        return found

    def _row(self, one: Measure) -> Row:
        age = one.oldest_age if one.ready or one.leased else None
        rates = None if one.totals is UNKNOWN else self._metered(one.queue, one.totals)
        return Row(one.queue, one.ready, one.delayed, one.leased, one.bytes, age, rates)

    def _metered(self, queue: str, totals: Totals) -> Rates | None:
        return self._meters.setdefault(queue, Meter()).rates(totals, monotonic())

    # One queue

    async def _closely(self, queue: str) -> tuple[Detail | None, bool]:
        """A queue looked at closely, if that is possible now, and whether there is none of that name."""
        if queue in self._details:
            detail = self._details[queue]
            return detail, detail is None
        try:
            info = await self._answer(queue, lambda: self._broker.info(queue))
        except GmqError as error:
            if error.code == "not_found":
                self._details[queue] = None
            return None, error.code in {"not_found", "bad_request"}
        if info is None:
            return None, False
        detail = self._details[queue] = self._detail(info)
        await self._pace.breathe()
        return detail, False

    def _detail(self, info: QueueInfo) -> Detail:
        counts = info.counts
        rates = self._metered(counts.queue, info.totals)
        row = Row(counts.queue, counts.ready, counts.delayed, counts.leased, counts.bytes, info.oldest_age, rates)
        return Detail(row, info.policy, info.totals)

    async def _answer(self, about: str, ask: Callable[[], Outcome[T]]) -> T | None:
        """What the storage answers; None where it does not in time."""
        left = self._patient_until - monotonic()
        if left <= 0:
            return None
        outcome = self._asked.pop(about, None) or ask()
        if not isinstance(outcome, Future):
            return outcome
        await asyncio.wait([outcome], timeout=left)
        if not outcome.done():
            self._asked[about] = outcome
            return None
        return cast("T", outcome.result())
