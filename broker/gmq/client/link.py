"""A connection that comes back."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from msgspec import Struct

from gmq.client.connection import Connection
from gmq.client.errors import ConnectionFailed, LimitReached, Unavailable

log = logging.getLogger("gmq.client")

CLOSED = "the client is closed"

Opener = Callable[[], Awaitable[Connection]]
"""Makes one attempt to connect; raises ConnectionFailed or RequestRefused."""


class Backoff(Struct, frozen=True):
    """How long to wait between attempts to connect, in seconds: `first`, doubled each time up to `most`, and cut by chance by up to a
    half.
    """

    first: float = 0.05
    most: float = 5.0

    def delay(self, attempt: int) -> float:
        """Seconds to wait after so many attempts that failed (1 or more)."""
        longest = min(self.most, self.first * 2.0 ** min(attempt - 1, 60))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311  # it spreads clients over time and guards no secret


class Link:
    """At most one connection, made anew when it is needed and gone."""

    def __init__(self, opener: Opener, backoff: Backoff) -> None:
        self._opener = opener
        self._backoff = backoff
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[Connection] | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._failures = 0
        self._closed = False
        self.trouble: Exception | None = None

    @property
    def load(self) -> int:
        """How many requests are under way, or wait for the connection."""
        return self._waiting + (self._connection.load if self._connection and self._connection.usable else 0)

    async def connection(self) -> Connection:
        """The connection, made anew with patience where it is gone.

        Raises ConnectionFailed when the link is closed, and RequestRefused when the broker does not want us. Wait as long as you like:
        `trouble` tells why it takes so long.
        """
        there = self._usable
        if there and not self._waiting:
            return there
        self._refuse_when_closed()
        if self._connecting is None or (self._connecting.done() and not there):
            self._connecting = asyncio.create_task(self._connect_until_it_works())
        connecting = self._connecting
        self._waiting += 1
        try:
            async with self._turn:  # or who comes when it is there goes before those that waited for it
                if there := self._usable:
                    return there
                return await asyncio.shield(connecting)
        finally:
            self._waiting -= 1
            if not self._waiting and self._connecting is connecting and not connecting.done():
                connecting.cancel()  # nobody needs it any more
                self._connecting = None

    async def connect(self) -> Connection:
        """Make one attempt to connect, unless there is a connection. Raises ConnectionFailed or RequestRefused."""
        self._refuse_when_closed()
        if there := self._usable:
            return there
        connection = await self._opener()
        if self._closed:
            await connection.close()
            self._refuse_when_closed()
        if other := self._usable:  # of an attempt at the same time, and perhaps in use
            await connection.close()
            return other
        self._connection = connection
        self.trouble = None
        return connection

    @property
    def unsaid(self) -> list[bytes]:
        """Requests that could not be sent any more when the connection ended."""
        return self._connection.unsaid if self._connection else []

    async def close(self) -> None:
        """Close the connection and make no other."""
        self._stop()
        if self._connection:
            await self._connection.close()

    async def end(self) -> None:
        """As `close`, but have the broker end takes that wait, so that they take nothing more."""
        self._stop()
        if self._connection:
            await self._connection.end()

    async def _connect_until_it_works(self) -> Connection:
        # A broker that accepts connections and drops them unused is left in peace as well as one that accepts none.
        old = self._connection
        if old and not old.usable:
            self._connection = None
            self._failures = 0 if old.answered > 1 else self._failures + 1
        try:
            while True:
                if self._failures:
                    await asyncio.sleep(self._backoff.delay(self._failures))
                try:
                    return await self.connect()
                except (ConnectionFailed, LimitReached, Unavailable) as error:
                    self._refuse_when_closed()
                    if self.trouble is None:
                        log.warning("%s; tries again", error)  # once for each time that it is away
                    self.trouble = error
                    self._failures += 1
        except asyncio.CancelledError:
            self._refuse_when_closed()
            raise

    def _stop(self) -> None:
        self._closed = True
        if self._connecting and not self._connecting.done():
            self._connecting.cancel()

    @property
    def _usable(self) -> Connection | None:
        return self._connection if self._connection and self._connection.usable else None

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise ConnectionFailed(CLOSED)
