"""Leases, receipts, dead letters."""

from __future__ import annotations

import time

from wire import Wire, b64, unb64


def test_a_leased_message_is_hidden_until_it_is_acknowledged(wire: Wire, queue: str) -> None:
    number = wire.publish(queue, b"work", headers={"kind": "test"}, priority=7)
    (message,) = wire.lease(queue)
    assert (message["id"], message["deliveries"], message["priority"], message["headers"]) == (number, 1, 7, {"kind": "test"})
    assert abs(message["published"] - time.time()) < 60, "published is in Unix seconds"
    assert wire.counts(queue) == (0, 0, 1)
    assert wire.take(queue) is None
    reply = wire.done("A", receipt=message["receipt"])
    assert (reply["count"], reply["stale"]) == (1, [])
    assert wire.counts(queue) == (0, 0, 0)


def test_a_receipt_is_good_once(wire: Wire, queue: str) -> None:
    wire.publish(queue, b"work")
    (message,) = wire.lease(queue)
    wire.done("A", receipt=message["receipt"])
    for operation, fields in (("A", {}), ("N", {}), ("E", {"lease": 5})):
        reply = wire.refused(operation, receipt=message["receipt"], **fields)
        assert (reply["code"], reply["count"], reply["stale"]) == ("stale_receipt", 0, [message["receipt"]])


def test_receipts_are_settled_one_by_one(wire: Wire, queue: str) -> None:
    wire.done("P", queue, payloads=["YQ==", "Yg=="])
    one, two = wire.lease(queue, count=2)
    wire.done("A", receipt=one["receipt"])
    reply = wire.done("A", receipts=[one["receipt"], two["receipt"], "nonsense", two["receipt"]])
    assert (reply["count"], reply["stale"]) == (1, [one["receipt"], "nonsense", two["receipt"]])


def test_receipts_of_several_queues_are_settled_together(wire: Wire, queue: str) -> None:
    receipts = []
    for name in (f"{queue}-1", f"{queue}-2", f"{queue}-3"):
        wire.publish(name, b"x")
        receipts += [message["receipt"] for message in wire.lease(name)]
    assert wire.done("A", receipts=receipts)["count"] == 3


def test_the_receipt_of_an_earlier_delivery_is_stale(wire: Wire, queue: str) -> None:
    wire.publish(queue, b"work")
    (first,) = wire.lease(queue)
    wire.done("N", receipt=first["receipt"])
    (second,) = wire.lease(queue)
    assert first["receipt"] != second["receipt"]
    assert second["deliveries"] == 2
    assert wire.refused("A", receipt=first["receipt"])["code"] == "stale_receipt"
    wire.done("A", receipt=second["receipt"])


def test_the_receipt_of_a_lease_that_ran_out_is_stale(wire: Wire, queue: str) -> None:
    wire.publish(queue, b"work")
    (first,) = wire.lease(queue, 0.02)
    (second,) = wire.lease(queue, 30, wait=5)
    assert wire.refused("A", receipt=first["receipt"])["code"] == "stale_receipt"
    wire.done("A", receipt=second["receipt"])


def test_a_lease_can_be_extended(wire: Wire, queue: str) -> None:
    wire.publish(queue, b"work")
    (message,) = wire.lease(queue, 0.2)
    wire.done("E", receipt=message["receipt"], lease=30)
    assert wire.done("S", queue, wait=0.4)["count"] == 0, "the first lease must not end"
    wire.done("A", receipt=message["receipt"])


def test_a_lease_can_be_cut_short(wire: Wire, queue: str) -> None:
    wire.publish(queue, b"work")
    (message,) = wire.lease(queue, 30)
    wire.done("E", receipts=[message["receipt"]], lease=0.01)
    assert wire.take(queue, wait=5) == b"work"


def test_of_extensions_in_a_row_the_last_one_counts(wire: Wire, other: Wire, queue: str) -> None:
    wire.publish(queue, b"work")
    (message,) = wire.lease(queue)
    wire.send_together(*[("E", queue, {"receipt": message["receipt"], "lease": lease}) for lease in (60, 60, 0.2, 60)])
    assert [wire.read()["confirmation"] for _ in range(4)] == ["Y"] * 4
    assert other.take(queue, wait=1) is None, "the lease ended before its time"


def test_lease_true_means_the_policys(wire: Wire, queue: str) -> None:
    name = f"brief-{queue}"  # its policy leases for 0.2 s
    wire.publish(name, b"work", ttl=60)
    assert len(wire.lease(name, lease=True)) == 1
    assert wire.take(name, wait=5) == b"work"


def test_a_message_put_back_with_a_delay_is_hidden_until_then(wire: Wire, queue: str) -> None:
    wire.publish(queue, b"work")
    (message,) = wire.lease(queue)
    wire.done("N", receipt=message["receipt"], delay=0.1)
    assert wire.counts(queue) == (0, 1, 0)
    assert wire.take(queue) is None
    assert wire.take(queue, wait=5) == b"work"


