"""Hostile names of queues: each is kept as it is everywhere, or is refused everywhere; and no file leaves the storage's folder."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, unquote

import pytest
from prometheus_client.parser import text_string_to_metric_families

from abuse.zoo import BYTES, NAMES, REFUSED, SURROGATES
from broker_process import Broker
from helpers_server import wait_until
from http_client import request as http_request
from http_wire import HttpWire
from mariadb import section
from wire import Wire, b64, unb64

FILLING = 64 << 10
"""Bytes of a message, so that the journal fills up and queues get files of their own."""
KINDS = ("memory", "filesystem", "mysql")
WAYS = ("tcp", "http")
STORED = re.compile(r"lock|journal|queues|journal/[0-9a-f]{16}\.journal(\.new)?|queues/[A-Za-z0-9._-]{0,80}-[0-9a-f]+\.queue(\.new)?")
"""What files and folders of a storage may be called."""


@pytest.fixture(params=KINDS)
def broker(request: pytest.FixtureRequest, start_broker: Callable[..., Broker]) -> Broker:
    """A broker with each storage, and with room for the zoo."""
    config: dict[str, Any] = {"storage": {"type": request.param}}
    if request.param == "mysql":
        server = request.getfixturevalue("shared_mariadb")
        config = section(server.port, server.create())
    if request.param == "filesystem":
        config["storage"] |= {"segment_size": 1 << 20, "checkpoint_size": 1 << 20}  # so that queues get files of their own soon
    return start_broker(config)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def connect(broker: Broker, way: str) -> Wire:
    return HttpWire(broker.http) if way == "http" else Wire(broker.host, broker.port)


def names_of(wire: Wire) -> list[str]:
    return [queue["queue"] for queue in wire.done("Q")["queues"]]


def files_beside(broker: Broker) -> list[str]:
    """Files in the broker's working directory that are none of its storage's, and those in the storage that have no name of its own."""
    folder = broker.log.parent
    beside = {"gmq.json", "broker.log", "gmq-data"}
    found = [path.name for path in folder.iterdir() if path.name not in beside]
    data = folder / "gmq-data"
    return found + [path.name for path in data.rglob("*") if not STORED.fullmatch(str(path.relative_to(data)))]


def metric_queues(broker: Broker) -> set[str]:
    """The queues that /metrics names, as Prometheus' own reader understands it."""
    text = http_request(broker.http, "GET", "/metrics").body.decode()
    families = list(text_string_to_metric_families(text))
    assert {family.name for family in families if "bytes" in family.name}, "the metrics cannot be read"
    return {sample.labels["queue"] for family in families if family.name == "gmq_queue_bytes" for sample in family.samples}


def events(broker: Broker, query: str) -> Iterator[Any]:
    """What the console's stream says."""
    connection = http.client.HTTPConnection(broker.http, timeout=20)
    connection.request("GET", f"/events?{query}")
    response = connection.getresponse()
    while line := response.readline():
        if line.startswith(b"data: "):
            yield json.loads(line[6:])
    connection.close()


def test_every_operation_keeps_a_name_as_it_is(broker: Broker, way: str) -> None:
    with connect(broker, way) as wire:
        for name in NAMES:
            wire.done("P", name, payload=b64(name.encode()), headers={"name": name})
            wire.done("P", name, payloads=[b64(b"")], keys=[name.replace(" ", "_")[:64]])
        assert names_of(wire) == sorted(NAMES, key=str.encode)
        for name in NAMES:
            assert wire.done("I", name)["ready"] == 2, f"{name!r} is not apart from the others"
            assert wire.done("L", name)["payload"] == "2", f"{name!r} is not apart from the others"
            (seen,) = wire.done("K", name)["messages"]
            (taken,) = wire.done("S", queues=[name], lease=60)["messages"]
            for message in (seen, taken):
                assert (message["queue"], unb64(message["payload"]).decode()) == (name, name)
                assert message["headers"] == {"name": name}
            wire.done("E", receipt=taken["receipt"], lease=60)
            wire.done("N", receipt=taken["receipt"])
            assert wire.done("Y", name, policy={"dead_letter": "cemetery", "max_deliveries": 2})["policy"]["dead_letter"] == "cemetery"
            assert wire.done("M", name, to="elsewhere", count=1)["count"] == 1
            assert wire.done("M", "elsewhere", to=name)["count"] == 1
            assert wire.done("Y", "elsewhere", policy={"dead_letter": name})["policy"]["dead_letter"] == name
        for name in NAMES:
            reply = wire.done("S", name)
            assert reply["queue"] == name
            assert wire.done("C", name)["count"] == 1
            assert wire.done("D", name)["count"] == 0
        assert names_of(wire) == ["elsewhere"]
    assert files_beside(broker) == []


