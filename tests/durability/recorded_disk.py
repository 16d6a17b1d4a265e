"""A disk that remembers what was asked of it, and what it may have kept of that when the power went."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import NamedTuple

from gmq.storage.disk import Disk, File

SECTOR = 512


class Write(NamedTuple):
    """Bytes on their way to a file. A synced write is one, and then a `Kept`."""

    inode: int
    offset: int
    data: bytes


class Kept(NamedTuple):
    """The end of the synced write with this number: its bytes are durable, other ones need not be."""

    write: int


class Truncate(NamedTuple):
    inode: int
    size: int


class Sync(NamedTuple):
    """All that was written to the file before the event with the number `begun` is durable."""

    inode: int
    begun: int


class Unsynced(NamedTuple):
    """A sync failed: of what was written to the file before, the disk may have nothing, and no later sync changes that."""

    inode: int


class Create(NamedTuple):
    path: str
    inode: int


class Rename(NamedTuple):
    old: str
    new: str
    inode: int


class Remove(NamedTuple):
    path: str
    inode: int


class SyncFolder(NamedTuple):
    """The names in a folder are durable as they were before the event with the number `begun`."""

    folder: str
    begun: int


Event = Write | Kept | Truncate | Sync | Unsynced | Create | Rename | Remove | SyncFolder
Name = Create | Rename | Remove


class RecordedFile(File):
    """A real file; every change is noted. It is never really synced: the power only goes in the notes."""

    def __init__(self, file: File, disk: RecordedDisk, inode: int) -> None:
        super().__init__(file.path, file._descriptor)
        self._disk = disk
        self._inode = inode

    def write(self, data: bytes, offset: int) -> None:
        self._disk.note(Write(self._inode, offset, bytes(data)))
        super().write(data, offset)

    def write_synced(self, data: bytes, offset: int) -> None:
        number = self._disk.note(Write(self._inode, offset, bytes(data)))
        super().write(data, offset)
        self._disk.note(Kept(number))

    def sync(self) -> None:
        self._disk.note(Sync(self._inode, len(self._disk.events)))

    def truncate(self, size: int) -> None:
        self._disk.note(Truncate(self._inode, size))
        super().truncate(size)


class RecordedDisk(Disk):
    """A real folder; every change in it is noted in `events`, in an order in which they happened, whatever threads they came from."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.events: list[Event] = []
        self.beginning: dict[str, bytes] = {}
        self._names: dict[str, int] = {}
        self._last = 0
        self._mutex = threading.Lock()
        for path in sorted(root.rglob("*")) if root.exists() else ():
            if path.is_file():
                self._last += 1
                self._names[self._short(path)] = self._last
                self.beginning[self._short(path)] = path.read_bytes()

    def _short(self, path: Path) -> str:
        return str(path.relative_to(self.root))

    def note(self, event: Event) -> int:
        """Its number."""
        with self._mutex:
            self.events.append(event)
            return len(self.events) - 1

    def open(self, path: Path) -> File:
        return RecordedFile(super().open(path), self, self._names[self._short(path)])

    def create(self, path: Path) -> File:
        name = self._short(path)
        with self._mutex:
            inode = self._names.get(name)
            if inode is not None:
                self.events.append(Truncate(inode, 0))
            else:
                self._last += 1
                inode = self._names[name] = self._last
                self.events.append(Create(name, inode))
        return RecordedFile(super().create(path), self, inode)

    def rename(self, old: Path, new: Path) -> None:
        with self._mutex:
            inode = self._names.pop(self._short(old))
            self._names[self._short(new)] = inode
            self.events.append(Rename(self._short(old), self._short(new), inode))
            super().rename(old, new)

    def remove(self, path: Path) -> None:
        with self._mutex:
            inode = self._names.pop(self._short(path), None)
            if inode is not None:
                self.events.append(Remove(self._short(path), inode))
            super().remove(path)

    def sync_folder(self, folder: Path) -> None:
        self.note(SyncFolder(self._short(folder), len(self.events)))


