"""The broker as the user of a request may use it."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gmq.broker import Broker
from gmq.gate import Gate
from gmq.message import GmqError

GATE: Final = web.RequestKey("gate", Gate)
"""Set by the guard where users have to say who they are."""


def broker_for(request: web.Request, broker: Broker) -> Broker | Gate:
    """What serves the request's operations."""
    gate = request.get(GATE)
    return broker if gate is None else gate


def check_sees_all(request: web.Request, what: str) -> None:
    """Refuse who may not inspect every queue.

    Raises:
        GmqError: `forbidden`.
    """
    gate = request.get(GATE)
    if gate is not None and not gate.access.may_everywhere("inspect"):
        raise GmqError("forbidden", f"{what} shows every queue, and {gate.access.name!r} may not inspect all of them")
