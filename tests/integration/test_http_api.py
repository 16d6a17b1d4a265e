"""The HTTP API beyond what it shares with the wire: bodies and header fields, paging, status codes, streams, clients that go away."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any
from urllib.parse import quote

import pytest

from broker_process import Broker
from helpers_server import wait_until
from http_client import Reply, request

JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}
ACCEPT_JSON = {"Accept": "application/json"}
MESSAGE_SIZE = 65536
_numbers = count()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker for tests that use queues of their own."""
    broker = Broker(tmp_path_factory.mktemp("api"), {"storage": {"type": "memory"}, "limits": {"message_size": MESSAGE_SIZE}})
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def path() -> str:
    """The path of a queue that no other test uses."""
    return f"/v1/queues/q{next(_numbers)}"


def post(broker: Broker, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
    """POST, a body that is neither bytes nor text as JSON."""
    if body is not None and not isinstance(body, bytes | str):
        return request(broker.http, "POST", path, json.dumps(body), JSON | (headers or {}))
    return request(broker.http, "POST", path, body, headers)


def info(broker: Broker, path: str) -> dict[str, Any]:
    found: dict[str, Any] = request(broker.http, "GET", path).json
    return found


def refused(reply: Reply, status: int, field: str | None = None) -> dict[str, Any]:
    """The problem of a reply that has to be a refusal."""
    assert (reply.status, reply.headers["Content-Type"]) == (status, "application/problem+json"), reply
    problem: dict[str, Any] = reply.json
    assert problem.get("field") == field, problem
    return problem


def test_an_unknown_field_is_named_with_those_that_there_are(api: Broker, path: str) -> None:
    problem = refused(request(api.http, "PUT", path, json.dumps({"policy": {"ttk": 2}}), JSON), 400, "policy.ttk")
    allowed = "max_messages, max_deliveries, dead_letter, ttl, lease, expires"
    assert problem["detail"] == f"policy.ttk is unknown; policy may have {allowed}"
    problem = refused(post(api, f"{path}/messages", {"messages": [{"text": "a"}, {"txet": "b"}]}), 400, "messages[1].txet")
    assert problem["detail"].startswith("messages[1].txet is unknown; messages[1] may have payload, text"), problem


@pytest.mark.parametrize("name", ["x - at `$y", "x` - at `$.messages[0]", "`", ""])
def test_an_unknown_field_of_any_name_is_refused(api: Broker, path: str, name: str) -> None:
    reply = post(api, f"{path}/messages", {name: 1})
    assert (reply.status, "unknown" in reply.json["detail"]) == (400, True), reply


# One message


def test_a_raw_body_is_one_message_and_comes_back_as_it_was(api: Broker, path: str) -> None:
    payload = bytes(range(256))
    number = post(api, f"{path}/messages", payload, {"Content-Type": "image/png"}).json["id"]
    reply = post(api, f"{path}/take")
    assert (reply.status, reply.body, reply.headers["Content-Type"]) == (200, payload, "application/octet-stream")
    assert (reply.headers["Gmq-Id"], reply.headers["Gmq-Deliveries"], reply.headers["Gmq-Receipt"]) == (str(number), "0", None)
    empty = post(api, f"{path}/take")
    assert (empty.status, empty.body) == (204, b"")


def test_header_fields_and_the_query_carry_what_a_message_may_have(api: Broker, path: str) -> None:
    headers = {"Gmq-Priority": "7", "Gmq-Header-Kind": "caf%C3%A9 100%25", "Idempotency-Key": '"one"'}
    first = post(api, f"{path}/messages?ttl=60", b"x", headers).json["id"]
    assert post(api, f"{path}/messages", b"x", {"Idempotency-Key": "one"}).json["id"] == first, "the quotes do not belong to the key"
    assert refused(post(api, f"{path}/messages", b"y", {"Idempotency-Key": "one"}), 409)["code"] == "key_conflict"
    (message,) = post(api, f"{path}/take?lease=true", headers=ACCEPT_JSON).json["messages"]
    assert (message["priority"], message["headers"], message["deliveries"]) == (7, {"kind": "café 100%"}, 1)
    assert post(api, "/v1/put-back", {"receipt": message["receipt"]}).json == {"count": 1, "stale": []}
    reply = post(api, f"{path}/take?lease=30")
    assert (reply.headers["Gmq-Header-kind"], reply.headers["Gmq-Priority"]) == ("caf%C3%A9 100%25", "7")
    assert post(api, "/v1/acknowledge", {"receipts": [reply.headers["Gmq-Receipt"]]}).json == {"count": 1, "stale": []}
    assert refused(post(api, "/v1/acknowledge", {"receipt": reply.headers["Gmq-Receipt"]}), 409)["code"] == "stale_receipt"


def test_no_header_of_a_message_can_break_a_reply(api: Broker, path: str) -> None:
    wild = {"a b\r\nSet-Cookie": "x\r\n\r\n<html>", "ü": "\x00\u2028", "": "empty"}
    post(api, f"{path}/messages", {"messages": [{"text": "x"}], "headers": wild})
    reply = post(api, f"{path}/take")
    assert (reply.status, reply.body, reply.headers["Set-Cookie"]) == (200, b"x", None)
    assert reply.headers["Gmq-Header-a%20b%0D%0ASet-Cookie"] == "x%0D%0A%0D%0A<html>"


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"Gmq-Priority": "10"}, "priority"),
        ({"Gmq-Priority": "high"}, "priority"),
        ({"Gmq-Delay": "NaN"}, "delay"),
        ({"Gmq-Ttl": "0"}, "ttl"),
        ({"Gmq-Colour": "red"}, "Gmq-Colour"),
        ({"Gmq-Header-a": "50%"}, "Gmq-Header-a"),
        ({"Gmq-Header-a": "%FF"}, "Gmq-Header-a"),
        ({"Gmq-Header-a": "x" * 4096}, "headers"),
        ({"Idempotency-Key": ""}, "key"),
    ],
)
def test_a_wrong_header_field_is_named(api: Broker, path: str, headers: dict[str, str], field: str) -> None:
    refused(post(api, f"{path}/messages", b"x", headers), 400, field)
    refused(request(api.http, "GET", path), 404)


