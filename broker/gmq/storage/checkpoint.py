"""Checkpoints: what is alive goes to the queues' own files, and the journal's segments are free again.

One queue at a time: what changed of it is gathered in the event loop, in slices that nobody notices, then written and synced in a thread.
What is in the file afterwards need not stay in memory.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from gmq.message import Message, Plain
from gmq.queue import Queue
from gmq.storage import records
from gmq.storage.disk import Disk
from gmq.storage.journal import Journal
from gmq.storage.ledger import Filed, Ledger
from gmq.storage.queuefile import Cut, Handles, QueueFile, Writer
from gmq.storage.records import Row

log = structlog.get_logger()

SMALL: Final = 4096
"""Bytes of a queue that may be carried along in the journal."""
TURN: Final = 256 << 10
"""Bytes that are carried along in one turn of the event loop."""
FEW: Final = 1000
"""Messages that are not plain whose payloads stay in memory though they are in a file."""
SLICE: Final = 8000
"""Messages that are looked at in one turn of the event loop."""


class Checkpoint:
    """Makes checkpoints of one storage, one at a time.

    `resident` tells how many bytes of payloads are in memory, `cache` how many of those in files may stay there. Small queues, up to
    `carried` bytes of them together, get no files: they are carried along in the journal.
    """

    def __init__(
        self,
        disk: Disk,
        writer: Writer,
        handles: Handles,
        ledger: Ledger,
        journal: Journal,
        *,
        cache: int,
        carried: int,
        resident: Callable[[], int],
    ) -> None:
        self._disk = disk
        self._writer = writer
        self._handles = handles
        self._ledger = ledger
        self._journal = journal
        self._cache = cache
        self._carried = carried
        self._resident = resident
        self._thread = ThreadPoolExecutor(1, "gmq-checkpoint")
        self._paged = False  # whether payloads left memory in this checkpoint

    async def run(self, queues: Callable[[int], Queue | None], numbers: Iterable[int] | None = None) -> None:
        """Write what is alive, and free the journal; with `numbers`, only these queues' files, and nothing is freed.

        Raises:
            OSError: a file could not be written; the journal still has what it would have held.
        """
        self._ledger.flush()
        start = self._journal.sequence
        turn = 0
        room = self._carried if numbers is None else 0
        for number in list(self._ledger.filed if numbers is None else numbers):
            queue, filed = queues(number), self._ledger.filed.get(number)
            if queue is None or filed is None:
                continue
            if not (filed.changed or filed.below != queue.next_id or number in self._ledger.surplus):
                continue
            weight = filed.weight(queue)
            if weight <= min(SMALL, room) and number not in self._ledger.surplus:
                self._ledger.carry(queue)
                room -= weight
                turn += weight
                if turn > TURN:
                    turn = 0
                    await asyncio.sleep(0)
            else:
                await self._write(queue, filed)
        await self._remove_deleted()
        if numbers is None:
            if (commit := self._ledger.commit()) is not None:
                await asyncio.shield(commit)  # what was carried along
            self._journal.release(start)
        if self._paged:
            self._paged = False
            await asyncio.get_running_loop().run_in_executor(self._thread, give_memory_back)

    def close(self) -> None:
        """Let go of the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _write(self, queue: Queue, filed: Filed) -> None:
        """Write one queue's file."""
        cut, whole = await self._cut(queue, filed)
        self._ledger.surplus.discard(queue.number)
        if (commit := self._ledger.commit()) is not None:
            await asyncio.shield(commit)  # what a file says has to be durable in the journal, or a failed commit would live on in it
        old = filed.file
        try:
            if old is not None:
                self._handles.pin(old.path)
            file = await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.write, cut, old)
        except BaseException:
            filed.start_over()
            raise
        if cut.anew or old is None:
            self._handles.forget(file.path)
            if old is not None and old.path != file.path:
                self._ledger.deleted.append(old)
            filed.file = file
            if old is None and self._ledger.filed.get(queue.number) is not filed:  # the queue went while its first file was written
                self._ledger.deleted.append(file)
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.settle)
            except BaseException:
                filed.start_over()
                raise
        else:
            old.index.update(file.index)
            old.size = file.size
        if self._ledger.filed.get(queue.number) is filed:
            await self._page_out(queue, filed, whole)

    async def _cut(self, queue: Queue, filed: Filed) -> tuple[Cut, Sequence[Message]]:
        """What is to be written of a queue, and the messages in it that are not plain; from here on changes are noted for the next time."""
        anew = filed.anew or filed.file is None or filed.has_surplus(queue)
        below, touched, unfiled, removed, keys = filed.below, filed.touched, filed.unfiled, filed.removed, filed.keys
        self._ledger.flush()
        through, next_id = self._journal.sequence, queue.next_id
        plain: list[Plain] = queue.plain_since(0 if anew else below)
        whole: Sequence[Message] = queue.whole_messages()
        if not anew:  # a new message may be no longer plain though nobody touched it: it went back when a take or a move had no room for it
            whole = [*touched.values(), *[message for message in whole if message.id >= below and message.id not in touched]]
        remembered = queue.remembered(None if anew else keys)
        filed.touched, filed.unfiled, filed.removed, filed.keys = {}, set(), [], 0
        filed.below, filed.anew, filed.changed = next_id, False, False
        rows: list[tuple[Row, bytes]] = []
        states: list[Row] = []
        for at in range(0, len(whole), SLICE):
            if at:
                await asyncio.sleep(0)
            for message in whole[at : at + SLICE]:
                if message.gone or message.id >= next_id:
                    continue
                if anew or message.id >= below or message.id in unfiled:
                    rows.append((records.row_of(message), message.payload))
                else:
                    states.append(records.row_of(message))
        cut = Cut(
            queue.number, queue.name, through, next_id, filed.policy, anew,
            plain, rows, states, [] if anew else removed, remembered,
        )  # fmt: skip
        return cut, whole

    async def _page_out(self, queue: Queue, filed: Filed, whole: Sequence[Message]) -> None:
        """Let go of payloads that are in the file, where they take much memory."""
        much = self._resident() > self._cache
        if much:
            queue.page_lines(filed.below)
        if not much and len(whole) <= FEW:
            return
        self._paged = True
        for at in range(0, len(whole), SLICE):
            if at:
                await asyncio.sleep(0)
            queue.page_messages([message for message in whole[at : at + SLICE] if message.id not in filed.unfiled], filed.below)

    async def _remove_deleted(self) -> None:
        """Remove the files of queues that are gone."""
        while self._ledger.deleted:
            file = self._ledger.deleted.pop()
            self._handles.forget(file.path)
            if (commit := self._ledger.commit()) is not None:
                await asyncio.shield(commit)
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._remove, file)
            except BaseException:
                self._ledger.deleted.append(file)
                raise

    def _remove(self, file: QueueFile) -> None:
        self._disk.remove(file.path)
        self._disk.sync_folder(file.path.parent)


def give_memory_back() -> None:
    """Let the C library return to the system what many freed payloads leave behind (malloc_trim(3), where there is one)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
