"""The file of one queue: what of it the journal need not hold any longer.

It is made of the same records as the journal. Checkpoints append to it, each ending in a mark; when most of it is no longer needed it is
written anew beside itself, and renamed.
"""

from __future__ import annotations

import re
import secrets
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final
from zlib import crc32

from msgspec import Struct

from gmq.message import PAGED, Plain, QueuePolicy, Span, cut
from gmq.storage import records
from gmq.storage.disk import Disk, File
from gmq.storage.image import stretches
from gmq.storage.index import Index, Place, Run
from gmq.storage.records import VERSION, Add, AnyRecord, Keys, Mark, Opening, Remove, Row, State

SUFFIX: Final = ".queue"
NEW: Final = ".new"
CHUNK: Final = 1000
"""Messages of one record."""
CHUNK_BYTES: Final = 1 << 20
"""Bytes of payloads after which a record ends."""
READ: Final = 1 << 20
"""Bytes that are read at a time, unless one payload is longer."""
NEAR: Final = 32 << 10
"""Bytes between payloads that are rather read than left out."""
OPEN_FILES: Final = 64

Damage = Callable[[Path, Place, bytes], None]
"""Called with the bytes of a payload that are not what they were."""


class Cut(Struct):
    """What a checkpoint writes of a queue: its state before the journal's record `through`, or what changed of it since the last time.

    `anew` tells that it is all of the state.
    """

    number: int
    name: str
    through: int
    next_id: int
    policy: QueuePolicy | None
    anew: bool
    plain: list[Plain]
    rows: list[tuple[Row, bytes]]
    states: list[Row]
    removed: list[int]
    keys: list[tuple[str, int, bytes, int]]


class Handles:
    """The open files: only so many at a time. Used from the event loop's thread."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._files: dict[Path, File] = {}
        self._pinned: Path | None = None

    def get(self, path: Path) -> File:
        """The open file of a path."""
        file = self._files.pop(path, None)
        if file is None:
            file = self._disk.open(path)
            if len(self._files) >= OPEN_FILES:
                self._files.pop(next(path for path in self._files if path != self._pinned)).close()
        self._files[path] = file  # the latest used is the last
        return file

    def pin(self, path: Path) -> None:
        """Keep the file of a path open until `forget`: another one is going to have its name, and this one is still read."""
        self.get(path)
        self._pinned = path

    def forget(self, path: Path) -> None:
        """Close the file of a path: there is another one there now, or none."""
        if path == self._pinned:
            self._pinned = None
        file = self._files.pop(path, None)
        if file is not None:
            file.close()

    def close(self) -> None:
        """Close all."""
        for path in list(self._files):
            self.forget(path)


class QueueFile:
    """A queue's file. `size` is the bytes of what counts in it."""

    __slots__ = ("index", "path", "salt", "size")

    def __init__(self, path: Path, salt: int, size: int, index: Index) -> None:
        self.path = path
        self.salt = salt
        self.size = size
        self.index = index

    def load(self, file: File, ids: Sequence[int], damage: Damage) -> list[bytes | None]:
        """The payloads of messages; None for one that is not there or not what it was.

        Raises:
            OSError: the file cannot be read.
        """
        run = self.index.run(ids[0], len(ids)) if isinstance(ids, range) and ids else None
        if run is not None and (whole := _load_run(file, run)) is not None:
            return whole
        places = self.index.places(ids)
        payloads: list[bytes | None] = []
        for start, end, count in reads(places):
            block = file.read(end - start, start) if end > start else b""
            for place in islice(places, len(payloads), len(payloads) + count):
                if place is None:
                    payloads.append(None)
                    continue
                at = place.offset - start
                payload = block[at : at + place.length]
                if len(payload) == place.length and crc32(payload) == place.check:
                    payloads.append(payload)
                else:
                    damage(self.path, place, payload)
                    payloads.append(None)
        return payloads


def _load_run(file: File, run: Run) -> list[bytes | None] | None:
    """Payloads that are close together, all with one read; None where not all are what they were."""
    start = run.start
    block = file.read(run.end - start, start)
    payloads = [block[offset - start : offset - start + length] for offset, length in zip(run.offsets, run.lengths, strict=True)]
    return list(payloads) if array("I", map(crc32, payloads)) == run.checks else None