@pytest.mark.parametrize("query", ["priority=10", "priority=1&priority=2", "delay=-1", "delay=1e999", "ttl=true", "size=1", "delay="])
def test_a_wrong_query_is_named(api: Broker, path: str, query: str) -> None:
    refused(post(api, f"{path}/messages?{query}", b"x"), 400, query.partition("=")[0])


@pytest.mark.parametrize("name", ["a/b", "%", "a b?#&+", "{x}", "ünïcödé", "..a", "a%2Fb", "x" * 255])
def test_any_queue_name_stands_in_a_path(api: Broker, name: str) -> None:
    path = f"/v1/queues/{quote(name, safe='')}"
    assert post(api, f"{path}/messages", b"x").status == 201
    assert info(api, path)["queue"] == name
    assert post(api, f"{path}/take").headers["Gmq-Queue"] == quote(name, safe="".join(map(chr, range(32, 127))).replace("%", ""))


@pytest.mark.parametrize("name", ["%FF", "a%00", "%2E%2E", ".", "x" * 256, "%C3%BC" * 128])
def test_what_cannot_name_a_queue_is_refused(api: Broker, name: str) -> None:
    refused(post(api, f"/v1/queues/{name}/messages", b"x"), 400, "queue")


def test_a_message_above_the_limit_is_refused_whether_its_length_is_told_or_not(api: Broker, path: str) -> None:
    assert post(api, f"{path}/messages", b"x" * MESSAGE_SIZE).status == 201
    assert str(MESSAGE_SIZE) in refused(post(api, f"{path}/messages", b"x" * (MESSAGE_SIZE + 1)), 413)["detail"]
    host, _, port = api.http.rpartition(":")
    with socket.create_connection((host, int(port)), 20) as connection:
        connection.sendall(f"POST {path}/messages HTTP/1.1\r\nHost: {api.http}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
        connection.sendall(chunk * 5)  # and no end
        assert connection.recv(12) == b"HTTP/1.1 413"
    assert info(api, path)["ready"] == 1


def test_malformed_chunks_are_a_bad_request(api: Broker, path: str) -> None:
    host, _, port = api.http.rpartition(":")
    with socket.create_connection((host, int(port)), 20) as connection:
        head = f"POST {path}/messages HTTP/1.1\r\nHost: {api.http}\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode() + b"zz\r\nnonsense\r\n")
        assert connection.recv(12).split()[1] == b"400"
    refused(request(api.http, "GET", path), 404)


# Batches and streams


def test_a_batch_is_stored_whole(api: Broker, path: str) -> None:
    batch = {"messages": [{"text": "ü", "key": "a"}, {"payload": "AAE=", "key": "b"}], "priority": 9, "headers": {"Kind": "x"}}
    ids = post(api, f"{path}/messages", batch).json["ids"]
    assert post(api, f"{path}/messages", batch).json["ids"] == ids
    messages = post(api, f"{path}/take?count=10", headers=ACCEPT_JSON).json["messages"]
    assert [base64.b64decode(message["payload"]) for message in messages] == ["ü".encode(), b"\0\1"]
    assert [(message["id"], message["priority"], message["headers"]) for message in messages] == [(one, 9, {"Kind": "x"}) for one in ids]


@pytest.mark.parametrize(
    ("batch", "field"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"text": ""}] * 1001}, "messages"),
        ({}, "messages"),
        ({"messages": [{}]}, "messages[0]"),
        ({"messages": [{"text": "a"}, {"text": "a", "payload": ""}]}, "messages[1]"),
        ({"messages": [{"text": "a", "key": "k"}, {"text": "b"}]}, "messages[1].key"),
        ({"messages": [{"payload": "YQ="}]}, "messages[0].payload"),
        ({"messages": [{"payload": "YR=="}]}, "payload"),
        ({"messages": [{"text": "a"}], "priority": -1}, "priority"),
        ({"messages": [{"text": "a"}], "colour": "red"}, "colour"),
        ({"messages": [{"text": "a"}], "delay": 2, "ttl": 1}, "ttl"),
    ],
)
def test_a_wrong_batch_stores_nothing_and_its_field_is_named(api: Broker, path: str, batch: dict[str, Any], field: str) -> None:
    refused(post(api, f"{path}/messages", batch), 400, field)
    refused(request(api.http, "GET", path), 404)


