"""The checker finds what is planted, and nothing in histories where all is well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from crash.checker import check
from crash.history import DONE, REFUSED, History, Op, Sight, name_of, payload_of
from crash.traffic import DEAD

A, B, C = "c0-1-10", "c0-2-10", "c0-3-10"
DELAY = LEASE = 5.0


class Play:
    """Writes a history, one request after the other, each of a tenth of a second."""

    def __init__(self) -> None:
        self.history = History(start=0.0, unix=1000.0)
        self.history.dead_letters = {"strict": (DEAD, 2)}
        self.clock = 0.0
        self.ids = 0

    def op(self, kind: str, queue: str, outcome: str = DONE, **fields: Any) -> Op:
        self.clock += 1
        op = Op(len(self.history.ops), fields.pop("connection", "c0/0"), self.history.life, kind, (queue,), self.clock, **fields)
        op.ended, op.outcome = self.clock + 0.1, outcome
        self.history.ops.append(op)
        return op

    def publish(self, *names: str, queue: str = "q", ids: tuple[int, ...] = (), **fields: Any) -> Op:
        op = self.op("P", queue, names=names, **fields)
        if op.done:
            op.ids = ids or tuple(range(self.ids + 1, self.ids + 1 + len(names)))
            self.ids = max(self.ids, *op.ids)
        return op

    def take(self, *sights: Sight, queue: str = "q", **fields: Any) -> Op:
        op = self.op("S", queue, **{"count": 10, **fields})
        op.got = list(sights)
        for number, sight in enumerate(sights):
            if op.lease is not None:
                sight.receipt, sight.deliveries = sight.receipt or f"r{op.number}-{number}", sight.deliveries or 1
        return op

    def settle(self, kind: str, take: Op, outcome: str = DONE, *, stale: bool = False, **fields: Any) -> Op:
        receipts = tuple(sight.receipt or "" for sight in take.got)
        return self.op(kind, "", outcome, receipts=receipts, stale=frozenset(receipts) if stale else frozenset(), **fields)

    def kill(self) -> None:
        self.clock += 1
        self.history.end_life(self.clock)

    def lost_reply(self, op: Op) -> Op:
        """The reply to the request never came."""
        op.outcome, op.got, op.ids = "in doubt", [], ()
        return op

    def wait(self, seconds: float) -> None:
        self.clock += seconds

    @property
    def kinds(self) -> list[str]:
        return [fault.kind for fault in check(self.history).faults]


def seen(name: str, number: int, queue: str = "q", **members: Any) -> Sight:
    return Sight(name, queue, number, **{"deliveries": 0, "priority": 4, "headers": {}, **members})


@pytest.fixture
def play() -> Play:
    return Play()


def test_a_payload_tells_its_name_and_nothing_else_does() -> None:
    assert name_of(payload_of("c3-17-5000")) == "c3-17-5000"
    assert name_of(payload_of(A)[:-1]) is None
    assert name_of(payload_of(A).replace(b"c0-1", b"c0-2")) is None
    assert name_of(b"") is None


# Where all is well


def test_what_came_out_once_is_fine(play: Play) -> None:
    play.publish(A, B)
    play.kill()
    play.take(seen(A, 1), seen(B, 2))
    assert play.kinds == []


def test_a_publish_in_doubt_may_be_kept_or_not(play: Play) -> None:
    play.lost_reply(play.publish(A))
    play.lost_reply(play.publish(B))
    play.kill()
    play.take(seen(B, 1))
    assert play.kinds == []


def test_takes_in_doubt_explain_as_many_messages_as_they_asked_for(play: Play) -> None:
    play.publish(A, B, C)
    play.lost_reply(play.take(count=2))
    play.kill()
    play.take(seen(C, 3))
    assert play.kinds == []


def test_a_take_of_several_queues_that_is_in_doubt_explains_what_was_first_in_any(play: Play) -> None:
    play.publish(A, queue="other", ids=(1,))
    play.publish(B, ids=(5,))
    play.publish(C, ids=(6,))
    play.lost_reply(play.take(count=1)).queues = ("q", "other")
    play.kill()
    play.take(seen(C, 6))
    play.take(seen(A, 1, "other"), queue="other")
    assert play.kinds == []


def test_a_lease_that_ran_out_brings_the_message_back(play: Play) -> None:
    play.publish(A)
    play.take(seen(A, 1), lease=LEASE)
    play.kill()
    play.wait(LEASE)
    again = play.take(seen(A, 1, deliveries=2), lease=LEASE)
    play.settle("A", again)
    assert play.kinds == []


def test_a_message_put_back_comes_again(play: Play) -> None:
    play.publish(A)
    play.settle("N", play.take(seen(A, 1), lease=LEASE))
    play.take(seen(A, 1, deliveries=1))
    assert play.kinds == []


def test_a_repeat_with_the_same_key_is_the_same_message(play: Play) -> None:
    play.lost_reply(play.publish(A, keys=("k",)))
    play.kill()
    play.publish(A, keys=("k",), ids=(1,))
    play.take(seen(A, 1))
    assert play.kinds == []


def test_a_repeat_has_a_place_of_its_own(play: Play) -> None:
    """The publish that is in doubt was not kept: the id is that of the repeat, behind what was sent later."""
    first = play.lost_reply(play.publish(A, keys=("k",)))
    second = play.lost_reply(play.publish(B))
    first.ended = second.ended
    play.kill()
    play.publish(A, keys=("k",), ids=(9,), connection="c0/1")
    play.take(seen(B, 1), seen(A, 9))
    assert play.kinds == []


def test_dead_letters_and_moved_messages_are_where_they_belong(play: Play) -> None:
    play.publish(A, queue="strict")
    for number in (1, 2):
        play.settle("N", play.take(seen(A, 1, "strict", deliveries=number), queue="strict", lease=LEASE))
    play.op("M", DEAD, to="other")
    play.take(seen(A, 7, "other", dead=dead(1, 2)), queue="other")
    assert play.kinds == []


def dead(number: int, deliveries: int) -> dict[str, Any]:
    return {"queue": "strict", "id": number, "reason": "max_deliveries", "deliveries": deliveries, "at": 0.0}


def test_a_clear_explains_what_it_removed(play: Play) -> None:
    play.publish(A, B)
    play.op("C", "q", counted=2)
    assert play.kinds == []


def test_a_time_to_live_explains_what_is_gone(play: Play) -> None:
    play.publish(A, ttl=2.0)
    play.wait(3)
    play.take()
    assert play.kinds == []


def test_counts_that_come_out(play: Play) -> None:
    play.publish(A)
    play.op("Q", "", counts={"q": (1, 0, 0)}, quiet=True)
    play.take(seen(A, 1), quiet=True)
    play.op("Q", "", counts={"q": (0, 0, 0)}, quiet=True)
    assert play.kinds == []


# Planted faults

FAULTS: dict[str, tuple[str, Callable[[Play], object]]] = {}


def planted(kind: str) -> Callable[[Callable[[Play], object]], None]:
    """A story in which exactly one kind of fault happens."""

    def plant(story: Callable[[Play], object]) -> None:
        FAULTS[story.__name__] = kind, story

    return plant


@planted("lost")
def message_that_never_came_out(play: Play) -> None:
    play.publish(A, B)
    play.kill()
    play.take(seen(B, 2))


@planted("lost")
def more_missing_than_takes_in_doubt(play: Play) -> None:
    play.publish(A, B, C)
    play.lost_reply(play.take(count=1))
    play.kill()
    play.take(seen(C, 3))


@planted("lost")
def message_behind_one_that_stayed(play: Play) -> None:
    """The take in doubt would have got the first one."""
    play.publish(A, B)
    play.lost_reply(play.take(count=1))
    play.kill()
    play.take(seen(A, 1))


@planted("lost")
def published_after_the_take_in_doubt(play: Play) -> None:
    play.lost_reply(play.take(count=1))
    play.kill()
    play.publish(A)


@planted("lost")
def hidden_from_the_take_in_doubt(play: Play) -> None:
    play.publish(A)
    play.take(seen(A, 1), lease=100.0)
    play.lost_reply(play.take(count=1))
    play.kill()


@planted("lost")
def half_of_a_batch(play: Play) -> None:
    play.lost_reply(play.publish(A, B))
    play.kill()
    play.take(seen(B, 2))


@planted("lost")
def leased_and_never_back(play: Play) -> None:
    play.publish(A)
    play.take(seen(A, 1), lease=LEASE)
    play.kill()
    play.wait(10)


@planted("lost")
def more_than_was_cleared(play: Play) -> None:
    play.publish(A, B)
    play.op("C", "q", counted=1)


@planted("invented")
def message_that_nobody_sent(play: Play) -> None:
    play.take(Sight(None, "q", 1, found=b"rubbish"))


@planted("invented")
def message_that_was_refused(play: Play) -> None:
    play.publish(A, outcome=REFUSED)
    play.take(seen(A, 1))


@planted("invented")
def message_in_a_queue_where_nothing_brings_it(play: Play) -> None:
    play.publish(A)
    play.take(seen(A, 1, "other"), queue="other")


@planted("twice")
def taken_twice(play: Play) -> None:
    play.publish(A)
    play.take(seen(A, 1))
    play.kill()
    play.take(seen(A, 1))


@planted("twice")
def acknowledged_and_back(play: Play) -> None:
    play.publish(A)
    play.settle("A", play.take(seen(A, 1), lease=LEASE))
    play.kill()
    play.wait(10)
    play.take(seen(A, 1, deliveries=2), lease=LEASE)


@planted("hidden")
def seen_though_it_was_taken(play: Play) -> None:
    play.publish(A)
    play.take(seen(A, 1))
    play.op("K", "q").got = [seen(A, 1)]


@planted("hidden")
def leased_to_two(play: Play) -> None:
    play.publish(A)
    play.take(seen(A, 1), lease=LEASE)
    play.kill()
    play.take(seen(A, 1, deliveries=2), lease=LEASE)
    play.wait(10)
    play.take(seen(A, 1, deliveries=2))


@planted("hidden")
def back_before_the_extended_lease_was_over(play: Play) -> None:
    play.publish(A)
    play.settle("E", play.take(seen(A, 1), lease=LEASE), lease=20.0)
    play.wait(LEASE)
    play.take(seen(A, 1, deliveries=1))


@planted("hidden")
def back_before_the_delay_of_the_put_back(play: Play) -> None:
    play.publish(A)
    play.settle("N", play.take(seen(A, 1), lease=1.0), delay=DELAY)
    play.take(seen(A, 1, deliveries=1))


@planted("early")
def delayed_and_early(play: Play) -> None:
    play.publish(A, delay=DELAY)
    play.kill()
    play.take(seen(A, 1))


@planted("late")
def taken_after_its_time_to_live(play: Play) -> None:
    play.publish(A, ttl=2.0)
    play.wait(3)
    play.take(seen(A, 1))


@planted("passed over")
def found_nothing_though_there_was(play: Play) -> None:
    play.publish(A)
    play.take()
    play.take(seen(A, 1))


@planted("passed over")
def passed_over(play: Play) -> None:
    play.publish(A)
    play.publish(B)
    play.take(seen(B, 2), count=1)
    play.take(seen(A, 1))


@planted("order")
def out_of_order_in_one_reply(play: Play) -> None:
    play.publish(A, B)
    play.take(seen(B, 2), seen(A, 1))


@planted("order")
def out_of_order_when_all_is_quiet(play: Play) -> None:
    play.lost_reply(play.publish(A, B))
    play.take(seen(B, 2), quiet=True, count=1)
    play.take(seen(A, 1), quiet=True, count=1)


@planted("order")
def publisher_s_messages_change_places(play: Play) -> None:
    """Sent one behind the other without waiting."""
    first, second = play.publish(A), play.publish(B)
    first.ids, second.ids = (2,), (1,)
    first.ended = second.ended
    play.take(seen(B, 1), seen(A, 2))


@planted("id")
def id_that_was_used_before(play: Play) -> None:
    play.publish(A)
    play.take(seen(A, 1))
    play.kill()
    play.publish(B, ids=(1,), connection="c0/1")
    play.take(seen(B, 1))


@planted("id")
def ids_that_go_back(play: Play) -> None:
    play.publish(A, ids=(9,))
    play.take(seen(A, 9))
    play.kill()
    play.publish(B, ids=(5,), connection="c0/1")
    play.take(seen(B, 5))


@planted("twice")
def stored_under_two_ids(play: Play) -> None:
    play.publish(A)
    play.take(seen(A, 1), lease=1.0)
    play.wait(2)
    play.take(seen(A, 2), lease=1.0)
    play.wait(2)
    play.settle("A", play.take(seen(A, 2, deliveries=2), lease=1.0))


@planted("key")
def key_that_answers_two_ids(play: Play) -> None:
    play.publish(A, keys=("k",), ids=(1,))
    play.publish(A, keys=("k",), ids=(2,))
    play.take(seen(A, 1))


@planted("changed")
def other_headers(play: Play) -> None:
    play.publish(A, headers={"a": "b"})
    play.take(seen(A, 1, headers={"a": "c"}))


@planted("changed")
def other_time_of_publish(play: Play) -> None:
    play.publish(A)
    play.take(seen(A, 1, published=2000.0))


@planted("changed")
def other_priority(play: Play) -> None:
    play.publish(A, priority=4)
    play.take(seen(A, 1, priority=5))


@planted("receipt")
def live_receipt_that_is_refused(play: Play) -> None:
    play.publish(A)
    take = play.take(seen(A, 1), lease=50.0)
    play.kill()
    play.settle("A", take, stale=True)
    play.wait(50)
    play.take(seen(A, 1, deliveries=1))


@planted("receipt")
def receipt_that_outlives_its_lease(play: Play) -> None:
    play.publish(A)
    take = play.take(seen(A, 1), lease=LEASE)
    play.wait(LEASE)
    play.settle("A", take)


@planted("receipt")
def receipt_that_is_good_twice(play: Play) -> None:
    play.publish(A)
    take = play.take(seen(A, 1), lease=LEASE)
    play.settle("N", take)
    play.settle("E", take, lease=1.0)
    play.wait(LEASE)
    play.take(seen(A, 1, deliveries=1))


@planted("count")
def delivery_that_is_not_counted(play: Play) -> None:
    play.publish(A)
    for _ in range(2):
        play.settle("N", play.take(seen(A, 1), lease=LEASE))
    play.take(seen(A, 1, deliveries=1))


@planted("count")
def more_deliveries_than_allowed(play: Play) -> None:
    play.publish(A, queue="strict")
    for number in (1, 2, 3):
        play.settle("N", play.take(seen(A, 1, "strict", deliveries=number), queue="strict", lease=LEASE))
    play.take(seen(A, 1, "strict", deliveries=3), queue="strict")


@planted("count")
def count_that_does_not_come_out(play: Play) -> None:
    play.publish(A)
    play.op("Q", "", counts={"q": (2, 0, 0)}, quiet=True)
    play.take(seen(A, 1), quiet=True)
    play.op("Q", "", counts={"q": (0, 0, 0)}, quiet=True)


@planted("count")
def something_left_after_the_drain(play: Play) -> None:
    play.op("Q", "", counts={"q": (0, 0, 0)}, quiet=True)
    play.op("Q", "", counts={"q": (0, 0, 1)}, quiet=True)


@planted("dead letter")
def dead_letter_with_a_wrong_origin(play: Play) -> None:
    play.publish(A, queue="strict")
    for number in (1, 2):
        play.settle("N", play.take(seen(A, 1, "strict", deliveries=number), queue="strict", lease=LEASE))
    play.take(seen(A, 1, DEAD, dead=dead(77, 2)), queue=DEAD)


@planted("dead letter")
def dead_letter_too_soon(play: Play) -> None:
    play.publish(A, queue="strict")
    play.settle("N", play.take(seen(A, 1, "strict", deliveries=1), queue="strict", lease=LEASE))
    play.take(seen(A, 1, DEAD, dead=dead(1, 1)), queue=DEAD)


@planted("cleared")
def cleared_and_back(play: Play) -> None:
    play.publish(A)
    play.op("C", "q", counted=1)
    play.kill()
    play.take(seen(A, 1))


@planted("policy")
def policy_that_was_set_and_forgotten(play: Play) -> None:
    play.op("Y", "strict", version=3)
    play.kill()
    play.op("I", "strict", version=0)


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(play: Play, name: str) -> None:
    kind, story = FAULTS[name]
    story(play)
    report = check(play.history)
    assert {fault.kind for fault in report.faults} == {kind}, f"not what was planted:\n{report.told()}"
    assert report.told()
