"""Real brokers for the tests, as a user starts them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from broker_process import Broker


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
