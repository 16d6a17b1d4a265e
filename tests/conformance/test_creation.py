"""Queues that are made before anything is published to them: over HTTP, as the wire has no word for it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from broker_process import Broker
from http_client import Reply, request


@pytest.fixture(scope="session")
def transport() -> str:
    """The only way."""
    return "http"


def create(broker: Broker, queue: str, body: dict[str, Any] | None = None) -> Reply:
    return request(broker.http, "PUT", f"/v1/queues/{quote(queue, safe='')}", None if body is None else json.dumps(body))


def info(broker: Broker, queue: str) -> dict[str, Any]:
    found: dict[str, Any] = request(broker.http, "GET", f"/v1/queues/{quote(queue, safe='')}").json
    return found


def test_a_queue_is_created_once(storage_broker: Broker, queue: str) -> None:
    first = create(storage_broker, queue)
    assert (first.status, first.headers["Location"]) == (201, f"/v1/queues/{queue}")
    assert first.json == info(storage_broker, queue)
    assert {name: first.json[name] for name in ("queue", "ready", "policy")} == {"queue": queue, "ready": 0, "policy": {}}
    assert create(storage_broker, queue).status == 200
    assert create(storage_broker, queue, {}).status == 200


def test_a_queue_is_created_with_a_policy_and_a_repeat_replaces_it(storage_broker: Broker, queue: str) -> None:
    reply = create(storage_broker, queue, {"policy": {"max_messages": 1}})
    assert (reply.status, reply.json["policy"]) == (201, {"max_messages": 1})
    assert request(storage_broker.http, "POST", f"/v1/queues/{queue}/messages", b"x").status == 201
    assert request(storage_broker.http, "POST", f"/v1/queues/{queue}/messages", b"x").status == 429, "the policy is not heeded"
    assert create(storage_broker, queue).json["policy"] == {"max_messages": 1}, "without a policy the old one stays"
    reply = create(storage_broker, queue, {"policy": {"ttl": 60}})
    assert (reply.status, reply.json["policy"], reply.json["ready"]) == (200, {"ttl": 60}, 1)


def test_a_new_queue_has_the_configured_policy_of_its_name(storage_broker: Broker, queue: str) -> None:
    assert create(storage_broker, f"small-{queue}").json["policy"] == {"max_messages": 3}
    assert create(storage_broker, f"small-{queue}-own", {"policy": {"lease": 5}}).json["policy"] == {"lease": 5}


def test_a_bad_policy_creates_nothing(storage_broker: Broker, queue: str) -> None:
    reply = create(storage_broker, queue, {"policy": {"dead_letter": queue}})
    assert (reply.status, reply.json["field"]) == (400, "policy.dead_letter")
    assert create(storage_broker, queue, {"policy": {"max_deliveries": 0}}).json["field"] == "policy.max_deliveries"
    assert request(storage_broker.http, "GET", f"/v1/queues/{queue}").status == 404


def test_ids_go_on_where_a_queue_was_deleted_and_created_again(storage_broker: Broker, queue: str) -> None:
    path = f"/v1/queues/{queue}"
    create(storage_broker, queue)
    first = request(storage_broker.http, "POST", f"{path}/messages", b"x").json["id"]
    assert request(storage_broker.http, "DELETE", path).json == {"count": 1}
    assert create(storage_broker, queue).status == 201
    assert request(storage_broker.http, "POST", f"{path}/messages", b"x").json["id"] > first, "an id was used again"
