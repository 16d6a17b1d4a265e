"""Publishing: time to live, keys, limits; moving, clearing, looking."""

from __future__ import annotations

import pytest

from wire import Wire, b64, unb64


@pytest.mark.parametrize("payload", [b"", b"a", b"ab", b"abc", bytes(range(256)), b'\n{}"\\', b"x" * 4096])
def test_any_bytes_come_out_as_they_went_in(wire: Wire, queue: str, payload: bytes) -> None:
    wire.publish(queue, payload)
    wire.publish(queue, payload, headers={"with": "options"})
    wire.publish(queue, payload)
    assert wire.take(queue) == payload
    (message,) = wire.lease(queue)
    assert unb64(message["payload"]) == payload
    assert unb64(wire.done("K", queue)["messages"][0]["payload"]) == payload


def test_an_empty_message_differs_from_no_message_by_its_count(wire: Wire, queue: str) -> None:
    wire.publish(queue, b"")
    assert wire.done("S", queue)["count"] == 1
    assert wire.done("S", queue)["count"] == 0


def test_a_message_is_not_handed_out_after_its_time_to_live(wire: Wire, queue: str) -> None:
    wire.publish(queue, b"in time", ttl=60)
    assert wire.take(queue) == b"in time"
    wire.publish(queue, b"fleeting", ttl=0.05)
    wire.publish(queue, b"delayed", delay=0.02, ttl=0.05)
    wire.publish(f"{queue}-clock", b"", delay=0.1)
    assert wire.take(f"{queue}-clock", wait=5) == b""
    assert wire.take(queue) is None
    assert wire.counts(queue) == (0, 0, 0)
    assert wire.done("I", queue)["totals"]["expired"] == 2


def test_a_leased_message_does_not_expire_but_does_when_it_returns(wire: Wire, queue: str) -> None:
    wire.publish(queue, b"one", ttl=1)
    wire.publish(queue, b"two", ttl=1)
    wire.publish(queue, b"clock", delay=1.05)
    one, two = wire.lease(queue, count=2)
    assert wire.take(queue, wait=5) == b"clock"
    assert wire.done("A", receipt=one["receipt"])["count"] == 1
    assert wire.done("N", receipt=two["receipt"])["count"] == 1
    assert wire.counts(queue) == (0, 0, 0)
    assert wire.done("I", queue)["totals"]["expired"] == 1


def test_the_policys_time_to_live_counts_where_a_publish_gives_none(wire: Wire, queue: str) -> None:
    name = f"brief-{queue}"  # 1 s
    wire.publish(name, b"fleeting")
    wire.publish(name, b"lasting", ttl=60)
    wire.publish(f"{queue}-clock", b"", delay=1.1)
    assert wire.counts(name) == (2, 0, 0)
    assert wire.take(f"{queue}-clock", wait=5) == b""
    assert wire.drain(name) == [b"lasting"]
    assert wire.refused("P", name, payload="", delay=1)["code"] == "bad_request", "a ttl that is over before the delay has to be refused"


def test_a_repeated_key_stores_nothing_and_answers_the_first_id(wire: Wire, queue: str) -> None:
    first = wire.publish(queue, b"once", key="k1")
    assert wire.publish(queue, b"once", key="k1") == first
    assert wire.take(queue) == b"once"
    assert wire.publish(queue, b"once", key="k1") == first, "the key is remembered when the message is gone"
    assert wire.take(queue) is None
    assert wire.publish(queue, b"once", key="k2") > first


def test_a_key_belongs_to_its_queue(wire: Wire, queue: str) -> None:
    wire.publish(f"{queue}-1", b"once", key="k")
    wire.publish(f"{queue}-2", b"other", key="k")
    assert wire.take(f"{queue}-2") == b"other"


def test_another_payload_under_a_known_key_is_refused(wire: Wire, queue: str) -> None:
    wire.publish(queue, b"once", key="k")
    assert wire.refused("P", queue, payload=b64(b"twice"), key="k")["code"] == "key_conflict"
    assert wire.counts(queue) == (1, 0, 0)


def test_known_keys_in_a_batch_answer_their_ids_and_the_rest_is_published(wire: Wire, queue: str) -> None:
    first = wire.publish(queue, b"a", key="a")
    reply = wire.done("P", queue, payloads=[b64(b"a"), b64(b"b"), b64(b"b")], keys=["a", "b", "b"])
    assert reply["ids"][0] == first
    assert reply["ids"][1] == reply["ids"][2] > first
    assert wire.drain(queue) == [b"a", b"b"]


