"""In which order messages are handed out."""

from __future__ import annotations

import threading
from collections.abc import Callable

from wire import Wire, unb64


def test_messages_come_out_in_the_order_they_went_in(wire: Wire, queue: str) -> None:
    for number in range(50):
        wire.publish(queue, b"%d" % number)
    assert [wire.take(queue) for _ in range(50)] == [b"%d" % number for number in range(50)]
    assert wire.take(queue) is None


def test_a_higher_priority_is_first_and_within_one_the_older_message(wire: Wire, queue: str) -> None:
    for name, priority in ((b"a", 4), (b"b", 9), (b"c", 0), (b"d", 9), (b"e", 4)):
        wire.publish(queue, name, priority=priority)
    wire.publish(queue, b"f")  # the default is 4
    assert b"".join(wire.drain(queue)) == b"bdaefc"


def test_ids_increase_and_are_not_used_again_even_after_the_queue_was_deleted(wire: Wire, queue: str) -> None:
    first = wire.publish(queue, b"x")
    batch = wire.done("P", queue, payloads=["eA==", "eQ=="])["ids"]
    assert [first, *batch] == sorted({first, *batch}), f"ids have to increase: {first}, {batch}"
    wire.done("D", queue)
    again = wire.publish(queue, b"x")
    assert again > batch[-1], f"id {again} was used before"


def test_a_batch_keeps_its_order(wire: Wire, queue: str) -> None:
    ids = wire.done("P", queue, payloads=["YQ==", "Yg==", "Yw=="])["ids"]
    messages = wire.done("S", queue, count=10)["messages"]
    assert [message["id"] for message in messages] == ids
    assert [unb64(message["payload"]) for message in messages] == [b"a", b"b", b"c"]


def test_a_message_put_back_returns_to_its_old_place(wire: Wire, queue: str) -> None:
    for name in (b"a", b"b", b"c"):
        wire.publish(queue, name)
    leased = wire.lease(queue, count=2)
    wire.done("N", receipts=[leased[1]["receipt"], leased[0]["receipt"]])
    assert b"".join(wire.drain(queue)) == b"abc"


def test_a_message_whose_lease_ran_out_returns_to_its_old_place(wire: Wire, queue: str) -> None:
    for name in (b"a", b"b"):
        wire.publish(queue, name)
    wire.lease(queue, 0.05)
    assert wire.take(queue) == b"b"
    wire.publish(queue, b"c")
    assert wire.take(queue, wait=5) == b"c"
    again = wire.lease(queue, 5, wait=5)
    assert [unb64(message["payload"]) for message in again] == [b"a"]
    assert again[0]["deliveries"] == 2


def test_a_delayed_message_takes_the_place_of_its_publish(wire: Wire, queue: str) -> None:
    first = wire.publish(queue, b"late", delay=0.1)
    second = wire.publish(queue, b"soon", delay=0.2)
    assert first < second
    third = wire.publish(queue, b"now", delay=0.3)
    assert wire.counts(queue) == (0, 3, 0)
    taken = [wire.done("S", queue, count=1, wait=5)["messages"][0]["id"] for _ in range(3)]
    assert taken == [first, second, third]


def test_the_first_queue_in_the_list_that_has_a_message_serves(wire: Wire, queue: str) -> None:
    wire.publish(f"{queue}-2", b"second")
    wire.publish(f"{queue}-3", b"third")
    names = [f"{queue}-1", f"{queue}-2", f"{queue}-3"]
    reply = wire.done("S", queues=names)
    assert (reply["queue"], unb64(reply["payload"])) == (f"{queue}-2", b"second")
    reply = wire.done("S", queues=names, count=5)
    assert [message["queue"] for message in reply["messages"]] == [f"{queue}-3"]
    reply = wire.done("S", queues=names)
    assert (reply["queue"], reply["count"]) == ("", 0)


def test_consumers_at_the_same_time_get_each_message_once(wire: Wire, connect: Callable[[], Wire], queue: str) -> None:
    total, got = 2000, []
    lock = threading.Lock()
    wire.done("P", queue, payloads=["eA=="] * 1000)
    wire.done("P", queue, payloads=["eA=="] * 1000)

    def consume() -> None:
        with connect() as connection:
            while messages := connection.done("S", queue, count=7)["messages"]:
                with lock:
                    got.extend(message["id"] for message in messages)

    threads = [threading.Thread(target=consume) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == len(set(got)) == total
