"""SQL: the tables, literals, and the clock.

Statements are bytes. Numbers are formatted with %d; everything else goes through `literal`. The session's sql_mode (see `session`) makes
a backslash and a single quote the only bytes that mean something inside a literal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