def test_a_conflict_in_a_batch_publishes_nothing(wire: Wire, queue: str) -> None:
    payloads = [b64(b"a"), b64(b"b")]
    assert wire.refused("P", queue, payloads=payloads, keys=["k", "k"])["code"] == "key_conflict"
    assert wire.ask("I", queue)["code"] == "not_found", "a refused publish must not create the queue"


def test_a_full_queue_refuses_publishes_and_never_a_return(wire: Wire, queue: str) -> None:
    name = f"small-{queue}"  # 3 messages
    wire.publish(name, b"1")
    wire.publish(name, b"2", delay=60)
    wire.publish(name, b"3")
    assert wire.refused("P", name, payload=b64(b"4"))["code"] == "queue_full"
    (message,) = wire.lease(name)
    assert wire.refused("P", name, payload=b64(b"4"))["code"] == "queue_full", "leased messages count"
    wire.done("N", receipt=message["receipt"])
    assert wire.counts(name) == (2, 1, 0)
    assert wire.take(name) == b"1"
    wire.publish(name, b"4")


def test_a_repeated_key_is_answered_by_a_queue_that_holds_more_than_it_may(wire: Wire, queue: str) -> None:
    numbers = [wire.publish(queue, b"%d" % number, key=f"k{number}") for number in range(3)]
    wire.done("Y", queue, policy={"max_messages": 1})
    assert wire.publish(queue, b"1", key="k1") == numbers[1]
    assert wire.refused("P", queue, payload=b64(b"more"), key="more")["code"] == "queue_full"


def test_a_batch_that_does_not_fit_is_refused_whole(wire: Wire, queue: str) -> None:
    name = f"small-{queue}"
    wire.publish(name, b"1")
    reply = wire.refused("P", name, payloads=["", "", ""])
    assert reply["code"] == "queue_full"
    assert "3" in reply["error"], "the error has to name the limit"
    assert wire.counts(name) == (1, 0, 0)


def test_pipelined_publishes_fill_a_queue_to_its_limit(wire: Wire, queue: str) -> None:
    name = f"small-{queue}"
    for number in range(5):
        wire.send("P", name, payload=b64(b"%d" % number))
    confirmations = [wire.read()["confirmation"] for _ in range(5)]
    assert confirmations == ["Y", "Y", "Y", "N", "N"]
    assert wire.drain(name) == [b"0", b"1", b"2"]


def test_a_message_above_the_limit_is_refused_and_the_largest_is_not(wire: Wire, queue: str) -> None:
    wire.publish(queue, b"x" * 4096)
    reply = wire.refused("P", queue, payload=b64(b"x" * 4097))
    assert (reply["code"], wire.counts(queue)) == ("too_large", (1, 0, 0))
    assert "4097" in reply["error"]
    assert "4096" in reply["error"]
    assert wire.refused("P", queue, payloads=[b64(b"x"), b64(b"x" * 4097)])["code"] == "too_large"


def test_peek_shows_and_does_not_take(wire: Wire, queue: str) -> None:
    wire.done("P", queue, payloads=["YQ==", "Yg=="])
    wire.publish(queue, b"c", priority=9)
    wire.publish(queue, b"d", delay=60)
    for _ in range(2):
        messages = wire.done("K", queue, count=10)["messages"]
        assert [unb64(message["payload"]) for message in messages] == [b"c", b"a", b"b"]
        assert all(message["receipt"] is None for message in messages)
    assert wire.done("K", queue)["count"] == 1
    assert wire.counts(queue) == (3, 1, 0)


def test_unknown_queues(wire: Wire, queue: str) -> None:
    assert wire.done("S", queue)["count"] == 0
    assert wire.done("S", queue, count=3)["messages"] == []
    assert wire.done("L", queue)["payload"] == "0"
    assert wire.done("K", queue)["messages"] == []
    for operation, fields in (("I", {}), ("M", {}), ("C", {}), ("D", {}), ("Y", {"policy": {}})):
        reply = wire.refused(operation, queue, **fields)
        assert (reply["code"], queue in reply["error"]) == ("not_found", True)
    assert queue not in {entry["queue"] for entry in wire.done("Q")["queues"]}, "none of this may create the queue"


def test_list_and_inspect_count_every_state(wire: Wire, queue: str) -> None:
    wire.done("P", queue, payloads=[b64(b"12345")] * 3)
    wire.publish(queue, b"delayed", delay=60, headers={"ab": "cd"})
    wire.lease(queue)
    entries = {entry["queue"]: entry for entry in wire.done("Q")["queues"]}
    assert entries[queue] == {"queue": queue, "ready": 2, "delayed": 1, "leased": 1, "bytes": 15 + 7 + 4}
    assert list(entries) == sorted(entries), "queues are listed by name"
    info = wire.done("I", queue)
    assert {name: info[name] for name in entries[queue]} == entries[queue]
    assert 0 <= info["oldest_age"] < 60
    assert info["policy"] == {}
    assert (info["totals"]["published"], info["totals"]["delivered"]) == (4, 1)
    assert wire.done("L", queue)["payload"] == "2"


