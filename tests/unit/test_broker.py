"""Consumers that wait, where the broker and time get in each other's way."""

from __future__ import annotations

import asyncio

from gmq.broker import Broker, Waiter
from gmq.message import Limits, QueuePolicy
from gmq.storage.memory import MemoryStorage


def test_a_message_that_comes_when_a_wait_has_just_ended_goes_to_the_next_who_takes() -> None:
    async def scenario() -> None:
        storage = MemoryStorage(Limits(), lambda _: QueuePolicy())
        broker = Broker(storage, Limits())
        waiter = broker.subscribe(("orders",), 1, None, 10)
        assert isinstance(waiter, Waiter)
        broker.drain()  # the wait is over, and the broker has not taken the consumer out of its line yet
        broker.publish("orders", [b"late"], 4)
        taken = broker.take(("orders",), 1, None)
        assert not isinstance(taken, asyncio.Future)
        assert taken.payloads() == [b"late"], "the message went to the consumer that no longer waits"
        assert not waiter.future.result().entries
        await storage.close()

    asyncio.run(scenario())
