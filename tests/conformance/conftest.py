"""The storages that have to pass this suite, and the ways into the broker over which they have to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from broker_process import Broker
from http_wire import HttpWire
from mariadb import SharedMariaDb, script_section, section
from wire import Wire

STORAGES: dict[str, dict[str, Any]] = {
    "memory": {"storage": {"type": "memory"}},
    "filesystem": {"storage": {"type": "filesystem"}},
    "mysql": {},  # MariaDB; its section comes with the server
    "mysql-9": {},  # the same on MySQL, where a script is there that starts one
}

POLICIES = [
    {"name": "small", "pattern": "small-*", "max_messages": 3},
    {"name": "strict", "pattern": "strict-*", "max_deliveries": 2, "dead_letter": "dead"},
    {"name": "dropping", "pattern": "dropping-*", "max_deliveries": 1},
    {"name": "brief", "pattern": "brief-*", "ttl": 1, "lease": 0.2},
    {"name": "vanishing", "pattern": "vanishing-*", "expires": 1},
    {"name": "own", "pattern": "own-*", "max_deliveries": 1, "dead_letter": "own-dead", "max_messages": 2},
]


@pytest.fixture(scope="session", params=sorted(STORAGES))
def storage_broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker with the storage, for all tests: each uses queues of its own."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    config = STORAGES[request.param]
    if request.param == "mysql":
        server: SharedMariaDb = request.getfixturevalue("shared_mariadb")
        config = section(server.port, server.create())
    if request.param == "mysql-9":
        script = os.environ.get("GMQ_TEST_MYSQL") or pytest.skip("GMQ_TEST_MYSQL names no script that starts a MySQL server")
        config = script_section(script)
    broker = Broker(folder, {**config, "policies": POLICIES, "limits": {"message_size": 4096}})
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture(scope="session", params=["tcp", "http"])
def transport(request: pytest.FixtureRequest) -> str:
    """The way into the broker."""
    way: str = request.param
    return way


@pytest.fixture
def connect(storage_broker: Broker, transport: str) -> Callable[[], Wire]:
    """Makes connections to it."""

    def one() -> Wire:
        return HttpWire(storage_broker.http) if transport == "http" else Wire(storage_broker.host, storage_broker.port)

    return one


@pytest.fixture
def wire(connect: Callable[[], Wire]) -> Iterator[Wire]:
    """A connection to it."""
    with connect() as connection:
        yield connection


@pytest.fixture
def other(connect: Callable[[], Wire]) -> Iterator[Wire]:
    """Another connection to it."""
    with connect() as connection:
        yield connection


_numbers = count()


@pytest.fixture
def queue(request: pytest.FixtureRequest) -> str:
    """The name of a queue that no other test uses."""
    return f"{request.node.originalname}-{next(_numbers)}"[-200:]
