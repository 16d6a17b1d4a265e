"""Waiting for what the broker does: each request for its own part of it, and nobody's waiting ends another's."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError, Future
from functools import partial
from time import perf_counter

from aiohttp import web

from gmq.broker import Broker, Waiter
from gmq.message import Taken
from gmq.server.http.counting import RESUMED
from gmq.storage.base import Outcome, T


async def done(broker: Broker, outcome: Outcome[T]) -> T:
    """The outcome of an operation that was begun just now, when it is as durable as the storage is.

    Where the client goes away meanwhile, the operation goes on.

    Raises:
        GmqError: it was refused, or could not be made durable.
    """
    result = await asyncio.shield(outcome) if isinstance(outcome, Future) else outcome
    commit = broker.commit()
    if commit is not None:
        await asyncio.shield(commit)
    return result


async def taken(broker: Broker, request: web.Request, outcome: Outcome[Taken] | Waiter) -> Taken:
    """What a take got; given back where the client is gone before the first byte of its reply could leave.

    Raises:
        GmqError: the take was refused, or could not be made durable.
        CancelledError: the client is gone.
    """
    if isinstance(outcome, Waiter):
        future: Outcome[Taken] = outcome.future
        try:
            await outcome.future
        except CancelledError:
            _give_back(broker, outcome.future)  # where it had a result at the same moment; else the wait ended with this
            raise
        request[RESUMED] = perf_counter()
    else:
        future = outcome
    try:
        result = await done(broker, future)
    except CancelledError:
        if isinstance(future, Future):
            future.add_done_callback(partial(_give_back, broker))
        else:
            broker.undo(future)
        raise
    transport = request.transport
    if transport is None or transport.is_closing():
        broker.undo(result)
        raise CancelledError
    return result


def _give_back(broker: Broker, future: Future[Taken]) -> None:
    if not future.cancelled() and future.exception() is None:
        broker.undo(future.result())
