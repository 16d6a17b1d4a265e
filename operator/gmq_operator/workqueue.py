"""What has to be reconciled, and when: each key once, with one worker, later and later while it fails."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from heapq import heappop, heappush
from itertools import count
from typing import Final, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

FIRST_BACKOFF: Final = 1.0
LONGEST_BACKOFF: Final = 300.0
JITTER: Final = 0.25
"""A backoff is longer by up to this share, so that what failed together does not try again together."""
SETTLING: Final = 0.05
"""Seconds between the first event about a key and the work: what happens together is worked on together."""


def backoff(failures: int, random_share: float) -> float:
    """Seconds until the next try after so many failures in a row (1 or more); `random_share` is from 0 to 1."""
    doubled = FIRST_BACKOFF * 2.0 ** min(failures - 1, 30)
    return min(LONGEST_BACKOFF, doubled * (1 + JITTER * random_share))


class _Entry:
    """What is known of a key that waits, is worked on or failed."""

    __slots__ = ("dirty", "due", "failed_at", "failures", "ready_since", "started")

    def __init__(self) -> None:
        self.due: float | None = None
        self.ready_since: float | None = None
        self.started: float | None = None
        self.dirty = False
        """Wanted again while it was worked on."""
        self.failures = 0
        self.failed_at = 0.0


class WorkQueue(Generic[Key]):
    """Keys, and workers that call `work` with them.

    `work` returns the seconds after which to work on the key again though nothing happens, or None. What it raises goes to `failed`, with
    the key, the failures in a row and the seconds until the next try. A key is never worked on by two workers at a time. The clock is the
    event loop's.
    """

    def __init__(
        self,
        work: Callable[[Key], Awaitable[float | None]],
        failed: Callable[[Key, Exception, int, float], None],
        *,
        workers: int,
        random_share: Callable[[], float] = random.random,
    ) -> None:
        self._work = work
        self._failed = failed
        self._workers = workers
        self._random_share = random_share
        self._entries: dict[Key, _Entry] = {}
        self._schedule: list[tuple[float, int, Key]] = []
        """A heap. An entry's own `due` says whether its place here is still meant."""
        self._order = count()
        self._ready: deque[Key] = deque()
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to work. The event loop has to run."""
        self._tasks = [asyncio.create_task(self._run(), name=f"worker {number}") for number in range(self._workers)]
        self._move_due()

    async def stop(self) -> None:
        """Cancel what is under way, and wait until that is done."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def add(self, key: Key) -> None:
        """Something happened to the key: work on it soon. One that just failed still waits for the shortest backoff."""
        entry = self._entries.setdefault(key, _Entry())
        if entry.started is not None:
            entry.dirty = True
            return
        if entry.ready_since is None:
            self._at(key, entry, max(self._now() + SETTLING, entry.failed_at + FIRST_BACKOFF if entry.failures else 0.0))

    def forget(self, key: Key) -> None:
        """The key is no longer there: no more work on it, unless it is added again."""
        entry = self._entries.get(key)
        if entry is None:
            return
        if entry.started is None:
            del self._entries[key]
        else:
            entry.dirty, entry.failures = False, 0

    @property
    def depth(self) -> int:
        """Keys that wait for a worker, or have one."""
        return sum(entry.ready_since is not None or entry.started is not None for entry in self._entries.values())

    @property
    def failing(self) -> int:
        """Keys whose last try failed."""
        return sum(entry.failures > 0 for entry in self._entries.values())

    def longest_wait(self) -> float:
        """Seconds that the oldest of the keys that could be worked on waits for a worker; 0 when none does."""
        now = self._now()
        return max((now - entry.ready_since for entry in self._entries.values() if entry.ready_since is not None), default=0.0)

    def longest_run(self) -> float:
        """Seconds since the oldest of the keys that are worked on was begun; 0 when none is."""
        now = self._now()
        return max((now - entry.started for entry in self._entries.values() if entry.started is not None), default=0.0)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _at(self, key: Key, entry: _Entry, when: float) -> None:
        """Work on the key at that time, or before if that is already arranged."""
        if entry.due is not None and entry.due <= when:
            return
        entry.due = when
        heappush(self._schedule, (when, next(self._order), key))
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._tasks and self._schedule:
            self._timer = asyncio.get_running_loop().call_at(self._schedule[0][0], self._move_due)

    def _move_due(self) -> None:
        """Give the workers what is due."""
        now = self._now()
        while self._schedule and self._schedule[0][0] <= now:
            when, _, key = heappop(self._schedule)
            entry = self._entries.get(key)
            if entry is None or entry.due != when:
                continue  # forgotten, or arranged anew
            entry.due, entry.ready_since = None, when
            self._ready.append(key)
            self._wake.set()
        self._arm()

    async def _run(self) -> None:
        while True:
            while not self._ready:
                self._wake.clear()
                await self._wake.wait()
            key = self._ready.popleft()
            entry = self._entries.get(key)
            if entry is None or entry.ready_since is None:
                continue  # forgotten while it waited
            await self._work_on(key, entry)

    async def _work_on(self, key: Key, entry: _Entry) -> None:
        entry.ready_since, entry.started, entry.dirty = None, self._now(), False
        try:
            again = await self._work(key)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with one key, the others are worked on
            entry.failures += 1
            entry.failed_at = self._now()
            again = backoff(entry.failures, self._random_share())
            self._failed(key, error, entry.failures, again)
        else:
            entry.failures = 0
        finally:
            entry.started = None
        if entry.dirty:
            self.add(key)
        if again is not None:
            self._at(key, entry, self._now() + again)
        elif not entry.dirty and entry.due is None:
            self._entries.pop(key, None)
