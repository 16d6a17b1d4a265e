"""A MariaDB of this machine that pods can reach."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from cluster.kubectl import Kubectl
from mariadb import PASSWORD, USER, MariaDb


def reachable_address() -> str:
    """The address under which pods reach this machine: GMQ_TEST_DATABASE_HOST, or the one that it uses towards the first node."""
    if host := os.environ.get("GMQ_TEST_DATABASE_HOST"):
        return host
    node = Kubectl("default").node_address()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((node, 9))  # sends nothing
        name: str = probe.getsockname()[0]
    return name


class ReachableMariaDb(MariaDb):
    """A server on that address, and on this machine's own for its administrator."""

    def __init__(self, folder: Path) -> None:
        self.address = reachable_address()
        super().__init__(folder, f"--bind-address={self.host},{self.address}")


def storage(server: ReachableMariaDb, database: str, secret: str = "database") -> dict[str, object]:
    """The spec's storage for it."""
    mysql = {"host": server.address, "port": server.port, "database": database, "credentialsSecretRef": {"name": secret}}
    return {"type": "mysql", "mysql": mysql}


def secret(name: str = "database") -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": {"username": USER, "password": PASSWORD},
    }
