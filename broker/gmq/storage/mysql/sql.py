"""SQL: the tables, literals, and the clock.

Statements are bytes. Numbers are formatted with %d; everything else goes through `literal`. The session's sql_mode (see `session`) makes
a backslash and a single quote the only bytes that mean something inside a literal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

READY, DELAYED, LEASED = range(3)
"""The states of a message."""

NEVER = 1 << 62
LAST_PLACE = 9
"""The place of priority 0: messages are taken by place, then by id."""

TIME = b"CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)"

CLOCK = b"SET @now = " + TIME
"""The database's clock, once for a transaction, in Unix milliseconds."""

SHARED = b"LOCK IN SHARE MODE"
"""Both MySQL and MariaDB know this spelling."""

LOCK_SKIPPING = b"FOR UPDATE SKIP LOCKED"

STATEMENT_BYTES = 2 << 20
"""Bytes of the rows of one INSERT, unless a single row is larger."""
PACKET_MARGIN = 4096
"""Bytes of the server's max_allowed_packet that are left for all but the rows."""


def literal(value: bytes | str | None) -> bytes:
    """A string of bytes as SQL has it."""
    if value is None:
        return b"NULL"
    data = value.encode() if isinstance(value, str) else value
    if b"\\" in data:
        data = data.replace(b"\\", b"\\\\")
    if b"'" in data:
        data = data.replace(b"'", b"\\'")
    return b"_binary'%b'" % data


def literals(values: Iterable[bytes | str]) -> bytes:
    """Strings as a list for IN; there must be one."""
    return b",".join(map(literal, values))


def numbers(values: Sequence[int]) -> bytes:
    """Numbers as a list for IN; there must be one."""
    return b",".join([b"%d" % value for value in values])


def in_statements(rows: Sequence[bytes], max_packet: int) -> Iterator[Sequence[bytes]]:
    """Rows in groups, in their order, each for one INSERT that fits into a packet of the server unless a single row does not."""
    most = min(STATEMENT_BYTES, max_packet - PACKET_MARGIN)
    start = size = 0
    for index, row in enumerate(rows):
        if index > start and size + len(row) > most:
            yield rows[start:index]
            start, size = index, 0
        size += len(row) + 1
    if start < len(rows):
        yield rows[start:]
