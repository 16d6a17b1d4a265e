"""Queues that are deleted, and what had left them by then."""

from __future__ import annotations

import asyncio
from pathlib import Path

from recorded_disk import UnsyncedDisk
from workload import FakeClock, storage_in

from gmq.message import QueuePolicy


def test_a_message_whose_lease_ended_before_its_queue_was_deleted_is_a_dead_letter(tmp_path: Path) -> None:
    async def run() -> tuple[int, list[bytes]]:
        clock = FakeClock()
        storage = storage_in(tmp_path, clock, UnsyncedDisk())
        await storage.open()
        storage.create("orders", QueuePolicy(max_deliveries=1, dead_letter="dead"))
        storage.publish("orders", [b"letter", b"ready"], 11, None)
        storage.take(["orders"], 1, 100, 1000)
        clock.now += 2000
        count = storage.delete("orders")
        await storage.close()
        storage = storage_in(tmp_path, clock, UnsyncedDisk())
        await storage.open()
        found = [message.payload for message in storage.peek("dead", 10, 100)]
        await storage.close()
        return count, found

    count, found = asyncio.run(run())
    assert (count, found) == (1, [b"letter"]), f"{count} messages went with the queue, and the dead letters are {found}"
