"""What the console's stream looks at, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from time import thread_time
from typing import Any

import pytest

from gmq.access import Access, Rule
from gmq.auth import Authenticator
from gmq.broker import Broker
from gmq.message import GmqError, Limits, Measure, QueuePolicy, Totals
from gmq.server.http.lookout import Lookout
from gmq.server.http.views import Meter, Query, Sight, View, parse_query
from gmq.server.hub import Hub
from gmq.storage.memory import MemoryStorage

MANY = 10_000
LONGEST_BLOCK = 0.02
"""Seconds of computing; slices take 2 ms, and sorting all queues by their names is one piece."""


class WatchedStorage(MemoryStorage):
    """Counts how often it is looked at, and may refuse to tell of one queue."""

    looks = 0
    trouble: str | None = None

    def measured(self) -> Iterator[Measure]:
        self.looks += 1
        return super().measured()

    def info(self, queue: str) -> Any:
        if self.trouble is not None:
            raise GmqError("unavailable", self.trouble)
        return super().info(queue)

    @property
    def problem(self) -> str | None:
        return self.trouble


def make_hub() -> tuple[Hub, WatchedStorage]:
    limits = Limits(queues=2 * MANY)
    storage = WatchedStorage(limits, lambda _: QueuePolicy())
    return Hub(Broker(storage, limits), Authenticator(), line_limit=1, request_timeout=1, max_connections=1), storage


def run(work: Callable[[Hub, WatchedStorage], Coroutine[Any, Any, None]]) -> None:
    async def all_of_it() -> None:
        hub, storage = make_hub()
        await work(hub, storage)
        await storage.close()

    asyncio.run(all_of_it())


def test_rates_are_measured_over_two_seconds_and_start_anew_with_a_new_queue() -> None:
    meter = Meter()
    assert meter.rates(Totals(published=10), 100.0) is None
    rates = meter.rates(Totals(published=15, delivered=2), 100.5)
    assert rates is not None
    assert (rates.published, rates.delivered) == (10, 4)
    for step in range(1, 11):
        rates = meter.rates(Totals(published=15 + step), 100.5 + step / 2)
    assert rates is not None
    assert rates.published == pytest.approx(2)
    assert meter.rates(Totals(published=1), 106.0) is None, "a queue that was made anew has no rates before it is seen twice"


@pytest.mark.parametrize(
    "query", [{"sort": "age"}, {"sort": "--name"}, {"page": "-1"}, {"page": "x"}, {"page": "1" * 7}, {"search": "x" * 256}]
)
def test_a_query_that_means_nothing_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(GmqError) as refusal:
        parse_query(query.items())
    assert refusal.value.code == "bad_request"
    assert next(iter(query)) in refusal.value.text


def test_a_view_has_one_page_of_what_was_searched_for_sorted() -> None:
    async def work(hub: Hub, storage: WatchedStorage) -> None:
        for number in range(250):
            storage.publish(f"Team.{number:03}", [b"x"] * (1 + number % 7), 7, None)
        storage.publish("other", [b"x"], 1, None)
        lookout = Lookout(hub, 0.0)
        await lookout.look()
        first, last, most, one, none = sights = [
            Sight(query) for query in (
                Query(search="team"), Query(search="team", page=99), Query(sort="ready", descending=True),
                Query(queue="other"), Query(queue="no"),
            )
        ]  # fmt: skip
        views = await lookout.views(sights)
        page = views[first].page
        assert page is not None
        assert (page.found, page.page, page.pages, len(page.rows)) == (250, 0, 3, 100)
        assert [row.queue for row in page.rows[:2]] == ["Team.000", "Team.001"]
        page = views[last].page
        assert page is not None
        assert (page.page, len(page.rows)) == (2, 50), "a page beyond the last is the last"
        page = views[most].page
        assert page is not None
        assert {row.ready for row in page.rows[:35]} == {7}
        detail = views[one].detail
        assert detail is not None
        assert (detail.row.queue, detail.row.ready, detail.totals.published) == ("other", 1, 1)
        assert views[none].gone
        assert not views[one].gone
        sums = views[first].sums
        assert sums is not None
        assert (sums.queues, sums.ready) == (251, sum(1 + number % 7 for number in range(250)) + 1)

    run(work)


def test_a_user_sees_the_queues_that_it_may_inspect_page_by_page() -> None:
    async def work(hub: Hub, storage: WatchedStorage) -> None:
        for number in range(250):
            storage.publish(f"own.{number:03}", [b"x"], 1, None)
            storage.publish(f"secret.{number:03}", [b"xx"] * 2, 4, None)
        access = Access("shop", (Rule(("own.*",), ("inspect",)),))
        lookout = Lookout(hub, 0.0)
        await lookout.look()

        async def seen(**query: Any) -> View:
            sight = Sight(Query(**query), access)
            return (await lookout.views([sight]))[sight]

        names: list[str] = []
        for number in range(3):
            view = await seen(page=number)
            assert view.sums is not None
            assert (view.sums.queues, view.sums.ready, view.sums.bytes) == (250, 250, 250), "the sums are of what the user may inspect"
            assert view.page is not None
            assert (view.page.found, view.page.page, view.page.pages) == (250, number, 3)
            names += [row.queue for row in view.page.rows]
        assert names == [f"own.{number:03}" for number in range(250)]
        page = (await seen(search="secret")).page
        assert page is not None
        assert (page.found, page.rows) == (0, [])
        hidden, missing = await seen(queue="secret.001"), await seen(queue="secret.none")
        assert hidden.detail is None
        assert hidden.gone is missing.gone, "it shows that there is such a queue"
        access.replace((Rule(("secret.00*",), ("inspect",)),))
        view = await seen()
        assert view.page is not None
        assert [row.queue for row in view.page.rows] == [f"secret.{number:03}" for number in range(10)], "other rules hold at once"
        everything = Sight(Query())
        sums = (await lookout.views([everything]))[everything].sums
        assert sums is not None
        assert (sums.queues, sums.ready) == (500, 750)

    run(work)


def test_the_rates_of_all_queues_do_not_forget_those_that_are_gone() -> None:
    async def work(hub: Hub, storage: WatchedStorage) -> None:
        lookout = Lookout(hub, 0.0)
        storage.publish("short-lived", [b"x"] * 100, 100, None)
        await lookout.look()
        storage.publish("short-lived", [b"x"] * 50, 50, None)
        storage.delete("short-lived")
        await lookout.look()
        rates = (await lookout.views([Sight(Query())]))[Sight(Query())].rates
        assert rates is not None
        assert rates.published > 0

    run(work)


def test_a_view_tells_why_the_storage_does_not() -> None:
    async def work(hub: Hub, storage: WatchedStorage) -> None:
        storage.publish("orders", [b"x"], 1, None)
        storage.trouble = "the disk is full"
        lookout = Lookout(hub, 0.0)
        await lookout.look()
        sight = Sight(Query(queue="orders"))
        view = (await lookout.views([sight]))[sight]
        assert view.broker.problem == "the disk is full"
        assert view.detail is None
        assert not view.gone, "a storage that does not answer has not said that the queue is gone"

    run(work)


@pytest.mark.usefixtures("own_garbage")
def test_looking_at_ten_thousand_queues_lets_others_go_on() -> None:
    async def work(hub: Hub, storage: WatchedStorage) -> None:
        for number in range(MANY):
            storage.publish(f"team-{number % 40:02}.queue-{number:05}", [b"x"], 1, None)
        some = Access("some", (Rule(("team-1*",), ("inspect",)),))
        longest = 0.0
        done = False

        async def others() -> None:
            nonlocal longest
            last = thread_time()
            while not done:
                await asyncio.sleep(0)
                now = thread_time()
                longest = max(longest, now - last)
                last = now

        task = asyncio.create_task(others())
        lookout = Lookout(hub, 0.0)
        for _ in range(5):
            await lookout.look()
            queries = (Query(sort="ready", descending=True), Query(search="9"), Query(page=50))
            await lookout.views([Sight(query, access) for query in queries for access in (None, some)])
        done = True
        await task
        assert longest < LONGEST_BLOCK, f"others had to wait for {longest * 1000:.1f} ms of computing"

    run(work)