class UnsyncedFile(File):
    """A file for disks that lose nothing: synced writes and syncs take no time."""

    def write_synced(self, data: bytes, offset: int) -> None:
        self.write(data, offset)

    def sync(self) -> None:
        pass


class UnsyncedDisk(Disk):
    """The real disk without its syncs."""

    def open(self, path: Path) -> File:
        file = super().open(path)
        return UnsyncedFile(file.path, file._descriptor)

    def create(self, path: Path) -> File:
        file = super().create(path)
        return UnsyncedFile(file.path, file._descriptor)

    def sync_folder(self, folder: Path) -> None:
        pass


@dataclass
class Inode:
    """A file's content that is durable, and the changes of it that are not yet."""

    data: bytes = b""
    pending: list[tuple[int, Write | Truncate]] = field(default_factory=list)


class Choice(NamedTuple):
    """Which of the changes that were not durable the disk had kept after all: names by event number, sectors by event number and offset.

    `longer` are writes of which the file has the length, whatever it has of their bytes.
    """

    kind: str
    names: frozenset[int]
    sectors: frozenset[tuple[int, int]]
    longer: frozenset[int] = frozenset()


class Platter:
    """What is durable after a number of events, and what may be."""

    def __init__(self, beginning: dict[str, bytes]) -> None:
        self._names = {name: number for number, name in enumerate(beginning, 1)}
        self._inodes = {number: Inode(beginning[name]) for name, number in self._names.items()}
        self._pending: list[tuple[int, Name]] = []
        self._writes: dict[int, Write] = {}

    def happen(self, number: int, event: Event) -> None:
        """The next event."""
        if isinstance(event, Write | Truncate):
            self._inodes[event.inode].pending.append((number, event))
            if isinstance(event, Write):
                self._writes[number] = event
        elif isinstance(event, Kept):
            self._keep(self._writes[event.write].inode, {event.write})
        elif isinstance(event, Sync):
            pending = self._inodes[event.inode].pending
            self._keep(event.inode, {written for written, _ in pending if written < event.begun})
        elif isinstance(event, Unsynced):
            self._inodes[event.inode].pending.clear()
        elif isinstance(event, SyncFolder):
            for _, change in [item for item in self._pending if item[0] < event.begun and folder_of(item[1]) == event.folder]:
                apply_name(self._names, change)
            self._pending = [item for item in self._pending if item[0] >= event.begun or folder_of(item[1]) != event.folder]
        else:
            if isinstance(event, Create):
                self._inodes[event.inode] = Inode()
            self._pending.append((number, event))

    def everything(self) -> Choice:
        """What the system shows while the power is there, or when only the broker was killed."""
        sectors = (sector for inode in self._inodes.values() for change in inode.pending for sector in sectors_of(*change))
        return Choice("all", frozenset(number for number, _ in self._pending), frozenset(sectors))

    def going_on(self, beginning: dict[str, bytes]) -> Platter:
        """The platter for the events of another disk, which has everything in the beginning: what was not durable still is not."""
        every = self.everything()
        shown = dict(self._names)
        for _, change in self._pending:
            apply_name(shown, change)
        numbers = {name: number for number, name in enumerate(beginning, 1)}
        known = {inode: numbers[name] for name, inode in shown.items()}
        platter = Platter({})
        platter._names = {name: known.get(inode, -inode) for name, inode in self._names.items()}
        for inode in {*shown.values(), *self._names.values()}:
            number, data, content = known.get(inode, -inode), self._inodes[inode].data, self._content(inode, every)
            platter._inodes[number] = Inode(data, [(-number, Write(number, 0, content))] if data != content else [])
        changes: list[Name] = [Create(name, known[inode]) for name, inode in shown.items() if self._names.get(name) != inode]
        changes += [Remove(name, known.get(inode, -inode)) for name, inode in self._names.items() if name not in shown]
        platter._pending = list(zip(range(-len(changes), 0), changes, strict=True))
        return platter

    def _keep(self, inode: int, numbers: set[int]) -> None:
        file = self._inodes[inode]
        data = bytearray(file.data)
        for number, change in file.pending:
            if number in numbers:
                apply_change(data, change)
                self._writes.pop(number, None)
        file.data = bytes(data)
        file.pending = [item for item in file.pending if item[0] not in numbers]

    def choices(self, random: Random, randoms: int) -> Iterator[Choice]:
        """Ways in which the power may go now: the extreme ones, and some at random."""
        names = [number for number, _ in self._pending]
        sectors = [sector for inode in self._inodes.values() for change in inode.pending for sector in sectors_of(*change)]
        nothing: frozenset[int] = frozenset()
        everything = frozenset(names)
        yield Choice("none", nothing, frozenset())
        if not names and not sectors:
            return
        yield self.everything()
        yield Choice("only the last", frozenset(names[-1:]), frozenset(sectors[-1:]))
        yield Choice("only the first", frozenset(names[:1]), frozenset(sectors[:1]))
        yield Choice("all but the first", frozenset(names[1:]), frozenset(sectors[1:]))
        yield Choice("only data", nothing, frozenset(sectors))
        yield Choice("only names", everything, frozenset())
        writes = sorted({number for number, _ in sectors})
        for turn in range(randoms):
            part = random.choice((0.1, 0.5, 0.9))
            chosen = frozenset(sector for sector in sectors if random.random() < part)
            longer = frozenset(number for number in writes if random.random() < 0.3)
            yield Choice(f"random {turn}", frozenset(name for name in names if random.random() < 0.5), chosen, longer)

    def after(self, choice: Choice) -> dict[str, bytes]:
        """The files that are found with the power back."""
        names = dict(self._names)
        for number, change in self._pending:
            if number in choice.names:
                apply_name(names, change)
        return {name: self._content(inode, choice) for name, inode in names.items()}

    def _content(self, inode: int, choice: Choice) -> bytes:
        file = self._inodes[inode]
        if not file.pending:
            return file.data
        data = bytearray(file.data)
        for number, change in file.pending:
            if isinstance(change, Truncate):
                if (number, 0) not in choice.sectors:
                    break  # what is written behind a cut goes elsewhere on the disk, and is not seen without the cut
                apply_change(data, change)
                continue
            for _, at in sectors_of(number, change):
                if (number, at) in choice.sectors:
                    start = at - change.offset
                    part = change.data[max(start, 0) : start + SECTOR]
                    apply_change(data, Write(inode, max(at, change.offset), part))
            if number in choice.longer:
                data.extend(bytes(max(0, change.offset + len(change.data) - len(data))))
        return bytes(data)


