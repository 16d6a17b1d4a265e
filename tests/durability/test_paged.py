"""Payloads that are on disk only, while the file that they are in is replaced."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from faulty_disk import Fault, FaultyDisk
from workload import FakeClock, storage_in

from gmq.message import Options
from gmq.storage import filesystem
from gmq.storage.filesystem import FilesystemStorage

PAYLOADS = [b"payload %d" % number * 20 for number in range(40)]


class SlowDisk(FaultyDisk):
    """Waits after each rename until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def rename(self, old: Path, new: Path) -> None:
        super().rename(old, new)
        self.waiting.set()
        self.go_on.wait(20)


async def paged(folder: Path, disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch) -> FilesystemStorage:
    """A storage with messages whose payloads are in the queue's file only; the file is to be written anew."""
    monkeypatch.setattr(filesystem, "CACHE", 0)
    storage = storage_in(folder, FakeClock(), disk)
    await storage.open()
    storage.publish("orders", PAYLOADS, sum(map(len, PAYLOADS)), Options(headers={"so": "not plain"}))
    await storage._make_checkpoint(full=True)
    storage.publish("orders", [b"new"], 3, None)
    number = storage._queues["orders"].number
    storage._ledger.filed[number].anew = storage._ledger.filed[number].changed = True
    return storage


def check(storage: FilesystemStorage, when: str) -> None:
    got = [message.payload for message in storage.peek("orders", 1000, 1 << 30)]
    assert got == [*PAYLOADS, b"new"], f"{when}: {len(got)} messages are served, not {len(PAYLOADS) + 1}"
    assert not storage.damaged, f"{when}: {storage.damaged} messages were called damaged"


def test_a_queue_that_goes_while_its_first_file_is_written_stays_gone(tmp_path: Path) -> None:
    async def run() -> None:
        disk = SlowDisk()
        storage = storage_in(tmp_path, FakeClock(), disk)
        await storage.open()
        storage.publish("orders", [b"gone" * 2000], 8000, None)
        disk.go_on.clear()
        disk.waiting.clear()
        task = asyncio.create_task(storage._make_checkpoint(full=True))
        assert await asyncio.to_thread(disk.waiting.wait, 20), "no file was renamed"
        storage.delete("orders")
        disk.go_on.set()
        await task
        await storage._make_checkpoint(full=True)
        left = [path.name for path in (tmp_path / "queues").iterdir()]
        assert not left, f"the file of a queue that is gone would bring it back: {left}"
        await storage.close()

    asyncio.run(run())


@pytest.mark.parametrize("call", ["open", "create", "write", "sync", "rename", "sync_folder"])
def test_a_file_that_could_not_be_replaced_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    async def run() -> None:
        disk = FaultyDisk()
        storage = await paged(tmp_path, disk, monkeypatch)
        disk.plan(Fault(call, 1))
        await storage._make_checkpoint(full=True)
        disk.plan(None)
        check(storage, "after the failure")
        storage._retry_at = 0.0
        await storage._make_checkpoint(full=True)
        check(storage, "after the next checkpoint")
        await storage.close()
        again = storage_in(tmp_path, FakeClock(), disk)
        await again.open()
        check(again, "after a start")
        await again.close()

    asyncio.run(run())


def test_payloads_are_read_while_their_file_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        disk = SlowDisk()
        storage = await paged(tmp_path, disk, monkeypatch)
        disk.go_on.clear()
        disk.waiting.clear()
        task = asyncio.create_task(storage._make_checkpoint(full=True))
        assert await asyncio.to_thread(disk.waiting.wait, 20), "no file was renamed"
        check(storage, "between the rename and the end of the checkpoint")
        disk.go_on.set()
        await task
        check(storage, "after the checkpoint")
        await storage.close()

    asyncio.run(run())


@pytest.mark.parametrize("way", ["take", "lease", "move"])
@pytest.mark.parametrize("options", [None, Options(headers={"so": "not plain"})])
def test_a_damaged_payload_costs_its_message_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, options: Options | None
) -> None:
    monkeypatch.setattr(filesystem, "CACHE", 0)
    payloads = [b"payload number %d" % number for number in range(2000)]
    bad = {0, 600, 601, 999, 1500, 1999}

    async def run() -> None:
        storage = storage_in(tmp_path, FakeClock(), FaultyDisk())
        await storage.open()
        storage.publish("orders", payloads, sum(map(len, payloads)), options)
        await storage._make_checkpoint(full=True)
        await storage.close()
        (file,) = (tmp_path / "queues").iterdir()
        data = file.read_bytes()  # nothing else runs here
        for number in bad:
            data = data.replace(payloads[number], bytes(len(payloads[number])), 1)
        file.write_bytes(data)
        storage = storage_in(tmp_path, FakeClock(), FaultyDisk())
        await storage.open()
        queue = "orders"
        if way == "move":
            storage.move("orders", "mail", 5000)
            queue = "mail"
        got: list[bytes] = []
        while entries := storage.take([queue], 100, 2000, 60_000 if way == "lease" else None).payloads():
            got += entries
        expected = [payload for number, payload in enumerate(payloads) if number not in bad]
        assert got == expected, (
            f"missing: {[one for one in expected if one not in got][:5]}, wrong: {[one for one in got if one not in expected][:5]}"
        )
        assert storage.damaged == len(bad), f"{storage.damaged} places were counted as damaged, not {len(bad)}"
        aside = [path for path in (tmp_path / "queues").iterdir() if path.suffix == ".damaged"]
        assert len(aside) == len(bad), f"kept aside: {aside}"
        counts = {one.queue: (one.ready, one.delayed, one.leased) for one in storage.queues()}
        wanted = (0, 0, len(expected) if way == "lease" else 0)
        assert counts[queue] == wanted, f"the counts are {counts[queue]}, not {wanted}"
        await storage.close()

    asyncio.run(run())
