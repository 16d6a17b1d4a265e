"""Real brokers for the tests, as a user starts them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

import mariadb
from broker_process import Broker
from mariadb import SharedMariaDb

hypothesis.settings.register_profile("no deadline", deadline=None)  # how long an example takes tells how busy the machine is
hypothesis.settings.load_profile("no deadline")


def pytest_configure(config: pytest.Config) -> None:
    """Choose the folder of the MariaDB that the workers share; whoever needs it first starts it."""
    if not hasattr(config, "workerinput"):
        os.environ[mariadb.FOLDER] = tempfile.mkdtemp(prefix="gmq-test-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop that MariaDB."""
    if not hasattr(config, "workerinput") and mariadb.FOLDER in os.environ:
        folder = Path(os.environ.pop(mariadb.FOLDER))
        mariadb.stop_shared_server(folder)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_mariadb() -> SharedMariaDb:
    """A MariaDB for tests that use a database of their own, and leave the server as it is."""
    if mariadb.MISSING:
        pytest.skip(mariadb.MISSING)
    return SharedMariaDb(mariadb.shared_server())


@pytest.fixture
def start_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Broker]]:
    """Start brokers with a configuration; they are killed at the end of the test."""
    brokers: list[Broker] = []

    def start(config: dict[str, Any] | None = None) -> Broker:
        broker = Broker(tmp_path_factory.mktemp("broker"), config or {})
        brokers.append(broker)
        broker.start()
        return broker

    yield start
    for broker in brokers:
        broker.kill()


@pytest.fixture
def broker(start_broker: Callable[..., Broker]) -> Broker:
    """A broker with the default configuration."""
    return start_broker()


@pytest.fixture(scope="session")
def shared_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker for tests that use queues of their own."""
    broker = Broker(tmp_path_factory.mktemp("shared"), {})
    broker.start()
    yield broker
    broker.kill()
