"""Small queues, which have no file of their own: what they hold is written to the journal once more."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

from gmq.message import Limits, QueuePolicy
from gmq.storage.disk import Disk, File
from gmq.storage.filesystem import FilesystemStorage


class FirstFileFails(Disk):
    """A disk on which the first file of a queue cannot be made."""

    def __init__(self) -> None:
        self.failed = False

    def create(self, path: Path) -> File:
        if path.parent.name == "queues" and not self.failed:
            self.failed = True
            raise OSError(errno.EIO, "planted")
        return super().create(path)


def test_a_queue_that_became_small_after_its_first_file_failed_keeps_its_messages(tmp_path: Path) -> None:
    async def run() -> None:
        disk = FirstFileFails()
        storage = FilesystemStorage(tmp_path, Limits(), lambda _: QueuePolicy(), segment_size=64 << 10, checkpoint_size=64 << 10, disk=disk)
        await storage.open()
        storage.publish("orders", [b"large" * 2000, b"kept"], 10_004, None)
        await storage._make_checkpoint(full=True)
        assert disk.failed, "no file of a queue was made"
        storage.take(["orders"], 1, 1 << 20, None)
        await storage._make_checkpoint(full=True)  # the queue is small now, and carried along
        for _ in range(8):  # until the first segment has another use
            storage.publish("other", [bytes(60 << 10)], 60 << 10, None)
            await storage._make_checkpoint(full=True)
        await storage.close()
        again = FilesystemStorage(tmp_path, Limits(), lambda _: QueuePolicy(), segment_size=64 << 10, checkpoint_size=64 << 10)
        await again.open()
        left = [message.payload for message in again.peek("orders", 10, 1 << 20)]
        await again.close()
        assert left == [b"kept"], f"{left} came out, and the message that was carried along did not"

    asyncio.run(run())
