"""The memory storage, where the wire does not reach."""

from __future__ import annotations

from gmq.message import Limits, QueuePolicy
from gmq.storage.memory import MemoryStorage


def test_giving_back_what_emptied_a_queue_leaves_the_queue_what_it_was() -> None:
    storage = MemoryStorage(Limits(), lambda _: QueuePolicy())
    first = storage.publish("orders", [b"x"], 1, None)[0]
    storage.set_policy("orders", QueuePolicy(lease=7))
    storage.undo(storage.take(["orders"], 1, 100, None))
    assert storage.info("orders").policy == QueuePolicy(lease=7), "the queue was replaced by a new one"
    assert storage.take(["orders"], 1, 100, None).messages()[0].id == first
    assert storage.publish("orders", [b"y"], 1, None)[0] > first, "an id was used again"
