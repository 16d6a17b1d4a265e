"""The journal: every change of every queue, in the order in which they happened, and the commits that many of them share.

While one commit is being written, the records of the next gather; when it is done they are written and synced with one call, whoever and
whatever queue they are of. A thread does that, one commit at a time. The journal is a row of segments: files of one size that are written
through with zeros beforehand, so that a commit only writes data.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from asyncio import Future
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from time import perf_counter
from typing import Final
from zlib import crc32

import structlog
from msgspec import Struct

from gmq.histogram import Commits
from gmq.message import GmqError
from gmq.storage import records
from gmq.storage.disk import Disk, File
from gmq.storage.records import CHECK, HEAD, HEAD_SIZE, MAGIC, VERSION, Mark, Opening, seed_of

log = structlog.get_logger()

SUFFIX: Final = ".journal"
NEW: Final = ".new"
OPENING_ROOM: Final = 1024
"""Bytes that the opening of a segment takes at most."""
ROUNDS: Final = 6
"""Rounds of the event loop between two commits: few enough to cost nothing when nobody else comes, and with many clients there are
fewer and larger commits."""
RETRY: Final = 1.0
"""Seconds until the next attempt to make a segment."""


class Segment:
    """A file of the journal. `first` is the sequence number of its first record, `end` the one after its last."""

    __slots__ = ("end", "file", "first", "fresh", "number", "path", "previous", "salt", "size", "used")

    def __init__(self, folder: Path, number: int, size: int) -> None:
        self.number = number
        self.path = folder / segment_name(number)
        self.size = size
        self.salt = secrets.randbits(32) or 1
        self.file: File | None = None  # there when it is ready to be written
        self.first = self.end = 0
        self.previous = 0  # the number of the segment before
        self.used = 0  # bytes
        self.fresh = True  # whether the file was all zeros before


class Batch:
    """The records of one commit, and the future that tells how it went."""

    __slots__ = ("first", "future", "offset", "parts", "records", "seconds", "segment", "size")

    def __init__(self, segment: Segment, offset: int, first: int, future: Future[None]) -> None:
        self.segment = segment
        self.offset = offset
        self.first = first
        self.future = future
        self.parts: list[bytes] = []
        self.size = 0
        self.records = 0  # known when it is closed
        self.seconds = 0.0  # that writing it took


class Beginning(Struct, frozen=True):
    """Where the journal goes on: the number of the next segment, that of the next record, and the record from which none counts."""

    segment: int
    sequence: int
    proven: int


class Journal:
    """The journal of a folder, for one event loop. Up to `spares` segments are kept for their next use when what they hold is not needed.

    `on_commit` is called after each commit. `on_failure` is called once, with the reason, when a commit failed: it and every later one
    fails then, and the journal is of no more use.
    `state` gives the highest number of a queue and the least id for a new one, for the opening of a segment.
    """

    def __init__(
        self,
        disk: Disk,
        folder: Path,
        segment_size: int,
        commits: Commits,
        *,
        spares: int,
        on_commit: Callable[[], None],
        on_failure: Callable[[OSError], None],
        state: Callable[[], tuple[int, int]],
    ) -> None:
        self._disk = disk
        self._folder = folder
        self._segment_size = segment_size
        self._commits = commits
        self._spares = spares
        self._on_commit = on_commit
        self._on_failure = on_failure
        self._state = state
        self._loop = asyncio.get_running_loop()
        self._sequence = 0
        self._proven = 0
        self.proven = 0  # of a journal that failed: no record from this number on counts
        self._number = 0  # of the next segment to be planned
        self._gathering: Batch | None = None  # takes more records
        self._waiting: deque[Batch] = deque()  # the gathering one is the last of them
        self._writing: Batch | None = None
        self._segments: deque[Segment] = deque()  # in use, the one that is written to last
        self._retired: deque[Segment] = deque()  # of no more use, to become the next ones
        self._current = False  # whether the last of them is one of ours, to be written to
        self._plan: Segment | None = None  # the next one
        self._failed = False
        self.written = 0  # bytes of records so far
        self._tasks: SimpleQueue[Batch | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._preparer = ThreadPoolExecutor(1, "gmq-segments")

    # What the storage does

    def start(self, beginning: Beginning, older: Sequence[Segment]) -> None:
        """Go on behind what was recovered, in a new segment; `older` are the segments whose records are still needed.

        `commit` then gives the future of its opening.
        """
        self._number = beginning.segment
        self._sequence = beginning.sequence
        self._proven = beginning.proven
        self._segments.extend(older)
        self._plan_next(self._segment_size)
        self._thread = threading.Thread(target=self._work, name="gmq-journal", daemon=True)
        self._thread.start()
        self._new_batch(0)  # the opening alone: once it is durable, so is what counts of the segments before it

    @property
    def sequence(self) -> int:
        """The number of the next record."""
        return self._sequence

    @property
    def segments(self) -> int:
        """How many segments are in use."""
        return len(self._segments)

    def append(self, kind: int, fields: bytes, data: Sequence[bytes] = (), data_size: int = 0) -> None:
        """Add a record to the commit that gathers."""
        size = HEAD_SIZE + len(fields) + data_size
        batch = self._gathering
        if batch is None or batch.offset + batch.size + size > batch.segment.size:
            batch = self._new_batch(size)
        sequence = self._sequence
        self._sequence = sequence + 1
        head = HEAD.pack(MAGIC, kind, 0, 0, len(fields), data_size, sequence, sequence - batch.first)
        parts = batch.parts
        parts.append(head)
        parts.append(CHECK.pack(crc32(fields, crc32(head, seed_of(batch.segment.salt, batch.offset + batch.size)))))
        parts.append(fields)
        parts.extend(data)
        batch.size += size

    def commit(self) -> Future[None] | None:
        """The future of the commit with which all that was appended is durable; None where it is; a failed one where it never is."""
        if self._failed:
            future = self._loop.create_future()
            future.set_exception(GmqError("unavailable", "the journal could not be written"))
            future.exception()  # so that nobody has to look at it
            return future
        if self._waiting:
            return self._waiting[-1].future
        return None if self._writing is None else self._writing.future

    def release(self, below: int) -> None:
        """Let go of the segments of which every record has a number below this one."""
        while len(self._segments) > self._current and self._segments[0].end <= below:
            self._retired.append(self._segments.popleft())
        if len(self._retired) > self._spares:
            surplus = [self._retired.popleft() for _ in range(len(self._retired) - self._spares)]
            self._loop.run_in_executor(self._preparer, self._remove, surplus)

    def give_up(self) -> None:
        """Fail what is not durable yet, and all that is still to come."""
        self._fail(OSError("the journal was given up"))

    async def close(self) -> None:
        """Commit what is there, and let go of the files."""
        await self._settle()
        if not self._failed:  # one that says nothing but that the last one was durable: damage to that is no torn end then
            self.append(Mark.kind, records.encode(Mark(0, self._sequence, 1)))
            await self._settle()
        await self.abandon()

    async def _settle(self) -> None:
        while (commit := self.commit()) is not None and not self._failed:
            await asyncio.wait([commit])

    async def abandon(self) -> None:
        """Let go of the files; what is not durable yet will not be."""
        self._failed = True
        if self._thread is None:
            return
        self._tasks.put(None)
        await self._loop.run_in_executor(self._preparer, self._thread.join)
        self._thread = None
        self._preparer.shutdown(wait=True)
        for segment in (*self._segments, *self._retired, self._plan):
            if segment is not None and segment.file is not None:
                segment.file.close()
                segment.file = None

    # Commits

    def _new_batch(self, size: int) -> Batch:
        """A commit to gather in, with room for `size` bytes, behind all that there are."""
        if self._failed:
            raise GmqError("unavailable", "the journal cannot be written; the broker's log tells why")
        self._close_batch()
        segment = self._segments[-1] if self._current else None
        if segment is None or segment.used + size > segment.size:
            segment = self._next_segment(size)
        batch = Batch(segment, segment.used, self._sequence, self._loop.create_future())
        batch.future.add_done_callback(Future.exception)  # so that nobody has to look at it
        if not segment.used:
            opening = self._opening(segment)
            batch.parts.append(opening)
            batch.size = len(opening)
        self._gathering = batch
        self._waiting.append(batch)
        if self._writing is None and len(self._waiting) == 1:
            self._loop.call_soon(self._write_next)
        return batch

    def _close_batch(self) -> None:
        """What gathered so far is one commit; the next record begins another."""
        batch = self._gathering
        if batch is not None:
            batch.segment.used = batch.offset + batch.size
            batch.records = self._sequence - batch.first
            self.written += batch.size
            self._gathering = None

    def _write_next(self) -> None:
        """Let the thread write the commit whose turn it is, when its segment is ready."""
        if self._writing is not None or not self._waiting or self._waiting[0].segment.file is None:
            return
        batch = self._waiting.popleft()
        if batch is self._gathering:
            self._close_batch()
        self._writing = batch
        self._tasks.put(batch)

    def _gather(self, rounds: int) -> None:
        """Let the event loop go round a few times before the next commit: who has just been answered may have a part in it."""
        if rounds and self._waiting:
            self._loop.call_soon(self._gather, rounds - 1)
        else:
            self._write_next()

    def _work(self) -> None:
        """The thread's work: write and sync one commit after the other."""
        while (batch := self._tasks.get()) is not None:
            failure: OSError | None = None
            begun = perf_counter()
            try:
                self._write(batch)
            except OSError as error:
                failure = error
            batch.seconds = perf_counter() - begun
            self._loop.call_soon_threadsafe(self._written, batch, failure)

    def _write(self, batch: Batch) -> None:
        """Write and sync a commit. In the thread."""
        file = batch.segment.file
        if file is None:
            raise OSError("the segment is closed")
        try:
            file.write_synced(b"".join(batch.parts), batch.offset)
        except OSError:
            with suppress(OSError):  # else a broker that starts before this one recovered would find what no later sync brings to the disk
                file.write(bytes(batch.size), batch.offset)
            raise

    def _written(self, batch: Batch, failure: OSError | None) -> None:
        if self._failed:
            return
        if failure is not None:
            self._fail(failure)
            return
        self._writing = None
        self._commits.done(batch.seconds, batch.records, batch.size)
        self._gather(ROUNDS)
        batch.future.set_result(None)
        self._on_commit()

    def _fail(self, failure: OSError) -> None:
        """Nothing from the commit under way on will be durable."""
        if self._failed:
            return
        self._failed = True
        lost = [batch for batch in (self._writing, *self._waiting) if batch is not None]
        self.proven = lost[0].first if lost else self._sequence
        self._writing = self._gathering = None
        self._waiting.clear()
        self._on_failure(failure)
        for batch in lost:
            batch.future.set_exception(GmqError("unavailable", f"the journal could not be written: {failure.strerror or failure}"))

    # Segments

    def _next_segment(self, size: int) -> Segment:
        """The planned segment becomes the current one, and the next is planned."""
        segment = self._plan
        if segment is None or size + OPENING_ROOM > segment.size:  # a record that needs a segment of its own size
            segment = self._plan_next(max(self._segment_size, size + OPENING_ROOM))
        if self._current:
            self._segments[-1].end = self._sequence
        segment.first = self._sequence
        if self._current:
            self._proven = segment.first
        if self._segments:
            segment.previous = self._segments[-1].number
        self._segments.append(segment)
        self._current = True
        self._plan_next(self._segment_size)
        return segment

    def _opening(self, segment: Segment) -> bytes:
        last_queue, first_id = self._state()
        opening = Opening(
            VERSION, "journal", segment.salt, segment.number, first=segment.first, proven=self._proven,
            last_queue=last_queue, first_id=first_id, fresh=segment.fresh, size=segment.size, previous=segment.previous,
        )  # fmt: skip
        return records.framed(opening)

    def _plan_next(self, size: int) -> Segment:
        """Have the next segment made ready beforehand."""
        old = self._plan
        segment = self._plan = Segment(self._folder, self._number, size)
        self._number += 1
        spare = self._retired.popleft() if self._retired and size == self._segment_size == self._retired[0].size else None
        segment.fresh = spare is None
        unused = old if old is not None and old not in self._segments else None
        self._loop.run_in_executor(self._preparer, self._prepare, segment, spare, unused)
        return segment

    def _prepare(self, segment: Segment, spare: Segment | None, unused: Segment | None) -> None:
        """Make the file of a segment, of one that is no longer needed where there is one. In the preparing thread."""
        failure: OSError | None = None
        file: File | None = None
        try:
            if unused is not None:
                self._remove([unused])
            if spare is not None:
                if spare.file is not None:
                    spare.file.close()
                self._disk.rename(spare.path, segment.path)
                file = self._disk.open(segment.path)
            else:
                beside = segment.path.with_name(segment.path.name + NEW)
                self._disk.create_filled(beside, segment.size).close()
                self._disk.rename(beside, segment.path)
                file = self._disk.open(segment.path)
            self._disk.sync_folder(self._folder)
        except OSError as error:
            failure = error
        self._loop.call_soon_threadsafe(self._prepared, segment, file, failure)

    def _prepared(self, segment: Segment, file: File | None, failure: OSError | None) -> None:
        if self._failed:
            if file is not None:
                file.close()
        elif failure is None:
            segment.file = file
            self._write_next()
        elif self._waiting and self._waiting[0].segment is segment:
            self._fail(failure)
        else:  # not needed yet: perhaps the disk will be well when it is
            log.warning("the next journal segment could not be made", segment=segment.path.name, reason=str(failure))
            self._loop.call_later(RETRY, self._prepare_again, segment)

    def _prepare_again(self, segment: Segment) -> None:
        if not self._failed:
            self._loop.run_in_executor(self._preparer, self._prepare, segment, None, None)

    def _remove(self, segments: Sequence[Segment]) -> None:
        """Remove files that are of no more use. In the preparing thread; what stays behind is found at the next start."""
        for segment in segments:
            try:
                if segment.file is not None:
                    segment.file.close()
                    segment.file = None
                self._disk.remove(segment.path)
                self._disk.sync_folder(self._folder)  # one after the other: an older one that came back without the next would be misread
            except OSError as error:
                log.warning("a journal segment could not be removed", segment=segment.path.name, reason=str(error))


def segment_name(number: int) -> str:
    """The name of a segment's file."""
    return f"{number:016x}{SUFFIX}"