def test_the_oldest_age_is_null_without_messages(wire: Wire, queue: str) -> None:
    wire.publish(queue, b"x")
    wire.take(queue)
    assert wire.done("I", queue)["oldest_age"] is None


@pytest.mark.parametrize("operation", ["C", "D"])
def test_clear_and_delete_remove_everything(wire: Wire, queue: str, operation: str) -> None:
    wire.done("P", queue, payloads=["", "", ""])
    wire.publish(queue, b"delayed", delay=60)
    (message,) = wire.lease(queue)
    assert wire.done(operation, queue)["count"] == 4
    assert wire.refused("A", receipt=message["receipt"])["code"] == "stale_receipt"
    assert (wire.ask("I", queue)["confirmation"] == "Y") == (operation == "C")
    assert wire.take(queue) is None
    wire.publish(queue, b"again")
    assert wire.take(queue) == b"again"


def test_move_takes_ready_and_delayed_messages_along(wire: Wire, queue: str) -> None:
    target = f"{queue}-target"
    wire.publish(queue, b"a", headers={"h": "1"})
    wire.publish(queue, b"b", priority=9)
    wire.publish(queue, b"c")
    wire.publish(queue, b"late", delay=60)
    (leased,) = wire.lease(queue)
    assert wire.done("M", queue, to=target)["count"] == 3
    assert wire.counts(queue) == (0, 0, 1)
    assert wire.counts(target) == (2, 1, 0)
    first, second = wire.lease(target, count=5)
    assert (unb64(leased["payload"]), unb64(first["payload"]), unb64(second["payload"])) == (b"b", b"a", b"c")
    assert first["headers"] == {"h": "1"}


def test_move_of_some_takes_the_first_ones(wire: Wire, queue: str) -> None:
    wire.done("P", queue, payloads=["YQ==", "Yg==", "Yw=="])
    assert wire.done("M", queue, to=f"{queue}-to", count=2)["count"] == 2
    assert (wire.drain(queue), wire.drain(f"{queue}-to")) == ([b"c"], [b"a", b"b"])


def test_move_to_a_queue_without_room_moves_nothing(wire: Wire, queue: str) -> None:
    wire.done("P", queue, payloads=["YQ=="] * 4)
    assert wire.refused("M", queue, to=f"small-{queue}")["code"] == "queue_full"
    assert wire.counts(queue) == (4, 0, 0)
    assert wire.drain(queue) == [b"a"] * 4


def test_a_policy_can_be_set_and_replaced(wire: Wire, queue: str) -> None:
    wire.publish(queue, b"x")
    policy = {"max_messages": 1, "ttl": 60, "lease": 5, "max_deliveries": 3, "dead_letter": f"{queue}-dead", "expires": 3600}
    assert wire.done("Y", queue, policy=policy)["policy"] == policy
    assert wire.done("I", queue)["policy"] == policy
    assert wire.refused("P", queue, payload="")["code"] == "queue_full"
    wire.done("Y", queue, policy={})
    assert wire.done("I", queue)["policy"] == {}
    wire.publish(queue, b"y")


def test_an_idle_empty_queue_vanishes_when_its_policy_says_so(wire: Wire, other: Wire, queue: str) -> None:
    name = f"vanishing-{queue}"  # after 1 s
    wire.publish(name, b"x")
    wire.publish(f"{queue}-clock", b"x", delay=2.5)
    assert other.done("I", name)["ready"] == 1
    assert wire.take(name) == b"x"
    assert wire.take(f"{queue}-clock", wait=10) == b"x"
    assert wire.refused("I", name)["code"] == "not_found"


def test_a_queue_whose_policy_is_set_has_all_of_the_time_before_it_vanishes(wire: Wire, other: Wire, queue: str) -> None:
    wire.publish(queue, b"x")
    assert wire.take(queue) == b"x"
    wire.publish(f"{queue}-clock", b"x", delay=1.2)
    assert wire.take(f"{queue}-clock", wait=10) == b"x"
    wire.done("Y", queue, policy={"expires": 1, "lease": 5})
    for _ in range(3):
        assert other.done("L", f"{queue}-clock")["payload"] == "0"
        assert wire.done("I", queue)["policy"] == {"expires": 1, "lease": 5}, "the queue went with the policy that it was just given"
