"""A disk that fails when it is told to."""

from __future__ import annotations

import errno
import threading
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from gmq.storage.disk import Disk, File

CALLS = ("write_synced", "write", "sync", "rename", "create", "create_filled", "open", "read", "remove", "sync_folder")


class Fault(NamedTuple):
    """The `nth` call of a kind from now on fails, and so do the next `times` - 1; what a write was to write is on the disk up to `part`."""

    call: str
    nth: int
    times: int = 1
    code: int = errno.EIO
    part: float = 0

    def __str__(self) -> str:
        return f"{self.call} number {self.nth}, {self.times} times, {errno.errorcode[self.code]}, {self.part:.0%} written"


class FaultyFile(File):
    def __init__(self, file: File, disk: FaultyDisk) -> None:
        super().__init__(file.path, file._descriptor)
        self._disk = disk

    def read(self, size: int, offset: int) -> bytes:
        self._disk.call("read", self.path)
        return super().read(size, offset)

    def write(self, data: bytes, offset: int) -> None:
        self._write("write", data, offset)

    def write_synced(self, data: bytes, offset: int) -> None:
        self._write("write_synced", data, offset)

    def _write(self, call: str, data: bytes, offset: int) -> None:
        try:
            self._disk.call(call, self.path)
        except OSError:
            super().write(data[: int(len(data) * self._disk.part)], offset)
            raise
        super().write(data, offset)

    def sync(self) -> None:
        self._disk.call("sync", self.path)


class FaultyDisk(Disk):
    """`failed` are the calls that failed: kind and path."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._calls: Counter[str] = Counter()
        self._fault: Fault | None = None
        self.failed: list[tuple[str, Path]] = []

    @property
    def part(self) -> float:
        return self._fault.part if self._fault else 1

    def plan(self, fault: Fault | None) -> None:
        """Fail like this from now on, or no more."""
        with self._mutex:
            self._fault = fault
            self._calls.clear()
            self.failed.clear()

    def call(self, call: str, path: Path) -> None:
        with self._mutex:
            self._calls[call] += 1
            fault = self._fault
            if fault is not None and call == fault.call and fault.nth <= self._calls[call] < fault.nth + fault.times:
                self.failed.append((call, path))
                raise OSError(fault.code, "the disk fails, as the test wants it", str(path))

    def open(self, path: Path) -> File:
        self.call("open", path)
        return FaultyFile(super().open(path), self)

    def create(self, path: Path) -> File:
        self.call("create", path)
        return FaultyFile(super().create(path), self)

    def create_filled(self, path: Path, size: int) -> File:
        self.call("create_filled", path)
        return super().create_filled(path, size)

    def rename(self, old: Path, new: Path) -> None:
        self.call("rename", new)
        super().rename(old, new)

    def remove(self, path: Path) -> None:
        self.call("remove", path)
        super().remove(path)

    def sync_folder(self, folder: Path) -> None:
        self.call("sync_folder", folder)
