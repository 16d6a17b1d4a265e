"""The console's files and its stream, as a browser asks for them."""

from __future__ import annotations

import gzip
import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from broker_process import Broker
from http_client import request
from wire import Wire, b64

MOST = 100
LATEST = 2.0
"""Seconds within which an event has to come."""


class Stream:
    """An open stream of events."""

    def __init__(self, broker: Broker, query: str = "", **headers: str) -> None:
        self.connection = http.client.HTTPConnection(broker.http, timeout=20)
        self.connection.request("GET", f"/events{query}", headers=headers)
        self.response = self.connection.getresponse()

    def event(self) -> Any:
        """The next one, None at the end."""
        while line := self.response.readline():
            if line.startswith(b"data: "):
                return json.loads(line[6:])
        return None

    def until(self, condition: Callable[[Any], bool]) -> Any:
        """The first event that it is true of."""
        deadline = time.monotonic() + LATEST
        while not condition(event := self.event()):
            assert time.monotonic() < deadline, f"within {LATEST} s no event was as expected; the last is {event}"
        return event

    def close(self) -> None:
        self.response.close()
        self.connection.close()


@contextmanager
def stream(broker: Broker, query: str = "", **headers: str) -> Iterator[Stream]:
    opened = Stream(broker, query, **headers)
    yield opened
    opened.close()


def test_the_page_and_its_files_come_under_a_strict_policy(broker: Broker) -> None:
    page = request(broker.http, "GET", "/")
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = page.headers["Content-Security-Policy"].split("; ")
    for rule in (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ):
        assert rule in policy, f"{rule} is not in the policy"
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    for path, kind in (("js/app.js", "text/javascript"), ("style.css", "text/css"), ("icons/logo.svg", "image/svg+xml")):
        reply = request(broker.http, "GET", f"/static/{path}")
        assert (reply.status, reply.headers["Content-Type"]) == (200, f"{kind}; charset=utf-8"), path
        assert reply.headers["X-Content-Type-Options"] == "nosniff"


def test_a_file_that_the_browser_has_is_not_sent_again(broker: Broker) -> None:
    plain = request(broker.http, "GET", "/static/js/app.js")
    packed = request(broker.http, "GET", "/static/js/app.js", headers={"Accept-Encoding": "gzip, deflate"})
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Vary"] == "Accept-Encoding"
    assert packed.headers["ETag"] != plain.headers["ETag"]
    for tag in (plain.headers["ETag"], f'"other", {plain.headers["ETag"]}', f"W/{plain.headers['ETag']}"):
        again = request(broker.http, "GET", "/static/js/app.js", headers={"If-None-Match": tag})
        assert (again.status, again.body) == (304, b""), tag
    assert request(broker.http, "GET", "/static/js/app.js", headers={"If-None-Match": '"another"'}).status == 200


def test_what_is_no_file_of_the_page_is_not_found(broker: Broker) -> None:
    for path in ("/static/", "/static/none.js", "/static/../console.py", "/static/%2e%2e/console.py", "/static/vendor/uplot/VENDORED"):
        assert request(broker.http, "GET", path).status == 404, path


def test_events_tell_of_a_page_of_queues_and_of_one_queue(broker: Broker) -> None:
    with Wire(broker.host, broker.port) as wire, stream(broker, "?search=ORD&sort=-ready") as many, stream(broker, "?queue=a%2Fb") as one:
        assert one.until(lambda event: event["broker"]["storage"] == "filesystem")["gone"]
        wire.done("P", "orders", payloads=[b64(b"x")] * 3)
        wire.done("P", "other", payload=b64(b"x"))
        event = many.until(lambda event: event["sums"]["queues"] == 2)
        assert [(row["queue"], row["ready"]) for row in event["page"]["rows"]] == [("orders", 3)]
        assert event["sums"]["ready"] == 4
        wire.done("P", "a/b", payload=b64(b"x"), headers={"k": "v"})
        detail = one.until(lambda event: "detail" in event)["detail"]
        assert (detail["row"]["ready"], detail["totals"]["published"]) == (1, 1)


def test_a_query_that_means_nothing_is_refused(broker: Broker) -> None:
    reply = request(broker.http, "GET", "/events?sort=colour")
    assert reply.status == 400
    assert "sort is 'colour'; it may be name, ready" in reply.json["detail"]


def test_there_is_a_limit_of_viewers_and_whoever_goes_makes_room(broker: Broker) -> None:
    opened = [Stream(broker) for _ in range(MOST)]
    for one in opened:
        assert one.event() is not None
    assert request(broker.http, "GET", "/events").status == 429
    counted = request(broker.http, "GET", "/metrics").body.decode()
    assert 'gmq_limit_refusals_total{limit="consoles",transport="http"} 1.0' in counted
    for one in opened:
        one.close()
    deadline = time.monotonic() + LATEST
    while True:
        another = Stream(broker)
        if another.response.status == 200:
            break
        another.close()
        assert time.monotonic() < deadline, "those who went made no room"
    assert another.event() is not None
    another.close()


def test_streams_end_when_the_broker_stops(broker: Broker) -> None:
    with stream(broker) as one:
        assert one.event() is not None
        began = time.monotonic()
        assert broker.stop() == 0
        took = time.monotonic() - began
        while one.event() is not None:
            pass
    assert took < 5, f"the broker waited {took:.1f} s for a viewer"


def test_a_stream_ends_with_the_session_that_it_was_opened_in(start_broker: Callable[..., Broker]) -> None:
    broker = start_broker({"storage": {"type": "memory"}, "auth": {"user": "ann", "password": "secret"}})

    def log_in() -> str:
        reply = request(
            broker.http, "POST", "/login", json.dumps({"user": "ann", "password": "secret"}), {"Content-Type": "application/json"}
        )
        return str(reply.headers["Set-Cookie"]).partition(";")[0]

    cookie, other = log_in(), log_in()
    with stream(broker, Cookie=cookie) as ours, stream(broker, Cookie=cookie) as another_tab, stream(broker, Cookie=other) as somebody_else:
        for one in (ours, another_tab, somebody_else):
            assert one.event()["broker"], "a page of the session sees the broker"
        assert request(broker.http, "POST", "/logout", headers={"Cookie": cookie}).status == 204
        for one in (ours, another_tab):
            deadline = time.monotonic() + LATEST
            while one.event() is not None:
                assert time.monotonic() < deadline, "whoever logged out goes on seeing the broker"
        for _ in range(3):
            assert somebody_else.event()["broker"], "another session of the user goes on"
