"""Every operation, on every transport, by every kind of user: what is allowed is what docs/security.md says."""

from __future__ import annotations

import base64
import http.client
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from broker_process import Broker
from gmq.access import RIGHTS
from http_client import Reply, request
from wire import Wire

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
KINDS = [*RIGHTS, "everything", "nothing", "elsewhere"]
"""Users with one right each on the queues `own-*`, with all, with none, and with all of them on other queues."""
WRONG_RECEIPT = "1-1-0123456789abcdef"
_numbers = count()


class Row(NamedTuple):
    """A row of the page's table."""

    operation: str
    tcp: str
    http: str
    right: str


def rows() -> list[Row]:
    table = PAGE.read_text().partition("<!-- rights -->")[2].partition("<!-- /rights -->")[0]
    cells = [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in table.strip().splitlines()[2:]]
    return [Row(*row) for row in cells]


def expected(row: Row, kind: str) -> bool:
    """Whether a kind of user may do it with a queue `own-*`."""
    if kind == "everything" or row.right.startswith("any"):
        return True
    if kind == "elsewhere":
        return "on any queue" in row.right
    return kind == re.split(r"\W", row.right)[0]


@pytest.fixture(scope="module", params=["memory", "filesystem"])
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    users: list[dict[str, Any]] = [
        {"name": right, "password": "pw", "token": f"{right}-token-of-16", "allow": [{"queues": ["own-*"], "rights": [right]}]}
        for right in RIGHTS
    ]
    users += [
        {"name": "everything", "password": "pw", "token": "everything-token"},
        {"name": "nothing", "password": "pw", "token": "nothing-token-of-16", "allow": []},
        {"name": "elsewhere", "password": "pw", "token": "elsewhere-token-16", "allow": [{"queues": ["other-*"]}]},
    ]
    one = Broker(tmp_path_factory.mktemp("rights"), {"users": users, "storage": {"type": request.param}})
    one.start()
    yield one
    one.kill()


@pytest.fixture
def queue(broker: Broker) -> str:
    """A queue with one message, that all the users with a right have it on."""
    name = f"own-{next(_numbers)}"
    with connect(broker, "everything") as wire:
        wire.publish(name, b"x")
    return name


def connect(broker: Broker, user: str) -> Wire:
    wire = Wire(broker.host, broker.port)
    wire.done("H", auth={"user": user, "password": "pw"})
    return wire


def over_http(broker: Broker, user: str, method: str, path: str, body: Any = None, **headers: str) -> Reply:
    token = {kind: f"{kind}-token-of-16" for kind in (*RIGHTS, "nothing")} | {
        "everything": "everything-token", "elsewhere": "elsewhere-token-16",
    }  # fmt: skip
    sent = {"Authorization": f"Bearer {token[user]}", **headers}
    if body is not None:
        sent["Content-Type"] = "application/json"
    return request(broker.http, method, path, None if body is None else json.dumps(body), sent)


@contextmanager
def stream(broker: Broker, user: str, query: str) -> Iterator[Iterator[Any]]:
    """The events that a console of this user gets."""
    connection = http.client.HTTPConnection(broker.http, timeout=20)
    connection.request("GET", f"/events{query}", headers={"Authorization": f"Basic {base64.b64encode(f'{user}:pw'.encode()).decode()}"})
    response = connection.getresponse()
    assert response.status == 200, response.read()
    yield (json.loads(line[6:]) for line in response if line.startswith(b"data: "))
    response.close()
    connection.close()