def sectors_of(number: int, change: Write | Truncate) -> Iterator[tuple[int, int]]:
    """The parts of a change that the disk keeps or loses by themselves."""
    if isinstance(change, Truncate):
        yield number, 0
        return
    first = change.offset // SECTOR * SECTOR
    yield from ((number, at) for at in range(first, change.offset + len(change.data), SECTOR))


def apply_change(data: bytearray, change: Write | Truncate) -> None:
    if isinstance(change, Truncate):
        del data[change.size :]
        return
    data.extend(bytes(max(0, change.offset - len(data))))
    data[change.offset : change.offset + len(change.data)] = change.data


def apply_name(names: dict[str, int], change: Name) -> None:
    """A file has one name at most, whatever was lost on the way there."""
    if isinstance(change, Remove):
        if names.get(change.path) == change.inode:
            del names[change.path]
        return
    for name in [name for name, inode in names.items() if inode == change.inode]:
        del names[name]
    names[change.new if isinstance(change, Rename) else change.path] = change.inode


def folder_of(change: Name) -> str:
    return str(Path(change.new if isinstance(change, Rename) else change.path).parent)


def fingerprint(files: dict[str, bytes]) -> bytes:
    """The same for the same files."""
    digest = blake2b(digest_size=16)
    for name in sorted(files):
        digest.update(f"{name}\0{len(files[name])}\0".encode())
        digest.update(files[name])
    return digest.digest()


def write_out(files: dict[str, bytes], folder: Path) -> None:
    """Put the files into a folder."""
    for name in ("journal", "queues"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path = folder / name
        filled = data.rstrip(b"\0")
        with path.open("wb") as file:
            file.write(filled)
            file.truncate(len(data))
