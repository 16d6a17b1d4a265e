"""Sizes at every limit are taken, and one beyond is refused, over both transports; what was there is untouched."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from broker_process import Broker
from http_client import Reply, request
from http_wire import HttpWire
from wire import Wire, b64, one_shot

SIZE = 10_000
"""The message limit, in bytes: no multiple of three, so that its base64 is padded."""
LINE = (SIZE + 2) // 3 * 4 + (64 << 10)
MIB = 1 << 20
NDJSON = "application/x-ndjson"
JSON = "application/json"

Sends = Callable[[Broker, int], str | None]
"""Sends something of that size, and gives the code of its refusal; None where it was done."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    started = Broker(tmp_path_factory.mktemp("edges"), {"storage": {"type": "memory"}, "limits": {"message_size": SIZE}})
    started.start()
    yield started
    started.kill()


def tcp(operation: str, queue: str | None, fields: Callable[[int], dict[str, Any]]) -> Sends:
    """As a request in lines."""

    def send(broker: Broker, size: int) -> str | None:
        with Wire(broker.host, broker.port) as wire:
            reply = wire.ask(operation, queue, **fields(size))
            assert wire.done("L", "p")["payload"] == "0", "the connection does not live on"
            return reply.get("code")

    return send


def both(operation: str, queue: str | None, fields: Callable[[int], dict[str, Any]]) -> tuple[Sends, ...]:
    """The same over TCP and over HTTP."""

    def over_http(broker: Broker, size: int) -> str | None:
        with HttpWire(broker.http) as wire:
            code: str | None = wire.ask(operation, queue, **fields(size)).get("code")
            return code

    return tcp(operation, queue, fields), over_http


def http(body: Callable[[int], str | bytes], kind: str = JSON, path: str = "/v1/queues/q/messages") -> Sends:
    """As a body of that type."""

    def send(broker: Broker, size: int) -> str | None:
        return code_of(request(broker.http, "POST", path, body(size), {"Content-Type": kind}))

    return send


def field(name: str, value: Callable[[int], str], kind: str = "text/plain", body: str = "x") -> Sends:
    """As a header field of a publish."""

    def send(broker: Broker, size: int) -> str | None:
        return code_of(request(broker.http, "POST", "/v1/queues/q/messages", body, {name: value(size), "Content-Type": kind}))

    return send


def code_of(reply: Reply) -> str | None:
    code: str | None = reply.json["code"] if reply.status >= 400 else None
    return code


def line(size: int) -> bytes:
    """A publish of that many bytes, most of them white space."""
    start, end = b'{"operation":"P","queue":"q","payload":""', b"}"
    return start + b" " * (size - len(start) - len(end)) + end


def in_lines(broker: Broker, size: int) -> str | None:
    """A line of that length, without its newline."""
    with Wire(broker.host, broker.port) as wire:
        wire.socket.sendall(line(size) + b"\n" + b'{"operation":"L","queue":"p"}\n')
        reply = wire.read()
        assert wire.read()["payload"] == "0", "the connection does not live on"
        return reply.get("code")


def alone(broker: Broker, size: int) -> str | None:
    """A request of that length in one-shot framing."""
    code: str | None = json.loads(one_shot(broker.host, broker.port, line(size))).get("code")
    return code


def headers_of(size: int) -> dict[str, str]:
    """So many bytes in names and values, not all of them ASCII."""
    return {"a": "x" * 1000, "\u00e9b": "\u00e9" * 500 + "y" * (size - 2004)}


