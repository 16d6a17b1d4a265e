"""Queues on a volume: each change is in a journal before anybody is told, and what lasts in a file for each queue."""

from __future__ import annotations

import asyncio
import sys
from asyncio import Future
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

import structlog

from gmq.message import Clock, GmqError, Limits, Message, QueuePolicy, Totals, Usage
from gmq.queue import Queue
from gmq.storage.base import StorageError
from gmq.storage.checkpoint import Checkpoint, give_memory_back
from gmq.storage.disk import Disk
from gmq.storage.image import Image
from gmq.storage.index import Place
from gmq.storage.journal import Beginning, Journal, Segment
from gmq.storage.ledger import Filed, Ledger
from gmq.storage.local import LocalStorage
from gmq.storage.queuefile import Handles, Writer
from gmq.storage.recovery import JOURNAL, QUEUES, Loss, Recovered, Recovery, SegmentFile
from gmq.storage.scan import UnknownVersionError

log = structlog.get_logger()

LOCK: Final = "lock"
LOCK_WAIT: Final = 60.0
LOCK_RETRY: Final = 0.1
"""Seconds for which another broker in the folder is waited for, and between looks."""
HEAL_FIRST: Final = 0.1
HEAL_MOST: Final = 2.0
"""Seconds until the next attempt after a failure: the first time, and the most."""
CACHE: Final = 32 << 20
"""Bytes of payloads that stay in memory though they are in files."""
MORE_SEGMENTS: Final = 8
"""Segments in use, more than a checkpoint's worth, after which one is made however little is in them."""
SMALLEST: Final = 4 << 20
"""Bytes of the journal that a checkpoint is worth where memory is short."""
QUIET: Final = 1.0
"""Seconds in which only QUIET_BYTES went to the journal are a quiet moment, in which a part of a checkpoint's worth is reason enough."""
QUIET_BYTES: Final = 1 << 20
QUIET_PART: Final = 16
SWITCH: Final = 0.0005
"""Seconds after which the thread that makes checkpoints lets the event loop's go on."""
LARGEST_LOSS: Final = 64 << 20
"""Bytes of damage that are kept aside at most, of one place."""


