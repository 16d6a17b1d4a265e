"""What clients may take of a broker together: each limit is reached, its refusal is clear, and its metric counts it."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from broker_process import SERVER, Broker
from gmq.message import LIMITS, MAX_WAITING
from helpers_server import wait_until
from http_client import request
from wire import Wire, b64

START = Callable[..., Broker]
MEMORY = {"type": "memory"}


@pytest.fixture
def start(start_broker: START) -> START:
    """Start a broker in memory with a port for scrapers."""

    def call(**config: Any) -> Broker:
        return start_broker({"storage": MEMORY, "ops": {"enabled": True, "port": 0}, **config})

    return call


def metric(broker: Broker, name: str, **labels: str) -> float:
    """The value of one series."""
    families = text_string_to_metric_families(request(broker.ops, "GET", "/metrics").body.decode())
    found = [sample.value for family in families for sample in family.samples if sample.name == name and sample.labels == labels]
    assert len(found) == 1, f"{name}{labels} is there {len(found)} times"
    return found[0]


def connect(broker: Broker) -> Wire:
    return Wire(broker.host, broker.port)


@contextmanager
def http_connection(broker: Broker) -> Iterator[socket.socket]:
    host, _, port = broker.http.rpartition(":")
    with socket.create_connection((host, int(port)), 20) as connection:
        yield connection


def read_to_end(connection: socket.socket) -> bytes:
    """What still comes; a reset is an end too."""
    received = b""
    try:
        while part := connection.recv(1 << 20):
            received += part
    except ConnectionResetError:
        pass
    return received


def test_connections_of_both_transports_count_together(start: START) -> None:
    broker = start(limits={"connections": 3})
    with connect(broker) as first, connect(broker) as second, http_connection(broker) as third:
        first.done("L", "a")
        second.done("L", "a")
        wait_until(lambda: metric(broker, "gmq_connections", transport="http") == 1, "the connection over HTTP is there")
        with http_connection(broker) as fourth:
            reply = read_to_end(fourth)
            assert reply.startswith(b"HTTP/1.1 503 ")
            assert json.loads(reply.partition(b"\r\n\r\n")[2])["code"] == "limit"
        with connect(broker) as fifth:
            refusal = fifth.read()
            assert (refusal["confirmation"], refusal["code"]) == ("N", "limit")
        assert metric(broker, "gmq_connections_refused_total", transport="http", reason="connections") == 1
        assert metric(broker, "gmq_connections_refused_total", transport="tcp", reason="connections") == 1
        assert metric(broker, "gmq_connections_limit") == 3
        third.close()
        wait_until(lambda: metric(broker, "gmq_connections", transport="http") == 0, "the connection over HTTP is gone")
        with connect(broker) as sixth:
            sixth.done("L", "a")


def test_an_address_may_have_so_many_connections(start: START) -> None:
    broker = start(limits={"connections_per_address": 2}, network={"interface": ""}, http={"interface": ""}, auth={"anonymous": True})
    with connect(broker) as first, connect(broker) as second:
        first.done("L", "a")
        second.done("L", "a")
        with connect(broker) as third:
            assert "your address" in third.read()["error"]
        with http_connection(broker) as fourth:
            assert b"your address" in read_to_end(fourth)
        other = socket.create_connection((broker.host, broker.port), 20, source_address=("127.0.0.2", 0))
        with other:
            other.sendall(b'\n{"operation":"L","queue":"a"}\n')
            assert b'"confirmation":"Y"' in other.recv(1000), "another address is not let in"
        assert metric(broker, "gmq_connections_refused_total", transport="tcp", reason="address") == 1
        assert metric(broker, "gmq_connections_refused_total", transport="http", reason="address") == 1
        second.close()

        def is_let_in() -> bool:
            with connect(broker) as next_one:
                return bool(next_one.ask("L", "a")["confirmation"] == "Y")

        wait_until(is_let_in, "there is room for this address again")


def test_so_many_takes_may_wait(start: START) -> None:
    broker = start(limits={"waiting": 2})
    with connect(broker) as waiting, connect(broker) as client:
        for tag in (1, 2):
            waiting.send("S", "a", wait=30, tag=tag)
        wait_until(lambda: metric(broker, "gmq_waiting_consumers") == 2, "both wait")
        assert client.refused("S", "a", wait=30)["code"] == "limit"
        assert put(broker, "/v1/queues/a/take?wait=30", body=None)["code"] == "limit"
        assert refusals(broker, "waiting") == (1, 1)
        assert metric(broker, "gmq_waiting_consumers_limit") == 2
        assert client.take("a") is None, "a take that does not wait is served"
        client.publish("b", b"there")
        assert client.take("b", wait=30) == b"there", "nor is one that need not wait refused"
        client.publish("a", b"x")
        assert waiting.read()["count"] == 1
        client.send("S", "a", wait=0.01)
        assert client.read()["confirmation"] == "Y", "one may wait again"


def put(broker: Broker, path: str, method: str = "POST", body: Any = b"x", **headers: str) -> Any:
    """What comes back over HTTP, which has to be a refusal."""
    reply = request(broker.http, method, path, body, {"Content-Type": "application/octet-stream", **headers})
    assert reply.status in {413, 429}, reply
    return reply.json


def refusals(broker: Broker, limit: str) -> tuple[float, float]:
    """How many requests came up against a limit over TCP and HTTP; no other may be counted."""
    found = {(transport, name): metric(broker, "gmq_limit_refusals_total", transport=transport, limit=name)
             for transport in ("tcp", "http") for name in LIMITS}  # fmt: skip
    assert not sum(count for (_, name), count in found.items() if name != limit), f"others than {limit} are counted: {found}"
    return found["tcp", limit], found["http", limit]


@pytest.mark.parametrize(
    ("limit", "value", "code", "first", "second"),
    [
        ("queues", 1, "limit", ("a", {}), ("b", {})),
        ("message_size", 10, "too_large", ("a", {}), ("a", {"payload": b64(b"x" * 11)})),
        ("queue_messages", 1, "queue_full", ("a", {}), ("a", {})),
        ("keys", 1, "limit", ("a", {"key": "one"}), ("a", {"key": "two"})),
        ("memory", 1500, "limit", ("a", {}), ("a", {"payloads": [b64(b"x")] * 100, "payload": None})),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) > 5 else "",
)
def test_a_publish_beyond_a_limit_is_refused_and_counted(
    start: START, limit: str, value: int, code: str, first: tuple[str, dict[str, Any]], second: tuple[str, dict[str, Any]]
) -> None:
    broker = start(limits={limit: value})
    with connect(broker) as client:
        client.done("P", first[0], **{"payload": b64(b"x"), **first[1]})
        assert refusals(broker, limit) == (0, 0)
        fields = {name: member for name, member in {"payload": b64(b"x"), **second[1]}.items() if member is not None}
        assert client.refused("P", second[0], **fields)["code"] == code
        client.send_together(*[("P", second[0], fields)] * 3)  # together, as those of several connections are
        assert [client.read()["code"] for _ in range(3)] == [code] * 3
        assert refusals(broker, limit) == (4, 0)
        size = 2000 if limit == "memory" else len(fields.get("payload", "")) if limit == "message_size" else 1
        headers = {"Idempotency-Key": fields["key"]} if "key" in fields else {}
        assert put(broker, f"/v1/queues/{second[0]}/messages", body=b"x" * size, **headers)["code"] == code
        assert refusals(broker, limit) == (4, 1)
        assert client.take("a") == b"x", "what was there is untouched"


def test_fewer_keys_than_are_remembered_refuse_only_new_keys(start_broker: START) -> None:
    broker = start_broker({"limits": {"keys": 3}})
    with connect(broker) as wire:
        ids = [wire.publish("a", b"%d" % number, key=f"k{number}") for number in range(3)]
    broker.stop()
    broker.config["limits"]["keys"] = 2
    broker.start()
    with connect(broker) as wire:
        assert wire.publish("a", b"1", key="k1") == ids[1], "a repeat is another message"
        wire.publish("a", b"none", delay=0.001)
        assert wire.refused("P", "a", payload=b64(b"new"), key="k3")["code"] == "limit"


def test_so_many_takes_of_one_connection_may_wait(start: START) -> None:
    broker = start()
    with connect(broker) as client:
        client.send_together(*[("S", "a", {"wait": 30, "tag": number}) for number in range(MAX_WAITING)])
        wait_until(lambda: metric(broker, "gmq_waiting_consumers") == MAX_WAITING, "all of them wait")
        client.send("S", "a", wait=30, tag="more")
        refused = client.read()
        assert (refused["tag"], refused["code"]) == ("more", "limit")
        assert refusals(broker, "waiting_of_connection") == (1, 0)


def test_a_client_that_does_not_read_its_replies_is_let_go(start: START) -> None:
    broker = start(network={"write_timeout": 0.4})
    with connect(broker) as client, connect(broker) as slow:
        for _ in range(8):
            client.publish("a", bytes(1 << 20))
        slow.socket.sendall(b'{"operation":"K","queue":"a","count":8}\n' * 20)
        wait_until(
            lambda: metric(broker, "gmq_connections_closed_total", transport="tcp", reason="write_timeout") == 1,
            "the slow reader is let go",
        )
        assert len(client.done("K", "a", count=8)["messages"]) == 8, "another client is served meanwhile"
        wait_until(lambda: metric(broker, "gmq_buffered_bytes") == 0, "what waited for it is forgotten")


def test_a_client_that_reads_slowly_but_does_read_is_served(start: START) -> None:
    limit = 0.5
    broker = start(network={"write_timeout": limit})
    with connect(broker) as client:
        for _ in range(8):
            client.publish("a", bytes(1 << 20))
        client.send("K", "a", count=8)
        wait_until(lambda: metric(broker, "gmq_buffered_bytes") > 0, "the reply waits for its reader")
        received = b""
        end = time.monotonic() + 4 * limit
        while time.monotonic() < end:
            received += client.socket.recv(256 << 10)
            time.sleep(limit / 10)  # the pace of this reader
        while not received.endswith(b"\n"):
            part = client.socket.recv(1 << 20)
            assert part, "a reader that is slow is let go"
            received += part
        assert json.loads(received)["count"] == 8
    assert metric(broker, "gmq_connections_closed_total", transport="tcp", reason="write_timeout") == 0


def test_a_client_over_http_that_does_not_read_its_reply_is_let_go(start: START) -> None:
    broker = start(network={"write_timeout": 0.4})
    with connect(broker) as client, http_connection(broker) as slow:
        for _ in range(8):
            client.publish("a", bytes(1 << 20))
        slow.sendall(b"GET /v1/queues/a/messages?count=8 HTTP/1.1\r\nHost: localhost\r\n\r\n" * 8)
        wait_until(
            lambda: metric(broker, "gmq_connections_closed_total", transport="http", reason="write_timeout") == 1,
            "the slow reader is let go",
        )
        wait_until(lambda: metric(broker, "gmq_connections", transport="http") == 0, "its connection is gone")


@pytest.mark.parametrize("head", [b"", b"GET / HTTP/1.1\r\nHost: loc"])
def test_a_head_over_http_that_is_not_complete_in_time_is_given_up(start: START, head: bytes) -> None:
    broker = start(network={"request_timeout": 0.3})
    with http_connection(broker) as slow:
        slow.sendall(head)
        read_to_end(slow)
    assert metric(broker, "gmq_connections_closed_total", transport="http", reason="request_timeout") == 1


def test_a_later_head_over_http_that_is_not_complete_in_time_is_given_up(start: START) -> None:
    broker = start(network={"request_timeout": 0.5})
    with http_connection(broker) as slow:
        slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert slow.recv(4096).startswith(b"HTTP/1.1 200 ")
        slow.sendall(b"GET /hea")
        read_to_end(slow)
    assert metric(broker, "gmq_connections_closed_total", transport="http", reason="request_timeout") == 1


def test_a_connection_that_is_idle_is_closed_where_the_configuration_says_so(start: START) -> None:
    broker = start(network={"idle_timeout": 1})
    with connect(broker) as idle, connect(broker) as waiting, connect(broker) as busy, http_connection(broker) as http_idle:
        waiting.send("S", "a", wait=30)
        idle.done("L", "a")
        http_idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")

        def closed() -> bool:
            busy.done("L", "a")
            return metric(broker, "gmq_connections_closed_total", transport="tcp", reason="idle_timeout") == 1

        wait_until(closed, "the idle connection, and no other, is closed")
        assert idle.ended()
        assert read_to_end(http_idle).startswith(b"HTTP/1.1 200 "), "it is answered, and closed as well"
        busy.publish("a", b"x")
        assert waiting.read()["count"] == 1, "who waits for a message is not idle"


def test_bytes_that_wait_are_bounded_and_the_connection_that_held_some_for_longest_goes(start: START) -> None:
    limit = 8 << 20
    broker = start(limits={"buffered": limit, "message_size": 1 << 20})
    with ExitStack() as stack:
        attackers = []
        for _ in range(12):
            one = stack.enter_context(connect(broker))
            one.socket.sendall(b'{"operation":"P","queue":"a","payload":"' + b"A" * (1 << 20))
            attackers.append(one)
        wait_until(
            lambda: metric(broker, "gmq_connections_closed_total", transport="tcp", reason="buffered") >= 4, "there was no room for all"
        )
        assert metric(broker, "gmq_buffered_bytes") <= limit
        assert metric(broker, "gmq_buffered_limit_bytes") == limit
        assert read_to_end(attackers[0].socket) == b"", "the oldest is closed"
        with connect(broker) as client:
            client.publish("b", bytes(1 << 20))
            assert client.take("b") == bytes(1 << 20), "a client that sends all it begins is served meanwhile"
    wait_until(lambda: metric(broker, "gmq_buffered_bytes") == 0, "what the others held is forgotten")


@pytest.mark.parametrize(
    "body", [b'{"text":"' + b"A" * (1 << 20), b'{"text":"' + b"A" * (1 << 19) + b'"}\n{"text":"' + b"A" * (1 << 19) + b'"}\n'],
    ids=["line", "slice"],
)  # fmt: skip
def test_what_streams_over_http_have_not_stored_yet_is_bounded(start: START, body: bytes) -> None:
    limit = 8 << 20
    broker = start(limits={"buffered": limit, "message_size": 1 << 20})
    head = (
        b"POST /v1/queues/a/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: 99999999\r\n\r\n"
    )
    with ExitStack() as stack:
        attackers = [stack.enter_context(http_connection(broker)) for _ in range(12)]
        for one in attackers:
            one.sendall(head + body)
        wait_until(
            lambda: metric(broker, "gmq_connections_closed_total", transport="http", reason="buffered") >= 4, "there was no room for all"
        )
        assert metric(broker, "gmq_buffered_bytes") <= limit
        lines = b"".join(b'{"text":"%b"}\n' % (b"%d" % number * (1 << 17)) for number in range(10)) * 10
        reply = request(broker.http, "POST", "/v1/queues/b/messages", lines, {"Content-Type": "application/x-ndjson"})
        assert reply.json == {"count": 100}, "a client that sends all it begins is served meanwhile, however much that is"
    wait_until(lambda: metric(broker, "gmq_buffered_bytes") == 0, "what the others held is forgotten")


def test_replies_that_wait_for_a_commit_are_bounded(start: START) -> None:
    broker = start(storage={"type": "filesystem"})
    with connect(broker) as client:
        for _ in range(64):
            client.publish("a", bytes(128 << 10))
        before = broker.memory()
        publish = json.dumps({"operation": "P", "queue": "b", "payload": b64(b"x")}).encode() + b"\n"
        peeks = 200
        client.socket.sendall(publish + b'{"operation":"K","queue":"a","count":1000}\n' * peeks)
        assert client.read()["id"]
        for _ in range(3):
            assert client.read()["count"] == 64
        peak = broker.memory() - before
        assert peak < 256 << 20, f"the broker made {peak >> 20} MiB of replies for a client that had read none"
        for _ in range(peeks - 3):
            assert client.read()["count"] == 64


def test_a_reply_that_waited_for_a_commit_and_was_sent_does_not_count_any_more(start: START) -> None:
    broker = start(storage={"type": "filesystem"})
    with connect(broker) as consumer, connect(broker) as producer:
        consumer.send("S", "a", wait=30)
        producer.publish("a", bytes(256 << 10))
        assert consumer.read()["count"] == 1
        wait_until(lambda: metric(broker, "gmq_buffered_bytes") == 0, "a client that has read all of its replies holds nothing", 5)


@pytest.mark.parametrize(("size", "problem"), [(1 << 20, "it must be at least"), (1, "limits.buffered")])
def test_room_for_bytes_that_wait_is_enough_for_requests_of_the_largest_size(tmp_path: Any, size: int, problem: str) -> None:
    file = tmp_path / "gmq.json"
    file.write_text(json.dumps({"limits": {"buffered": size}}))
    done = subprocess.run([SERVER, "--check-config", file], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    assert problem in done.stderr + done.stdout


def test_fewer_connections_are_let_in_where_the_process_may_not_have_more_files(start: START, tmp_path: Any) -> None:
    file = tmp_path / "gmq.json"
    file.write_text(json.dumps({"network": {"port": 0}, "http": {"enabled": False}, "storage": MEMORY}))
    process = subprocess.Popen(["sh", "-c", f"ulimit -n 300; exec {SERVER} -f {file}"], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            record = json.loads(line)
            if "connections" in record:
                break
        assert (record["level"], record["connections"], record["configured"]) == ("warning", 300 - 256, 10_000)
    finally:
        process.kill()
        process.wait()


def test_memory_is_bounded_whatever_is_done_with_tiny_messages(start: START) -> None:
    limit = 64 << 20
    broker = start(limits={"memory": limit}, storage=MEMORY)
    with connect(broker) as client:
        client.publish("warm", b"x")
        before = broker.memory()
        payloads = [b64(b"x")] * 1000

        def publish_until_refused(**options: Any) -> int:
            published = 0
            while (reply := client.ask("P", "a", payloads=payloads, **options))["confirmation"] == "Y":
                published += 1000
            assert reply["code"] == "limit"
            assert "memory" in reply["error"]
            return published

        def lease_until_refused() -> list[str]:
            receipts: list[str] = []
            while (reply := client.ask("S", "a", lease=600, count=1000))["confirmation"] == "Y" and reply["count"]:
                receipts += [message["receipt"] for message in reply["messages"]]
            if reply["confirmation"] == "N":
                assert reply["code"] == "limit"
            return receipts

        assert publish_until_refused() > 100_000
        receipts = lease_until_refused()
        assert len(receipts) >= 10_000, "where publishes are refused, consumers go on"
        used = broker.memory() - before
        assert used < 1.3 * limit, f"the broker took {used >> 20} MiB for messages that may take {limit >> 20}"
        assert metric(broker, "gmq_memory_bytes") <= 1.2 * limit
        client.done("A", receipts=receipts[:1000])
        assert client.done("S", "a", lease=600, count=500)["count"] == 500, "what was acknowledged leaves room for other leases"
        assert client.take("a") == b"x", "takes without a lease are served"
        client.done("C", "a")
        for delay in (100, 200):  # each message has a deadline of its own
            assert publish_until_refused(delay=delay, keys=None) > 10_000
            client.done("C", "a")
        used = broker.memory() - before
        assert used < 1.3 * limit, f"the broker took {used >> 20} MiB for messages that may take {limit >> 20}"


def test_requests_that_have_to_wait_for_a_turn_are_served_in_order_and_none_is_lost(start: START) -> None:
    broker = start()
    count = 6000
    requests = b"".join(
        b'{"operation":"P","queue":"a","payload":"%s","priority":5}\nnonsense\n' % b64(b"%d" % number).encode() for number in range(count)
    )
    with connect(broker) as greedy, connect(broker) as other:
        greedy.socket.sendall(requests)
        greedy.socket.shutdown(socket.SHUT_WR)
        assert other.done("L", "none")["payload"] == "0"
        for number in range(count):
            reply = greedy.read()
            assert (reply["operation"], reply["confirmation"]) == ("P", "Y"), f"the reply to publish {number} is {reply}"
            assert greedy.read()["code"] == "bad_request"
        assert greedy.ended()
        assert other.drain("a") == [b"%d" % number for number in range(count)]
