"""Files that may change while the broker runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

INTERVAL = 1.0
"""Seconds between looks. Looking at what a path leads to sees a symbolic link that was swapped, as Kubernetes does it."""

Stamp = tuple[tuple[str, tuple[int, ...] | None], ...]


class Watch:
    """Calls `changed` after any of the files changed, came or went; once for each state that is found."""

    def __init__(self, files: Callable[[], Iterable[str]], changed: Callable[[], Awaitable[None]]) -> None:
        self._files = files
        self._changed = changed
        self._stamp = stamp(files())
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look at the files from now on."""
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            now = await asyncio.to_thread(stamp, self._files())
            if now != self._stamp:
                self._stamp = now
                await self._changed()


def stamp(files: Iterable[str]) -> Stamp:
    """What tells one state of the files from another."""
    found: list[tuple[str, tuple[int, ...] | None]] = []
    for file in files:
        try:
            status = Path(file).stat()
        except OSError:
            found.append((file, None))
        else:
            # The time of the last change of the file's status is that of a chmod, too, and no tool sets it back.
            found.append((file, (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)))
    return tuple(found)
