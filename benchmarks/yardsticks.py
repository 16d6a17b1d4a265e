"""What servers are held against and is no server itself: it works in the load generator's process, on its core."""

from __future__ import annotations

import os
import random
import tempfile
import time
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from benchmarks.results import Sample
from benchmarks.rounds import Player
from benchmarks.servers import Cores, Entrant
from benchmarks.work import Operation, Row, Shape

IN_MEMORY: Final = ("tmpfs", "ramfs")
APPENDED: Final = 200  # bytes: about what a message of 128 bytes takes in a journal


class Yardstick(Entrant):
    @abstractmethod
    def playing(self, cores: Cores) -> AbstractContextManager[Player]:
        """Take part for as long as the block lasts."""


class Disk(Yardstick):
    """The disk under the servers' data: what one durable write takes without any server."""

    name = "disk"
    installed = True
    remedy = ""

    @contextmanager
    def playing(self, cores: Cores) -> Iterator[Player]:  # noqa: ARG002
        with tempfile.TemporaryDirectory(prefix="gmq-bench-") as folder:
            player = _Appending(Path(folder) / "appended")
            try:
                yield player
            finally:
                player.close()

    def version(self) -> str:
        return file_system(Path(tempfile.gettempdir()))


class _Appending:
    """Append some bytes to a file and wait until the disk has them, over and over."""

    name = Disk.name

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._bytes = random.Random(0).randbytes(APPENDED)

    def offers(self, row: Row) -> bool:
        return row.operation is Operation.PUBLISH and row.shape.single

    def calibrate(self, shape: Shape, seconds: float) -> None:
        """Only latencies are measured: nothing to choose."""

    def measure(self, row: Row) -> Sample:
        raise NotImplementedError(f"{row} is not offered")

    def time(self, row: Row, count: int) -> Sample:  # noqa: ARG002
        times = []
        processor, started = time.process_time(), time.perf_counter()
        for _ in range(count):
            before = time.perf_counter_ns()
            os.write(self._file, self._bytes)
            os.fdatasync(self._file)
            times.append(time.perf_counter_ns() - before)
        return Sample(count, time.perf_counter() - started, time.process_time() - processor, 0.0, tuple(times))

    def drain(self, shape: Shape) -> float:  # noqa: ARG002
        """Nothing is queued."""
        return 0.0

    def close(self) -> None:
        os.close(self._file)


def file_system(folder: Path) -> str:
    """The kind of file system that a folder is on, and its device."""
    found, kind = Path("/"), "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        device, point, name = line.split()[:3]
        mounted = Path(point.encode().decode("unicode_escape"))
        if folder.resolve().is_relative_to(mounted) and mounted.is_relative_to(found):
            found, kind = mounted, f"{name} on {device}"
    return kind