def test_a_batch_with_a_message_above_the_limit_is_too_large(api: Broker, path: str) -> None:
    refused(post(api, f"{path}/messages", {"messages": [{"text": "a"}, {"text": "x" * (MESSAGE_SIZE + 1)}]}), 413)
    refused(request(api.http, "GET", path), 404)


def test_a_stream_of_lines_is_stored_with_what_each_line_says(api: Broker, path: str) -> None:
    lines = [{"text": str(number)} for number in range(2500)]
    lines[5] = {"text": "urgent", "priority": 9, "headers": {"a": "b"}}
    lines[6] = {"payload": base64.b64encode(b"6").decode(), "key": "k"}
    body = "\n".join(map(json.dumps, lines)) + "\n\n"
    reply = post(api, f"{path}/messages?priority=3", body, NDJSON)
    assert (reply.status, reply.json) == (201, {"count": 2500})
    taken: list[dict[str, Any]] = []
    while messages := post(api, f"{path}/take?count=1000", headers=ACCEPT_JSON).json["messages"]:
        taken += messages
    assert (base64.b64decode(taken[0]["payload"]), taken[0]["priority"], taken[0]["headers"]) == (b"urgent", 9, {"a": "b"})
    assert [int(base64.b64decode(message["payload"])) for message in taken[1:]] == [number for number in range(2500) if number != 5]
    assert {message["priority"] for message in taken[1:]} == {3}


