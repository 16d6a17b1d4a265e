"""Queues' files that know more than the journal does: of that something is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

from recorded_disk import UnsyncedDisk
from workload import FakeClock, storage_in


def test_what_is_published_after_the_journal_was_damaged_is_there_after_the_next_start(tmp_path: Path) -> None:
    """Its records must not have numbers that the queue's file knows of."""

    async def run() -> list[bytes]:
        storage = storage_in(tmp_path, FakeClock(), UnsyncedDisk())
        await storage.open()
        for number in range(20):
            storage.publish("orders", [bytes([number]) * 5000], 5000, None)
        await storage._make_checkpoint(full=True)
        await storage.close()
        for segment in (tmp_path / "journal").iterdir():
            data = segment.read_bytes()
            segment.write_bytes(bytes(512) + data[512:])
        for payload in (b"new", b"newer"):
            storage = storage_in(tmp_path, FakeClock(), UnsyncedDisk())
            await storage.open()
            storage.publish("orders", [payload], len(payload), None)
            await storage.close()
        storage = storage_in(tmp_path, FakeClock(), UnsyncedDisk())
        await storage.open()
        found = [message.payload for message in storage.peek("orders", 100, 1 << 30)]
        await storage.close()
        return found

    found = asyncio.run(run())
    assert found[20:] == [b"new", b"newer"], f"behind what was in the file there is {found[20:]}"
