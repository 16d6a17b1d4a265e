"""An operator for all tests, and a namespace for each."""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import installation
from cluster.kubectl import Kubectl, missing
from cluster.servers import started_client


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Uninstall the operator, once all workers are done; GMQ_TEST_KEEP leaves it for a look."""
    mine = not hasattr(session.config, "workerinput")
    if mine and missing() is None and not os.environ.get("GMQ_TEST_KEEP") and installation.installed():
        installation.uninstall()


@pytest.fixture(scope="session")
def cluster() -> None:
    """A cluster, or no test."""
    if (reason := missing()) is not None:
        pytest.skip(reason)
    if installation.helm() is None:
        pytest.skip("there is no helm here: make tools")


@pytest.fixture(scope="session")
def operator(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The operator, installed by whichever worker comes first; gives its namespace. `make test-cluster` uninstalls it at the end."""
    shared = tmp_path_factory.getbasetemp() if "PYTEST_XDIST_WORKER" not in os.environ else tmp_path_factory.getbasetemp().parent
    with Path(shared / "operator.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = shared / "operator.installed"
        if not done.exists():
            installation.install()
            done.touch()
    return installation.SYSTEM


@pytest.fixture(scope="module")
def module_kubectl(operator: str) -> Iterator[Kubectl]:
    """A namespace for the tests of one file."""
    yield from namespace()


@pytest.fixture
def kubectl(operator: str) -> Iterator[Kubectl]:
    """A namespace for one test."""
    yield from namespace()


def namespace() -> Iterator[Kubectl]:
    name = f"gmq-test-{uuid.uuid4().hex[:8]}"
    kubectl = Kubectl(name)
    kubectl("create", "namespace", name)
    yield kubectl
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def client(kubectl: Kubectl) -> str:
    """The name of a pod with gmqclient in it."""
    return started_client(kubectl, installation.IMAGE)