@pytest.mark.parametrize(
    ("line", "status", "field"),
    [
        ('{"text": 5}', 400, "text"),
        ("{", 400, None),
        ('{"text": "a", "priority": 17}', 400, "priority"),
        ('{"payload": "YR=="}', 400, "payload"),
        (json.dumps({"text": "x" * (MESSAGE_SIZE + 1)}), 413, None),
        (json.dumps({"text": "x" * (4 * MESSAGE_SIZE)}), 413, None),
    ],
)
def test_an_error_in_a_stream_tells_its_line_and_what_was_stored(api: Broker, path: str, line: str, status: int, field: str | None) -> None:
    body = "".join(f'{{"text":"{number}"}}\n' for number in range(1500)) + f"\n{line}\n" + '{"text":"never"}\n'
    problem = refused(post(api, f"{path}/messages", body, NDJSON), status, field)
    assert (problem["line"], problem["stored"]) == (1502, 1000)
    assert info(api, path)["ready"] == 1000


def test_a_stream_into_a_full_queue_tells_where_it_ended(api: Broker, path: str) -> None:
    request(api.http, "PUT", path, '{"policy": {"max_messages": 1200}}')
    problem = refused(post(api, f"{path}/messages", '{"text":"x"}\n' * 3000, NDJSON), 429)
    assert (problem["code"], problem["line"], problem["stored"]) == ("queue_full", 1001, 1000)


def test_an_empty_stream_stores_nothing(api: Broker, path: str) -> None:
    reply = post(api, f"{path}/messages", b"\n \n", NDJSON)
    assert (reply.status, reply.json) == (200, {"count": 0})


# Takes


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "application/octet-stream"),
        ("*/*", "application/octet-stream"),
        ("text/html,*/*;q=0.8", "application/octet-stream"),
        ("application/json", "application/json"),
        ("application/json, */*;q=0.1", "application/json"),
        ("application/json;q=0.1, application/octet-stream", "application/octet-stream"),
        ("application/json;q=0, */*", "application/octet-stream"),
    ],
)
def test_accept_chooses_how_a_message_comes(api: Broker, path: str, accept: str | None, kind: str) -> None:
    post(api, f"{path}/messages", b"x")
    assert post(api, f"{path}/take", headers={} if accept is None else {"Accept": accept}).headers["Content-Type"] == kind


def test_several_messages_come_as_json(api: Broker, path: str) -> None:
    post(api, f"{path}/messages", {"messages": [{"text": "a"}, {"text": "b"}]})
    assert post(api, f"{path}/take?count=2").json["count"] == 2


def test_a_whole_number_may_have_a_fraction_of_zero(api: Broker, path: str) -> None:
    assert post(api, f"{path}/messages?priority=6.0", b"a").status == 201
    assert post(api, f"{path}/messages", {"messages": [{"payload": "YQ=="}], "priority": 7.0}).status == 201
    messages = post(api, f"{path}/take?count=2.0").json["messages"]
    assert [(message["priority"], message["payload"]) for message in messages] == [(7, "YQ=="), (6, "YQ==")]
    refused(post(api, f"{path}/messages", {"messages": [{"payload": "YQ=="}], "priority": 7.5}), 400, "priority")


@pytest.mark.parametrize(
    "rest",
    [
        b"", b'"x"', b'"messages":[{"text":"x"}]', b'"ttl":' + b"9" * 5000 + b"}", b'"ttl":' + b"[" * 60_000,
        b'"messages":[{"text":"\xff"}]}',
        b'"messages":[{"text":"\\ud800"}]}', b'"messages":[{"text":"x","key":"\\udfff"}]}', b'"ttl":NaN}',
    ],
    ids=["nothing", "no member", "no end", "digits", "depth", "bytes", "surrogate", "surrogate in a key", "NaN"],
)  # fmt: skip
def test_what_is_no_json_behind_a_whole_number_with_a_fraction_is_refused(api: Broker, path: str, rest: bytes) -> None:
    reply = post(api, f"{path}/messages", b'{"priority":4.0,' + rest, JSON)
    assert (reply.status, reply.json["code"]) == (400, "bad_request"), reply
    assert request(api.http, "GET", path).status == 404, "what was refused was published"