def test_a_name_is_the_same_in_metrics_and_console_and_after_a_restart(broker: Broker, request: pytest.FixtureRequest) -> None:
    with Wire(broker.host, broker.port) as wire:
        for name in NAMES:
            wire.done("P", name, payload=b64(name.encode().ljust(FILLING)))
    data = broker.log.parent / "gmq-data"
    if data.exists():
        wait_until(lambda: len(list(data.glob("queues/*.queue"))) > len(NAMES) // 2, "queues get files of their own")
    metrics = metric_queues(broker)
    assert metrics - {".."} == set(NAMES), f"only one has: {metrics ^ set(NAMES)}"
    first = next(events(broker, "page=0"))
    seen = [row["queue"] for page in range(first["page"]["pages"]) for row in next(events(broker, f"page={page}"))["page"]["rows"]]
    assert sorted(seen) == sorted(NAMES)
    for name in NAMES[::10]:
        assert next(events(broker, f"queue={quote(name, safe='')}"))["detail"]["row"]["queue"] == name
    assert broker.stop() == 0
    broker.start()
    with Wire(broker.host, broker.port) as wire:
        kept = [] if request.node.callspec.params["broker"] == "memory" else sorted(NAMES, key=str.encode)
        assert names_of(wire) == kept
        for name in kept:
            assert wire.take(name) == name.encode().ljust(FILLING), f"another queue's message is in {name!r}"
    assert files_beside(broker) == []


def test_what_is_no_name_is_refused_by_every_operation(broker: Broker, way: str) -> None:
    policy = {"dead_letter": "x"}
    with connect(broker, way) as wire:
        wire.publish("good", b"x")
        for name in REFUSED:
            on_queue: list[tuple[str, dict[str, Any]]] = [
                ("P", {"payload": "eA=="}), ("P", {"payload": "eA==", "key": "k", "headers": {"a": "b"}, "delay": 1}), ("P",
                {"payloads": ["eA=="]}),
                ("S", {}), ("S", {"count": 2, "wait": 0.1}), ("L", {}), ("I", {}), ("K", {}), ("M", {"to": "good"}), ("C", {}), ("D",
                {}), ("Y", {"policy": policy}),
            ]  # fmt: skip
            if way == "http" and (name in {"", ".", ".."} or len(name) > 1000):
                on_queue = []  # such paths mean something else, or are too long for any; the test below has them
            for operation, fields in on_queue:
                reply = wire.refused(operation, name, **fields)
                assert reply["code"] == "bad_request", f"{operation} {name!r}: {reply}"
                assert reply["error"].isprintable(), f"a terminal would act on this error: {reply['error']!r}"
                assert len(reply["error"]) < 1000, "an error that says it all again"
            elsewhere = [("S", None, {"queues": [name]}), ("S", None, {"queues": ["good-2", name], "count": 1})]
            elsewhere += [("M", "good", {"to": name}), ("Y", "good", {"policy": {"dead_letter": name}})]
            for operation, queue, fields in elsewhere:
                assert wire.refused(operation, queue, **fields)["code"] == "bad_request", f"{operation} {fields}"
        assert names_of(wire) == ["good"]
        assert wire.drain("good") == [b"x"]
    assert files_beside(broker) == []


def test_bytes_that_are_no_text_name_nothing(broker: Broker) -> None:
    written = [*BYTES, *(text.encode() for text in SURROGATES)]
    with Wire(broker.host, broker.port) as wire:
        for name in written:
            for line in (
                b'{"operation":"P","queue":"%b","payload":""}',
                b'{"operation":"S","queue":"%b"}',
                b'{"operation":"S","queues":["x","%b"]}',
                b'{"operation":"P","queue":"x","payload":"","key":"%b"}',
                b'{"operation":"P","queue":"x","payload":"","headers":{"a":"%b"}}',
                b'{"operation":"P","queue":"x","payload":"","headers":{"%b":"a"}}',
                b'{"operation":"Y","queue":"x","policy":{"dead_letter":"%b"}}',
                b'{"operation":"A","receipt":"%b"}',
                b'{"operation":"H","auth":{"user":"%b","password":"x"}}',
            ):
                wire.socket.sendall(line % name + b"\n")
                reply = wire.read()
                refused = reply["confirmation"] == "N" and reply["code"] in {"bad_request", "stale_receipt"}
                assert refused, f"{line % name!r} was answered {reply}"
        assert names_of(wire) == []
    http_bodies = (
        b'{"messages":[{"text":"%b"}]}',
        b'{"messages":[{"text":"x","key":"%b"}]}',
        b'{"messages":[{"text":"x"}],"headers":{"%b":"x"}}',
    )
    for name in written:
        for body in http_bodies:
            assert status(broker, b"POST /v1/queues/x/messages", body % name) == 400, body % name
        assert status(broker, b"POST /v1/take", b'{"queues":["%b"]}' % name) == 400, name
        assert status(broker, b"PUT /v1/queues/x", b'{"policy":{"dead_letter":"%b"}}' % name) == 400, name
    for name in BYTES:
        for path in (quote(name).encode(), name):
            for head in (b"GET /v1/queues/%b", b"PUT /v1/queues/%b", b"POST /v1/queues/%b/messages", b"POST /v1/queues/%b/take"):
                assert status(broker, head % path) == 400, head % path
    with Wire(broker.host, broker.port) as wire:
        assert names_of(wire) == []
    assert files_beside(broker) == []


def test_paths_that_mean_something_else_make_no_queue(broker: Broker) -> None:
    paths = (
        "", "/", ".", "..", "%2e", "%2E%2e", "../..", "%2e%2e/%2e%2e", "..%2f..%2fhealthz/../x%00", "a/b", "a/../b", "a//", "/a", "%00",
        "%0d%0aX: y", "n" * 256,
        "%c3%a9" * 128, "n" * 20_000,
    )  # fmt: skip
    for path in paths:
        for end in ("", "/messages", "/policy"):
            method = b"POST" if end == "/messages" else b"PUT"
            code = status(broker, method + f" /v1/queues/{path}{end}".encode(), b"{}")
            assert 400 <= code < 500, f"PUT or POST of {path!r}{end} was answered {code}"
    with Wire(broker.host, broker.port) as wire:
        assert names_of(wire) == []
    assert files_beside(broker) == []


def test_what_a_message_says_beside_its_payload_makes_no_header_field_of_its_own(broker: Broker) -> None:
    texts = ("a\r\nSet-Cookie: x=1", "\r\n\r\nHTTP/1.1 200 OK", "\0", "\u2028", " a ", "%0d%0a", "", '"', "\x7f\x85", *NAMES)
    with Wire(broker.host, broker.port) as wire:
        for text in texts:
            wire.publish("orders", b"x", headers={"v": text, f"n{text}": "v"})
            reply = http_request(broker.http, "POST", "/v1/queues/orders/take")
            fields = [(name.removeprefix("Gmq-Header-"), value) for name, value in reply.headers.items() if name.startswith("Gmq-Header-")]
            assert {unquote(name): unquote(value) for name, value in fields} == {"v": text, f"n{text}": "v"}
            assert (reply.status, reply.body, "Set-Cookie" in reply.headers) == (200, b"x", False)


def status(broker: Broker, head: bytes, body: bytes = b"") -> int:
    """The status of a request whose path goes out as it is, whatever it is."""
    host, _, port = broker.http.rpartition(":")
    fields = b"Host: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
    with socket.create_connection((host, int(port)), 20) as connection:
        connection.sendall(head + b" HTTP/1.1\r\n" + fields + body)
        line = connection.makefile("rb").readline()
    assert line.startswith(b"HTTP/1."), f"{head!r} was answered {line!r}"
    return int(line.split()[1])
