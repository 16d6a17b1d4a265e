"""What becomes of a take over HTTP whose client is gone before the reply could leave."""

from __future__ import annotations

import asyncio
from asyncio import Future
from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from gmq.broker import Broker, Waiter
from gmq.message import GmqError, Limits, QueuePolicy
from gmq.server.http.outcomes import done, taken
from gmq.storage.memory import MemoryStorage


class Disk(MemoryStorage):
    """A storage whose commits last until the test ends them."""

    def __init__(self) -> None:
        super().__init__(Limits(), lambda _: QueuePolicy())
        self.committing: Future[None] = asyncio.get_running_loop().create_future()

    def commit(self) -> Future[None]:
        return self.committing


def request_of(*, closing: bool) -> web.Request:
    """A request on a connection that is closing, or not."""
    transport = Mock()
    transport.is_closing.return_value = closing
    transport.get_extra_info.return_value = None
    return make_mocked_request("POST", "/v1/queues/q/take", transport=transport)


def ready(broker: Broker) -> int:
    count: Any = broker.length("q")
    return int(count)


def test_a_message_is_given_back_where_the_connection_is_closing_already() -> None:
    async def run() -> None:
        broker = Broker(MemoryStorage(Limits(), lambda _: QueuePolicy()), Limits())
        broker.publish("q", (b"x",), 1)
        with pytest.raises(asyncio.CancelledError):
            await taken(broker, request_of(closing=True), broker.take(("q",)))
        assert ready(broker) == 1, "the message is lost"

    asyncio.run(run())


def test_a_client_that_goes_away_before_the_commit_gives_its_message_back_and_ends_nobody_elses_wait() -> None:
    async def run() -> None:
        storage = Disk()
        broker = Broker(storage, Limits())
        broker.publish("q", (b"x", b"y"), 2)
        leaving, staying = (asyncio.create_task(taken(broker, request_of(closing=False), broker.take(("q",)))) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert not storage.committing.cancelled(), "the commit of all was cancelled"
        storage.committing.set_result(None)
        assert (await staying).payloads() == [b"y"]
        assert ready(broker) == 1, "the message of the client that is gone is lost"

    asyncio.run(run())


def test_a_client_that_goes_away_when_its_wait_has_just_been_served_gives_the_message_back() -> None:
    async def run() -> None:
        broker = Broker(MemoryStorage(Limits(), lambda _: QueuePolicy()), Limits())
        waiter = broker.subscribe(("q",), 1, None, 30)
        assert isinstance(waiter, Waiter)
        waiter.future.add_done_callback(lambda _: waiting.cancel())  # it has the message, and its task was not told
        waiting = asyncio.create_task(taken(broker, request_of(closing=False), waiter))
        await asyncio.sleep(0)
        broker.publish("q", (b"x",), 1)
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert ready(broker) == 1, "the message is lost"

    asyncio.run(run())


def test_a_commit_that_fails_fails_the_request() -> None:
    async def run() -> None:
        storage = Disk()
        broker = Broker(storage, Limits())
        publishing = asyncio.create_task(done(broker, broker.publish("q", (b"x",), 1)))
        await asyncio.sleep(0)
        storage.committing.set_exception(GmqError("unavailable", "the disk is full"))
        with pytest.raises(GmqError, match="the disk is full"):
            await publishing

    asyncio.run(run())
