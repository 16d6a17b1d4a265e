"""What the metrics show of a queue is what a close look finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gmq.message import Options, QueuePolicy
from gmq.queue import LOOKED_AT, Queue

steps = st.one_of(
    st.tuples(st.just("publish"), st.integers(1, 4)),
    st.tuples(st.just("priority"), st.integers(0, 9)),
    st.tuples(st.just("delay"), st.integers(1, 50)),
    st.tuples(st.just("take"), st.integers(1, 3)),
    st.tuples(st.just("lease"), st.integers(1, 3)),
    st.tuples(st.just("put back"), st.integers(0, 30)),
    st.tuples(st.just("acknowledge"), st.just(0)),
    st.tuples(st.just("pass"), st.integers(1, 100)),
)


@given(st.lists(steps, max_size=30))
def test_a_measure_is_what_a_close_look_finds(steps: list[tuple[str, int]]) -> None:
    now = 1000
    queue = Queue("q", 1, 1, QueuePolicy(), now, capacity=1000, keys=10)
    receipts: list[str] = []
    for step, number in steps:
        if step == "publish":
            queue.publish([b"xyz"] * number, 3 * number, None, now)
        elif step == "priority":
            queue.publish([b"x"], 1, Options(priority=number), now)
        elif step == "delay":
            queue.publish([b"x"], 1, Options(delay=number), now)
        elif step == "take":
            queue.take(number, 1000, None, "", now)
        elif step == "lease":
            receipts += queue.take(number, 1000, 60, f"{now:x}{len(receipts):x}", now).receipts or ()
        elif step == "put back" and receipts:
            queue.put_back([receipts.pop(0)], number, now)
        elif step == "acknowledge" and receipts:
            queue.acknowledge([receipts.pop()], now)
        now += number if step == "pass" else 1
        info = queue.info(now)
        measure = queue.measure(now)
        assert (measure.ready, measure.delayed, measure.leased, measure.bytes) == (
            info.counts.ready, info.counts.delayed, info.counts.leased, info.counts.bytes,
        )  # fmt: skip
        assert measure.oldest_age == (info.oldest_age or 0)
        assert measure.totals is info.totals


def test_of_very_many_leased_messages_those_that_were_leased_first_tell_the_age() -> None:
    queue = Queue("q", 1, 1, QueuePolicy(), 1000, capacity=10 * LOOKED_AT, keys=10)
    queue.publish([b"x"], 1, None, 1000)
    queue.publish([b"x"] * 2 * LOOKED_AT, 2 * LOOKED_AT, None, 2000)
    while queue.ready:
        queue.take(1000, 1 << 20, 60_000, "token", 3000)
    assert queue.measure(4000).oldest_age == 3
