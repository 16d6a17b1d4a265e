"""The memory storage, where the wire does not reach."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Callable

import pytest

from gmq.message import KEY_COST, Limits, Options, QueuePolicy
from gmq.storage.memory import MemoryStorage

COUNT = 5000
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


def taken_by(work: Callable[[], None]) -> int:
    """Bytes that Python's objects take after it, beyond those before."""
    gc.collect()
    tracemalloc.start()
    try:
        work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", OPTIONS)
def test_what_tiny_messages_are_counted_as_is_what_they_take_or_somewhat_more(kind: str) -> None:
    asyncio.run(measure(kind))


async def measure(kind: str) -> None:
    """Publish, lease and put back messages of a kind, and look at what is counted after each."""
    storage = MemoryStorage(Limits(), lambda _: QueuePolicy())
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

    taken = taken_by(publish)
    counted = storage.memory - before
    assert 0.85 * taken < counted, f"{kind}: counted as {counted / COUNT:.0f} B each, and takes {taken / COUNT:.0f}"
    assert counted < (2.5 if kind == "plain" else 1.6) * taken, (
        f"{kind}: counted as {counted / COUNT:.0f} B each, and takes {taken / COUNT:.0f}"
    )
    if not kind.startswith("a delay"):
        taken += taken_by(lease_and_put_back)
        counted = storage.memory - before
        assert 0.85 * taken < counted, f"{kind}, put back: counted as {counted / COUNT:.0f} B each, and takes {taken / COUNT:.0f}"
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
