"""Where in a queue's file its messages are, against a plain dict."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given, settings
from hypothesis import strategies as st

from gmq.storage.index import CLOSE, Index, Place

batches = st.lists(
    st.tuples(
        st.integers(0, 60),  # the first id, or how far it is above the last
        st.booleans(),  # whether it is
        st.lists(st.integers(1, 3), min_size=1, max_size=6),  # the steps from id to id
        st.booleans(),  # whether all of them are 1, as a range
        st.booleans(),  # whether it comes by way of another index
    ),
    max_size=8,
)


@settings(max_examples=500, deadline=None)
@given(batches=batches)
def test_what_was_added_is_found_where_it_is(batches: list[tuple[int, bool, list[int], bool, bool]]) -> None:
    index, model = Index(), dict[int, Place]()
    at = last = 0
    for start, above, steps, consecutive, other in batches:
        first = last + start if above else start
        ids = range(first, first + len(steps)) if consecutive else list(accumulate(steps[1:], initial=first))
        lengths = [number % 5 for number in ids]
        target = Index() if other else index
        target.add(ids, lengths, [number * 7 for number in ids], at)
        if other:
            index.update(target)
        for number, length in zip(ids, lengths, strict=True):
            model[number] = Place(at, length, number * 7)
            at += length
        last = max(model)
    for number in range(last + 3):
        assert index.find(number) == model.get(number), f"message {number} is elsewhere"
        assert (number in index) == (number in model)
        for count in (1, 2, 5):
            wanted = [model.get(one) for one in range(number, number + count)]
            assert index.size(number, count) == sum(place.length for place in wanted if place is not None)
            run = index.run(number, count)
            if run is not None:
                found = [Place(*fields) for fields in zip(run.offsets, run.lengths, run.checks, strict=True)]
                assert found == wanted, f"{count} messages from {number} on are elsewhere"
                assert run.end - run.start <= 2 * sum(run.lengths) + CLOSE


def test_an_index_without_anything_in_order_is_taken_over_by_one_with_something_out_of_order() -> None:
    index, other = Index(), Index()
    index.add([10, 11], [1, 1], [0, 0], 0)
    index.add([5, 6], [1, 1], [0, 0], 2)
    index.update(other)
    assert [index.find(number) for number in (5, 11)] == [Place(2, 1, 0), Place(1, 1, 0)]


def test_a_backlog_of_consecutive_messages_takes_16_bytes_for_each() -> None:
    index = Index()
    for first in range(0, 100_000, 1000):
        index.add(range(first, first + 1000), [1024] * 1000, [0] * 1000, first * 1024)
    assert len(index._firsts) == 1, "consecutive ids are one stretch"
    assert index.run(50_000, 1000) is not None
