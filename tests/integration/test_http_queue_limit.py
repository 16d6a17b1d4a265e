"""The limit of queues, where queues are created over HTTP; and that they are there after a restart."""

from __future__ import annotations

from collections.abc import Callable

from broker_process import Broker
from http_client import request


def test_the_limit_of_queues_refuses_one_more(start_broker: Callable[..., Broker]) -> None:
    broker = start_broker({"storage": {"type": "memory"}, "limits": {"queues": 2}})
    assert [request(broker.http, "PUT", f"/v1/queues/{name}").status for name in "aba"] == [201, 201, 200]
    reply = request(broker.http, "PUT", "/v1/queues/c")
    assert (reply.status, reply.json["code"]) == (429, "limit")
    assert reply.headers["Retry-After"]
    assert request(broker.http, "DELETE", "/v1/queues/a").status == 200
    assert request(broker.http, "PUT", "/v1/queues/c").status == 201


def test_a_created_queue_is_there_after_the_broker_was_killed(start_broker: Callable[..., Broker]) -> None:
    broker = start_broker()
    assert request(broker.http, "PUT", "/v1/queues/kept", '{"policy": {"lease": 7}}').status == 201
    broker.kill()
    broker.start()
    assert request(broker.http, "GET", "/v1/queues/kept").json["policy"] == {"lease": 7}
