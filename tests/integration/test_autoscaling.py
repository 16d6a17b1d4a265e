"""What autoscalers read is there: KEDA's triggers of docs/examples/keda, asked of a real broker and a real Prometheus."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

import prometheus_process
from broker_process import Broker
from gmq.client import BlockingClient
from helpers_server import wait_until
from http_client import Reply, request
from prometheus_process import Prometheus

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "keda"
QUEUE = "jobs"
USER, PASSWORD = "keda", "not guessed"


def objects(file: str) -> dict[str, dict[str, Any]]:
    return {item["kind"]: item for item in yaml.safe_load_all((EXAMPLE / file).read_text())}


def triggers(file: str) -> list[dict[str, str]]:
    return [trigger["metadata"] for trigger in objects(file)["ScaledObject"]["spec"]["triggers"]]


def asked(trigger: dict[str, str], broker: Broker) -> Reply:
    """What KEDA's metrics-api scaler sends, to this broker."""
    assert trigger["authMode"] == "basic"
    credentials = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    return request(broker.http, "GET", urlsplit(trigger["url"]).path, headers={"Authorization": f"Basic {credentials}"})


def figure(trigger: dict[str, str], broker: Broker) -> int:
    """What that scaler makes of the answer: it wants 200, and a number where valueLocation points."""
    reply = asked(trigger, broker)
    assert reply.status == 200, reply
    value = reply.json
    for step in trigger["valueLocation"].split("."):
        value = value[step]
    assert isinstance(value, int), reply.json
    return value


@pytest.fixture
def broker(start_broker: Callable[..., Broker]) -> Broker:
    return start_broker({"storage": {"type": "memory"}, "auth": {"user": USER, "password": PASSWORD}, "ops": {"enabled": True, "port": 0}})


@pytest.fixture
def client(broker: Broker) -> BlockingClient:
    return BlockingClient(broker.address, user=USER, password=PASSWORD)


def test_the_triggers_read_what_waits_and_what_is_being_worked_on(broker: Broker, client: BlockingClient) -> None:
    waiting, working = triggers("scaledobject.yaml")
    with client:
        client.publish_many(QUEUE, [b"job"] * 5)
        client.publish(QUEUE, b"later", delay=600)
        assert (figure(waiting, broker), figure(working, broker)) == (5, 0)
        messages = [client.take(QUEUE, lease=60) for _ in range(2)]
        assert (figure(waiting, broker), figure(working, broker)) == (3, 2)
        for message in messages:
            assert message is not None
            client.acknowledge(message)
        assert (figure(waiting, broker), figure(working, broker)) == (3, 0)


def test_a_queue_that_is_made_beforehand_is_empty_rather_than_unknown(broker: Broker) -> None:
    waiting, _ = triggers("scaledobject.yaml")
    assert asked(waiting, broker).status == 404
    credentials = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
    assert request(broker.http, "PUT", f"/v1/queues/{QUEUE}", "{}", headers).status == 201
    assert figure(waiting, broker) == 0


@pytest.mark.skipif(prometheus_process.MISSING is not None, reason=str(prometheus_process.MISSING))
def test_the_query_tells_what_waits_and_what_is_being_worked_on(broker: Broker, client: BlockingClient, tmp_path: Path) -> None:
    (trigger,) = triggers("prometheus/scaledobject.yaml")
    prometheus = Prometheus(tmp_path, [broker.ops], labels={"namespace": "default", "server": "work"})
    prometheus.start()
    try:
        wait_until(prometheus.scrapes, "Prometheus scraped the broker")
        assert prometheus.query(trigger["query"]) == [], "a queue that there is not has a figure"
        with client:
            client.publish_many(QUEUE, [b"job"] * 5)
            assert client.take(QUEUE, lease=60) is not None
            wait_until(lambda: [sample["value"][1] for sample in prometheus.query(trigger["query"])] == ["5"], "the query gives 5")
    finally:
        prometheus.stop()


@pytest.mark.parametrize("file", ["scaledobject.yaml", "prometheus/scaledobject.yaml"])
def test_the_scaled_object_is_of_the_examples_own_parts(file: str) -> None:
    consumer, server = objects("consumer.yaml")["Deployment"], objects("gmqserver.yaml")["GmqServer"]
    spec = objects(file)["ScaledObject"]["spec"]
    assert spec["scaleTargetRef"]["name"] == consumer["metadata"]["name"]
    assert "replicas" not in consumer["spec"], "applying the Deployment again would undo the autoscaler's work"
    container = consumer["spec"]["template"]["spec"]["containers"][0]
    assert QUEUE in container["command"]
    secret = f"{server['metadata']['name']}-default-user"
    assert {entry["valueFrom"]["secretKeyRef"]["name"] for entry in container["env"] if "valueFrom" in entry} == {secret}
    for trigger in spec["triggers"]:
        metadata = trigger["metadata"]
        if trigger["type"] == "metrics-api":
            assert urlsplit(metadata["url"]).hostname == f"{server['metadata']['name']}.default.svc"
            authentication = objects(file)["TriggerAuthentication"]
            assert authentication["metadata"]["name"] == trigger["authenticationRef"]["name"]
            assert {entry["name"] for entry in authentication["spec"]["secretTargetRef"]} == {secret}
            assert {entry["parameter"] for entry in authentication["spec"]["secretTargetRef"]} == {"username", "password"}
        else:
            assert f'server="{server["metadata"]["name"]}"' in metadata["query"]
            assert f'queue="{QUEUE}"' in metadata["query"]
