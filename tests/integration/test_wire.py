"""The protocol on real sockets: framing, order, tags, errors, limits, flow control."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker_process import Broker
from wire import Wire, b64, one_shot, unb64

EMPTY_DIGEST = (
    "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
)


def original_request(operation: str, queue: str, payload: str = "") -> bytes:
    """What the original client writes: no newline, every field, tokens for credentials."""
    token = b"gmqserver".hex() + EMPTY_DIGEST
    return json.dumps(
        {
            "operation": operation, "queue": queue, "payload": payload, "confirmation": "", "error": None,
            "auth": {"user": token, "password": token},
        },
        separators=(",", ":"),
    ).encode()  # fmt: skip


# One-shot framing


def test_the_originals_exchange(broker: Broker) -> None:
    payload = "SU5TRVJUIHVzZXIgSU5UTyB0ZXN0VGFibGUgVkFMVUVTKG51bGwsICdpbmdlNHByZXMnLCAzMCkK"
    expected = '{"operation":"P","queue":"test_queue","payload":"","confirmation":"Y","error":null,"id":1}'
    assert one_shot(broker.host, broker.port, original_request("P", "test_queue", payload)).decode() == expected
    expected = '{"operation":"L","queue":"test_queue","payload":"1","confirmation":"Y","error":null}'
    assert one_shot(broker.host, broker.port, original_request("L", "test_queue")).decode() == expected
    expected = f'{{"operation":"S","queue":"test_queue","payload":"{payload}","confirmation":"Y","error":null,"count":1}}'
    assert one_shot(broker.host, broker.port, original_request("S", "test_queue")).decode() == expected
    expected = '{"operation":"S","queue":"test_queue","payload":"","confirmation":"Y","error":null,"count":0}'
    assert one_shot(broker.host, broker.port, original_request("S", "test_queue")).decode() == expected


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 60), max_size=6), before=st.sampled_from([b"", b" ", b"\t\r\n ", b"\r"]), after=st.binary(max_size=40))
def test_a_one_shot_request_in_any_number_of_segments(shared_broker: Broker, cuts: list[int], before: bytes, after: bytes) -> None:
    data = before + b'{"operation": "L",\n "queue": "say \\"{\\" \\\\", "auth": {"user": "}"}}' + after
    with socket.create_connection((shared_broker.host, shared_broker.port), 20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        at = 0
        for cut in cuts:
            connection.sendall(data[at : at + cut])
            at += cut
        connection.sendall(data[at:])
        received = b""
        while part := connection.recv(4096):
            received += part
    assert json.loads(received)["payload"] == "0", f"{data!r} cut at {cuts} was answered {received!r}"


def test_a_one_shot_request_of_a_mebibyte_byte_by_byte_is_found_complete_in_linear_time(broker: Broker) -> None:
    message = b64(b"x" * (1 << 20))
    data = original_request("P", "large", message)
    with socket.create_connection((broker.host, broker.port), 60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        started = time.monotonic()
        for at in range(0, len(data), 64):
            connection.send(data[at : at + 64])
        reply = json.loads(connection.makefile("rb").read())
    assert reply["confirmation"] == "Y"
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"[1]", b"\x00", b"  nonsense", b'"string"', b"\r\nPOST / HTTP/1.1"]
)
def test_what_does_not_begin_like_a_request_closes_the_connection_without_a_word(shared_broker: Broker, data: bytes) -> None:
    assert one_shot(shared_broker.host, shared_broker.port, data) == b""


def test_a_browsers_post_executes_nothing(broker: Broker) -> None:
    body = b'{"operation":"P","queue":"attacked","payload":""}\n'
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n\r\n\n" + body
    with suppress(ConnectionResetError):  # closed before all of it was read
        one_shot(broker.host, broker.port, request)
    with Wire(broker.host, broker.port) as wire:
        assert wire.done("Q")["queues"] == []


@pytest.mark.parametrize(
    "data", [b"{}", b'{"operation":"X"}', b'{"operation":5}', b"{nonsense}", b'{"operation":"P","queue":"q"}', b"{" * 40]
)
def test_a_bad_one_shot_request_gets_an_error_and_the_end_of_file(shared_broker: Broker, data: bytes) -> None:
    reply = json.loads(one_shot(shared_broker.host, shared_broker.port, data))
    assert (reply["confirmation"], reply["code"] in ("bad_request", "too_large"), bool(reply["error"])) == ("N", True, True)


def test_a_one_shot_client_that_sends_on_still_gets_its_reply(shared_broker: Broker) -> None:
    received = one_shot(shared_broker.host, shared_broker.port, original_request("L", "nothing") + b"x" * 50_000)
    assert json.loads(received)["confirmation"] == "Y"


def test_a_one_shot_take_may_wait(broker: Broker) -> None:
    with socket.create_connection((broker.host, broker.port), 20) as waiting, Wire(broker.host, broker.port) as wire:
        waiting.sendall(b'{"operation":"S","queue":"orders","wait":20}')
        wire.publish("orders", b"hello")
        assert unb64(json.loads(waiting.makefile("rb").read())["payload"]) == b"hello"


def test_a_one_shot_request_above_the_limit_is_refused(start_broker: Callable[..., Broker]) -> None:
    broker = start_broker({"limits": {"message_size": 100}})
    with socket.create_connection((broker.host, broker.port), 20) as connection:
        connection.sendall(b'{"operation":"P","queue":"q","payload":"' + b"A" * 70_000)
        reply = json.loads(connection.makefile("rb").read())
    assert reply["code"] == "too_large"


# Lines


def test_hello_begins_lines_and_tells_the_limits(shared_broker: Broker) -> None:
    with Wire(shared_broker.host, shared_broker.port, opening=b"") as wire:
        wire.socket.sendall(b'{"operation":"H"}')  # complete without its newline
        reply = wire.read()
        assert reply["limits"]["message_size"] == 1 << 20
        assert "lease" in reply["capabilities"]
        assert reply["version"]
        wire.socket.sendall(b"\n")
        assert wire.done("L", "nothing")["payload"] == "0"


def test_a_bad_hello_begins_lines_too(shared_broker: Broker) -> None:
    with Wire(shared_broker.host, shared_broker.port, opening=b"") as wire:
        wire.socket.sendall(b'{"operation":"H","auth":5}\n')
        assert wire.read()["code"] == "bad_request"
        assert wire.done("L", "nothing")["payload"] == "0"


lines = st.sampled_from(
    [
        (b'{"operation":"P","queue":"%b","payload":"aGVsbG8="}', "Y"),
        (b'{"operation":"P","queue":"%b","payload":"aGk="}', "Y"),
        (b'{"payload":"aGk=", "queue":"%b", "operation":"P"}', "Y"),
        (b'{"operation":"P","queue":"%b","payload":"","priority":9}', "Y"),
        (b'{"operation":"P","queue":"%b","payload":"aGk=","key":"a\\u0062"}', "Y"),
        (b'{"operation":"S","queue":"%b"}', "Y"),
        (b'{"operation":"S","queue":"%b","lease":30}', "Y"),
        (b'  {"operation":"L","queue":"%b"}  \r', "Y"),
        (b'{"operation":"A","receipt":"%b"}', "N"),
        (b'{"operation":"P","queue":"%b","payload":"aGk"}', "N"),
        (b'{"operation":"P","queue":"%b","payload":"aGl="}', "N"),
        (b'{"operation":"P","queue":"%b","payload":"aGl=","priority":1}', "N"),
        (b'{"operation":"P","queue":"%b"', "N"),
        (b'{"operation":"L","queue":"%b"} {"operation":"L","queue":"x"}', "N"),
        (b"nonsense %b", "N"),
        (b"\xff%b", "N"),
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=st.lists(lines, min_size=1, max_size=30), cuts=st.lists(st.integers(1, 400), max_size=12), number=st.integers(0, 1 << 40))
def test_pipelined_lines_cut_anywhere_are_each_answered_in_order(
    shared_broker: Broker, requests: list[tuple[bytes, str]], cuts: list[int], number: int
) -> None:
    queue = b"cut-%d" % number
    data = b"".join(line % queue + b"\n" for line, _ in requests)
    with Wire(shared_broker.host, shared_broker.port) as wire:
        at = 0
        for cut in cuts:
            wire.socket.sendall(data[at : at + cut])
            at += cut
        wire.socket.sendall(data[at:])
        replies = [wire.read() for _ in requests]
        assert wire.done("L", "end-of-test")["payload"] == "0", "there were more replies than requests"
    assert [reply["confirmation"] for reply in replies] == [expected for _, expected in requests]


def test_many_connections_at_once_are_each_answered_in_order(shared_broker: Broker) -> None:
    total = 400
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(shared_broker.host, shared_broker.port)) for _ in range(20)]
        for _ in range(3):
            for number, wire in enumerate(wires):
                queue = f"crowd-{number % 3}"
                request = json.dumps({"operation": "P", "queue": queue, "payload": b64(b"%d" % number)}).encode() + b"\n"
                wire.socket.sendall(request * total)
            for wire in wires:
                ids = [wire.read()["id"] for _ in range(total)]
                assert ids == sorted(ids), "replies to one connection are out of order"
            for number, wire in enumerate(wires):
                wire.socket.sendall(b'{"operation":"S","queue":"crowd-%d","lease":30}\n' % (number % 3) * total)
            receipts = []
            for wire in wires:
                messages = [wire.read()["messages"] for _ in range(total)]
                assert all(messages), "a take found nothing though there was something for everybody"
                receipts.append([message[0]["receipt"] for message in messages])
            for wire, mine in zip(wires, receipts, strict=True):
                wire.socket.sendall(b"".join(b'{"operation":"A","receipt":"%b"}\n' % receipt.encode() for receipt in [*mine, mine[0]]))
            for wire in wires:
                assert all(wire.read()["count"] == 1 for _ in range(total))
                assert wire.read()["code"] == "stale_receipt"


def test_a_line_above_the_limit_is_answered_and_the_next_one_works(start_broker: Callable[..., Broker]) -> None:
    broker = start_broker({"limits": {"message_size": 1000}})
    with Wire(broker.host, broker.port) as wire:
        wire.publish("warm", b"up")
        before = broker.memory()
        limit = wire.done("H")["limits"]["line"]
        for _ in range(200):
            wire.socket.sendall(b"x" * (1 << 20))
        wire.socket.sendall(b"\n")
        assert wire.read()["code"] == "too_large"
        assert wire.publish("orders", b"next") == 1
        assert broker.memory() - before < 20 << 20, "the broker kept what it should have passed over"
        wire.socket.sendall(
            b" " * limit + b"\n" + b'{"operation":"L","queue":"orders"}' + b" " * limit + b'\n{"operation":"L","queue":"orders"}\n'
        )
        assert wire.read()["code"] == "too_large"
        assert wire.read()["payload"] == "1"


def test_a_client_that_does_not_read_is_not_served_on_and_memory_stays_bounded(broker: Broker) -> None:
    with Wire(broker.host, broker.port) as reader, Wire(broker.host, broker.port) as slow:
        payload = b64(b"x" * 100_000)
        for _ in range(20):
            reader.done("P", "large", payloads=[payload] * 10)
        before = broker.memory()
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        slow.socket.settimeout(0)
        request = b'{"operation":"K","queue":"large","count":50}\n' * 2000  # 5 MB each
        sent = 0
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            try:
                sent += slow.socket.send(request)
            except BlockingIOError:
                assert reader.done("L", "large")["payload"] == "200", "others are served on"
                time.sleep(0.02)
        assert sent < 30_000_000, "the broker went on reading from a client that does not read"
        assert broker.memory() - before < 100 << 20, "replies that nobody reads have to be bounded"
        slow.socket.settimeout(20)
        for _ in range(30):
            assert slow.read()["count"] == 50


def test_pipelined_takes_of_large_messages_are_answered_piece_by_piece(broker: Broker) -> None:
    with Wire(broker.host, broker.port) as wire:
        for _ in range(40):
            wire.publish("large", b"x" * 1_000_000)
        wire.socket.sendall(b'{"operation":"S","queue":"large"}\n' * 41)
        assert [wire.read()["count"] for _ in range(41)] == [1] * 40 + [0]


def test_a_reply_stops_at_8_mebibytes_with_at_least_one_message(broker: Broker) -> None:
    with Wire(broker.host, broker.port) as wire:
        for _ in range(20):
            wire.publish("large", b"x" * 1_000_000)
        assert wire.done("S", "large", count=20)["count"] == 8
        assert wire.done("S", "large", count=20, lease=5)["count"] == 8
        assert wire.done("K", "large", count=20)["count"] == 4


def test_a_one_shot_client_that_never_reads_its_reply_does_not_keep_its_place(start_broker: Callable[..., Broker]) -> None:
    broker = start_broker({"limits": {"connections": 1}, "network": {"request_timeout": 0.5}})
    with Wire(broker.host, broker.port) as wire:
        for _ in range(8):
            wire.publish("large", b"x" * (1 << 20))
    with socket.create_connection((broker.host, broker.port), 20) as silent:
        silent.sendall(b'{"operation":"K","queue":"large","count":8}')
        deadline = time.monotonic() + 20
        while json.loads(one_shot(broker.host, broker.port, b'{"operation":"L","queue":"large"}'))["confirmation"] == "N":
            assert time.monotonic() < deadline, "the connection that nobody reads from still holds the only place"
            time.sleep(0.05)


# Order and tags


def test_an_untagged_take_that_waits_holds_back_the_untagged_requests_behind_it(shared_broker: Broker) -> None:
    with Wire(shared_broker.host, shared_broker.port) as wire, Wire(shared_broker.host, shared_broker.port) as other:
        wire.send("S", "held", wait=20)
        wire.send("P", "held-effect", payload="")
        wire.send("L", "held-effect", tag="mine")
        reply = wire.read()
        assert (reply["tag"], reply["payload"]) == ("mine", "0"), "the publish behind the take must not have been executed"
        other.publish("held", b"x")
        assert wire.read()["operation"] == "S"
        assert wire.read()["operation"] == "P"
        assert other.done("L", "held-effect")["payload"] == "1"


def test_a_tagged_take_that_waits_holds_nobody_back(shared_broker: Broker) -> None:
    with Wire(shared_broker.host, shared_broker.port) as wire:
        wire.send("S", "tagged", wait=20, tag=1)
        wire.send("S", "tagged", wait=20, tag="two")
        for _ in range(3):
            assert wire.done("L", "tagged")["payload"] == "0"
        wire.send("P", "tagged", payloads=["YQ==", "Yg=="])
        replies = [wire.read() for _ in range(3)]
        assert {reply.get("tag") for reply in replies} == {None, 1, "two"}
        payloads = {reply["tag"]: unb64(reply["payload"]) for reply in replies if "tag" in reply}
        assert payloads == {1: b"a", "two": b"b"}


@pytest.mark.parametrize("tag", ['"t"', "1", "-1.5", "12345678901234567890123", '"\\u00e9\\n"', '""'])
def test_a_tag_is_repeated_as_it_was(shared_broker: Broker, tag: str) -> None:
    with Wire(shared_broker.host, shared_broker.port) as wire:
        wire.socket.sendall(b'{"operation":"L","queue":"x","tag":%b}\n' % tag.encode())
        assert wire.read()["tag"] == json.loads(tag)
        wire.socket.sendall(b'{"operation":"X","queue":"x","tag":%b}\n' % tag.encode())
        assert wire.read()["tag"] == json.loads(tag), "errors repeat it, too"


def test_there_is_a_limit_to_the_requests_of_a_connection_that_wait(broker: Broker) -> None:
    with Wire(broker.host, broker.port) as wire:
        for number in range(1001):
            wire.send("S", "waiting", wait=20, tag=number)
        reply = wire.read()
        assert (reply["tag"], reply["code"]) == (1000, "limit")
        wire.publish("other", b"x")


# The end of file


def test_complete_requests_before_the_end_of_file_are_answered_and_a_wait_ends_empty(broker: Broker) -> None:
    with Wire(broker.host, broker.port) as wire:
        wire.send("P", "orders", payload="YQ==")
        wire.send("S", "nothing", wait=20)
        wire.send("S", "nothing", wait=20, tag="t")
        wire.send("P", "orders", payload="Yg==")
        wire.socket.sendall(b'{"operation":"P","queue":"orders","payload":"Yw=="}')  # no newline: not complete
        wire.socket.shutdown(socket.SHUT_WR)
        replies = [wire.read() for _ in range(4)]
        assert wire.ended()
    assert sorted((reply["operation"], reply.get("count")) for reply in replies) == [("P", None), ("P", None), ("S", 0), ("S", 0)]
    with Wire(broker.host, broker.port) as wire:
        assert wire.drain("orders") == [b"a", b"b"]


def test_a_connection_reset_in_the_middle_of_a_wait_loses_nothing(broker: Broker) -> None:
    for _ in range(20):
        waiting = Wire(broker.host, broker.port)
        waiting.send("S", "orders", wait=20, tag=1)
        assert waiting.done("L", "orders", tag=2)["tag"] == 2
        waiting.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        waiting.close()
    with Wire(broker.host, broker.port) as wire:
        assert wire.done("S", "orders", wait=0.1)["count"] == 0
        wire.publish("orders", b"x")
        assert wire.take("orders") == b"x"


# Bad input

BAD: list[tuple[str, str]] = [
    ('{"operation":"P","queue":"q","payload":"","priority":12}', "priority is 12; it may be 0 to 9"),
    ('{"operation":"P","queue":"q","payload":"","priority":-1}', "priority is -1"),
    ('{"operation":"P","queue":"q","payload":"","priority":"3"}', 'priority is "3"'),
    ('{"operation":"P","queue":"q","payload":"","delay":700000}', "delay is 700000 s; it may be 0 to 604800 s"),
    ('{"operation":"P","queue":"q","payload":"","delay":-0.1}', "delay is -0.1"),
    ('{"operation":"P","queue":"q","payload":"","ttl":0}', "ttl is 0"),
    ('{"operation":"P","queue":"q","payload":"","ttl":5,"delay":5}', "above the delay"),
    ('{"operation":"P","queue":"q","payload":"","delay":1e400}', "delay"),
    ('{"operation":"P","queue":"q","payload":"","delay":NaN}', "not JSON"),
    ('{"operation":"P","queue":"q","payload":"","headers":{"a":1}}', "headers"),
    ('{"operation":"P","queue":"q","payload":"","headers":{"a":"%s"}}' % ("x" * 5000), "headers have 5001 bytes"),
    ('{"operation":"P","queue":"q","payload":"","key":""}', "key has 0 bytes"),
    ('{"operation":"P","queue":"q","payload":"","keys":["a"]}', "keys goes with payloads"),
    ('{"operation":"P","queue":"q","payloads":["",""],"keys":["a"]}', "keys has 1 keys for 2 payloads"),
    ('{"operation":"P","queue":"q","payloads":[]}', "payloads has 0"),
    ('{"operation":"P","queue":"q","payloads":[""],"payload":""}', "either payload or payloads"),
    ('{"operation":"P","queue":"q"}', "either payload or payloads"),
    ('{"operation":"P","payload":""}', "queue is missing"),
    ('{"operation":"P","queue":"","payload":""}', "queue"),
    ('{"operation":"P","queue":".","payload":""}', "queue"),
    ('{"operation":"P","queue":"..","payload":""}', "queue"),
    ('{"operation":"P","queue":"a\\u0000b","payload":""}', "control"),
    ('{"operation":"P","queue":"a\\u0085b","payload":""}', "control"),
    ('{"operation":"P","queue":"%s","payload":""}' % ("x" * 256), "256 bytes"),
    ('{"operation":"P","queue":"\\ud800","payload":""}', ""),
    ('{"operation":"P","queue":5,"payload":""}', "queue is 5"),
    ('{"operation":"P","queue":"q","payload":"a"}', "payload"),
    ('{"operation":"P","queue":"q","payload":"aGVsbG8"}', "payload"),
    ('{"operation":"P","queue":"q","payload":"aGVsbG9="}', "canonical"),
    ('{"operation":"P","queue":"q","payload":"aGVsbG8=\\n"}', "payload"),
    ('{"operation":"P","queue":"q","payload":"aGVs-_8="}', "payload"),
    ('{"operation":"P","queue":"q","payload":5}', "payload is 5"),
    ('{"operation":"P","queue":"q","payload":"","dealy":5}', 'no field "dealy"'),
    ('{"operation":"S","queue":"q","count":0}', "count is 0; it may be 1 to 1000"),
    ('{"operation":"S","queue":"q","count":1001}', "count is 1001"),
    ('{"operation":"S","queue":"q","count":1.5}', "count is 1.5"),
    ('{"operation":"S","queue":"q","wait":61}', "wait is 61 s; it may be 0 to 60 s"),
    ('{"operation":"S","queue":"q","lease":0}', "lease is 0"),
    ('{"operation":"S","queue":"q","lease":false}', "lease is false"),
    ('{"operation":"S","queue":"q","lease":604801}', "lease is 604801"),
    ('{"operation":"S","queue":"q","queues":["q"]}', "either queue or queues"),
    ('{"operation":"S","queues":[]}', "queues is empty"),
    ('{"operation":"S","queues":["a","."]}', "queue"),
    ('{"operation":"S"}', "either queue or queues"),
    ('{"operation":"A"}', "either receipt or receipts"),
    ('{"operation":"A","receipts":[]}', "receipts has 0 items"),
    ('{"operation":"A","receipt":5}', "receipt is 5"),
    ('{"operation":"E","receipt":"x"}', "lease is missing"),
    ('{"operation":"N","receipt":"x","delay":-1}', "delay is -1"),
    ('{"operation":"K","queue":"q","count":1001}', "count is 1001"),
    ('{"operation":"M","queue":"q","to":"q"}', "the queue itself"),
    ('{"operation":"M","queue":"q","to":".."}', "to is"),
    ('{"operation":"Y","queue":"q"}', "policy is missing"),
    ('{"operation":"Y","queue":"q","policy":{"max_messages":0}}', "max_messages"),
    ('{"operation":"Y","queue":"q","policy":{"dead_letter":"q"}}', "the queue itself"),
    ('{"operation":"Y","queue":"q","policy":{"nonsense":1}}', "nonsense"),
    ('{"operation":"L","queue":"q","tag":[1]}', "tag is [1]"),
    ('{"operation":"L","queue":"q","tag":"%s"}' % ("x" * 300), "tag is"),
    ('{"operation":"p","queue":"q"}', 'operation is "p"; it may be one of P, S, L'),
    ('{"operation":null}', "operation is null"),
    ("{}", "operation is missing"),
    ("[]", "a request is a JSON object"),
    ("5", "a request is a JSON object"),
    ("{", "not JSON"),
    ("[" * 100_000, ""),
    ('{"operation":"L","queue":' + "[" * 100_000, ""),
]


@pytest.mark.parametrize(("line", "words"), BAD, ids=[f"{number}-{words[:30]}" for number, (_, words) in enumerate(BAD)])
def test_bad_input_gets_an_error_that_says_what_was_wrong(shared_broker: Broker, line: str, words: str) -> None:
    with Wire(shared_broker.host, shared_broker.port) as wire:
        wire.socket.sendall(line.encode() + b"\n")
        reply = wire.read()
        assert (reply["confirmation"], reply["code"]) == ("N", "bad_request")
        assert words in reply["error"]
        assert wire.done("L", "after")["payload"] == "0", "the connection has to live on"


def test_null_is_the_same_as_leaving_a_field_out(shared_broker: Broker) -> None:
    with Wire(shared_broker.host, shared_broker.port) as wire:
        wire.done("P", "nulls", payload="", delay=None, ttl=None, priority=None, headers=None, key=None, tag=None, payloads=None)
        reply = wire.done("S", "nulls", count=None, wait=None, lease=None, queues=None, tag=None)
        assert "messages" not in reply
        assert "tag" not in reply


def test_the_limits_of_queues_and_memory(start_broker: Callable[..., Broker]) -> None:
    broker = start_broker({"storage": {"type": "memory"}, "limits": {"queues": 2, "memory": 200_000}})
    with Wire(broker.host, broker.port) as wire:
        wire.publish("one", b"x")
        wire.publish("two", b"x")
        reply = wire.refused("P", "three", payload="")
        assert (reply["code"], "2" in reply["error"]) == ("limit", True)
        assert wire.done("S", "three", wait=0)["count"] == 0, "waiting for a queue does not make one"
        wire.publish("one", b"x" * 100_000)
        reply = wire.refused("P", "one", payload=b64(b"x" * 100_000))
        assert (reply["code"], "memory" in reply["error"]) == ("limit", True)
        assert wire.take("one") == b"x", "takes go on at the limit"
        assert wire.take("one") == b"x" * 100_000
        wire.publish("one", b"x" * 100_000)
        assert wire.take("one") == b"x" * 100_000
        headers = {"name": "x" * 4000}
        accepted = sum(wire.ask("P", "one", payload="", headers=headers)["confirmation"] == "Y" for _ in range(60))
        assert 20 < accepted < 50, "headers count as memory"
        wire.done("C", "one")
        wire.done("D", "two")
        wire.publish("three", b"x")


def test_a_bounded_number_of_keys_is_remembered(start_broker: Callable[..., Broker]) -> None:
    broker = start_broker({"limits": {"keys": 3}})
    with Wire(broker.host, broker.port) as wire:
        for number in range(3):
            wire.publish("orders", b"x", key=f"k{number}")
        assert wire.refused("P", "orders", payload="", key="k3")["code"] == "limit"
        wire.publish("orders", b"x", key="k1")
        wire.publish("orders", b"without a key")
        wire.publish("other", b"x", key="k3")


def test_authentication_once_per_connection_or_per_request(start_broker: Callable[..., Broker]) -> None:
    broker = start_broker({"auth": {"user": "me", "password": "secret"}})
    good, bad = {"user": "me", "password": "secret"}, {"user": "me", "password": "wrong"}
    with Wire(broker.host, broker.port) as wire:
        for line in (
            b'{"operation":"P","queue":"q","payload":""}\n',
            b'{"operation":"S","queue":"q"}\n',
            b'{"operation":"A","receipt":"x"}\n',
        ):
            wire.socket.sendall(line * 3)
            assert [wire.read()["code"] for _ in range(3)] == ["unauthorized"] * 3
        assert wire.refused("Q")["code"] == "unauthorized"
        assert wire.refused("H")["code"] == "unauthorized"
        assert wire.refused("H", auth=bad)["code"] == "unauthorized"
        assert wire.done("L", "q", auth=good)["payload"] == "0"
        assert wire.refused("L", "q")["code"] == "unauthorized", "auth in a request is for that request alone"
        wire.done("H", auth=good)
        wire.publish("q", b"x")
        assert wire.refused("L", "q", auth=bad)["code"] == "unauthorized"
        assert wire.take("q") == b"x"
