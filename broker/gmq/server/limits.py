"""How much clients may take of the broker together: connections, and the bytes that wait in them."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, Final, Literal, Protocol

from gmq.address import source_of
from gmq.message import GmqError
from gmq.storage.checkpoint import give_memory_back

Transport = Literal["tcp", "http", "ops"]
REFUSALS: Final = ("connections", "address")
"""Why a connection is turned away: there are too many, or too many from its address."""
ENDINGS: Final = ("request_timeout", "write_timeout", "idle_timeout", "buffered")
"""Why a connection is closed: it took too long with a request or with its replies, sent nothing for too long, or too much waited."""
MOST_PROBES: Final = 256
"""Connections to the port for probes and scrapers."""
MOST_LINGERING: Final = 128
"""Connections that are turned away and may stay for a moment, to be told so, at the same time; others are closed at once."""
MUCH: Final = 16 << 20
"""Bytes that waited after which, when none do any more, the C library is asked to return to the system what they leave behind."""
SLACK: Final = 64 << 10
"""Bytes that may wait in any one connection and are not counted: there is no need to look at those that hold so little."""


class Admission:
    """Lets connections in, up to so many in all and from each address (None for any number). `refused` counts those that were not."""

    def __init__(self, most: int, per_address: int | None) -> None:
        self.most = most
        self.refused: Counter[tuple[Transport, str]] = Counter()
        self.closed: Counter[tuple[Transport, str]] = Counter()
        self.inside = 0
        self.lingering = 0
        self._per_address = per_address
        self._sources: Counter[str] = Counter()

    def enter(self, transport: Transport, peer: Any) -> str:
        """Let in a connection from `peer`, an address as sockets have it; the result is for `leave`.

        Raises:
            GmqError: `limit`, there are too many.
        """
        if self.inside >= self.most:
            self.refused[transport, "connections"] += 1
            raise GmqError("limit", f"the broker has as many connections as it may have, {self.most}; try again later")
        source = ""
        if self._per_address is not None:
            source = source_of(peer)
            if self._sources[source] >= self._per_address:
                self.refused[transport, "address"] += 1
                raise GmqError("limit", f"your address has as many connections as it may have, {self._per_address}; close one")
            self._sources[source] += 1
        self.inside += 1
        return source

    def leave(self, source: str) -> None:
        """A connection that was let in is gone."""
        self.inside -= 1
        if self._per_address is not None:
            self._sources[source] -= 1
            if not self._sources[source]:
                del self._sources[source]

    def may_linger(self) -> bool:
        """Whether one more that is turned away may stay for a moment; `lingering` is to be counted by the caller."""
        return self.lingering < MOST_LINGERING


class Holder(Protocol):
    """A connection in which bytes wait."""

    def let_go(self, reason: str) -> None:
        """Close it at once: the broker cannot keep what it holds."""


class Buffers:
    """The bytes that wait in connections: requests that are not whole or had no turn, replies that nobody read.

    Above `limit` the connection that has held some for the longest is closed, and the next, until there is room again: of one whose
    client sends and reads as it should, nothing waits for long.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.total = 0
        self._peak = 0  # since nothing waited
        self._held: dict[Holder, int] = {}  # in the order in which they began to hold some

    def weigh(self, holder: Holder, size: int) -> None:
        """Note that `size` bytes wait in a connection now."""
        before = self._held.get(holder, 0)
        if size <= SLACK:
            if before:
                del self._held[holder]
                self.total -= before
                if not self.total and self._peak > MUCH:
                    self._peak = 0
                    asyncio.get_running_loop().run_in_executor(None, give_memory_back)
            return
        self._held[holder] = size
        self.total += size - before
        self._peak = max(self._peak, self.total)
        while self.total > self.limit:
            oldest = next(iter(self._held))
            self.total -= self._held.pop(oldest)
            oldest.let_go("buffered")
