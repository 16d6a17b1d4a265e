"""Connections that are open and not used."""

from __future__ import annotations

import asyncio
from collections import Counter

from gmq.server.hub import Hub

LOOKS = 4
"""How often each is looked at within the time that it may be idle, so that it is closed within a quarter of it more."""
SLICE = 256
"""Connections that are looked at between two turns of others."""


async def close_idle(hub: Hub, timeout: float) -> None:  # noqa: ASYNC109  # the time that clients have, not a time limit on this coroutine
    """Close connections over TCP that were idle for `timeout` seconds, for ever."""
    looks: Counter[object] = Counter()  # so often in a row was each idle
    while True:
        await asyncio.sleep(timeout / LOOKS)
        before, looks = looks, Counter()
        for number, connection in enumerate(list(hub.connections)):
            if connection.idle:
                looks[connection] = before[connection] + 1
                if looks[connection] > LOOKS:
                    connection.let_go("idle_timeout")
            if not number % SLICE:
                await asyncio.sleep(0)