def test_a_key_for_a_whole_batch_or_stream_makes_its_repeat_harmless(api: Broker, path: str) -> None:
    key = {"Idempotency-Key": "k"}
    ids = post(api, f"{path}/messages", {"messages": [{"text": "a"}, {"text": "b"}]}, key).json["ids"]
    assert post(api, f"{path}/messages", {"messages": [{"text": "a"}, {"text": "b"}]}, key).json["ids"] == ids
    assert refused(post(api, f"{path}/messages", {"messages": [{"text": "a"}, {"text": "c"}]}, key), 409)["code"] == "key_conflict"
    lines = "".join(f'{{"text":"{number}"}}\n' for number in range(1200))
    for _ in range(2):
        assert post(api, f"{path}-stream/messages", lines, NDJSON | key).json == {"count": 1200}
    assert info(api, f"{path}-stream")["ready"] == 1200
    refused(post(api, f"{path}/messages", {"messages": [{"text": "a", "key": "own"}]}, key), 400, "Idempotency-Key")
    for empty in ("", '""'):  # would make all who send it repeat each other
        none = {"Idempotency-Key": empty}
        refused(post(api, f"{path}-none/messages", {"messages": [{"text": "a"}]}, none), 400, "key")
        refused(post(api, f"{path}-none/messages", lines, NDJSON | none), 400, "key")


def test_a_take_that_cannot_be_answered_takes_nothing(api: Broker, path: str) -> None:
    post(api, f"{path}/messages", b"x")
    refused(post(api, f"{path}/take", headers={"Accept": "text/plain"}), 406)
    refused(post(api, f"{path}/take?count=2", headers={"Accept": "application/octet-stream"}), 406)
    assert info(api, path)["ready"] == 1


def test_the_first_of_several_queues_that_has_a_message_serves(api: Broker, path: str) -> None:
    post(api, f"{path}-b/messages", b"x")
    name = path.rpartition("/")[2]
    reply = post(api, "/v1/take", {"queues": [f"{name}-a", f"{name}-b"], "wait": 1})
    assert (reply.body, reply.headers["Gmq-Queue"]) == (b"x", f"{name}-b")
    refused(post(api, "/v1/take", {"queues": []}), 400, "queues")
    refused(post(api, "/v1/take", {"queues": ["a"] * 101}), 400, "queues")


def waiting(broker: Broker, path: str, query: str = "wait=30") -> socket.socket:
    """A connection that waits for a message."""
    host, _, port = broker.http.rpartition(":")
    connection = socket.create_connection((host, int(port)), 30)
    head = f"POST {path}/take?{query} HTTP/1.1\r\nHost: {broker.http}\r\nContent-Length: 0\r\n\r\n"
    # The first answer tells that the broker serves this connection; the second request follows it on the way.
    connection.sendall(f"GET /v1 HTTP/1.1\r\nHost: {broker.http}\r\n\r\n".encode())
    connection.recv(65536)
    connection.sendall(head.encode())
    return connection


def test_a_client_that_leaves_a_long_poll_takes_nothing_along(api: Broker, path: str) -> None:
    for _ in range(5):
        waiting(api, path).close()
    with waiting(api, path) as last:
        post(api, f"{path}/messages", b"x")
        assert last.recv(65536).endswith(b"x"), "somebody who is gone took the message"


def test_a_client_that_leaves_in_the_middle_of_a_body_publishes_nothing(api: Broker, path: str) -> None:
    host, _, port = api.http.rpartition(":")
    with socket.create_connection((host, int(port)), 20) as connection:
        connection.sendall(f"POST {path}/messages HTTP/1.1\r\nHost: {api.http}\r\nContent-Length: 10\r\n\r\nhalf".encode())
    with socket.create_connection((host, int(port)), 20) as connection:
        head = f"POST {path}/messages HTTP/1.1\r\nHost: {api.http}\r\nContent-Type: application/x-ndjson\r\nContent-Length: 99999\r\n\r\n"
        connection.sendall(head.encode() + b'{"text":"a"}\n{"te')
    assert post(api, f"{path}-other/messages", b"x").status == 201
    refused(request(api.http, "GET", path), 404)
    assert b"request failed" not in api.log.read_bytes(), "a client that goes away is no failure of the broker"


# Resources