TCP: dict[str, dict[str, Any]] = {
    "publish": {"payload": ""}, "take from several": {"queues": True}, "acknowledge": {"receipt": WRONG_RECEIPT},
    "put back": {"receipt": WRONG_RECEIPT}, "extend": {"receipt": WRONG_RECEIPT, "lease": 1}, "set the policy": {"policy": {}},
}  # fmt: skip
"""What requests have beside their queue."""
HTTP: dict[str, Any] = {
    "take from several": {"queues": True}, "acknowledge": {"receipts": [WRONG_RECEIPT]}, "put back": {"receipts": [WRONG_RECEIPT]},
    "extend": {"receipts": [WRONG_RECEIPT], "lease": 1}, "create": {}, "set the policy": {}, "move": {},
}  # fmt: skip
"""What bodies have."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", [row for row in rows() if row.tcp], ids=lambda row: row.operation)
def test_over_tcp(broker: Broker, queue: str, row: Row, kind: str) -> None:
    fields = dict(TCP.get(row.operation, {}))
    named: str | None = None if "receipt" in fields or row.operation == "list" else queue
    if fields.get("queues"):
        fields, named = {"queues": [queue]}, None
    with connect(broker, kind) as wire:
        reply = wire.ask(row.tcp.split()[0], named, **fields)
        allowed = reply.get("code") not in {"forbidden", "unauthorized"}
        assert allowed is expected(row, kind), f"{kind}: {row.operation} was {'allowed' if allowed else 'refused'}: {reply}"
        if row.operation == "list":
            seen = queue in [one["queue"] for one in reply["queues"]]
            assert seen is (kind in {"inspect", "everything"}), f"{kind}: the queue is {'listed' if seen else 'hidden'}"
        assert "confirmation" in wire.ask("Q"), "a refusal does not end the connection"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", [row for row in rows() if row.http], ids=lambda row: row.operation)
def test_over_http(broker: Broker, queue: str, row: Row, kind: str) -> None:
    method, path = row.http.split()
    body = HTTP.get(row.operation)
    if row.operation == "take from several":
        body = {"queues": [queue]}
    path = path.replace("{queue}", queue) + ("?limit=1000" if row.operation == "list" else "")
    reply = over_http(broker, kind, method, path, body)
    allowed = reply.status not in {401, 403}
    assert allowed is expected(row, kind), f"{kind}: {row.operation} was {'allowed' if allowed else 'refused'}: {reply}"
    if allowed:
        assert reply.status < 300, f"{kind}: {row.operation} failed otherwise: {reply}"
    else:
        assert (reply.status, reply.json["code"]) == (403, "forbidden")
    if row.operation == "list":
        seen = queue in [one["queue"] for one in reply.json["queues"]]
        assert seen is (kind in {"inspect", "everything"}), f"{kind}: the queue is {'listed' if seen else 'hidden'}"


def test_the_page_has_every_operation(broker: Broker) -> None:
    described = request(broker.http, "GET", "/openapi.json", headers={"Authorization": "Bearer everything-token"}).json
    served = {
        f"{method.upper()} {path}"
        for path, methods in described["paths"].items()
        for method in methods
        if method != "parameters" and path != "/v1"
    }
    assert {row.http for row in rows() if row.http} == served
    assert {row.tcp.split()[0] for row in rows() if row.tcp} == set("PSANELKIQYCDM")


def test_requests_of_several_connections_are_allowed_each_by_itself(broker: Broker, queue: str) -> None:
    """They are served together where they are alike."""
    with connect(broker, "everything") as one, connect(broker, "subscribe") as two, connect(broker, "publish") as three:
        for _ in range(3):
            for wire in (one, two, three):
                wire.send_together(*[("P", queue, {"payload": ""})] * 4)
            assert [one.read()["confirmation"] for _ in range(4)] == ["Y"] * 4
            assert [two.read().get("code") for _ in range(4)] == ["forbidden"] * 4
            assert [three.read()["confirmation"] for _ in range(4)] == ["Y"] * 4


def test_moves_and_dead_letters_need_the_right_to_publish_where_they_go(broker: Broker, queue: str) -> None:
    with connect(broker, "manage") as wire:
        assert wire.refused("M", queue, to="other-1")["code"] == "forbidden"
        assert wire.refused("Y", queue, policy={"dead_letter": "other-1"})["code"] == "forbidden"
    for path, body in (
        (f"/v1/queues/{queue}/policy", {"dead_letter": "other-1"}),
        (f"/v1/queues/{queue}", {"policy": {"dead_letter": "other-1"}}),
    ):
        reply = over_http(broker, "manage", "PUT", path, body)
        assert reply.status == 403, f"PUT {path} lets dead letters into a queue that its user may not publish to: {reply}"
    with connect(broker, "everything") as wire:
        assert wire.done("I", queue)["policy"] == {}, "what was refused was done"
        assert wire.done("M", queue, to="other-1")["count"] == 1


def test_who_may_not_inspect_everything_sees_no_metrics(broker: Broker) -> None:
    assert over_http(broker, "inspect", "GET", "/metrics").status == 403, "they show queues that this user may not inspect"
    assert over_http(broker, "everything", "GET", "/metrics").status == 200


def test_the_console_shows_the_queues_that_its_user_may_inspect(broker: Broker, queue: str) -> None:
    with connect(broker, "everything") as wire:
        wire.publish(f"other-{queue}", b"x")
    for path, kind, status in (
        ("/events", "publish", 403), ("/events", "nothing", 403), (f"/events?queue={queue}", "elsewhere", 403),
        (f"/events?queue={queue}", "publish", 403), ("/events?queue=none", "inspect", 403),
    ):  # fmt: skip
        reply = over_http(broker, kind, "GET", path)
        assert (reply.status, reply.json["code"]) == (status, "forbidden"), f"{kind} sees {path}"
    for kind, seen, hidden in (("inspect", queue, f"other-{queue}"), ("elsewhere", f"other-{queue}", queue)):
        with stream(broker, kind, f"?search={queue}") as events:
            view = next(events)
            names = [row["queue"] for row in view["page"]["rows"]]
            assert seen in names
            assert hidden not in names, f"{kind} sees a queue that it may not inspect"
            listed = over_http(broker, kind, "GET", "/v1/queues").json["total"]
            assert view["sums"]["queues"] == listed, "the sums tell of other queues"
        with stream(broker, kind, f"?queue={seen}") as events:
            assert next(events)["detail"]["row"]["ready"] == 1
    with stream(broker, "everything", f"?search={queue}") as events:
        assert {row["queue"] for row in next(events)["page"]["rows"]} == {queue, f"other-{queue}"}


def test_pages_of_the_list_are_full_of_what_their_user_may_inspect(broker: Broker, queue: str) -> None:
    """Queues in between that are hidden take no place, and are not counted."""
    own = sorted(f"{queue}-{number}" for number in range(7))
    with connect(broker, "everything") as wire:
        for name in own:
            wire.publish(name, b"x")
            wire.publish(f"hidden-{name}", b"x")
    for sort in ("name", "ready"):
        names: list[str] = []
        after = ""
        while True:
            page = over_http(broker, "inspect", "GET", f"/v1/queues?search={queue}-&limit=3&sort={sort}{after}").json
            assert page["total"] == 7
            names += [one["queue"] for one in page["queues"]]
            if page["next"] is None:
                break
            assert len(page["queues"]) == 3, "a page is not full"
            after = f"&after={page['next']}"
        assert names == own


def test_credentials_are_asked_for_on_every_way_in(broker: Broker, queue: str) -> None:
    with Wire(broker.host, broker.port) as wire:
        assert wire.refused("L", queue)["code"] == "unauthorized"
        assert wire.refused("H", auth={"user": "everything", "password": "wrong"})["code"] == "unauthorized"
        assert wire.done("L", queue, auth={"user": "everything", "password": "pw"})["payload"] == "1"
        assert wire.refused("P", queue, payload="", auth={"user": "inspect", "password": "pw"})["code"] == "forbidden"
        assert wire.refused("L", queue)["code"] == "unauthorized", "credentials in a request are for that request"
    for sent in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic " + base64.b64encode(b"everything:wrong").decode()}):
        assert request(broker.http, "GET", "/v1/queues", headers=sent).status == 401, f"{sent} was let in"
    basic = {"Authorization": "Basic " + base64.b64encode(b"everything:pw").decode()}
    assert request(broker.http, "GET", "/v1/queues", headers=basic).status == 200
