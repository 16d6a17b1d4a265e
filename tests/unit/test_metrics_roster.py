"""Counters that never go down, and lose nothing, whatever becomes of the queues."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gmq.message import Limits, Measure, QueuePolicy, Totals
from gmq.server.metrics.roster import Roster
from gmq.storage.memory import MemoryStorage


class Watched:
    """A roster over queues that a test makes, with what Prometheus would make of what it shows."""

    def __init__(self, most: int) -> None:
        self.roster = Roster(most)
        self.queues: dict[str, Totals] = {}
        self.departed = Totals()
        self.last: dict[str, int] = {}
        self.increase = 0

    def delete(self, name: str) -> None:
        self.departed.add(self.queues.pop(name))

    def scrape(self) -> dict[str, int]:
        """Published messages as they are shown, by queue; `increase` grows by what Prometheus sees come."""
        self.roster.begin(self.departed)
        shown: dict[str, int] = {}
        for name, totals in self.queues.items():
            named = self.roster.name(Measure(name, totals, 0, 0, 0, 0, 0.0))
            if named is not None:
                shown[name] = named.shown[0]
        shown[".."] = self.roster.end()[0][0]
        for name, value in shown.items():
            before = self.last.get(name)
            if before is not None:
                assert value >= before, f"the counter of {name} went down, from {before} to {value}"
                self.increase += value - before
        self.last = shown
        return shown


def test_queues_beyond_the_most_are_shown_together() -> None:
    watched = Watched(1)
    watched.queues = {"a": Totals(published=1), "b": Totals(published=2), "c": Totals(published=3)}
    assert watched.scrape() == {"a": 1, "..": 5}


def test_a_queue_keeps_its_series_when_others_come_and_go() -> None:
    watched = Watched(1)
    watched.queues = {"z": Totals(published=1)}
    watched.scrape()
    watched.queues = {"a": Totals(published=5), **watched.queues}
    assert watched.scrape() == {"z": 1, "..": 5}


def test_what_happened_in_a_queue_of_the_rest_stays_when_it_is_deleted() -> None:
    watched = Watched(0)
    watched.queues = {"a": Totals(published=3)}
    assert watched.scrape() == {"..": 3}
    watched.queues["a"].published = 4
    watched.delete("a")
    assert watched.scrape() == {"..": 4}


def test_what_nobody_saw_under_the_name_of_a_deleted_queue_goes_to_the_rest() -> None:
    watched = Watched(10)
    watched.queues = {"a": Totals(published=3)}
    watched.scrape()
    watched.queues["a"].published = 10
    watched.delete("a")
    watched.queues["between"] = Totals(published=5)
    watched.delete("between")  # never seen at all
    assert watched.scrape() == {"..": 12}


def test_a_queue_that_was_made_anew_goes_on_counting() -> None:
    watched = Watched(10)
    watched.queues = {"a": Totals(published=3)}
    watched.scrape()
    watched.queues["a"].published = 10
    watched.delete("a")
    watched.queues["a"] = Totals(published=1)
    assert watched.scrape() == {"a": 11, "..": 0}
    watched.delete("a")
    assert watched.scrape() == {"..": 0}


def test_a_queue_that_leaves_the_rest_takes_nothing_from_it() -> None:
    watched = Watched(1)
    watched.queues = {"a": Totals(published=1), "b": Totals(published=2)}
    watched.scrape()
    watched.delete("a")
    assert watched.scrape() == {"..": 2}, "the name became free in this round, and b has it from the next on"
    watched.queues["b"].published = 7
    assert watched.scrape() == {"b": 7, "..": 7}
    watched.delete("b")
    assert watched.scrape() == {"..": 7}


def test_a_scrape_that_is_given_up_makes_no_later_one_forget_the_rest() -> None:
    watched = Watched(1)
    watched.queues = {"a": Totals(published=1), "b": Totals(published=100)}
    watched.scrape()
    watched.delete("a")
    assert watched.scrape() == {"..": 100}
    watched.roster.begin(watched.departed)  # whose client is gone before any queue was looked at
    assert watched.scrape() == {"b": 100, "..": 100}
    watched.queues["new"] = Totals(published=7)
    assert watched.scrape() == {"b": 100, "..": 107}, "what happens in the rest is seen at once"


def test_a_delivery_that_is_taken_back_takes_nothing_from_the_counter() -> None:
    storage = MemoryStorage(Limits(), lambda _: QueuePolicy())
    storage.publish("a", [b"x"], 1, None)
    taken = storage.take(["a"], 1, 100, None)
    roster = Roster(1)

    def delivered() -> int:
        roster.begin(storage.departed)
        (measure,) = storage.measured()
        named = roster.name(measure)
        assert named is not None
        roster.end()
        return named.shown[1]

    assert delivered() == 1
    storage.undo(taken)
    assert delivered() == 1
    storage.take(["a"], 1, 100, None)
    assert delivered() == 1


steps = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from("abcd"), st.integers(1, 5)),
    st.tuples(st.just("delete"), st.sampled_from("abcd"), st.just(0)),
    st.tuples(st.just("scrape"), st.just(""), st.just(0)),
)


@settings(max_examples=500, deadline=None)
@given(most=st.integers(0, 3), steps=st.lists(steps, max_size=40))
def test_prometheus_sees_no_more_than_happened_and_misses_only_what_new_series_begin_with(
    most: int, steps: list[tuple[str, str, int]]
) -> None:
    watched = Watched(most)
    watched.scrape()
    happened = 0
    begun_with = 0
    for step, name, count in [*steps, ("scrape", "", 0)]:
        if step == "publish":
            watched.queues.setdefault(name, Totals()).published += count
            happened += count
        elif step == "delete" and name in watched.queues:
            watched.delete(name)
        elif step == "scrape":
            before = set(watched.last)
            shown = watched.scrape()
            begun_with += sum(value for series, value in shown.items() if series not in before)
    assert happened - begun_with <= watched.increase <= happened