def pieces(payloads: Sequence[bytes | None]) -> Iterator[tuple[int, int]]:
    """The places from which and before which nothing is missing, and the payloads are not too long for one record together."""
    for first, end in stretches(payloads):
        start, size = first, 0
        for place in range(first, end):
            size += len(payloads[place] or b"")
            if size > CHUNK_BYTES and place > start:
                yield start, place
                start, size = place, len(payloads[place] or b"")
        yield start, end


def reads(places: Sequence[Place | None]) -> Iterator[tuple[int, int, int]]:
    """Which bytes to read at a time: from, to, and how many of the places that serves."""
    start = end = count = 0
    for place in places:
        if place is not None:
            if end and not (end <= place.offset <= end + NEAR and place.offset + place.length - start <= READ):
                yield start, end, count
                count = end = 0
            if not end:
                start = place.offset
            end = place.offset + place.length
        count += 1
    if count:
        yield start, end, count


def file_name(name: str, number: int) -> str:
    """A file name for a queue: as much of its name as every file system takes, and its number, which no other queue has."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:80].strip(".")
    return f"{readable}-{number:x}{SUFFIX}"


class Writer:
    """Writes cuts of queues to their files. Used in the thread that makes checkpoints; raises OSError as the disk does."""

    def __init__(self, disk: Disk, folder: Path, damage: Damage) -> None:
        self._disk = disk
        self._folder = folder
        self._damage = damage

    def write(self, cut: Cut, old: QueueFile | None) -> QueueFile:
        """Write a cut: all of a queue into a new file, or what changed behind the old one. It is durable after `settle`."""
        if cut.anew or old is None:
            return self._write_anew(cut, old)
        file = self._disk.open(old.path)
        try:
            output = Output(file, old.salt, old.size)
            self._write_cut(output, cut, None, None)
            output.finish()  # before the mark, which says that all above it is there: the disk may write in any order
            output.mark(cut)
            output.finish()
        except OSError:
            with suppress(OSError):  # else the next start would find what the disk may not have, and no sync brings it there
                file.truncate(old.size)
            raise
        finally:
            file.close()
        return QueueFile(old.path, old.salt, output.size, output.index)

    def _write_anew(self, cut: Cut, old: QueueFile | None) -> QueueFile:
        path = self._folder / file_name(cut.name, cut.number)
        beside = path.with_name(path.name + NEW)
        salt = secrets.randbits(32) or 1
        source = None if old is None else self._disk.open(old.path)
        try:
            file = self._disk.create(beside)
            try:
                output = Output(file, salt, 0)
                opening = Opening(VERSION, "queue", salt, cut.number, cut.name)
                output.opening(records.framed(opening))
                self._write_cut(output, cut, old, source)
                output.mark(cut)
                output.finish()
            finally:
                file.close()
        finally:
            if source is not None:
                source.close()
        self._disk.rename(beside, path)
        return QueueFile(path, salt, output.size, output.index)

    def settle(self) -> None:
        """Make durable which file has which name."""
        self._disk.sync_folder(self._folder)

    def _write_cut(self, output: Output, cut: Cut, old: QueueFile | None, source: File | None) -> None:
        if cut.removed:
            output.record(Remove(cut.number, cut.removed))
        for spans, payloads in self._plain(cut.plain, old, source):
            output.publish(cut.number, spans, payloads)
        for at in range(0, len(cut.rows), CHUNK):
            self._write_rows(output, cut.number, cut.rows[at : at + CHUNK], old, source)
        for at in range(0, len(cut.states), CHUNK):
            output.record(State(cut.number, [(row.due, row.token, row.deliveries, [row.id, 1]) for row in cut.states[at : at + CHUNK]]))
        for at in range(0, len(cut.keys), CHUNK):
            output.record(Keys(cut.number, cut.keys[at : at + CHUNK]))

    def _plain(self, plain: Sequence[Plain], old: QueueFile | None, source: File | None) -> Iterator[tuple[list[Span], Sequence[bytes]]]:
        """Plain messages with consecutive ids, as many as go into one record; what is damaged in the old file stays behind."""
        for group, count, payloads in records.grouped(plain, CHUNK):
            if payloads is not None and sum(map(len, payloads)) <= CHUNK_BYTES:
                yield group, payloads  # nearly always
                continue
            first = group[0].first
            found = self._found(range(first, first + count), old, source) if payloads is None else payloads
            for start, stop in pieces(found):
                yield cut(group, start, stop), [payload for payload in found[start:stop] if payload is not None]

    def _found(self, ids: range, old: QueueFile | None, source: File | None) -> Sequence[bytes | None]:
        """Payloads from the old file."""
        return [None] * len(ids) if old is None or source is None else old.load(source, ids, self._damage)

    def _write_rows(self, output: Output, number: int, rows: list[tuple[Row, bytes]], old: QueueFile | None, source: File | None) -> None:
        paged = [row.id for row, payload in rows if payload is PAGED]
        loaded: dict[int, bytes | None] = {}
        if old is not None and source is not None and paged:
            loaded = dict(zip(paged, old.load(source, paged, self._damage), strict=True))
        whole: list[tuple[Row, bytes]] = []
        for row, payload in rows:
            if payload is not PAGED:
                whole.append((row, payload))
            elif (found := loaded.get(row.id)) is not None:
                whole.append((row, found))
        output.add(number, whole)


class Output:
    """Records on their way into a file, a block at a time, and the places of their payloads."""

    def __init__(self, file: File, salt: int, size: int) -> None:
        self._file = file
        self._salt = salt
        self._parts: list[bytes] = []
        self._gathered = 0
        self._written = size
        self.index = Index()

    @property
    def size(self) -> int:
        """Bytes of the file, with what is still to be written."""
        return self._written + self._gathered

    def opening(self, data: bytes) -> None:
        """Write a file's opening."""
        self._put((data,), len(data))

    def publish(self, number: int, spans: Sequence[Span], payloads: Sequence[bytes]) -> None:
        """Write plain messages with consecutive ids."""
        record = records.publish_of(number, spans, payloads)
        data_at = self.record(record, payloads, sum(map(len, payloads)))
        ids = range(record.first, record.first + len(payloads))
        self.index.add(ids, records.unpacked(record.lengths), records.unpacked(record.checks), data_at)

    def add(self, number: int, rows: Sequence[tuple[Row, bytes]]) -> None:
        """Write messages that are not plain."""
        rows = sorted(rows, key=lambda item: item[0].id)
        start = 0
        while start < len(rows):
            size, stop = 0, start
            while stop < len(rows) and (stop == start or size + len(rows[stop][1]) <= CHUNK_BYTES):
                size += len(rows[stop][1])
                stop += 1
            part = rows[start:stop]
            payloads = [payload for _, payload in part]
            lengths, checks = records.lengths_of(payloads), records.checks_of(payloads)
            data_at = self.record(Add(number, [row for row, _ in part], lengths, checks), payloads, size)
            self.index.add([row.id for row, _ in part], records.unpacked(lengths), records.unpacked(checks), data_at)
            start = stop

    def mark(self, cut: Cut) -> None:
        """Write that all of a cut is there."""
        mark = Mark(cut.number, cut.through, cut.next_id, cut.policy)
        self.record(mark)
        self.record(mark)

    def record(self, record: AnyRecord, data: Sequence[bytes] = (), data_size: int = 0) -> int:
        """Write a record; where its data begins."""
        fields = records.encode(record)
        head = records.head_of(record.kind, fields, data_size, 0, 0, self._salt, self.size)
        data_at = self.size + len(head) + len(fields)
        self._put((head, fields, *data), len(head) + len(fields) + data_size)
        return data_at

    def _put(self, parts: Sequence[bytes], size: int) -> None:
        self._parts += parts
        self._gathered += size
        if self._gathered >= CHUNK_BYTES:
            self.finish()

    def finish(self) -> None:
        """Write what is gathered, and sync it: a little at a time, since commits that are synced meanwhile wait for it."""
        if self._parts:
            self._file.write(b"".join(self._parts), self._written)
            self._file.sync()
            self._written += self._gathered
            self._parts.clear()
            self._gathered = 0
