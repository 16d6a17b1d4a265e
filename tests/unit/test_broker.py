"""Consumers that wait, where the broker and time get in each other's way."""

from __future__ import annotations

import asyncio

import pytest

from gmq.broker import Broker, Waiter
from gmq.message import GmqError, Limits, QueuePolicy
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


def test_a_queue_at_which_a_consumer_waits_does_not_vanish_with_its_policy() -> None:
    async def scenario() -> None:
        now = 1_700_000_000_000
        storage = MemoryStorage(Limits(), lambda _: QueuePolicy(), lambda: now)
        broker = Broker(storage, Limits())
        policy = QueuePolicy(expires=10, lease=7)
        broker.create("orders", policy)
        waiter = broker.subscribe(("orders",), 1, None, 60)
        assert isinstance(waiter, Waiter)
        for _ in range(5):
            now += 10_000
            storage._ring()
        assert storage.info("orders").policy == policy, "a queue that somebody waits at is in use"
        now += 9_999
        waiter.end()
        await asyncio.sleep(0)
        now += 9_999
        storage._ring()
        assert storage.info("orders").policy == policy, "it was in use until the wait ended"
        now += 1
        storage._ring()
        with pytest.raises(GmqError, match="no queue"):
            storage.info("orders")
        await storage.close()

    asyncio.run(scenario())
