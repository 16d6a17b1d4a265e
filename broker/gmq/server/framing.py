"""Where requests begin and end in a stream of bytes, in time linear in its length however it is cut."""

from __future__ import annotations

import enum
import re

NESTING_LIMIT = 32
OBJECTS_LIMIT = 1024
"""Objects that a first request may have inside: far more than any has, and few enough to be counted one by one."""

PIECE = 4096
"""Bytes below which pieces of a line are joined as they come: each by itself would take 50 bytes more."""

_BLANKS = re.compile(rb"[ \t\r\n]*+")
_OUTSIDE_STRING = re.compile(rb'(?:[^"{}]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_INSIDE_STRING = re.compile(rb"(?:[^\"\\]++|\\.)*+", re.DOTALL)


class Framing(enum.Enum):
    """How a connection's bytes are cut into requests."""

    UNDECIDED = enum.auto()
    LINES = enum.auto()
    ONE_SHOT = enum.auto()


class Verdict(enum.Enum):
    """What a connection's first bytes turned out to be."""

    LINES = enum.auto()
    """A leading newline: lines follow in `rest`."""
    OBJECT = enum.auto()
    """A whole object in `object`, and what came after it in `rest`."""
    TOO_LONG = enum.auto()
    """An object that passes a limit before its end."""
    FOREIGN = enum.auto()
    """Something that does not begin like a request."""


class FirstObject:
    """Finds out what a connection begins with."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        self._position = 0  # up to here all is understood
        self._depth = 0
        self._objects = 0
        self._in_string = False
        self.object = b""
        self.rest = b""

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return len(self._data)

    def feed(self, data: bytes) -> Verdict | None:
        """Take more bytes; None while it is not yet clear."""
        seen = self._data
        if not seen and data.startswith(b"\n"):
            self.rest = data[1:]
            return Verdict.LINES
        seen += data
        if not self._depth:
            match = _BLANKS.match(seen, self._position)
            self._position = match.end() if match else self._position
            if self._position == len(seen):
                return Verdict.TOO_LONG if len(seen) > self._limit else None
            if seen[self._position] != ord("{"):
                return Verdict.FOREIGN
        return self._scan()

    def _scan(self) -> Verdict | None:
        """Go on to the end of the object, or of what there is."""
        seen = self._data
        while True:
            match = (_INSIDE_STRING if self._in_string else _OUTSIDE_STRING).match(seen, self._position)
            self._position = match.end() if match else self._position
            if self._position >= self._limit:
                return Verdict.TOO_LONG
            if self._position == len(seen):
                return None
            byte = seen[self._position]
            if byte == ord('"'):
                self._in_string = not self._in_string
            elif byte == ord("\\"):
                return None  # the escaped byte is not here yet
            else:
                self._depth += 1 if byte == ord("{") else -1
                self._objects += 1
            self._position += 1
            if not self._depth:
                self.object, self.rest = bytes(seen[: self._position]), bytes(seen[self._position :])
                return Verdict.OBJECT
            if self._depth > NESTING_LIMIT or self._objects > 2 * OBJECTS_LIMIT:
                return Verdict.TOO_LONG


class Text:
    """Whole lines that are handed out some at a time."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def __len__(self) -> int:
        """Bytes that are left."""
        return len(self._data) - self._position

    def some(self, size: int) -> bytes:
        """The next lines: about so many bytes, and at least one line."""
        start = self._position
        end = self._data.rfind(b"\n", start, start + size) + 1 or self._data.find(b"\n", start) + 1
        self._position = end
        return self._data[start:end]


class Lines:
    """Gathers bytes into whole lines. A line that grows beyond `limit` is forgotten and passed over to its end; `size` is what is kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes | bytearray] = []
        self.size = 0
        self._skipping = False
        self.partial = False  # whether a line has begun and not ended

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Take more bytes; return all whole lines, and whether the line after them turned out to be too long just now."""
        end = data.rfind(b"\n") + 1
        if end == len(data) and not self._parts and not self._skipping:
            return data, False
        if not end:
            return b"", self._keep(data)
        start = 0
        if self._skipping:
            start = data.index(b"\n") + 1
            self._skipping = False
        if start == end:
            whole = b""
        elif self._parts:
            whole = b"".join((*self._parts, data[start:end]))
        else:
            whole = data[start:end]
        self._parts.clear()
        self.size = 0
        return whole, self._keep(data[end:])

    def _keep(self, tail: bytes) -> bool:
        """Keep the beginning of a line; whether it is too long already."""
        self.partial = self._skipping or bool(self._parts) or bool(tail)
        if self._skipping or not tail:
            return False
        if len(tail) >= PIECE:
            self._parts.append(tail)
        elif self._parts and isinstance(self._parts[-1], bytearray):
            self._parts[-1] += tail
        else:
            self._parts.append(bytearray(tail))
        self.size += len(tail)
        if self.size <= self._limit:
            return False
        self._parts.clear()
        self.size = 0
        self._skipping = True
        return True
