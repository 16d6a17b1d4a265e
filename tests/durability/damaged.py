"""Small folders of a filesystem storage to be damaged, and what has to be true of what is read from them then."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import layout
from layout import Part
from model import held_of
from recorded_disk import UnsyncedDisk
from workload import FakeClock, committed

from gmq.message import PAGED, Limits, Options, QueuePolicy
from gmq.storage.disk import Disk
from gmq.storage.filesystem import FilesystemStorage
from gmq.storage.recovery import Recovered, Recovery

KINDS = ("journal", "journal after a crash", "queue")
SEGMENT = 8 << 10
Owner = tuple[int, int]
"""Number of a queue, and id of a message."""
Served = dict[Owner, tuple[bytes, Any]]
"""Payload and state."""


class Folder(NamedTuple):
    """A folder, its file that is to be damaged, and what the file's records are."""

    path: Path
    file: Path
    data: bytes
    parts: list[Part]
    whole: Served
    payloads: dict[Owner, bytes]  # of every message that there ever was

    @property
    def used(self) -> int:
        return self.parts[-1].end


def open_in(path: Path, clock: FakeClock) -> FilesystemStorage:
    return FilesystemStorage(
        path, Limits(), lambda _: QueuePolicy(), segment_size=SEGMENT, checkpoint_size=1 << 20, clock=clock, disk=UnsyncedDisk()
    )


class Publisher:
    """Publishes and remembers."""

    def __init__(self, storage: FilesystemStorage) -> None:
        self.storage = storage
        self.payloads: dict[Owner, bytes] = {}

    def publish(self, queue: str, *payloads: bytes, options: Options | None = None) -> None:
        ids = self.storage.publish(queue, payloads, sum(map(len, payloads)), options)
        number = self.storage._queues[queue].number
        self.payloads.update({(number, one): payload for one, payload in zip(ids, payloads, strict=True)})

    async def commit(self) -> None:
        await committed(self.storage)


async def fill(storage: FilesystemStorage, file: Path | None) -> dict[Owner, bytes]:
    """A little of everything; with a file, messages too that are copies of its records. Returns each message's payload."""
    publisher = Publisher(storage)
    publisher.publish("mail", b"first", b"second" * 9, b"third", b"")
    await publisher.commit()
    storage.take(["mail"], 1, 1000, None)
    publisher.publish("orders", b"alone")
    publisher.publish("mail", b"with much", options=Options(9, 60_000, 90_000, {"about": "x"}, ["key"]))
    await publisher.commit()
    if file is not None:
        copied = file.read_bytes().rstrip(b"\0")  # noqa: ASYNC240  # nothing else runs here
        publisher.publish("mail", copied[:400])  # whole records of this very segment, the opening, and a part of one
        publisher.publish("mail", b"after the copy")
        publisher.publish("orders", b"\xa7GMQ" * 5, b"\xa7GMQ" + bytes(40))
    taken = storage.take(["mail"], 2, 1000, 30_000)
    publisher.publish("orders", *[b"one of many %d" % number for number in range(5)])
    await publisher.commit()
    storage.acknowledge(list(taken.receipts or ())[:1])
    storage.move("orders", "mail", 1)
    mail = storage._queues["mail"]
    publisher.payloads[mail.number, mail.next_id - 1] = b"alone"
    publisher.publish("cleared", b"gone")
    storage.clear("cleared")
    publisher.publish("orders", b"the last", b"but one", options=Options(keys=["a", "b"]))
    await publisher.commit()
    return publisher.payloads


