"""What is in the files of the filesystem storage, for people: `gmqserver journal inspect` and `gmqserver journal verify`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from zlib import crc32

from gmq.storage import journal, queuefile, records
from gmq.storage.base import StorageError
from gmq.storage.disk import Disk, File
from gmq.storage.queuefile import QueueFile
from gmq.storage.records import Add, AnyRecord, Frame, Mark, Opening, Publish, Spread
from gmq.storage.recovery import JOURNAL, QUEUES, Kind, Recovery, decoded, ordered
from gmq.storage.scan import Gap, UnknownVersionError, frames, opening_of
from gmq.validate import quote

SHOWN: Final = 24
"""Bytes of a payload, or items of a list, that a line shows."""


def inspect(path: Path) -> Iterator[str]:
    """What is in a segment, in a queue's file, or in every file of a folder, line by line: a summary and each record.

    Raises:
        StorageError: it is no such file or folder, or of a version that this one does not know.
        OSError: it cannot be read.
    """
    if path.is_dir():
        files = [*sorted(path.glob(f"{JOURNAL}/*{journal.SUFFIX}")), *sorted(path.glob(f"{QUEUES}/*{queuefile.SUFFIX}"))]
        if not files:
            raise StorageError(f"{path} has no journal and no queues: it is not a folder of GMQ's")
        for file in files:
            yield from _inspect_file(file)
    else:
        yield from _inspect_file(path)


def _inspect_file(path: Path) -> Iterator[str]:
    file = Disk().open(path)
    try:
        found = _opening(file)
        if found is None:
            if path.suffix not in {journal.SUFFIX, queuefile.SUFFIX}:
                raise StorageError(f"{path} is not a file of GMQ's: it does not begin as one")
            yield f"{path}: no opening that could be read; a segment that was made ready has none before it is used"
            return
        opening, start = found
        yield f"{path}: {_described(opening)}"
        counts: Counter[str] = Counter()
        payload_bytes = 0
        for frame in frames(file, file.size(), opening.salt, start):
            if isinstance(frame, Gap):
                yield f"  {frame.at:>10}  no record in {frame.end - frame.at} bytes"
                counts["gaps"] += 1
                continue
            record = decoded(frame)
            name = "unknown" if record is None else type(record).__name__.lower()
            counts[name] += 1
            payload_bytes += frame.end - frame.data_at
            yield f"  {frame.at:>10}  #{frame.sequence} {name} {_fields(record)}{_damage(file, frame, record)}"
        total = ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing"
        yield f"  in all: {total}; {payload_bytes} bytes of payloads"
    finally:
        file.close()


def _opening(file: File) -> tuple[Opening, int] | None:
    try:
        return opening_of(file)
    except UnknownVersionError as error:
        raise StorageError(str(error)) from error


def _described(opening: Opening) -> str:
    if opening.content == "queue":
        return f"the file of queue {quote(opening.name)}, number {opening.number:x}, format version {opening.version}"
    proven = "" if opening.proven == opening.first else f"; records {opening.proven} to {opening.first - 1} before it do not count"
    return f"segment {opening.number:x} of a journal, from record {opening.first}, format version {opening.version}{proven}"


def _fields(record: AnyRecord | None) -> str:
    """A record's fields in short."""
    if record is None:
        return ""
    shown: list[str] = []
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if name in {"lengths", "checks"}:
            continue
        if isinstance(value, list) and len(value) > SHOWN:
            shown.append(f"{name}=[{', '.join(map(str, value[:SHOWN]))}, ... {len(value)} in all]")
        else:
            shown.append(f"{name}={value!r}")
    if isinstance(record, Publish | Spread | Add):
        lengths = records.unpacked(record.lengths)
        shown.append(f"messages={len(lengths)} bytes={sum(lengths)}")
    return " ".join(shown)


def _damage(file: File, frame: Frame, record: AnyRecord | None) -> str:
    """A note on payloads that are not what was written."""
    if not isinstance(record, Publish | Spread | Add):
        return ""
    data = file.read(frame.end - frame.data_at, frame.data_at)
    at = damaged = 0
    for length, check in zip(records.unpacked(record.lengths), records.unpacked(record.checks), strict=False):
        payload = data[at : at + length]
        damaged += len(payload) != length or crc32(payload) != check
        at += length
    return f" DAMAGED payloads: {damaged}" if damaged else ""


def verify(folder: Path) -> tuple[list[str], bool]:
    """Whether all in a broker's folder is as it was written: lines for people, and the answer. Nothing is changed.

    Raises:
        StorageError: it is no folder of GMQ's, or of a version that this one does not know.
        OSError: it cannot be read.
    """
    if not (folder / JOURNAL).is_dir() or not (folder / QUEUES).is_dir():
        raise StorageError(f"{folder} has no folders {JOURNAL} and {QUEUES}: it is not a folder of GMQ's")
    try:
        recovered = Recovery(Disk(), folder).run()
    except UnknownVersionError as error:
        raise StorageError(str(error)) from error
    lines = [f"{loss.path}: {loss.kind} at {loss.at} to {loss.end}: {loss.text}" for loss in ordered(recovered.losses)]
    damaged = sum(loss.kind is Kind.DAMAGED for loss in recovered.losses)
    for file in recovered.files.values():
        bad = list(_damaged_payloads(file))
        damaged += len(bad)
        lines += bad
    messages = sum(len(image.whole) + sum(run.count for run in image.plain) for image in recovered.images.values())
    aside = [path for path in sorted(folder.glob("*/*")) if path.suffix == ".damaged"]
    lines += [f"{path}: bytes that were found damaged earlier" for path in aside]
    lines.append(
        f"{len(recovered.images)} queues, {messages} messages, {len(recovered.segments)} segments with {recovered.records} records: "
        + (f"{damaged} places are damaged" if damaged else "no damage")
    )
    return lines, not damaged


def _damaged_payloads(queue: QueueFile) -> Iterator[str]:
    """The payloads in a queue's file that are not what was written; those behind the last mark are not finished, and in the journal."""
    file = Disk().open(queue.path)
    try:
        found = _opening(file)
        if found is None:
            return
        damaged: list[str] = []
        for frame in frames(file, file.size(), queue.salt, found[1]):
            record = decoded(frame) if isinstance(frame, Frame) else None
            if isinstance(frame, Frame) and (note := _damage(file, frame, record)):
                damaged.append(f"{queue.path}: damaged at {frame.at} to {frame.end}:{note}")
            if isinstance(record, Mark):
                yield from damaged
                damaged.clear()
    finally:
        file.close()
