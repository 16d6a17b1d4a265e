"""How the image behaves where it runs: its root is read-only in all of these."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from container import Container, NewContainer

from helpers_server import Network, wait_until
from http_client import request
from wire import Wire, b64

LOGIN = {"user": "me", "password": "secret"}
CREDENTIALS = {"GMQ_AUTH_USER": LOGIN["user"], "GMQ_AUTH_PASSWORD": LOGIN["password"]}
ANONYMOUS = {"GMQ_AUTH_ANONYMOUS": "true"}
MOST_TO_FIRST_MESSAGE = 1.0
STARTS = 5
ALL_SHARES = 262144
KILLED = 128 + signal.SIGTERM


def connected(network: Network, port: int = 4567) -> Wire:
    """A connection to the broker, from outside its container."""
    return network.run(lambda: Wire("127.0.0.1", port))


@pytest.mark.parametrize("command", ["gmqserver", "gmqclient", "gmq-operator"])
def test_each_command_says_how_it_is_used(container: Container, command: str) -> None:
    container.launch(command, "--help")
    assert container.wait() == 0, container.text()
    assert f"usage: {command}" in container.text().lower(), container.text()


def test_without_a_word_on_who_may_use_it_the_broker_refuses_and_tells_the_ways(container: Container) -> None:
    container.launch()
    assert container.wait() == 2, container.text()
    for way in (*CREDENTIALS, *ANONYMOUS):
        assert way in container.text(), f"{way} is not named: {container.text()}"


def test_credentials_in_the_environment_are_all_it_needs(container: Container, network: Network) -> None:
    container.start(variables=CREDENTIALS)
    with connected(network) as wire:
        wire.done("H", auth=LOGIN)
        wire.done("P", "orders", payload=b64(b"hello"))
    with connected(network) as wire:
        assert wire.refused("L", "orders")["code"] == "unauthorized"
    health = network.run(lambda: request("127.0.0.1:8080", "GET", "/readyz"))
    assert health.status == 200, health
    console = network.run(lambda: request("127.0.0.1:8080", "GET", "/login"))
    assert console.status == 200, console


def test_the_client_in_the_container_speaks_to_the_broker(container: Container) -> None:
    container.start(variables=ANONYMOUS)
    published = container.run("gmqclient", "publish", "orders", "hello")
    assert (published.returncode, published.stdout) == (0, "1\n"), published
    taken = container.run("gmqclient", "subscribe", "orders")
    assert (taken.returncode, taken.stdout) == (0, "hello\n"), taken


def test_a_mounted_file_and_a_platforms_port_hold(container: Container, network: Network) -> None:
    config = {"network": {"interface": "0.0.0.0", "port": 4570}, "http": {"port": 9090}, "storage": {"type": "memory"}}
    container.start(config=config, variables=ANONYMOUS | {"PORT": "9091"})
    with connected(network, 4570) as wire:
        wire.done("P", "orders", payload=b64(b"hello"))
    assert network.run(lambda: request("127.0.0.1:9091", "GET", "/healthz")).status == 200
    assert not list(container.data.iterdir()), "a broker without files of its own wrote some"


def test_messages_outlive_the_container_in_its_volume(new_container: NewContainer, network: Network) -> None:
    first, second = new_container(), new_container()
    first.start(variables=ANONYMOUS)
    with connected(network) as wire:
        wire.done("P", "orders", payload=b64(b"kept"))
    os.kill(first.pid or 0, signal.SIGKILL)
    first.wait()
    second.data = first.data
    second.start(variables=ANONYMOUS)
    with connected(network) as wire:
        assert wire.done("S", "orders")["payload"] == b64(b"kept")


def test_a_cluster_may_choose_the_user_in_group_0(container: Container, network: Network) -> None:
    container.user = "1000680000:0"
    container.start(variables=ANONYMOUS)
    with connected(network) as wire:
        wire.done("P", "orders", payload=b64(b"hello"))


def test_sigterm_drains(container: Container, network: Network) -> None:
    container.start(variables=ANONYMOUS)
    with connected(network) as wire:
        wire.send("S", "empty", wait=60)
        wire.send("P", "orders", payload=b64(b"received before the signal"))
        assert wire.ask("L", "orders", tag="received")["tag"] == "received"
        started = time.monotonic()
        os.kill(container.pid or 0, signal.SIGTERM)
        assert wire.read()["count"] == 0, "the consumer that waits is not released"
        assert wire.read()["confirmation"] == "Y", "what was received is not finished"
        assert wire.ended()
    assert container.wait() == 0, container.text()
    took = time.monotonic() - started
    assert took < 2, f"it took {took:.1f} s:\n{container.text()}"


@pytest.mark.parametrize("command", [["gmqserver"], ["gmq-operator", "--image=gmq"]], ids=["gmqserver", "gmq-operator"])
def test_sigterm_ends_a_container_that_still_loads(container: Container, command: list[str]) -> None:
    """The system spares the first process of a container where it handles no signals, as Python does not at first."""
    container.launch(*command, variables=ANONYMOUS)
    wait_until(lambda: container.pid and _handles_sigterm(container.pid, command[0]), "the container's process handles SIGTERM")
    assert container.stop() in {0, KILLED}, container.text()
    assert "Traceback" not in container.text(), container.text()


def _handles_sigterm(pid: int, command: str) -> bool:
    if command.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes():
        return False  # still runc's
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(status.partition("SigCgt:\t")[2].split()[0], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def test_the_first_message_is_served_within_a_second_of_the_start(new_container: NewContainer, network: Network) -> None:
    took = []
    for _ in range(STARTS):
        container = new_container()
        container.shares = ALL_SHARES
        started = time.monotonic()
        container.start(variables=ANONYMOUS)
        with connected(network) as wire:
            wire.done("P", "orders", payload=b64(b"first"))
            assert wire.done("S", "orders")["payload"] == b64(b"first")
        took.append(time.monotonic() - started)
        assert container.stop() == 0, container.text()
    assert min(took) < MOST_TO_FIRST_MESSAGE, f"it took {[round(one, 2) for one in took]} s; what else the machine does only adds to that"
