"""A sync fails once: the system goes on to show what was written, and the disk does not have it."""

from __future__ import annotations

import asyncio
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
from recorded_disk import Platter, RecordedDisk, RecordedFile, Unsynced, UnsyncedDisk, write_out
from workload import FakeClock, committed, storage_in, wear_out

from gmq.message import NEVER, GmqError, Options
from gmq.storage import filesystem
from gmq.storage.disk import File

LARGE = bytes(6000)
"""What makes a queue too large to be carried along in the journal."""


class FailingFile(RecordedFile):
    """`disk.left` syncs of queues' files succeed before one fails, and `disk.commits` of the journal."""

    def write_synced(self, data: bytes, offset: int) -> None:
        disk = self._disk
        assert isinstance(disk, FailingDisk)
        if disk.commits is not None:
            disk.commits -= 1
            if disk.commits < 0:
                disk.commits = None
                self.write(data, offset)
                disk.note(Unsynced(self._inode))
                raise OSError(errno.EIO, "planted")
        super().write_synced(data, offset)

    def sync(self) -> None:
        disk = self._disk
        assert isinstance(disk, FailingDisk)
        if self.path.parent.name == "queues" and disk.left is not None:
            disk.left -= 1
            if disk.left < 0:
                disk.left = None
                disk.note(Unsynced(self._inode))
                raise OSError(errno.EIO, "planted")
        super().sync()


class FailingDisk(RecordedDisk):
    left: int | None = None
    commits: int | None = None

    def open(self, path: Path) -> File:
        file = super().open(path)
        assert isinstance(file, RecordedFile)
        return FailingFile(file, self, file._inode)


class Found(NamedTuple):
    """What `orders` holds after a power cut that `kept` some of what was not durable, and the id of the next message."""

    kept: str
    payloads: list[bytes]
    next_id: int


def after_power_cuts(platter: Platter, disk: RecordedDisk, folder: Path) -> Iterator[Found]:
    """The power goes at the end of all that was done to the disk: what the broker finds, in which nothing is damaged."""
    for number, event in enumerate(disk.events):
        platter.happen(number, event)
    for choice in platter.choices(Random(1), 2):
        write_out(platter.after(choice), folder / choice.kind)
        yield asyncio.run(found_in(folder / choice.kind, choice.kind))


async def found_in(folder: Path, kept: str) -> Found:
    storage = storage_in(folder, FakeClock(), UnsyncedDisk())
    await storage.open()
    payloads = [message.payload for message in storage.peek("orders", 10, 1 << 30)]
    assert not storage.damaged, f"power cut that kept {kept}: {storage.damaged} places are called damaged"
    found = Found(kept, payloads, storage._queues["orders"].next_id)
    await storage.close()
    return found


@pytest.mark.parametrize("left", [0, 1], ids=["of the messages", "of the mark"])
@pytest.mark.parametrize("then", ["a start", "the storage recovers"])
def test_a_file_whose_sync_failed_is_not_built_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str, left: int) -> None:
    monkeypatch.setattr(filesystem, "HEAL_FIRST", 0.002)

    async def run() -> RecordedDisk:
        disk = FailingDisk(tmp_path / "run")
        storage = storage_in(tmp_path / "run", FakeClock(), disk)
        await storage.open()
        storage._retry_at = NEVER
        for queue in ("orders", "other"):
            storage.publish(queue, [LARGE], len(LARGE), None)
        await storage._make_checkpoint(full=True)
        storage.publish("orders", [b"second" + LARGE], 6 + len(LARGE), None)
        storage.publish("orders", [b"gone"], 4, Options(priority=9))
        storage.take(["orders"], 1, 100, None)
        disk.left = left
        await storage._make_checkpoint(full=True)
        assert disk.left is None, "no sync failed"
        if then == "a start":
            await storage.close()
            storage = storage_in(tmp_path / "run", FakeClock(), disk)
            await storage.open()
        else:
            storage._failed(OSError(errno.EIO, "planted"))
            assert storage._healing is not None, "it does not recover"
            await storage._healing
        storage._retry_at = NEVER  # no checkpoints but those made here
        await wear_out(storage)
        await storage.close()
        return disk

    disk = asyncio.run(run())
    platter = Platter(disk.beginning)
    for kept, payloads, next_id in after_power_cuts(platter, disk, tmp_path):
        assert payloads == [LARGE, b"second" + LARGE], f"power cut that kept {kept}: {len(payloads)} of 2 messages are there"
        assert next_id == 4, f"power cut that kept {kept}: an id would be given twice"


def test_a_commit_whose_sync_failed_is_not_built_on_by_the_broker_after_a_kill(tmp_path: Path) -> None:
    async def first() -> tuple[FailingDisk, Path]:
        disk, killed = FailingDisk(tmp_path / "run"), tmp_path / "killed"
        storage = storage_in(tmp_path / "run", FakeClock(), disk)
        await storage.open()
        storage.publish("orders", [b"acknowledged"], 12, None)
        await committed(storage)
        # When the next segment is there, nothing stirs.
        await asyncio.get_running_loop().run_in_executor(storage._journal._preparer, lambda: None)
        disk.commits = 0
        storage.publish("orders", [b"refused"], 7, None)
        with pytest.raises(GmqError, match="planted"):
            await committed(storage)
        shutil.copytree(tmp_path / "run", killed)  # what the next broker sees, if this one is killed now
        events = len(disk.events)
        await storage.close()
        del disk.events[events:]
        return disk, killed

    async def second(folder: Path) -> RecordedDisk:
        disk = RecordedDisk(folder)
        storage = storage_in(folder, FakeClock(), disk)
        await storage.open()
        payloads = [message.payload for message in storage.peek("orders", 10, 1 << 30)]
        assert payloads == [b"acknowledged"], f"after the kill the queue holds {payloads}"
        storage.publish("orders", [b"behind"], 6, None)
        await committed(storage)
        await storage.close()
        return disk

    disk, killed = asyncio.run(first())
    platter = Platter(disk.beginning)
    for number, event in enumerate(disk.events):
        platter.happen(number, event)
    next_disk = asyncio.run(second(killed))
    platter = platter.going_on(next_disk.beginning)
    for kept, payloads, _ in after_power_cuts(platter, next_disk, tmp_path):
        assert payloads == [b"acknowledged", b"behind"], f"power cut that kept {kept}: the queue holds {payloads}"
