"""From files to queues: the queues' files are read, and the journal's records applied to what they say.

What is whole is kept. What is not is told as a `Loss`: the torn end of a commit that nobody was answered, or damage to what was durable.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec
from msgspec import Struct

from gmq.message import NEVER
from gmq.storage import journal, queuefile, records
from gmq.storage.disk import Disk, File
from gmq.storage.image import Image, Payloads
from gmq.storage.index import Index
from gmq.storage.queuefile import QueueFile
from gmq.storage.records import Add, AnyRecord, Clear, Create, Delete, Frame, Keys, Mark, Opening, Publish, Remove, Spread, State
from gmq.storage.scan import Gap, frames, is_zero, opening_of

JOURNAL: Final = "journal"
QUEUES: Final = "queues"
SECTOR: Final = 512
"""Bytes that a disk writes all or none of."""


class Kind(enum.StrEnum):
    """What a loss is."""

    TORN = "torn"
    DAMAGED = "damaged"


class Loss(Struct):
    """Bytes of a file that are not what was written: from `at` to `end`. `sequence` is the number of the record where it is known."""

    path: Path
    at: int
    end: int
    text: str
    kind: Kind = Kind.DAMAGED
    sequence: int | None = None


class SegmentFile(Struct):
    """A segment of the journal that was found."""

    path: Path
    opening: Opening
    start: int
    size: int


class Recovered(Struct):
    """What was found in a folder.

    `sequence` is one above that of every record, those that the files know of included, `segment` one above every segment's number.
    """

    images: dict[int, Image]
    files: dict[int, QueueFile]
    rewrite: set[int]  # queues whose files are not as they should be
    segments: list[tuple[SegmentFile, int]]  # with the number after its last record
    losses: list[Loss]
    leftovers: list[Path]  # of no use
    sequence: int
    segment: int
    last_queue: int
    first_id: int
    records: int
    size: int  # bytes of these records


class Recovery:
    """One reading of a folder; `run` raises OSError as the disk does, and UnknownVersionError."""

    def __init__(self, disk: Disk, folder: Path, proven: int = NEVER) -> None:
        self._disk = disk
        self._folder = folder
        self._limit = proven  # no record from this number on counts
        self._images: dict[int, Image] = {}
        self._deleted: set[int] = set()
        self._files: dict[int, QueueFile] = {}
        self._rewrite: set[int] = set()
        self._losses: list[Loss] = []
        self._leftovers: list[Path] = []
        self._last_queue = 0
        self._first_id = 1
        self._next = 0  # the number that the next record should have
        self._synced = 0 if proven == NEVER else proven  # all records before this one were durable once
        self._records = 0
        self._size = 0

    def run(self) -> Recovered:
        """Read everything."""
        self._read_queues(self._folder / QUEUES)
        segments = self._find_segments(self._folder / JOURNAL)
        ends: list[tuple[SegmentFile, int]] = []
        for index, segment in enumerate(segments):
            later = [segment.opening.proven for segment in segments[index + 1 :]]
            self._replay(segment, min(later, default=self._limit), max(later, default=0), segments[0])
            ends.append((segment, self._next))
        self._judge()
        for image in self._images.values():  # where the journal is damaged, a file may know of more than is left of it
            self._next = max(self._next, image.through)
        for number in self._deleted:
            self._images.pop(number, None)
        numbers = [int(segment.path.name.partition(".")[0], 16) for segment in segments]
        return Recovered(
            images={number: image for number, image in self._images.items() if self._is_known(image)},
            files=self._files,
            rewrite=self._rewrite,
            segments=ends,
            losses=self._losses,
            leftovers=self._leftovers,
            sequence=self._next,
            segment=max(numbers, default=0) + 1,
            last_queue=max([self._last_queue, *self._images, *self._files, *self._deleted]),
            first_id=self._first_id,
            records=self._records,
            size=self._size,
        )

    def _is_known(self, image: Image) -> bool:
        """Whether a queue is to be kept: one without a name is, under a name of ours, if there is anything in it."""
        if image.name is None and (image.whole or any(image.plain)):
            image.name = f"recovered-{image.number:x}"
        return image.name is not None

    # The queues' files

    def _read_queues(self, folder: Path) -> None:
        for name in self._disk.names(folder):
            path = folder / name
            if name.endswith(queuefile.NEW):
                self._leftovers.append(path)
            elif name.endswith(queuefile.SUFFIX):
                file = self._disk.open(path)
                try:
                    self._read_queue(path, file)
                finally:
                    file.close()

    def _read_queue(self, path: Path, file: File) -> None:
        size = file.size()
        found = opening_of(file)
        if found is None:
            self._losses.append(Loss(path, 0, size, "the file has no opening that could be read: nothing in it can be"))
            return
        opening, start = found
        image = Image(opening.number, opening.name)
        queue = QueueFile(path, opening.salt, start, Index())
        before = len(self._losses)
        self._compare(path, file, opening.salt, start)
        end = start
        marked = len(self._losses)  # those before were durable
        gap: Gap | None = None
        for frame in frames(file, size, opening.salt, start):
            if isinstance(frame, Gap):
                gap = frame
                self._losses.append(Loss(path, frame.at, frame.end, "no record can be read there"))
                continue
            record = decoded(frame)
            if record is None:
                self._losses.append(Loss(path, frame.at, frame.end, f"a record of the unknown kind {frame.kind}"))
            else:
                self._apply_filed(image, queue, record, frame, size)
            end = frame.end
            if isinstance(record, Mark):
                queue.size = end
                twin = gap is not None and (gap.end, gap.end - gap.at) == (frame.at, frame.end - frame.at)
                marked = len(self._losses) - twin  # of the last mark only one may have been written
        self._look_behind(path, marked, start, queue.size, size)
        if len(self._losses) > before:
            self._rewrite.add(opening.number)
            queue.size = end
        image.filed()
        self._images[image.number] = image
        self._files[image.number] = queue

    def _look_behind(self, path: Path, marked: int, start: int, mark: int, size: int) -> None:
        """Tell of what is behind the last mark of a queue's file: a checkpoint that was not finished, and the journal has all of it."""
        if mark == start:
            self._losses.append(Loss(path, start, size, "the file has no mark, with which every one was made"))
            return
        if size > mark and len(self._losses) == marked:
            self._losses.append(Loss(path, mark, size, "a checkpoint was not finished; the journal has what it was to write"))
        for loss in self._losses[marked:]:
            loss.kind = Kind.TORN

    def _apply_filed(self, image: Image, queue: QueueFile, record: AnyRecord, frame: Frame, size: int) -> None:
        """Apply a record of a queue's file: payloads stay where they are."""
        if isinstance(record, Publish | Add):
            lengths, checks = records.unpacked(record.lengths), records.unpacked(record.checks)
            ids = range(record.first, record.first + len(lengths)) if isinstance(record, Publish) else [row.id for row in record.rows]
            queue.index.add(ids, lengths, checks, frame.data_at)
            if frame.end > size:
                self._losses.append(Loss(queue.path, frame.at, frame.end, "the file ends in the middle of a record", sequence=None))
                self._rewrite.add(image.number)
        if isinstance(record, Publish):
            for start, stop, published in record.instants():
                image.publish(record.first + start, published, None, stop - start, None)
        elif isinstance(record, Add):
            image.add(record, None)
        elif isinstance(record, Remove):
            image.remove(record.spans)
        elif isinstance(record, State):
            image.state(record)
        elif isinstance(record, Keys):
            image.remember(record.keys)
        elif isinstance(record, Mark):
            image.through = max(image.through, record.through)
            image.next_id = max(image.next_id, record.next_id)
            image.policy = record.policy

    def _compare(self, path: Path, file: File, salt: int, size: int) -> None:
        """Tell of an opening of which only one of the two is whole."""
        data = file.read(size, 0)
        if data[: size // 2] != data[size // 2 :]:
            following = frames(file, file.size(), salt, size)
            kind = Kind.DAMAGED if any(isinstance(frame, Frame) for frame in following) else Kind.TORN  # no more than that was written
            self._losses.append(Loss(path, 0, size, "of the two openings one is damaged", kind))

    # The journal

    def _find_segments(self, folder: Path) -> list[SegmentFile]:
        """The segments in use, in their order. One whose opening is of another number was made ready, and never written to."""
        segments: list[SegmentFile] = []
        closed: list[tuple[Loss, bool]] = []  # files with something in them, and no opening that tells how to read it
        for name in self._disk.names(folder):
            path = folder / name
            if name.endswith(journal.NEW):
                self._leftovers.append(path)
            elif name.endswith(journal.SUFFIX):
                file = self._disk.open(path)
                try:
                    size = file.size()
                    found = opening_of(file)
                    if found is None and not (size and is_zero(file, 0, size)):
                        loss = Loss(path, 0, size, "the segment has no opening that could be read: nothing in it can be")
                        closed.append((loss, not size or commits_in(file.read(size, 0)) > 1))
                finally:
                    file.close()
                if found is None or journal.segment_name(found[0].number) != name:
                    self._leftovers.append(path)
                else:
                    segments.append(SegmentFile(path, found[0], found[1], size))
        last = max([segment.path.name for segment in segments], default="")
        for loss, used in closed:
            loss.kind = Kind.DAMAGED if used or loss.path.name < last else Kind.TORN  # its first commit was not finished
            self._losses.append(loss)
        return self._joined(sorted(segments, key=lambda segment: segment.opening.number), {loss.path.name for loss, _ in closed})

    def _joined(self, segments: list[SegmentFile], closed: set[str]) -> list[SegmentFile]:
        """The segments without those of no more use: older ones that stayed behind when the next was removed or used again."""
        for place in range(len(segments) - 1, 0, -1):
            previous = segments[place].opening.previous
            if segments[place - 1].opening.number != previous and journal.segment_name(previous) not in closed:
                self._leftovers += [segment.path for segment in segments[:place]]
                return segments[place:]
        return segments

    def _replay(self, segment: SegmentFile, limit: int, later: int, first: SegmentFile) -> None:
        """Apply a segment's records with numbers below `limit`; those below `later` were durable once, as later segments tell."""
        limit = min(limit, self._limit)
        opening = segment.opening
        self._last_queue = max(self._last_queue, opening.last_queue)
        self._first_id = max(self._first_id, opening.first_id)
        self._synced = max(self._synced, opening.proven)
        if self._next < opening.proven and segment is not first:
            text = f"{opening.proven - self._next} records before this segment are missing"
            self._losses.append(Loss(segment.path, 0, 0, text, sequence=self._next))
        if segment.size < opening.size:
            text = f"the file is cut: it had {opening.size} bytes and has {segment.size}"
            self._losses.append(Loss(segment.path, segment.size, segment.size, text))
        self._next = max(self._next, opening.first)
        file = self._disk.open(segment.path)
        try:
            self._compare(segment.path, file, opening.salt, segment.start)
            for frame in frames(file, segment.size, opening.salt, segment.start):
                if isinstance(frame, Gap):
                    if self._next < limit and frame.end < segment.size and self._is_torn(segment, file, frame.end, self._next, later):
                        break
                    self._lose(segment, file, frame, limit)
                elif frame.sequence < limit:
                    self._synced = max(self._synced, frame.sequence - frame.since)
                    record, losses = decoded(frame), len(self._losses)
                    payloads = self._payloads(segment, file, frame, record) if isinstance(record, Publish | Spread | Add) else []
                    if None in payloads and self._is_torn(segment, file, frame.end, frame.sequence, later):
                        del self._losses[losses:]
                        break
                    self._next = max(self._next, frame.sequence + 1)
                    self._apply(segment, frame, record, payloads)
            else:
                return
            self._cut(segment, file, frame)
        finally:
            file.close()

    def _is_torn(self, segment: SegmentFile, file: File, behind: int, sequence: int, later: int) -> bool:
        """Whether a record that is not whole is of a commit that was not finished: nothing tells of one that was begun after it.

        What else there is of such a commit does not count either: the parts of an operation are there together or not at all.
        """
        if sequence < max(self._synced, later) or segment.size < segment.opening.size:
            return False
        following = frames(file, segment.size, segment.opening.salt, behind)
        return all(isinstance(frame, Gap) or frame.sequence - frame.since <= sequence for frame in following)

    def _cut(self, segment: SegmentFile, file: File, first: Frame | Gap) -> None:
        """Tell of a commit that was not finished, from its first part that is not whole to its end."""
        following = frames(file, segment.size, segment.opening.salt, first.end)
        end = max([frame.end for frame in following if isinstance(frame, Frame)], default=first.end)
        self._losses.append(Loss(segment.path, first.at, end, "the commit was not finished", sequence=self._next))

    def _lose(self, segment: SegmentFile, file: File, gap: Gap, limit: int) -> None:
        """Tell of bytes without a record, unless they are what a former use of the file left behind, or do not count."""
        if self._next >= limit:
            return
        head = file.read(records.HEAD.size, gap.at)
        begun = len(head) == records.HEAD.size and records.HEAD.unpack(head)[6] == self._next
        if gap.end < segment.size or begun or segment.opening.fresh:
            self._losses.append(Loss(segment.path, gap.at, gap.end, "no record can be read there", sequence=self._next))

    def _apply(self, segment: SegmentFile, frame: Frame, record: AnyRecord | None, payloads: Payloads) -> None:
        self._records += 1
        self._size += frame.end - frame.at
        if record is None:
            self._losses.append(
                Loss(segment.path, frame.at, frame.end, f"a record of the unknown kind {frame.kind}", sequence=frame.sequence)
            )
        elif isinstance(record, Spread):
            self._apply_spread(record, payloads, frame.sequence)
        elif isinstance(record, Publish | Add):
            self._apply_messages(record, payloads, frame.sequence)
        elif not isinstance(record, Opening | Mark):
            self._apply_change(record, frame.sequence)

    def _payloads(self, segment: SegmentFile, file: File, frame: Frame, record: Publish | Spread | Add) -> Payloads:
        """A record's payloads; None for one that is not what was written."""
        data = file.read(frame.end - frame.data_at, frame.data_at)
        payloads: list[bytes | None] = []
        at = 0
        for length, check in zip(records.unpacked(record.lengths), records.unpacked(record.checks), strict=False):
            payload = data[at : at + length]
            if len(payload) == length and crc32(payload) == check:
                payloads.append(payload)
            else:
                payloads.append(None)
                place = frame.data_at + at
                self._losses.append(
                    Loss(segment.path, place, place + length, "the payload of a message is damaged", sequence=frame.sequence)
                )
            at += length
        return payloads

    def _apply_messages(self, record: Publish | Add, payloads: Payloads, sequence: int) -> None:
        if isinstance(record, Add) and record.source:
            source = self._image(record.source)
            if sequence >= source.through:
                source.changed = True
                source.remove(record.removed)
        image = self._image(record.queue)
        if sequence < image.through:
            return
        image.changed = True
        if isinstance(record, Publish):
            for start, stop, published in record.instants():
                keys = None if record.keys is None else record.keys[start:stop]
                image.publish(record.first + start, published, payloads[start:stop], stop - start, keys)
        else:
            image.add(record, payloads)

    def _apply_spread(self, record: Spread, payloads: Payloads, sequence: int) -> None:
        for number, first, payload in zip(record.queues, record.first, payloads, strict=False):
            image = self._image(number)
            if sequence >= image.through:
                image.changed = True
                image.publish(first, record.published, (payload,), 1, None)

    def _apply_change(self, record: Remove | State | Create | Delete | Clear | Keys, sequence: int) -> None:
        image = self._image(record.queue)
        image.changed = image.changed or sequence >= image.through
        if isinstance(record, Create):
            image.name = record.name
            image.next_id = max(image.next_id, record.next_id)
            if sequence >= image.through:
                image.policy = record.policy
        elif isinstance(record, Delete):
            self._deleted.add(record.queue)
            self._first_id = max(self._first_id, record.next_id)
        elif sequence < image.through:
            return
        elif isinstance(record, Remove):
            image.remove(record.spans)
        elif isinstance(record, State):
            image.state(record)
        elif isinstance(record, Clear):
            image.clear()
            self._rewrite.add(image.number)  # its file has what is gone now
        else:
            image.remember(record.keys)

    def _image(self, number: int) -> Image:
        image = self._images.get(number)
        if image is None:
            image = self._images[number] = Image(number)
        return image

    def _judge(self) -> None:
        """Tell the torn from the damaged: what was never durable, nobody was answered for."""
        for loss in self._losses:
            if loss.sequence is not None and loss.sequence >= self._synced:
                loss.kind = Kind.TORN


def commits_in(data: bytes) -> int:
    """How many commits there seem to be in a segment whose opening is lost; without it nothing in it can be trusted."""
    begins: set[int] = set()
    at = data.find(records.MAGIC)
    while 0 <= at <= len(data) - records.HEAD.size:
        _, kind, _, _, _, _, sequence, since = records.HEAD.unpack_from(data, at)
        if kind != Opening.kind and at % SECTOR <= SECTOR - records.HEAD.size:  # else it may have been written in part
            begins.add(sequence - since)
        at = data.find(records.MAGIC, at + 1)
    return len(begins)


def decoded(frame: Frame) -> AnyRecord | None:
    """The record of a frame; None for one that this version cannot read."""
    try:
        return records.decode(frame.kind, frame.fields)
    except msgspec.MsgspecError:
        return None


def ordered(losses: Sequence[Loss]) -> list[Loss]:
    """By file and place."""
    return sorted(losses, key=lambda loss: (str(loss.path), loss.at))
