"""Damage to files: what is damaged is not served, what is not damaged is, and what is lost is told."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from pathlib import Path
from struct import pack
from zlib import crc32

import layout
import msgspec
import pytest
from damaged import KINDS, Folder, hit, make, open_in, problems, served
from workload import FakeClock

from gmq.storage import inspection
from gmq.storage.base import StorageError
from gmq.storage.recovery import Kind

SECTOR = 512


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return make(request.param, tmp_path / request.param)


def check(folder: Folder, what: str, start: int, stop: int, *, told: bool = True, opened: bool = False) -> None:
    """The bytes from `start` to `stop` of the file are not what they were."""
    found, recovered = served(folder.path)
    wrong = list(problems(folder, found, hit(folder, start, stop)))
    assert not wrong, f"{what}: " + "\n".join(wrong[:5])
    if told:
        assert recovered.losses or unserved(folder), f"{what}: nothing is told of it"
    if told and not may_be_torn(folder, start, stop):
        good = inspection.verify(folder.path)[1] if opened else not damages(folder, recovered.losses)
        assert not good, f"{what}: was durable, and is not told as damage: {recovered.losses}"
    if opened:
        asyncio.run(check_opened(folder, what, hit(folder, start, stop), told=told))


def damages(folder: Folder, losses: list) -> bool:
    return any(loss.kind is Kind.DAMAGED for loss in losses) or unserved(folder)


def unserved(folder: Folder) -> bool:
    """Whether something in a queue's file shows as damaged when it is read, and not before."""
    return folder.file.suffix == ".queue" and not inspection.verify(folder.path)[1]


def may_be_torn(folder: Folder, start: int, stop: int) -> bool:
    """Whether damage there looks like a commit or a checkpoint that was not finished."""
    last = folder.parts[-1]
    if folder.file.suffix == ".queue":
        return start >= folder.parts[-2].at or stop >= last.end
    return any(part.commit == last.commit and part.at < stop for part in folder.parts[2:])


async def check_opened(folder: Folder, what: str, damaged: set[tuple[int, int]], *, told: bool) -> None:
    """A real storage serves what is whole, keeps aside what is not, and starts a second time."""
    copy = folder.path.with_name("opened")
    shutil.copytree(folder.path, copy)
    for turn in ("first", "second"):
        storage = open_in(copy, FakeClock())
        await storage.open()
        got = {}
        for name, queue in list(storage._queues.items()):
            for message in storage.peek(name, 1000, 1 << 30):
                got[queue.number, message.id] = message.payload
        for owner, payload in got.items():
            assert folder.payloads.get(owner) == payload, f"{what}, {turn} start: {owner} has a wrong payload, {payload[:60]!r}"
        ready = {owner for owner, (_, state) in folder.whole.items() if isinstance(state, int) or state.ready}
        assert ready - damaged <= got.keys(), f"{what}, {turn} start: not served: {ready - damaged - got.keys()}"
        if turn == "first" and told:
            assert storage.damaged + storage.torn, f"{what}: the storage counts nothing"
            aside = [path.name for path in copy.glob("*/*") if path.suffix in {".damaged", ".torn"}]
            assert aside or not folder.file.stat().st_size, f"{what}: nothing was kept aside"
        await storage.close()
    shutil.rmtree(copy)


@pytest.mark.parametrize("mask", [0xFF, 0x01])
@pytest.mark.parametrize("folder", KINDS, indirect=True)
def test_any_byte_flipped(folder: Folder, mask: int) -> None:
    descriptor = os.open(folder.file, os.O_RDWR)
    try:
        for at in range(folder.used):
            os.pwrite(descriptor, bytes([folder.data[at] ^ mask]), at)
            check(folder, f"byte {at} of {folder.file.name} XOR {mask:#x}", at, at + 1, opened=at % 97 == 0)
            os.pwrite(descriptor, folder.data[at : at + 1], at)
    finally:
        os.close(descriptor)
    print(f"{folder.used} bytes of {folder.file.name} flipped with {mask:#x}")  # noqa: T201  # says how much was tried


@pytest.mark.parametrize("folder", KINDS, indirect=True)
def test_truncated_anywhere(folder: Folder) -> None:
    for size in range(folder.used):
        folder.file.write_bytes(folder.data[:size])
        marks = {part.end for part in folder.parts if part.kind == layout.MARK}
        cut_between = size in marks and folder.file.suffix == ".queue"  # looks as it did after an earlier checkpoint
        check(folder, f"{folder.file.name} truncated to {size} bytes", size, len(folder.data), told=not cut_between, opened=size % 97 == 0)
    print(f"{folder.file.name} truncated to each of {folder.used} sizes")  # noqa: T201  # says how much was tried


@pytest.mark.parametrize("filling", [b"\0", b"\xa5"])
@pytest.mark.parametrize("folder", KINDS, indirect=True)
def test_any_sector_lost(folder: Folder, filling: bytes) -> None:
    for at in range(0, folder.used, SECTOR):
        data = folder.data[:at] + filling * SECTOR + folder.data[at + SECTOR :]
        folder.file.write_bytes(data[: len(folder.data)])
        check(folder, f"sector at {at} of {folder.file.name} filled with {filling!r}", at, at + SECTOR, opened=True)


@pytest.mark.parametrize("folder", ["journal", "queue"], indirect=True)
def test_a_file_of_another_version_is_refused_and_nothing_is_changed(folder: Folder) -> None:
    part = folder.parts[0]
    fields = msgspec.msgpack.encode([2, *part.fields[1:]])
    head = pack("<4sBBHIIQI", b"\xa7GMQ", part.kind, 0, 0, len(fields), 0, 0, 0)
    opening = head + pack("<I", crc32(fields, crc32(head, 0))) + fields
    folder.file.write_bytes(opening * 2 + folder.data[2 * part.end :])
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}

    async def start() -> None:
        await open_in(folder.path, FakeClock()).open()

    with pytest.raises(StorageError) as refused:
        asyncio.run(start())
    assert re.search(r"format version 2\b.*\bknows version 1\b", str(refused.value)), f"it does not say which versions: {refused.value}"
    assert folder.file.name in str(refused.value), f"it does not say which file: {refused.value}"
    with pytest.raises(StorageError):
        inspection.verify(folder.path)
    assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before, "files were changed"
