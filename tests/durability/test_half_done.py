"""An operation that the disk stops half way, while a checkpoint looks at what it has changed so far."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest
from recorded_disk import UnsyncedDisk, UnsyncedFile
from workload import FakeClock, storage_in, wear_out

from gmq.message import NEVER, GmqError, QueuePolicy
from gmq.storage import checkpoint, filesystem
from gmq.storage.disk import File

PAYLOADS = [b"%d:" % number + bytes(3000) for number in range(6)]


class UnreadableFile(UnsyncedFile):
    """`disk.left` reads of queues' files succeed before one fails."""

    disk: UnreadableDisk

    def read(self, size: int, offset: int) -> bytes:
        if self.disk.left is not None:
            self.disk.left -= 1
            if self.disk.left < 0:
                self.disk.left = None
                raise OSError(errno.EIO, "planted")
        return super().read(size, offset)


class UnreadableDisk(UnsyncedDisk):
    left: int | None = None

    def open(self, path: Path) -> File:
        file = super().open(path)
        if path.parent.name != "queues":
            return file
        unreadable = UnreadableFile(file.path, file._descriptor)
        unreadable.disk = self
        return unreadable


def test_dead_letters_that_could_not_be_read_are_in_the_file_that_is_written_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "CACHE", 0)
    monkeypatch.setattr(filesystem, "HEAL_FIRST", 0.002)
    monkeypatch.setattr(checkpoint, "FEW", 0)
    monkeypatch.setattr(checkpoint, "SLICE", 1)

    async def run() -> set[bytes]:
        disk = UnreadableDisk()
        storage = storage_in(tmp_path, FakeClock(), disk)
        await storage.open()
        storage._retry_at = NEVER  # no checkpoints but those made here
        storage.create("orders", QueuePolicy(max_deliveries=1, dead_letter="dead"))
        storage.publish("orders", PAYLOADS, sum(map(len, PAYLOADS)), None)
        receipts = storage.take(["orders"], len(PAYLOADS), 1 << 30, 60_000).receipts
        assert receipts is not None
        await storage._make_checkpoint(full=True)
        queue = storage._queues["orders"]
        filed = storage._ledger.filed[queue.number]
        filed.anew = filed.changed = True
        task = storage._checkpointing = asyncio.create_task(storage._make_checkpoint(full=True))
        for _ in range(len(PAYLOADS) - 1):
            await asyncio.sleep(0)
        assert not filed.anew, "the checkpoint has not begun with the queue"
        disk.left = 1
        with pytest.raises(GmqError):
            storage.put_back(receipts[::-1], 0)  # the last messages first: the checkpoint has not come to them
        await task
        assert storage._healing is not None, "it does not recover"
        await storage._healing
        await wear_out(storage)
        await storage.close()
        storage = storage_in(tmp_path, FakeClock(), UnsyncedDisk())
        await storage.open()
        storage.put_back(receipts, 0)
        found = {message.payload for name in ("orders", "dead") for message in storage.peek(name, 10, 1 << 30)}
        await storage.close()
        return found

    found = asyncio.run(run())
    assert found == set(PAYLOADS), f"lost: {sorted(payload[:2] for payload in set(PAYLOADS) - found)}"
