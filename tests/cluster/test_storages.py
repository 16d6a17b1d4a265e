"""A GmqServer of each storage becomes a broker that serves clients inside the cluster and outside."""

from __future__ import annotations

import base64
import json
import os
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import mariadb
from cluster import database
from cluster.database import ReachableMariaDb
from cluster.kubectl import Kubectl
from cluster.servers import FILESYSTEM, MEMORY, address, credentials, gmq_server, gmqclient, pods, ready
from gmq.client import BlockingClient

PAYLOAD = "hello from a pod"


def exchange(kubectl: Kubectl, client: str, name: str) -> None:
    """Publish in the cluster and take from outside through the Service, and the other way round; look over HTTP."""
    user, password = credentials(kubectl, name)
    login = ("--user", user, "--password", password)
    host = address(kubectl, name)
    gmqclient(kubectl, client, host, "publish", *login, "greetings", PAYLOAD)
    with kubectl.forwarded(f"service/{name}", 4567) as port, BlockingClient(f"127.0.0.1:{port}", user=user, password=password) as outside:
        message = outside.take("greetings")
        assert message is not None, f"{name}: what was published in the cluster is not there outside"
        assert message.payload == PAYLOAD.encode()
        outside.publish("greetings", b"hello from outside")
    assert gmqclient(kubectl, client, host, "subscribe", *login, "greetings").strip() == "hello from outside"
    with kubectl.forwarded(f"service/{name}", 8080) as port:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/queues")
        request.add_header("Authorization", "Basic " + basic(user, password))
        with urllib.request.urlopen(request, timeout=10) as reply:
            assert [queue["queue"] for queue in json.load(reply)["queues"]] == ["greetings"]


def basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize("storage", [MEMORY, FILESYSTEM], ids=["memory", "filesystem"])
def test_a_server_serves_clients_in_the_cluster_and_outside(kubectl: Kubectl, client: str, storage: dict[str, object]) -> None:
    kubectl.apply(gmq_server("orders", storage=storage))
    ready(kubectl, "orders")
    exchange(kubectl, client, "orders")


@pytest.fixture(scope="module")
def server() -> Iterator[ReachableMariaDb]:
    if mariadb.MISSING:
        pytest.skip(mariadb.MISSING)
    folder = Path(tempfile.mkdtemp(prefix="gmq-test-", dir=os.environ[mariadb.FOLDER]))
    started = ReachableMariaDb(folder)
    started.start()
    yield started
    started.kill()


def test_two_brokers_on_one_database_are_one_queue(kubectl: Kubectl, client: str, server: ReachableMariaDb) -> None:
    kubectl.apply(database.secret(), gmq_server("orders", replicas=2, storage=database.storage(server, server.create())))
    body = ready(kubectl, "orders")
    assert body["status"]["readyReplicas"] == 2
    exchange(kubectl, client, "orders")
    first, second = (pod["status"]["podIP"] for pod in pods(kubectl, "orders"))
    user, password = credentials(kubectl, "orders")
    login = ("--user", user, "--password", password)
    gmqclient(kubectl, client, first, "publish", *login, "shared", "through the first")
    assert gmqclient(kubectl, client, second, "subscribe", *login, "shared").strip() == "through the first"
