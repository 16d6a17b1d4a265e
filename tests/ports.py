"""Ports for the servers of the tests."""

from __future__ import annotations

import os
import random
import socket
from itertools import chain

FIRST, LAST = 10_000, 29_999
"""Below what the kernel gives to connections (32768 and up, ip(7)): a server may stop, and find its port free when it starts again."""
WORKER, WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def _turns() -> list[int]:
    """The ports of this worker of the tests, from anywhere on: other runs of the tests may be under way."""
    ports = range(FIRST + WORKER, LAST + 1, WORKERS)
    middle = random.randrange(len(ports))
    return [*chain(ports[middle:], ports[:middle])]


_ports = _turns()


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on, and that no other caller is given while there are more.

    Raises OSError when there is none.
    """
    for _ in range(len(_ports)):
        port = _ports.pop(0)
        _ports.append(port)
        try:
            socket.create_server((host, port)).close()
        except OSError:
            continue
        return port
    raise OSError(f"every port from {FIRST} to {LAST} is in use")
