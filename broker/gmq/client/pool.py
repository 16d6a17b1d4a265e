"""Which connection a request goes to, and what happens to it when that is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from msgspec import Struct

from gmq.address import Address
from gmq.client.connection import Connection, Exchange, Late, NotSent, ReplyLost, open_connection
from gmq.client.errors import ConnectionFailed, GmqClientError, OutcomeUnknown, RequestRefused, RequestTimeout, refusal
from gmq.client.link import CLOSED, Backoff, Link
from gmq.client.tls import Tls
from gmq.client.wire import DONE, Reply

log = logging.getLogger("gmq.client")

SPARE_LINKS = 8
"""Connections of takes apart that are kept for the next ones."""

NOT_NOW = {"unauthorized", "forbidden", "queue_full", "limit", "unavailable"}
"""Refusals that say nothing of an attempt before them, whose reply was lost."""


class PoolOptions(Struct, frozen=True):
    """How to reach the broker: `hello` is the line that opens a connection; timeouts are in seconds. The rest is as for Client."""

    address: Address
    hello: bytes
    connections: int
    connect_timeout: float
    request_timeout: float
    backoff: Backoff
    in_flight: int
    tls: Tls | None


class Pool:
    """The connections to one broker: some that all requests share, and some for takes that wait apart."""

    def __init__(self, options: PoolOptions) -> None:
        self._options = options
        self._links = [self._new_link() for _ in range(options.connections)]
        self._apart: set[Link] = set()
        self._spare: list[Link] = []
        self._ending: set[asyncio.Task[None]] = set()
        self.closed = False

    async def connect(self) -> None:
        """Make one attempt to connect. Raises ConnectionFailed or RequestRefused."""
        await self._links[0].connect()

    async def close(self) -> None:
        """Close all connections; no request can be sent any more."""
        self.closed = True
        closing = [link.close() for link in (*self._links, *self._apart, *self._spare)]
        await asyncio.gather(*closing, *self._ending)
        unsaid = [line for link in self._links for line in link.unsaid]
        if unsaid:
            await self._say(unsaid)

    async def _say(self, lines: Sequence[bytes]) -> None:
        """Send requests whose replies nobody needs, on a connection of their own."""
        try:
            connection = await self._open()
        except GmqClientError as error:
            log.warning("messages that came too late come back only when their lease runs out: %s", error)
            return
        for line in lines:
            connection.tell(line)
        await connection.close()

    async def ask(
        self,
        line: bytes,
        *,
        tag: int | None = None,
        again: bool = False,
        wait: float = 0,
        late: Late | None = None,
        link: Link | None = None,
    ) -> Reply:
        """Send a request until it is answered, and return the reply that says it was done.

        `again` tells that it may be sent a second time when its outcome is not known; `wait` is the seconds that it may wait in the
        broker. Raises ConnectionFailed, OutcomeUnknown, RequestTimeout or RequestRefused.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        patience = wait + self._options.request_timeout
        doubt: ReplyLost | None = None
        failures = 0
        while True:
            try:
                connection = await self._connection(link, began + patience)
            except (ConnectionFailed, RequestRefused) as error:
                if doubt:
                    raise OutcomeUnknown(f"{doubt} before it answered, and then: {error}") from error
                raise
            try:
                reply = await connection.ask(Exchange(line, tag, late), patience)
            except NotSent:
                continue
            except ReplyLost as lost:
                if not again:
                    raise OutcomeUnknown(f"{lost} before it answered: the request may have been done, or not") from lost
                doubt = lost
                continue
            except TimeoutError:
                text = f"{self._options.address} did not answer within {patience:g} s: the request may have been done, or not"
                raise RequestTimeout(text) from None
            if reply.confirmation == DONE:
                return reply
            failures += 1
            pause = self._options.backoff.delay(failures)
            if not (reply.code == "unavailable" or (reply.code == "unknown" and again)) or clock() + pause > began + patience:
                raise _refusal(reply, doubt)
            await asyncio.sleep(pause)

    async def ask_apart(self, line: bytes, *, tag: int | None, wait: float, late: Late) -> Reply:
        """Send a request on a connection of its own, which ends with it when it fails or is cancelled.

        That is the only way to tell the broker that nobody waits any more. Raises as `ask`.
        """
        if self.closed:
            raise ConnectionFailed(CLOSED)
        link = self._spare.pop() if self._spare else self._new_link()
        self._apart.add(link)
        spare = False
        try:
            reply = await self.ask(line, tag=tag, wait=wait, late=late, link=link)
            spare = len(self._spare) < SPARE_LINKS
        finally:
            self._apart.discard(link)
            if spare:
                self._spare.append(link)
            else:
                ending = asyncio.create_task(link.end())
                self._ending.add(ending)
                ending.add_done_callback(self._ending.discard)
        return reply

    def _new_link(self) -> Link:
        return Link(self._open, self._options.backoff)

    async def _open(self) -> Connection:
        options = self._options
        return await open_connection(
            options.address, hello=options.hello, timeout=options.connect_timeout, in_flight=options.in_flight, tls=options.tls
        )

    async def _connection(self, link: Link | None, deadline: float) -> Connection:
        if link is None:
            link = self._links[0] if len(self._links) == 1 else min(self._links, key=lambda one: one.load)
        try:
            async with asyncio.timeout_at(deadline):
                return await link.connection()
        except TimeoutError:
            trouble = link.trouble or f"no connection to {self._options.address}"
            raise ConnectionFailed(f"{trouble} (gave up after {self._options.request_timeout:g} s)") from None


def _refusal(reply: Reply, doubt: ReplyLost | None) -> GmqClientError:
    """The error of a reply that says no. What it says of an earlier attempt depends on why."""
    text = reply.error or "the broker gave no reason"
    if reply.code == "unknown":
        return OutcomeUnknown(text)
    if doubt and reply.code in NOT_NOW:
        return OutcomeUnknown(f"{doubt} before it answered, and then: {text}")
    return refusal(reply.code, text, reply.stale)
