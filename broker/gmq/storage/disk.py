"""The disk, as the filesystem storage uses it: the one seam between it and the operating system.

Every call raises OSError as the system gives it. Tests put another `Disk` here: one that fails, or one that remembers.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Final

from gmq.folder import FILE_MODE, make_folder

ZEROS: Final = bytes(1 << 20)
_DSYNC: Final = getattr(os, "RWF_DSYNC", 0)
_NOT_SUPPORTED: Final = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class File:
    """An open file. Offsets and sizes are in bytes."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._dsync = _DSYNC  # 0 where the system has no such flag

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset`; less at the end of the file."""
        data = os.pread(self._descriptor, size, offset)
        while len(data) < size and (more := os.pread(self._descriptor, size - len(data), offset + len(data))):
            data += more
        return data

    def write(self, data: bytes, offset: int) -> None:
        """Write all of it; `sync` makes it durable."""
        written = os.pwrite(self._descriptor, data, offset)
        if written < len(data):  # a signal, or a disk that is nearly full
            view = memoryview(data)
            while written < len(data):
                written += os.pwrite(self._descriptor, view[written:], offset + written)

    def write_synced(self, data: bytes, offset: int) -> None:
        """Write all of it; it is durable on return. One call to the system where that can do both at once (pwritev2(2), RWF_DSYNC)."""
        if self._dsync:
            try:
                if os.pwritev(self._descriptor, (data,), offset, self._dsync) == len(data):
                    return
            except OSError as error:
                if error.errno not in _NOT_SUPPORTED:
                    raise
                self._dsync = 0
        self.write(data, offset)
        self.sync()

    def sync(self) -> None:
        """Make durable what was written."""
        os.fdatasync(self._descriptor)

    def truncate(self, size: int) -> None:
        """Cut the file."""
        os.ftruncate(self._descriptor, size)

    def size(self) -> int:
        """The file's length."""
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)


class Disk:
    """Files and folders."""

    def open(self, path: Path) -> File:
        """A file that exists, to read and write."""
        return File(path, os.open(path, os.O_RDWR | os.O_CLOEXEC))

    def create(self, path: Path) -> File:
        """A new and empty file; what had its name is cut to nothing."""
        return File(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE))

    def create_filled(self, path: Path, size: int) -> File:
        """A new file of `size` zeros, durable: writes into it later change no metadata, and so are cheaper to sync."""
        file = self.create(path)
        try:
            for offset in range(0, size, len(ZEROS)):
                file.write(ZEROS[: size - offset], offset)
                file.sync()  # a little at a time: others who sync wait for it
        except OSError:
            file.close()
            raise
        return file

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, in the place of whatever has that name; `sync_folder` makes it durable."""
        old.rename(new)

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""
        path.unlink(missing_ok=True)

    def make_folder(self, path: Path) -> None:
        """A folder and those above it, where they are missing."""
        make_folder(path)

    def names(self, folder: Path) -> list[str]:
        """What is in a folder, sorted."""
        return sorted(os.listdir(folder))  # noqa: PTH208  # names, not paths

    def sync_folder(self, folder: Path) -> None:
        """Make durable which files it has, under which names."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lock(self, path: Path) -> int | None:
        """An exclusive lock, which ends with the process at the latest; None while another process has it. `unlock` gives it back."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def unlock(self, lock: int) -> None:
        """Give a lock back."""
        os.close(lock)
