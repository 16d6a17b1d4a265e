"""Finding the records in a file, whatever became of it: what is whole is found, and what is not is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from gmq.storage import records
from gmq.storage.disk import File
from gmq.storage.records import MAGIC, SALT_OF_OPENINGS, VERSION, Frame, Opening

WINDOW: Final = 64 << 10
"""Bytes that are read at a time."""
SEARCH: Final = 1 << 20
"""Bytes that are searched at a time for the next record behind damage."""
OPENING_REACH: Final = 4096
"""Bytes from a file's beginning in which its opening has to be."""


class UnknownVersionError(Exception):
    """A file was written by another version of GMQ, in a format that this one does not know."""


class Gap(Struct, frozen=True):
    """Bytes in which there is no record: from `at` to `end`."""

    at: int
    end: int


def opening_of(file: File) -> tuple[Opening, int] | None:
    """A file's opening and the place of its first record; None where there is none.

    Raises:
        UnknownVersionError: it is of another version.
    """
    found: tuple[Opening, int] | None = None
    for frame in frames(file, min(file.size(), OPENING_REACH), SALT_OF_OPENINGS):
        if isinstance(frame, Frame) and frame.kind == Opening.kind and frame.at in {0, frame.end - frame.at}:
            version = records.version_of(frame.fields)
            if version != VERSION:
                raise UnknownVersionError(
                    f"{file.path} has format version {version}; this version of GMQ knows version {VERSION}: "
                    "start the version of GMQ that wrote it, or move the file away"
                )
            opening = records.decode(frame.kind, frame.fields)
            if isinstance(opening, Opening):
                size = 2 * (frame.end - frame.at)
                found = opening, size
                break
    return found


def frames(file: File, size: int, salt: int, start: int = 0) -> Iterator[Frame | Gap]:
    """The records from `start` on, and the gaps between them; the end of a file that holds nothing but zeros is no gap."""
    at = start
    window, base = b"", start
    while at < size:
        if not base <= at < base + len(window):
            window, base = file.read(min(WINDOW, size - at), at), at
        found = records.frame_at(window, at - base, base, salt)
        if isinstance(found, int):  # the window ends before the record's fields do
            needed = max(found, WINDOW)
            if base == at and len(window) >= min(needed, size - at):
                found = None  # and so does the file
            else:
                window, base = file.read(min(needed, size - at), at), at
                continue
        if found is None:
            following = _search(file, size, salt, at + 1)
            end = size if following is None else following
            if following is not None or not is_zero(file, at, size):
                yield Gap(at, end)
            at = end
        else:
            yield found
            at = found.end


def _search(file: File, size: int, salt: int, start: int) -> int | None:
    """Where the next whole record begins."""
    at = start
    while at < size:
        block = file.read(min(SEARCH, size - at), at)
        place = block.find(MAGIC)
        while place >= 0:
            found = records.frame_at(block, place, at, salt)
            if isinstance(found, int):
                found = records.frame_at(file.read(min(found, size - at - place), at + place), 0, at + place, salt)
                if isinstance(found, int):
                    found = _longer(file, size, salt, at + place, found)
            if found is not None:
                return at + place
            place = block.find(MAGIC, place + 1)
        at += max(1, len(block) - len(MAGIC) + 1)
    return None


def _longer(file: File, size: int, salt: int, at: int, needed: int) -> Frame | None:
    """The record at a place, with fields that are longer than what was read of it."""
    if at + needed > size:
        return None
    found = records.frame_at(file.read(needed, at), 0, at, salt)
    return found if isinstance(found, Frame) else None


def is_zero(file: File, start: int, size: int) -> bool:
    """Whether there is nothing but zeros from `start` on."""
    for at in range(start, size, SEARCH):
        block = file.read(min(SEARCH, size - at), at)
        if block.count(0) != len(block):
            return False
    return True