class FilesystemStorage(LocalStorage):
    """Queues in a folder, of which one broker at a time may have the use. `segment_size` and `checkpoint_size` are in bytes."""

    name = "filesystem"

    def __init__(
        self,
        path: Path,
        limits: Limits,
        policy_for: Callable[[str], QueuePolicy],
        *,
        segment_size: int = 16 << 20,
        checkpoint_size: int = 128 << 20,
        clock: Clock | None = None,
        disk: Disk | None = None,
    ) -> None:
        super().__init__(limits, policy_for, clock)
        self._folder = path
        self._segment_size = segment_size
        self._checkpoint_size = checkpoint_size
        self._disk = disk or Disk()
        self._lock: int | None = None
        self._problem: str | None = "the storage is being opened"
        self._checkpointing: asyncio.Task[None] | None = None
        self._healing: asyncio.Task[None] | None = None
        self._checkpointed = 0  # bytes that the journal had written at the last checkpoint
        self._resident_limit = max(CACHE, limits.memory // 4)  # bytes of payloads in memory with which a checkpoint is made
        self._quiet_timer: asyncio.TimerHandle | None = None
        self._retry_at = 0.0  # no checkpoint before then, in the event loop's seconds
        self._failures = 0
        self._closing = False

    # The life of the storage

    async def open(self) -> None:
        try:
            for folder in (self._folder, self._folder / JOURNAL, self._folder / QUEUES):
                self._disk.make_folder(folder)
            self._disk.sync_folder(self._folder)
            await self._take_lock()
            await self._load()
        except UnknownVersionError as error:
            self._give_lock_back()
            raise StorageError(str(error)) from error
        except (OSError, GmqError) as error:
            self._give_lock_back()
            raise StorageError(f"{self._folder}: {reason(error)}") from error
        except BaseException:
            self._give_lock_back()
            raise
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH))

    async def _take_lock(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LOCK_WAIT
        path = self._folder / LOCK
        said = False
        while (lock := self._disk.lock(path)) is None:
            if loop.time() > deadline:
                raise StorageError(
                    f"{self._folder} is in use by another broker, still after {LOCK_WAIT:g} s; "
                    "stop that one, or choose another folder with storage.path"
                )
            if not said:
                said = True
                log.warning("waiting for another broker to let go of the folder", path=str(self._folder), seconds=LOCK_WAIT)
            await asyncio.sleep(LOCK_RETRY)
        self._lock = lock

    def _give_lock_back(self) -> None:
        if self._lock is not None:
            self._disk.unlock(self._lock)
            self._lock = None

    async def close(self) -> None:
        if self._lock is None:
            return
        self._closing = True
        if self._quiet_timer is not None:
            self._quiet_timer.cancel()
        await super().close()
        for task in (self._healing, self._checkpointing):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        if self._problem is None:
            self._ledger.flush()
            await self._journal.close()
        await self._let_go()
        self._give_lock_back()

    async def _let_go(self) -> None:
        """Let go of the files and threads."""
        await self._journal.abandon()
        self._checkpoint.close()
        self._handles.close()

    async def _load(self, failed: Journal | None = None) -> None:
        """Read the folder, and go on behind what it says; after a failure, behind the last commit that is proven."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        recovery = Recovery(self._disk, self._folder) if failed is None else Recovery(self._disk, self._folder, failed.proven)
        recovered = await asyncio.to_thread(recovery.run)
        await asyncio.to_thread(self._keep_aside, recovered)
        await asyncio.to_thread(self._make_durable, recovered)
        journal = Journal(
            self._disk, self._folder / JOURNAL, self._segment_size, self.commits,
            spares=self._checkpoint_size // self._segment_size + 1,
            on_commit=self._committed, on_failure=self._failed, state=lambda: (self._last_number, self._first_id),
        )  # fmt: skip
        proven = recovered.sequence if failed is None else failed.proven
        sequence = recovered.sequence if failed is None else max(recovered.sequence, failed.sequence)
        self._journal = journal
        self._ledger = Ledger(journal)
        self._handles = Handles(self._disk)
        writer = Writer(self._disk, self._folder / QUEUES, self._found_damage)
        self._checkpoint = Checkpoint(
            self._disk,
            writer,
            self._handles,
            self._ledger,
            journal,
            cache=CACHE,
            carried=self._checkpoint_size // 4,
            resident=lambda: self._usage.bytes - self._usage.paged,
        )
        self._checkpointed = -recovered.size
        self._fill(recovered)
        journal.start(Beginning(recovered.segment, sequence, proven), [in_use(segment, end) for segment, end in recovered.segments])
        try:
            if (opening := journal.commit()) is not None:
                await asyncio.shield(opening)
        except GmqError:
            await self._let_go()
            raise
        await asyncio.to_thread(give_memory_back)  # what recovery took
        self._resume()
        counts = {"queues": len(self._queues), "messages": self._usage.messages, "records": recovered.records}
        log.info("storage open", path=str(self._folder), seconds=round(loop.time() - started, 3), **counts)
        self._consider()

    def _fill(self, recovered: Recovered) -> None:
        """Make the queues of what was found."""
        totals = {name: queue.totals for name, queue in self._queues.items()}
        self._queues.clear()
        self._by_number.clear()
        self._alarms.clear()
        self._usage = Usage()
        self._last_number, self._first_id = recovered.last_queue, recovered.first_id
        now = self._clock()
        for image in sorted(recovered.images.values(), key=lambda image: image.number):
            if image.name in self._queues:  # a name that two numbers have: only damage can bring that about
                image.name = f"recovered-{image.number:x}"
            file = recovered.files.get(image.number)
            filed = self._ledger.filed[image.number] = Filed(file, image.below, image.policy)
            filed.changed = image.changed or image.number in recovered.rewrite
            filed.anew = filed.anew or image.number in recovered.rewrite
            filed.touched = {number: image.whole[number] for number in image.touched if number in image.whole}
            filed.removed = image.removed
            filed.keys = image.new_keys
            if file is not None:
                filed.unfiled = {n for n in filed.touched if n in image.returned or (n < image.below and n not in file.index)}
            if filed.has_surplus(self._loaded(image, now, totals)):
                self._ledger.surplus.add(image.number)
        for gone in totals.keys() - self._queues.keys():
            self.departed.add(totals[gone])
        self._ledger.deleted = [file for number, file in recovered.files.items() if number not in recovered.images]

    def _loaded(self, image: Image, now: int, totals: dict[str, Totals]) -> Queue:
        name = image.name or ""
        queue = self._make(name, image.number, image.next_id, image.policy or self._policy_for(name), now)
        queue.load(image.spans(), image.whole.values(), image.remembered(), image.next_id, now)
        queue.totals = totals.get(name, queue.totals)
        super()._register(queue)
        return queue

    def _keep_aside(self, recovered: Recovered) -> None:
        """Keep the bytes that are not what was written, tell of them, and remove what is of no use."""
        for loss in recovered.losses:
            self._tell(loss)
            if loss.end > loss.at:
                file = self._disk.open(loss.path)
                try:
                    data = file.read(min(loss.end - loss.at, LARGEST_LOSS), loss.at)
                finally:
                    file.close()
                self._write_aside(loss.path, loss.at, data, loss.kind)
        for path in recovered.leftovers:
            self._disk.remove(path)

    def _make_durable(self, recovered: Recovered) -> None:
        """Sync what a broker that was killed may have written and not synced: all that comes now builds on it.

        That is the journal, and of the queues' files, which are written one after the other, those that know most of it.
        """
        known = {number: image.through for number, image in recovered.images.items() if number in recovered.files}
        last = max(known.values(), default=0)
        paths = [segment.path for segment, _ in recovered.segments]
        paths += [recovered.files[number].path for number, through in known.items() if through == last]
        for path in paths:
            file = self._disk.open(path)
            try:
                file.sync()
            finally:
                file.close()
        for folder in (JOURNAL, QUEUES):
            self._disk.sync_folder(self._folder / folder)

    def _tell(self, loss: Loss) -> None:
        if loss.kind == "torn":
            self.torn += 1
            log.warning("the end of a commit was incomplete and is cut; nobody was answered for it", file=loss.path.name, at=loss.at)
        else:
            self.damaged += 1
            log.error("damage found", file=loss.path.name, at=loss.at, end=loss.end, what=loss.text)

    def _write_aside(self, path: Path, at: int, data: bytes, kind: str) -> None:
        beside = path.with_name(f"{path.name}.{at:x}.{kind}")
        file = self._disk.create(beside)
        try:
            file.write(data.rstrip(b"\0") or data[:1], 0)
        finally:
            file.close()

    # What the queues need

    def _build(self, name: str, now: int) -> Queue:
        self._last_number += 1
        return self._make(name, self._last_number, self._first_id, self._policy_for(name), now)

    def _make(self, name: str, number: int, first_id: int, policy: QueuePolicy, now: int) -> Queue:
        limits = self._limits
        return Queue(
            name, number, first_id, policy, now, self._usage,
            capacity=limits.queue_messages, keys=limits.keys, recorder=self._ledger, pages=QueuePages(self, number),
        )  # fmt: skip

    def load_payloads(self, number: int, ids: Sequence[int]) -> list[bytes | None]:
        """Payloads from a queue's file."""
        file = self._ledger.filed[number].file
        if file is None:
            return [None] * len(ids)
        try:
            return file.load(self._handles.get(file.path), ids, self._found_damage)
        except OSError as error:
            self._failed(error)
            self._unavailable()

    def payload_length(self, number: int, message: int) -> int:
        """The length of a payload in a queue's file."""
        file = self._ledger.filed[number].file
        place = None if file is None else file.index.find(message)
        return 0 if place is None else place.length

    def payload_sizes(self, number: int, first: int, count: int) -> int:
        """The bytes of payloads with consecutive ids in a queue's file."""
        file = self._ledger.filed[number].file
        return 0 if file is None else file.index.size(first, count)

    def _found_damage(self, path: Path, place: Place, data: bytes) -> None:
        self.damaged += 1
        log.error("a message is damaged on the disk, and is not served", file=path.name, at=place.offset, size=place.length)
        try:
            self._write_aside(path, place.offset, data, "damaged")
        except OSError as error:
            log.warning("the damaged bytes could not be kept aside", file=path.name, reason=reason(error))

    # What queues and operations tell

    def _register(self, queue: Queue) -> None:
        self._ledger.created(queue)
        super()._register(queue)

    def _forget(self, queue: Queue) -> None:
        super()._forget(queue)
        self._ledger.deleted_queue(queue)

    def _moved(self, source: Queue, target: Queue, ids: Sequence[int], messages: Sequence[Message]) -> None:
        self._ledger.moved(source, target, ids, messages)

    def _appended(self, queues: Sequence[Queue], ids: Sequence[int], payloads: Sequence[bytes], size: int, now: int) -> None:
        super()._appended(queues, ids, payloads, size, now)
        self._ledger.appended(queues, ids, payloads, now)

    def commit(self) -> Future[None] | None:
        return self._ledger.commit()

    @property
    def memory(self) -> int:
        return super().memory - self._usage.paged

    @property
    def problem(self) -> str | None:
        return self._problem

    # Checkpoints

    def _committed(self) -> None:
        """Look after each commit whether it is time for a checkpoint: soon in a quiet moment, at once when there is much."""
        pending = self._journal.written - self._checkpointed
        if pending >= self._checkpoint_size or self._usage.bytes - self._usage.paged > self._resident_limit:
            self._consider()
        elif (pending >= self._checkpoint_size // QUIET_PART or self._ledger.surplus) and self._quiet_timer is None:
            self._wait_for_quiet()

    def _wait_for_quiet(self) -> None:
        self._quiet_timer = asyncio.get_running_loop().call_later(QUIET, self._look_for_quiet, self._journal.written)

    def _look_for_quiet(self, before: int) -> None:
        """A moment later: write anew the files with much that is of no use, and make a checkpoint where little happened; or look again.

        Both wait for this moment because a queue that is being emptied would have its file written many times.
        """
        self._quiet_timer = None
        written = self._journal.written
        if self._problem is not None:
            return
        much = written - self._checkpointed >= self._checkpoint_size // QUIET_PART
        quiet = written - before <= QUIET_BYTES
        if self._ledger.surplus or (much and quiet):
            self._consider(quiet=much and quiet)
        elif much:
            self._wait_for_quiet()

    def _consider(self, *, quiet: bool = False) -> None:
        """Make a checkpoint where there is reason for one, and none under way."""
        if self._checkpointing is not None or self._problem is not None or self._closing:
            return
        resident = self._usage.bytes - self._usage.paged
        pending = self._journal.written - self._checkpointed
        full = (
            quiet
            or pending >= self._checkpoint_size
            or self._journal.segments > self._checkpoint_size // self._segment_size + MORE_SEGMENTS
            or (resident > self._resident_limit and pending > SMALLEST)
        )
        loop = asyncio.get_running_loop()
        if (full or self._ledger.surplus or self._ledger.deleted) and loop.time() >= self._retry_at:
            self._checkpointing = loop.create_task(self._make_checkpoint(full=full))

    async def _make_checkpoint(self, *, full: bool) -> None:
        loop = asyncio.get_running_loop()
        started, written = loop.time(), self._journal.written
        try:
            await self._checkpoint.run(self._by_own_number, None if full else list(self._ledger.surplus))
        except OSError as error:
            self._failures += 1
            self.commits.errors += 1
            delay = min(HEAL_FIRST * 2**self._failures, 60 * HEAL_MOST)
            self._retry_at = loop.time() + delay
            loop.call_later(delay, self._consider)
            log.error(  # noqa: TRY400  # the disk is at fault, and the reason says it; no trace is needed
                "a checkpoint failed; the journal keeps everything until one succeeds", reason=reason(error), retry_in=delay
            )
        except GmqError:
            log.info("a checkpoint was given up: the journal failed")
        except Exception as error:
            # What is noted of the files may be half of the truth now, and the next checkpoint would build on it: begin again from the disk.
            log.exception("a checkpoint failed in the broker")
            self._failed(OSError(f"a checkpoint failed in the broker: {error}"))
        else:
            self._failures = 0
            if full:
                self._checkpointed = written
                log.debug("checkpoint", seconds=round(loop.time() - started, 3))
        finally:
            self._checkpointing = None
        self._consider()

    def _by_own_number(self, number: int) -> Queue | None:
        return self._by_number.get(f"{number:x}")

    # Failure, and what follows it

    def _failed(self, error: OSError) -> None:
        """Stop serving: what is in memory may be ahead of what is durable. Go back to that as soon as the disk is well."""
        if self._problem is not None:
            return
        self._problem = f"the disk failed: {reason(error)}"
        self.commits.errors += 1
        log.error("the storage failed and serves no requests until it has recovered", reason=reason(error))
        self._now = self._unavailable
        self._suspended = True
        self._journal.give_up()  # at once: a checkpoint under way must not write to a file what an operation has half done
        if self._healing is None and not self._closing:
            self._healing = asyncio.get_running_loop().create_task(self._heal())

    def _unavailable(self) -> NoReturn:
        raise GmqError("unavailable", f"{self._problem}; the broker tries again by itself")

    async def _heal(self) -> None:
        failed, delay = self._journal, HEAL_FIRST
        if self._checkpointing is not None:
            await asyncio.wait([self._checkpointing])
        await self._let_go()
        while True:
            await asyncio.sleep(delay)
            delay = min(2 * delay, HEAL_MOST)
            try:
                await self._load(failed)
            except (OSError, GmqError, UnknownVersionError) as error:
                self.commits.errors += 1
                log.warning("the storage has not recovered yet", reason=reason(error), retry_in=delay)
                continue
            break
        self._healing = None
        log.warning("the storage has recovered")
        for name, queue in list(self._queues.items()):
            if queue.ready:
                self.on_ready(name)

    def _resume(self) -> None:
        self._problem = None
        self._now = self._clock
        self._suspended = False
        for queue in list(self._queues.values()):
            self._done(queue)


class QueuePages:
    """The payloads in one queue's file, see gmq.recorder.Pages."""

    __slots__ = ("length", "load", "size")

    def __init__(self, storage: FilesystemStorage, number: int) -> None:
        self.load = partial(storage.load_payloads, number)
        self.length = partial(storage.payload_length, number)
        self.size = partial(storage.payload_sizes, number)


def in_use(found: SegmentFile, end: int) -> Segment:
    """A segment that was found, for the journal to let go of when it is no longer needed; `end` is the number after its last record."""
    segment = Segment(found.path.parent, found.opening.number, found.size)
    segment.first, segment.end, segment.fresh = found.opening.first, end, False
    return segment


def reason(error: BaseException) -> str:
    """An error in words."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)