def test_the_list_comes_in_pages(start_broker: Callable[..., Broker]) -> None:
    broker = start_broker({"storage": {"type": "memory"}})
    names = [f"q{number:02}" for number in range(25)]
    for place, name in enumerate(names):
        post(broker, f"/v1/queues/{name}/messages", {"messages": [{"text": "x"}] * (place % 7 + 1)})
    for sort in ("name", "ready", "bytes"):
        found: list[dict[str, Any]] = []
        query = f"limit=10&sort={sort}"
        after = ""
        while True:
            page = request(broker.http, "GET", f"/v1/queues?{query}{after}").json
            assert page["total"] == 25
            found += page["queues"]
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
        assert sorted(queue["queue"] for queue in found) == names
        keys = [queue["queue"] if sort == "name" else -queue[sort] for queue in found]
        assert keys == sorted(keys), f"the list is not sorted by {sort}"
    found = request(broker.http, "GET", "/v1/queues?search=Q1&limit=3").json
    assert ([queue["queue"] for queue in found["queues"]], found["next"], found["total"]) == (["q10", "q11", "q12"], "q12", 10)
    assert request(broker.http, "GET", "/v1/queues?after=q23x").json["queues"][0]["queue"] == "q24"
    refused(request(broker.http, "GET", "/v1/queues?limit=1001"), 400, "limit")
    refused(request(broker.http, "GET", "/v1/queues?sort=colour"), 400, "sort")
    refused(request(broker.http, "GET", "/v1/queues?sort=ready&after=gone"), 404, "after")


def test_methods_mean_what_they_say(api: Broker, path: str) -> None:
    post(api, f"{path}/messages", b"x")
    for where in ("/v1", "/v1/queues", path, f"{path}/messages"):
        head, get = (request(api.http, method, where) for method in ("HEAD", "GET"))
        assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(get.body))), where
    for where, allowed in ((path, "DELETE, GET, HEAD, OPTIONS, PUT"), (f"{path}/take", "OPTIONS, POST"), ("/v1/take", "OPTIONS, POST")):
        options = request(api.http, "OPTIONS", where)
        assert (options.status, options.headers["Allow"]) == (204, allowed)
        refused(request(api.http, "PATCH", where), 405)
        assert request(api.http, "PATCH", where).headers["Allow"] == allowed
    refused(request(api.http, "HEAD", f"{path}/take")._replace(body=b"{}"), 405)
    refused(request(api.http, "GET", "/v1/nothing"), 404)


def test_bodies_of_another_kind_are_refused(api: Broker, path: str) -> None:
    refused(post(api, "/v1/acknowledge", b'{"receipts":["a"]}', {"Content-Type": "text/plain"}), 415)
    refused(post(api, f"{path}/messages", b"{}", {"Content-Type": "application/json; charset=utf-16"}), 415)
    refused(post(api, "/v1/acknowledge", {"receipts": ["x" * 2_000_000]}), 413)
    refused(post(api, "/v1/extend", {"receipts": ["a"]}), 400, "lease")
    refused(post(api, "/v1/extend", {"receipts": ["a"], "lease": False}), 400, "lease")
    refused(post(api, "/v1/put-back", {}), 400)
    assert post(api, "/v1/acknowledge", {"receipts": ["nonsense"]}).json == {"count": 0, "stale": ["nonsense"]}


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Accept": "text/\xff"}, 406), ({"Content-Type": "text/\xff"}, 415), ({"Content-Type": "application/json; charset=\xff"}, 415)],
)
def test_a_header_field_that_is_not_utf8_is_refused_as_any_other(api: Broker, headers: dict[str, str], status: int) -> None:
    reply = post(api, "/v1/take", b'{"queues":["a"]}', headers)
    assert "\\udcff" in refused(reply, status)["detail"], reply


def test_about_tells_the_limits(api: Broker) -> None:
    about = request(api.http, "GET", "/v1").json
    assert about["limits"]["message_size"] == MESSAGE_SIZE
    assert about["version"]


def test_a_broker_that_drains_ends_long_polls(start_broker: Callable[..., Broker]) -> None:
    broker = start_broker({"storage": {"type": "memory"}})
    with waiting(broker, "/v1/queues/q") as connection:
        # A connection that was begun later is served: so the wait has begun.
        wait_until(lambda: request(broker.http, "GET", "/v1/queues").status == 200, "the broker serves")
        assert broker.stop() == 0
        assert connection.recv(12) == b"HTTP/1.1 204"
