"""Consumers that wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from wire import Wire, b64, unb64


@pytest.fixture
def consumers(connect: Callable[[], Wire]) -> Iterator[list[Wire]]:
    """Five connections."""
    with ExitStack() as stack:
        yield [stack.enter_context(connect()) for _ in range(5)]


def wait_in_line(consumers: list[Wire], queue: str, **fields: object) -> None:
    """Let the consumers wait, surely in this order: each has a reply to something sent after."""
    for consumer in consumers:
        consumer.send("S", queue, wait=20, tag="wait", **fields)
        assert consumer.done("L", queue, tag="after")["tag"] == "after"


def test_a_waiting_consumer_is_woken_by_a_publish_to_a_queue_that_did_not_exist(wire: Wire, other: Wire, queue: str) -> None:
    other.send("S", queue, wait=20)
    started = time.monotonic()
    wire.publish(queue, b"hello")
    assert unb64(other.read()["payload"]) == b"hello"
    assert time.monotonic() - started < 5


def test_who_waited_first_is_served_first_and_one_message_wakes_one(wire: Wire, consumers: list[Wire], queue: str) -> None:
    wait_in_line(consumers, queue)
    for number, consumer in enumerate(consumers):
        wire.publish(queue, b"%d" % number)
        reply = consumer.read()
        assert (reply["tag"], unb64(reply["payload"])) == ("wait", b"%d" % number)


def test_a_batch_wakes_as_many_as_it_has_messages(wire: Wire, consumers: list[Wire], queue: str) -> None:
    wait_in_line(consumers, queue)
    wire.done("P", queue, payloads=[b64(b"%d" % number) for number in range(5)])
    assert [unb64(consumer.read()["payload"]) for consumer in consumers] == [b"0", b"1", b"2", b"3", b"4"]


def test_who_asks_later_does_not_overtake_those_who_wait(wire: Wire, other: Wire, consumers: list[Wire], queue: str) -> None:
    wait_in_line(consumers[:1], queue)
    wire.send_together(("P", queue, {"payload": "eA=="}), ("S", queue, {}))
    assert wire.read()["confirmation"] == "Y"
    assert wire.read()["count"] == 0, "the message belongs to the one who waited"
    assert consumers[0].read()["count"] == 1


def test_a_wait_ends_empty_after_its_time(wire: Wire, queue: str) -> None:
    started = time.monotonic()
    reply = wire.done("S", queue, wait=0.2)
    assert (reply["count"], reply["payload"]) == (0, "")
    assert 0.19 <= time.monotonic() - started < 5
    assert wire.done("S", queue, wait=0.05, count=2)["messages"] == []


def test_a_wait_of_zero_does_not_wait(wire: Wire, queue: str) -> None:
    assert wire.done("S", queue, wait=0)["count"] == 0


@pytest.mark.parametrize("way", ["put back", "lease over", "delay over", "moved", "dead letter"])
def test_whatever_makes_a_message_ready_wakes_a_consumer(wire: Wire, other: Wire, queue: str, way: str) -> None:
    waiting_for = queue
    if way == "delay over":
        wire.publish(queue, b"x", delay=0.2)
    elif way == "moved":
        wire.publish(f"{queue}-from", b"x")
    else:
        wire.publish(queue, b"x")
        if way == "dead letter":
            waiting_for = f"{queue}-dead"
            wire.done("Y", queue, policy={"max_deliveries": 1, "dead_letter": waiting_for})
        (message,) = wire.lease(queue, 0.2 if way == "lease over" else 30)
    other.send("S", waiting_for, wait=20, tag=1)
    assert other.done("L", waiting_for, tag=2)["tag"] == 2
    if way in ("put back", "dead letter"):
        wire.done("N", receipt=message["receipt"])
    elif way == "moved":
        wire.done("M", f"{queue}-from", to=queue)
    assert unb64(other.read()["payload"]) == b"x"


def test_a_consumer_that_waits_for_several_queues_is_woken_by_any(wire: Wire, other: Wire, queue: str) -> None:
    names = [f"{queue}-{number}" for number in range(3)]
    for name in reversed(names):
        other.send("S", queues=names, wait=20)
        wire.publish(name, name.encode())
        reply = other.read()
        assert (reply["queue"], unb64(reply["payload"])) == (name, name.encode())


def test_a_consumer_that_left_takes_nothing_along(connect: Callable[[], Wire], wire: Wire, queue: str) -> None:
    gone = connect()
    gone.send("S", queue, wait=20, tag="wait")
    assert gone.done("L", queue, tag="after")["tag"] == "after"
    gone.close()
    assert wire.done("S", queue, wait=0.05)["count"] == 0  # by now the broker has seen it leave
    wire.publish(queue, b"x")
    assert wire.take(queue) == b"x"


def test_waiting_consumers_get_leases(wire: Wire, other: Wire, queue: str) -> None:
    other.send("S", queue, wait=20, lease=30, count=2)
    wire.done("P", queue, payloads=["YQ==", "Yg==", "Yw=="])
    messages = other.read()["messages"]
    assert [unb64(message["payload"]) for message in messages] == [b"a", b"b"]
    assert wire.counts(queue) == (1, 0, 2)
    assert other.done("A", receipts=[message["receipt"] for message in messages])["count"] == 2