def text_of(size: int) -> str:
    """So many bytes of UTF-8, some of them in pairs."""
    return "\u00e9" * (size // 3) + "x" * (size - 2 * (size // 3))


def batch(**message: Any) -> str:
    return json.dumps({"messages": [message]})


BAD = "bad_request"
EDGES: dict[str, tuple[int, str, tuple[Sends, ...]]] = {
    "bytes of a message": (SIZE, "too_large", (
        *both("P", "q", lambda size: {"payload": b64(b"x" * size)}),
        *both("P", "q", lambda size: {"payloads": [b64(b""), b64(b"x" * size)]}),
        http(lambda size: b"x" * size, "text/plain"),
        http(lambda size: batch(payload=b64(b"x" * size))),
        http(lambda size: batch(text=text_of(size))),
        http(lambda size: batch(text="\\" * size)),
        http(lambda size: json.dumps({"payload": b64(b"x" * size)}), NDJSON),
        http(lambda size: json.dumps({"text": text_of(size)}, ensure_ascii=False).encode(), NDJSON),
    )),
    "bytes of a line": (LINE, "too_large", (
        in_lines, alone, http(lambda size: b'{"text":"x"' + b" " * (size - 12) + b"}", NDJSON),
        http(lambda size: b'{"text":"x"' + b" " * (size - 12) + b"}\n", NDJSON),
    )),
    "bytes of a batch": ((8 * MIB + 2) // 3 * 4 + (64 << 10), "too_large", (
        http(lambda size: b'{"messages":[{"text":"x"}]' + b" " * (size - 27) + b"}"),
    )),
    "bytes of a body that names": (MIB, "too_large", (
        http(lambda size: b'{"receipts":["x"]' + b" " * (size - 18) + b"}", path="/v1/acknowledge"),
        http(lambda size: b'{"queues":["q"]' + b" " * (size - 16) + b"}", path="/v1/take"),
    )),
    "bytes of headers": (4096, BAD, (
        *both("P", "q", lambda size: {"payloads": [""], "headers": headers_of(size)}),
        tcp("P", "q", lambda size: {"payload": "", "headers": headers_of(size)}),
        tcp("P", "q", lambda size: {"payload": "", "headers": {"n" * size: ""}}),
        http(lambda size: json.dumps({"text": "x", "headers": headers_of(size)}), NDJSON),
        field("Gmq-Header-A", lambda size: "x" * (size - 1)),
    )),
    "bytes of a key": (255, BAD, (
        *both("P", "q", lambda size: {"payload": b64(b"%d" % size), "key": text_of(size)}),
        *both("P", "q", lambda size: {"payloads": [b64(b"%d" % size)] * 2, "keys": ["yz" + text_of(size - 2), "z" * size]}),
        http(lambda size: batch(text="x", key="k" * size)),
        http(lambda size: json.dumps({"text": "y", "key": "l" * size}), NDJSON),
        field("Idempotency-Key", lambda size: "m" * size),
        field("Idempotency-Key", lambda size: "n" * (size - 2), JSON, batch(text="x")),  # its key is this one and "/0"
    )),
    "messages of a publish": (1000, BAD, (
        *both("P", "q", lambda size: {"payloads": [""] * size}),
        *both("P", "q", lambda size: {"payloads": [""] * size, "keys": [f"{size}/{at}" for at in range(size)]}),
        http(lambda size: json.dumps({"messages": [{"text": ""}] * size})),
    )),
    "receipts": (1000, BAD, tuple(
        sends for operation, more in (("A", {}), ("N", {"delay": 1}), ("E", {"lease": 1}))
        for sends in both(operation, None, lambda size, more=more: {"receipts": ["x"] * size, **more})
    )),
    "queues of a take": (100, BAD, both("S", None, lambda size: {"queues": ["q"] * size, "count": 1})),
    "bytes of a tag": (256, BAD, (
        tcp("L", "q", lambda size: {"tag": "t" * (size - 2)}), tcp("L", "q", lambda size: {"tag": int("1" * size)}),
    )),
}  # fmt: skip
CASES = [(what, number) for what, (_, _, ways) in EDGES.items() for number in range(len(ways))]


@pytest.mark.parametrize(("what", "number"), CASES, ids=[f"{what}, way {number}" for what, number in CASES])
def test_the_limit_is_taken_and_one_beyond_is_refused(broker: Broker, what: str, number: int) -> None:
    limit, code, ways = EDGES[what]
    with Wire(broker.host, broker.port) as wire:
        assert ways[number](broker, limit) is None, f"{limit}, the limit of {what}, was refused"
        before = wire.done("Q")["queues"]
        assert ways[number](broker, limit + 1) == code, f"{limit + 1} is one beyond the limit of {what}"
        assert wire.done("Q")["queues"] == before, "what was refused was stored"
        if before:
            wire.done("C", "q")


def test_none_is_as_wrong_as_too_many(broker: Broker) -> None:
    with Wire(broker.host, broker.port) as wire, HttpWire(broker.http) as over_http:
        for one in (wire, over_http):
            for operation, queue, fields in (
                ("P", "e", {"payloads": []}), ("P", "e", {"payload": "", "key": ""}), ("P", "e", {"payloads": [""], "keys": [""]}),
                ("A", None, {"receipts": []}), ("N", None, {"receipts": []}), ("E", None, {"receipts": [], "lease": 1}),
                ("S", None, {"queues": [], "count": 1}), ("A", None, {}), ("A", None, {"receipt": "x", "receipts": ["x"]}),
            ):  # fmt: skip
                assert one.refused(operation, queue, **fields)["code"] == "bad_request", f"{operation} {fields}"
        assert "e" not in [queue["queue"] for queue in wire.done("Q")["queues"]]


def test_a_reply_stops_at_eight_mebibytes_of_payload_and_has_at_least_one_message(start_broker: Callable[..., Broker]) -> None:
    broker = start_broker({"storage": {"type": "memory"}, "limits": {"message_size": 9 * MIB}})
    with Wire(broker.host, broker.port) as wire, HttpWire(broker.http) as over_http:
        for one in (wire, over_http):
            for payloads, most in (([MIB] * 10, 8), ([MIB] * 7 + [MIB - 1, 1, 1], 9), ([8 * MIB + 1, 1], 1), ([9 * MIB], 1)):
                for size in payloads:
                    wire.publish("q", b"x" * size)
                assert len(one.done("K", "q", count=1000)["messages"]) == most, payloads
                taken = one.lease("q", lease=60, count=1000)
                assert len(taken) == most, payloads
                assert one.done("A", receipts=[message["receipt"] for message in taken])["count"] == most
                assert len(one.drain("q")) == len(payloads) - most
