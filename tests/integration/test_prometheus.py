"""A real Prometheus on a real broker: the dashboard's queries find something, and the alerts tell what is wrong, and nothing else."""

from __future__ import annotations

import json
import math
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mariadb
import prometheus_process
from broker_process import Broker
from helpers_server import wait_until
from http_client import request
from mariadb import MariaDb, section
from prometheus_process import Prometheus
from wire import Wire

FILES = Path(__file__).parents[2] / "charts/gmq/files"
PATIENCE = 60.0
CONFIG = {
    "storage": {"type": "filesystem"},
    "ops": {"enabled": True, "port": 0},
    "policies": [
        {"name": "dying", "pattern": "dying", "max_deliveries": 1, "dead_letter": "dead"},
        {"name": "dropping", "pattern": "dropping", "max_deliveries": 1},
        {"name": "full", "pattern": "full", "max_messages": 2},
        {"name": "expiring", "pattern": "expiring", "ttl": 0.01},
    ],
}

pytestmark = [
    pytest.mark.skipif(prometheus_process.MISSING is not None, reason=str(prometheus_process.MISSING)),
    pytest.mark.timeout(300),
]


class Traffic:
    """Clients that use a broker until they are told to stop; with `trouble` also in ways that alerts are for."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._stop = threading.Event()
        self.trouble = threading.Event()
        self.errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with Wire(self._broker.host, self._broker.port) as wire, Wire(self._broker.host, self._broker.port) as waiting:
                waiting.send("S", "nothing", wait=60)
                for queue in ("dying", "dropping", "full"):
                    wire.publish(queue, b"first")
                    wire.take(queue)
                while not self._stop.wait(0.02):
                    self._use(wire)
                    if self.trouble.is_set():
                        self._trouble(wire)
        except BaseException as error:  # noqa: BLE001  # shown by the test
            self.errors.append(error)

    def _use(self, wire: Wire) -> None:
        for _ in range(5):
            wire.publish("orders", b"x" * 100)
        wire.take("orders")
        leased = wire.lease("orders", count=4)
        wire.done("E", receipts=[message["receipt"] for message in leased], lease=60)
        for message in leased:
            wire.done("A", receipt=message["receipt"])
        wire.ask("A", receipt="nonsense")
        wire.publish("expiring", b"x")

    def _trouble(self, wire: Wire) -> None:
        for queue in ("dying", "dropping"):
            wire.publish(queue, b"x")
            for message in wire.lease(queue):
                wire.done("N", receipt=message["receipt"])
        wire.ask("P", "full", payload="")
        wire.done("P", "lonely", payloads=["eA=="] * 10)


@pytest.fixture
def prometheus_on(tmp_path: Path) -> Iterator[Any]:
    """Start a Prometheus on the ops listeners of brokers."""
    started: list[Prometheus] = []

    def start(*brokers: Broker) -> Prometheus:
        folder = tmp_path / "prometheus"
        folder.mkdir()
        prometheus = Prometheus(folder, [broker.ops for broker in brokers])
        started.append(prometheus)
        prometheus.start()
        return prometheus

    yield start
    for prometheus in started:
        prometheus.stop()


def queries(broker: Broker) -> Iterator[tuple[str, str]]:
    """Every query of the dashboard, with what Grafana would put in the place of its variables, and the panel that it is for."""
    for panel in json.loads((FILES / "dashboards/gmq.json").read_text())["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$__rate_interval", "10s").replace("$instance", broker.ops)
            for variable in ("$namespace", "$server", "$queue"):
                expression = expression.replace(variable, ".*")
            yield panel["title"], expression


def shows_nothing(prometheus: Prometheus, expression: str) -> bool:
    return all(math.isnan(float(sample["value"][1])) for sample in prometheus.query(expression))


def test_the_rules_are_good() -> None:
    subprocess.run(["promtool", "check", "rules", FILES / "rules.yaml"], check=True, capture_output=True, timeout=60)
    tests = Path(__file__).parents[1] / "prometheus/rules_test.yaml"
    done = subprocess.run(["promtool", "test", "rules", tests], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_text_is_as_promtool_wants_it(broker: Broker) -> None:
    with Wire(broker.host, broker.port) as wire:
        wire.publish("orders", b"x")
    text = request(broker.http, "GET", "/metrics").body
    done = subprocess.run(["promtool", "check", "metrics"], input=text, check=False, capture_output=True, timeout=60)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


def test_every_panel_shows_something_and_alerts_fire_when_there_is_reason_and_only_then(start_broker: Any, prometheus_on: Any) -> None:
    broker = start_broker(CONFIG)
    traffic = Traffic(broker)
    try:
        prometheus = prometheus_on(broker)
        wait_until(lambda: prometheus.scrapes() >= 12, "there were some scrapes", PATIENCE)
        assert prometheus.alerts() == {}, "all is well"

        traffic.trouble.set()
        for title, expression in queries(broker):
            wait_until(
                lambda expression=expression: not shows_nothing(prometheus, expression), f"{title} shows something: {expression}", PATIENCE
            )
        expected = {"GmqDeadLetters", "GmqMessagesDropped", "GmqQueueWithoutConsumers", "GmqOldestMessageTooOld", "GmqPublishesRefused"}
        wait_until(lambda: expected <= set(prometheus.alerts()), f"these alerts fire: {sorted(expected)}", PATIENCE)
        fired = prometheus.alerts()
        assert set(fired) == expected
        assert fired["GmqQueueWithoutConsumers"]["labels"]["queue"] == "lonely"
        assert fired["GmqDeadLetters"]["labels"]["queue"] == "dying"
        for alert in fired.values():
            assert "error" not in alert["annotations"]["description"], "a template is wrong"
        assert not traffic.errors, traffic.errors
    finally:
        traffic.stop()
    broker.kill()
    wait_until(lambda: {"GmqBrokerDown", "GmqNoBroker"} <= set(prometheus.alerts()), "the broker is missed", PATIENCE)


def test_alerts_tell_of_a_database_that_is_away_and_end_when_it_is_back(tmp_path: Path, start_broker: Any, prometheus_on: Any) -> None:
    if mariadb.MISSING:
        pytest.skip(mariadb.MISSING)
    server = MariaDb(tmp_path / "mariadb")
    server.start()
    try:
        broker = start_broker({**section(server.port, server.create()), "ops": {"enabled": True, "port": 0}})
        with Wire(broker.host, broker.port) as wire:
            wire.publish("orders", b"x")
            assert wire.take("orders") == b"x", "else it would soon be too old"
            prometheus = prometheus_on(broker)
            wait_until(lambda: prometheus.scrapes() >= 6, "there were some scrapes", PATIENCE)
            assert prometheus.alerts() == {}, "all is well"
            server.pause()
            wire.send("P", "orders", payload="")
            expected = {"GmqStorageDown", "GmqBrokerNotReady", "GmqStorageErrors"}
            wait_until(lambda: expected <= set(prometheus.alerts()), f"these alerts fire: {sorted(expected)}", PATIENCE)
            server.resume()
            wait_until(lambda: "GmqStorageDown" not in prometheus.alerts(), "the alert ends", PATIENCE)
    finally:
        server.resume()
        server.kill()