async def _make(kind: str, path: Path) -> tuple[Path, dict[Owner, bytes]]:
    clock = FakeClock()
    storage = open_in(path, clock)
    await storage.open()
    segment = path / "journal" / f"{1:016x}.journal"
    payloads = await fill(storage, segment if kind != "queue" else None)
    if kind == "queue":
        storage._checkpoint._carried = 0  # so that small queues have files
        await storage._make_checkpoint(full=True)
        file = next((path / "queues").glob("mail-*.queue"))
        publisher = Publisher(storage)
        publisher.publish("mail", file.read_bytes(), b"behind a copy of the file")
        storage.take(["mail"], 1, 1000, 40_000)
        await publisher.commit()
        payloads |= publisher.payloads
        storage._queues["mail"].page_lines(0)
        await storage._make_checkpoint(full=True)
        await storage.close()
        return file, payloads
    if kind == "journal after a crash":
        crashed = path.with_name("crashed")
        shutil.copytree(path, crashed)
        await storage.close()
        shutil.rmtree(path)
        crashed.rename(path)
        return segment, payloads
    await storage.close()
    return segment, payloads


def make(kind: str, path: Path) -> Folder:
    """A folder of a kind."""
    file, payloads = asyncio.run(_make(kind, path))
    data = file.read_bytes()
    whole, recovered = served(path)
    assert not recovered.losses, f"the folder is not whole: {recovered.losses}"
    assert len(whole) > 10, f"there is too little in it: {whole}"
    return Folder(path, file, data, layout.parts(data), whole, payloads)


def served(path: Path) -> tuple[Served, Recovered]:
    """Every message that a storage would serve from a folder."""
    recovered = Recovery(Disk(), path).run()
    found: Served = {}
    for number, image in recovered.images.items():
        for run in image.plain:
            ids = range(run.first, run.first + run.count)
            payloads = list(run.payloads) if run.payloads is not None else loaded(recovered, number, list(ids))
            found |= {(number, one): (payload, run.published) for one, payload in zip(ids, payloads, strict=True) if payload is not None}
        for one, message in image.whole.items():
            payload = loaded(recovered, number, [one])[0] if message.payload is PAGED else message.payload
            if payload is not None:
                found[number, one] = payload, held_of("", message)
    return found, recovered


def loaded(recovered: Recovered, number: int, ids: list[int]) -> list[bytes | None]:
    """Payloads that are in a queue's file."""
    queue = recovered.files[number]
    file = Disk().open(queue.path)
    try:
        return queue.load(file, ids, lambda *_: None)
    finally:
        file.close()


def problems(folder: Folder, found: Served, damaged: set[Owner]) -> Iterator[str]:
    """What is wrong with what was found, when of these messages something was damaged."""
    for owner, (payload, state) in found.items():
        if payload != folder.payloads.get(owner):
            yield f"message {owner} has a payload that was never published to it: {payload[:60]!r}"
        elif owner not in damaged and folder.whole.get(owner) != (payload, state):
            yield f"message {owner}: {state}, and it was {folder.whole.get(owner, ('', 'gone'))[1]}"
    for owner in folder.whole.keys() - found.keys() - damaged:
        yield f"message {owner} is lost, and it was not damaged: {folder.whole[owner]}"


def hit(folder: Folder, start: int, stop: int) -> set[Owner]:
    """The messages of which something is in these bytes of the file."""
    found: set[Owner] = set()
    last = folder.parts[-1].commit if folder.file.suffix == ".journal" else None
    for part in folder.parts:
        if part.end <= start or part.at >= stop:
            continue
        if start < part.data_at:
            found |= part.touched()
            if part.kind in {layout.CLEAR, layout.DELETE}:
                found |= {owner for owner in folder.payloads if owner[0] == part.fields[0]}
        found |= {owner for begin, end, owner in part.payloads() if begin < stop and (start < end or begin == end)}
        if part.commit == last and part.kind != layout.OPENING:  # it may not have been finished, and then only its beginning counts
            behind = [other for other in folder.parts if other.commit == last and other.at >= part.at]
            cleared = {other.fields[0] for other in behind if other.kind == layout.CLEAR}
            found |= {owner for other in behind for owner in other.touched()} | {owner for owner in folder.payloads if owner[0] in cleared}
    if start < folder.parts[0].end and stop > folder.parts[1].at:  # both openings: nothing can be read
        found |= folder.payloads.keys()
    return found
