"""How many files and sockets this process may have open."""

from __future__ import annotations

import resource
from typing import Final

import structlog

log = structlog.get_logger()

RESERVED: Final = 256
"""Descriptors that are not for clients: the storage's files and connections, listeners, and those who are turned away."""


def raise_limit(connections: int) -> int:
    """Allow this process as many open files as the system lets it, and return how many of `connections` that is enough for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= connections + RESERVED:
        wanted = max(soft, connections + RESERVED) if soft != resource.RLIM_INFINITY else soft
    else:
        wanted = hard
    if wanted != soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted == resource.RLIM_INFINITY or wanted >= connections + RESERVED:
        return connections
    possible = max(1, wanted - RESERVED)
    log.warning("fewer connections than limits.connections says, as the process may not have more files open", connections=possible,
        configured=connections, files=wanted)  # fmt: skip
    return possible
