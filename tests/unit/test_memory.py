"""The memory storage, where the wire does not reach."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import pytest

from gmq.broker import Broker, Waiter
from gmq.message import KEY_COST, Limits, Options, QueuePolicy
from gmq.storage.memory import MemoryStorage

COUNT = 5000
LEAST, MOST = 0.75, 1.6
"""The part of what they take that is counted: plain ones of different milliseconds take a third more than they are counted as."""
OPTIONS: dict[str, Callable[[int], Options | None]] = {
    "plain": lambda _: None,
    "a priority": lambda _: Options(priority=7),
    "a header": lambda number: Options(headers={f"k{number % 7}": f"value {number}"}),
    "twelve headers": lambda number: Options(headers={f"key-{at}": f"value {number}" for at in range(12)}),
    "a header of any language": lambda number: Options(headers={"a": f"{number}" + "x" * 100 + chr(0x1F600)}),
    "a time to live": lambda _: Options(ttl=3_600_000),
    "a delay of its own": lambda number: Options(delay=3_600_000 + number),
    "a key": lambda number: Options(keys=[f"key-{number}"]),
    "all of them": lambda number: Options(priority=1, ttl=3_600_000, headers={"a": f"value {number}"}, keys=[f"key-{number}"]),
}


@contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """Tells how many bytes Python's objects take that were made since."""

    def taken() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    gc.collect()
    tracemalloc.start()
    try:
        yield taken
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", OPTIONS)
def test_what_tiny_messages_are_counted_as_is_about_what_they_take(kind: str) -> None:
    asyncio.run(measure(kind))


async def measure(kind: str) -> None:
    """Publish, lease and put back messages of a kind, and look at what is counted after each.

    Each is published in a millisecond of its own, in which they take the most.
    """
    instants = count(1_800_000_000_000)
    storage = MemoryStorage(Limits(), lambda _: QueuePolicy(), lambda: next(instants))
    storage.publish("orders", [b"first"], 5, None)
    before = storage.memory
    of = OPTIONS[kind]

    def publish() -> None:
        for number in range(COUNT):
            storage.publish("orders", [b"p%07d" % number], 8, of(number))

    def lease_and_put_back() -> None:
        receipts: list[str] = []
        while found := storage.take(["orders"], 1000, 1 << 20, 600_000).receipts:
            receipts += found
        storage.put_back(receipts[::-1], 0)

    def check(state: str, taken: int) -> None:
        each, real = (storage.memory - before) / COUNT, taken / COUNT
        assert LEAST * real < each < MOST * real, f"{kind}, {state}: counted as {each:.0f} B each, and takes {real:.0f}"

    with traced() as taken:
        publish()
        check("published", taken())
        if not kind.startswith("a delay"):
            lease_and_put_back()
            check("put back", taken())
    storage.clear("orders")
    storage.publish("orders", [b"first"], 5, None)
    options = of(0)
    keys = COUNT if options is not None and options.keys else 0
    assert storage.memory == before + keys * KEY_COST, "what is gone is still counted"
    await storage.close()


def test_giving_back_what_emptied_a_queue_leaves_the_queue_what_it_was() -> None:
    storage = MemoryStorage(Limits(), lambda _: QueuePolicy())
    first = storage.publish("orders", [b"x"], 1, None)[0]
    storage.set_policy("orders", QueuePolicy(lease=7))
    storage.undo(storage.take(["orders"], 1, 100, None))
    assert storage.info("orders").policy == QueuePolicy(lease=7), "the queue was replaced by a new one"
    assert storage.take(["orders"], 1, 100, None).messages()[0].id == first
    assert storage.publish("orders", [b"y"], 1, None)[0] > first, "an id was used again"


def test_what_was_to_happen_in_queues_that_are_gone_takes_no_memory() -> None:
    async def come_and_go() -> None:
        storage = MemoryStorage(Limits(), lambda _: QueuePolicy(expires=86_400))
        with traced() as taken:
            for number in range(COUNT):
                storage.create(f"replies-{number}", None)
                storage.delete(f"replies-{number}")
            assert taken() < 50 * COUNT, "queues that were deleted leave something behind until they would have expired"
        await storage.close()

    asyncio.run(come_and_go())


def test_leases_that_end_ever_earlier_and_are_settled_take_no_memory() -> None:
    async def lease_and_settle() -> None:
        storage = MemoryStorage(Limits(), lambda _: QueuePolicy())
        with traced() as taken:
            for number in range(COUNT):
                storage.publish("orders", [b"x"], 1, None)
                storage.acknowledge(storage.take(["orders"], 1, 100, 86_400_000 - 1000 * number).receipts or ())
            await asyncio.sleep(0)  # the loop lets go of timers that were cancelled
            assert taken() < 50 * COUNT, "leases that were settled leave something behind until they would have ended"
        await storage.close()

    asyncio.run(lease_and_settle())


def test_takes_whose_clients_went_away_take_no_memory() -> None:
    async def come_and_go() -> None:
        broker = Broker(MemoryStorage(Limits(), lambda _: QueuePolicy()), Limits())
        with traced() as taken:
            for _ in range(COUNT):
                waiter = broker.subscribe(["orders"], 1, None, 60)
                assert isinstance(waiter, Waiter)
                waiter.future.cancel()
                del waiter
                await asyncio.sleep(0)
            assert taken() < 50 * COUNT, "what waited stays until its time would have been up"

    asyncio.run(come_and_go())