def test_a_message_handed_out_too_often_becomes_a_dead_letter(wire: Wire, queue: str) -> None:
    name = f"strict-{queue}"
    number = wire.publish(name, b"poison", headers={"a": "b"}, priority=8)
    for _ in range(2):
        (message,) = wire.lease(name)
        wire.done("N", receipt=message["receipt"])
    assert wire.take(name) is None
    dead = [message for message in wire.done("K", "dead", count=1000)["messages"] if message["dead"]["queue"] == name]
    assert len(dead) == 1, "the dead letter is not in its queue"
    assert (unb64(dead[0]["payload"]), dead[0]["headers"], dead[0]["priority"]) == (b"poison", {"a": "b"}, 8)
    origin = dead[0]["dead"]
    assert (origin["id"], origin["reason"], origin["deliveries"]) == (number, "max_deliveries", 2)
    assert abs(origin["at"] - time.time()) < 60
    assert wire.done("I", name)["totals"]["dead_lettered"] == 1


def empty_own_dead(wire: Wire) -> None:
    """Other tests leave letters in this queue, which the configuration names."""
    if wire.ask("I", "own-dead")["confirmation"] == "Y":
        wire.done("C", "own-dead")


def test_a_lease_that_runs_out_for_the_last_time_makes_a_dead_letter_without_anybody_asking(wire: Wire, other: Wire, queue: str) -> None:
    name = f"own-{queue}"
    empty_own_dead(wire)
    wire.publish(name, b"poison")
    other.send("S", "own-dead", wait=10, count=1)
    wire.lease(name, 0.05)
    (message,) = other.read()["messages"]
    assert message["dead"]["queue"] == name


def test_a_dead_letter_queue_takes_them_even_when_it_is_full(wire: Wire, queue: str) -> None:
    name = f"own-{queue}"
    empty_own_dead(wire)
    for _ in range(4):  # the policy of own-dead allows 2
        wire.publish(name, b"poison")
        (message,) = wire.lease(name)
        wire.done("N", receipt=message["receipt"])
    assert wire.counts("own-dead")[0] == 4
    assert wire.refused("P", "own-dead", payload="")["code"] == "queue_full"


def test_without_a_dead_letter_queue_such_a_message_is_dropped_and_counted(wire: Wire, queue: str) -> None:
    name = f"dropping-{queue}"
    wire.publish(name, b"poison")
    (message,) = wire.lease(name)
    wire.done("N", receipt=message["receipt"])
    assert wire.counts(name) == (0, 0, 0)
    assert wire.done("I", name)["totals"]["dropped"] == 1


def test_dead_letters_go_back_to_where_they_came_from(wire: Wire, queue: str) -> None:
    names = [f"{queue}-1", f"{queue}-2"]
    dead = f"{queue}-dead"
    for name in names:
        wire.publish(name, name.encode())
        wire.done("Y", name, policy={"max_deliveries": 1, "dead_letter": dead})
        (message,) = wire.lease(name)
        wire.done("N", receipt=message["receipt"])
    wire.publish(dead, b"not a dead letter")
    assert wire.done("M", dead)["count"] == 2
    assert [wire.take(name) for name in names] == [name.encode() for name in names]
    assert wire.drain(dead) == [b"not a dead letter"]


def test_a_message_moved_back_starts_with_no_deliveries(wire: Wire, queue: str) -> None:
    name, dead = queue, f"{queue}-dead"
    wire.publish(name, b"x")
    wire.done("Y", name, policy={"max_deliveries": 1, "dead_letter": dead})
    (message,) = wire.lease(name)
    wire.done("N", receipt=message["receipt"])
    wire.done("M", dead)
    (again,) = wire.lease(name)
    assert (again["deliveries"], again["dead"], again["payload"]) == (1, None, b64(b"x"))


def test_an_empty_dead_letter_queue_stays_what_it_was_when_a_letter_arrives(wire: Wire, queue: str) -> None:
    dead = f"{queue}-dead"
    first = wire.publish(dead, b"x", key="k")
    wire.done("Y", dead, policy={"lease": 7})
    assert wire.take(dead) == b"x"
    wire.publish(queue, b"poison")
    wire.done("Y", queue, policy={"max_deliveries": 1, "dead_letter": dead})
    (message,) = wire.lease(queue)
    wire.done("N", receipt=message["receipt"])
    info = wire.done("I", dead)
    assert (info["policy"], info["totals"]["published"]) == ({"lease": 7}, 1), "the queue was replaced by a new one"
    assert wire.lease(dead)[0]["id"] > first, "an id was used again"
    assert wire.publish(dead, b"x", key="k") == first, "its keys are remembered"


def test_an_empty_queue_stays_what_it_was_when_messages_are_moved_there(wire: Wire, queue: str) -> None:
    target = f"{queue}-target"
    first = wire.publish(target, b"x")
    wire.done("Y", target, policy={"lease": 7})
    assert wire.take(target) == b"x"
    wire.publish(queue, b"y")
    wire.done("M", queue, to=target)
    assert wire.done("I", target)["policy"] == {"lease": 7}
    assert wire.lease(target)[0]["id"] > first, "an id was used again"


def test_a_policy_of_an_empty_queue_is_heeded_by_a_move(wire: Wire, queue: str) -> None:
    target = f"{queue}-target"
    wire.publish(target, b"x")
    wire.done("Y", target, policy={"max_messages": 1})
    assert wire.take(target) == b"x"
    wire.done("P", queue, payloads=["YQ==", "Yg=="])
    assert wire.refused("M", queue, to=target)["code"] == "queue_full"
    assert wire.counts(queue) == (2, 0, 0)
