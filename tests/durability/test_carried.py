"""Small queues: what they hold beside their file, if they have one, is written to the journal once more."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from random import Random

import pytest
from recorded_disk import Platter, RecordedDisk, UnsyncedDisk, write_out
from workload import FakeClock, committed, storage_in, wear_out

from gmq.storage.disk import Disk, File

BACK = [bytes([number]) * 300 for number in range(1, 4)]
"""Payloads: together they are of several sectors."""


class FirstFileFails(Disk):
    """A disk on which the first file of a queue cannot be made."""

    def __init__(self) -> None:
        self.failed = False

    def create(self, path: Path) -> File:
        if path.parent.name == "queues" and not self.failed:
            self.failed = True
            raise OSError(errno.EIO, "planted")
        return super().create(path)


async def found_in(folder: Path) -> list[bytes]:
    """What `orders` holds when the storage comes back."""
    storage = storage_in(folder, FakeClock(), UnsyncedDisk())
    await storage.open()
    found = [message.payload for message in storage.peek("orders", 10, 1 << 20)]
    await storage.close()
    return found


def test_a_queue_that_became_small_after_its_first_file_failed_keeps_its_messages(tmp_path: Path) -> None:
    async def run() -> None:
        disk = FirstFileFails()
        storage = storage_in(tmp_path, FakeClock(), disk)
        await storage.open()
        storage.publish("orders", [b"large" * 2000, b"kept"], 10_004, None)
        await storage._make_checkpoint(full=True)
        assert disk.failed, "no file of a queue was made"
        storage.take(["orders"], 1, 1 << 20, None)
        await storage._make_checkpoint(full=True)  # the queue is small now, and carried along
        await wear_out(storage)
        await storage.close()
        assert await found_in(tmp_path) == [b"kept"], "the message that was carried along is lost"

    asyncio.run(run())


def test_a_message_that_came_back_survives_a_power_cut_while_it_is_carried_along(tmp_path: Path) -> None:
    """It is gone according to the journal, and there again: what is written of it once more must not begin with the first half of that."""
    check_cuts(tmp_path, *asyncio.run(come_back(tmp_path / "run", filed=len(BACK))))


@pytest.mark.parametrize("when", ["before a start", "after a start"])
def test_a_new_message_that_came_back_survives_a_power_cut_while_it_is_carried_along(tmp_path: Path, when: str) -> None:
    """The same with messages of which only some are in the file: they were taken together, and are gone in one span of ids."""
    check_cuts(tmp_path, *asyncio.run(come_back(tmp_path / "run", filed=1, again=when == "after a start")))


async def come_back(folder: Path, *, filed: int, again: bool = False) -> tuple[RecordedDisk, int]:
    """Take messages and give them back, so many of which are in the queue's file, and carry the queue along, perhaps after a start.

    Gives the disk, and after how many events all was acknowledged.
    """
    disk = RecordedDisk(folder)
    storage = storage_in(folder, FakeClock(), disk)
    await storage.open()
    first, rest = [bytes(5000), *BACK[:filed]], BACK[filed:]
    storage.publish("orders", first, sum(map(len, first)), None)
    await storage._make_checkpoint(full=True)
    assert storage._ledger.filed[storage._queues["orders"].number].file is not None, "the queue has no file"
    storage.take(["orders"], 1, 1 << 20, None)
    if rest:
        storage.publish("orders", rest, sum(map(len, rest)), None)
    storage.undo(storage.take(["orders"], 9, 1 << 20, None))
    await committed(storage)
    if again:
        await storage.close()
        storage = storage_in(folder, FakeClock(), disk)
        await storage.open()
    acknowledged = len(disk.events)
    await storage._make_checkpoint(full=True)
    await storage.close()
    return disk, acknowledged


def check_cuts(folder: Path, disk: RecordedDisk, acknowledged: int) -> None:
    """The power goes at any moment since all was acknowledged: what came back is there."""
    platter, random, states = Platter(disk.beginning), Random(1), 0
    for number, event in enumerate(disk.events):
        platter.happen(number, event)
        for choice in platter.choices(random, 20) if number >= acknowledged else ():
            states += 1
            state = folder / f"state-{states}"
            write_out(platter.after(choice), state)
            found = asyncio.run(found_in(state))
            assert found == BACK, f"power cut after {type(event).__name__}, kept {choice}: {len(found)} of {len(BACK)} messages are there"
    assert states > 20, f"the power went {states} times only"
