"""The client for asyncio."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Literal, Self

from gmq import message as domain
from gmq.address import parse_endpoint
from gmq.client.connection import Connection
from gmq.client.consumer import Consumer
from gmq.client.errors import ConnectionFailed, OutcomeUnknown, RequestRefused, RequestTimeout
from gmq.client.link import Backoff
from gmq.client.pool import Pool, PoolOptions
from gmq.client.tls import Tls
from gmq.client.wire import Hello, Message, QueueInfo, QueuePolicy, Reply, Request, Settled, encode
from gmq.message import MAX_COUNT, QueueCounts

log = logging.getLogger("gmq.client")


class Client:
    """A client of the broker for asyncio; use it as an async context manager.

    Any number of tasks may share one client: their requests are pipelined over its connections, which come back by themselves when they
    are lost.

    Lengths of time are in seconds and may have fractions. Every method may raise:

    - ConnectionFailed: the broker could not be reached within `request_timeout`; nothing was done.
    - OutcomeUnknown: the connection was lost, or (RequestTimeout) no reply came in time, after the request was sent, and repeating it
      might do it twice or lose a message. Requests for which that cannot happen are repeated instead.
    - RequestRefused: the broker said no; its subclasses tell why (BadRequest, QueueFull, NotFound, StaleReceipt, Unavailable ...).

    A method that is cancelled may have been done. A take with a lease that is cancelled puts its messages back when they arrive; a plain
    take may lose its message then, which is what "at most once" means.
    """

    def __init__(
        self,
        address: str = "localhost:4567",
        *,
        user: str | None = None,
        password: str | None = None,
        connections: int = 1,
        connect_timeout: float = 5.0,
        request_timeout: float = 30.0,
        backoff: tuple[float, float] = (0.05, 5.0),
        in_flight: int = 1000,
        tls: Tls | bool = False,
    ) -> None:
        """Prepare a client; nothing is connected yet.

        - `address`: `host`, `host:port`, `[::1]:port` or `::1`; the port is 4567 without one. Or a URI, `gmq://user:password@host:port`,
          with `gmqs` for TLS.
        - `user`, `password`: both or neither; they come before those of a URI.
        - `connections`: how many to spread requests over. With one, publishes arrive in the order in which they were asked for, but for
          those that the broker refuses as unavailable and that are sent again; with more, only those keep their order that are awaited
          one after another.
        - `connect_timeout`: seconds for one attempt to connect.
        - `request_timeout`: seconds to wait for a connection, and for a reply once the request has left, its `wait` not counted.
        - `backoff`: seconds between attempts to connect: the first, and the longest. They double in between, and are cut by chance by up
          to a half.
        - `in_flight`: untagged requests under way on a connection; further callers wait.
        - `tls`: True for TLS with what the system trusts, or a `Tls` that says more. Its files are read for each new connection.

        Raises ValueError for arguments that make no sense.
        """
        if (user is None) != (password is None):
            raise ValueError("give both user and password, or neither")
        endpoint = parse_endpoint(address)
        if user is None:
            user, password = endpoint.user, endpoint.password
        tls = tls or endpoint.tls
        if connections < 1 or in_flight < 1:
            raise ValueError("connections and in_flight must be 1 or more")
        if not (0 < backoff[0] <= backoff[1] and connect_timeout > 0 and request_timeout > 0):
            raise ValueError("timeouts and backoff must be above 0, and the first backoff not above the longest")
        auth = {"user": user, "password": password} if user is not None and password is not None else None
        self._hello = encode(Request("H", auth=auth))
        self._pool = Pool(
            PoolOptions(
                address=endpoint.address,
                hello=self._hello,
                connections=connections,
                connect_timeout=connect_timeout,
                request_timeout=request_timeout,
                backoff=Backoff(*backoff),
                in_flight=in_flight,
                tls=(Tls() if tls is True else tls) or None,
            )
        )
        self._consumers: set[Consumer] = set()
        self._tags = itertools.count(1)

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self.close()

    async def connect(self) -> None:
        """Make one attempt to connect, to learn at once that the address or the credentials are wrong; none where there is a connection.

        Without it the first request connects. Raises ConnectionFailed, or RequestRefused (Unauthorized).
        """
        await self._pool.connect()

    @property
    def closed(self) -> bool:
        """Whether it was closed, for good."""
        return self._pool.closed

    async def close(self) -> None:
        """Put back what consumers hold, wait up to a second for replies that are due, and close the connections. Requests after it fail."""
        for consumer in list(self._consumers):
            await consumer.aclose()
        await self._pool.close()

    # Messages in.

    async def publish(
        self,
        queue: str,
        payload: bytes | str,
        *,
        delay: float | None = None,
        ttl: float | None = None,
        priority: int | None = None,
        headers: dict[str, str] | None = None,
        key: str | None = None,
    ) -> int:
        """Publish a message and return its id. A payload that is a string is sent as UTF-8.

        - `delay`: 0 to 604800 s; hidden until then.
        - `ttl`: up to 604800 s and above `delay`; dropped when nobody took it by then.
        - `priority`: 0 to 9, 4 by default; higher first.
        - `headers`: 4096 bytes of names and values in all; they travel with the message.
        - `key`: 1 to 255 bytes; the queue remembers it for 5 minutes and stores no second message under it, so a publish with a key is
          safely repeated.

        Raises QueueFull, TooLarge, KeyConflict and what every method may raise.
        """
        request = Request("P", queue, _bytes(payload), delay=delay, ttl=ttl, priority=priority, headers=headers, key=key)
        return (await self._ask(request, again=key is not None)).id

    async def publish_many(
        self,
        queue: str,
        payloads: Iterable[bytes | str],
        *,
        delay: float | None = None,
        ttl: float | None = None,
        priority: int | None = None,
        headers: dict[str, str] | None = None,
        keys: Sequence[str] | None = None,
    ) -> list[int]:
        """Publish up to 1000 messages at once, all of them or none, and return their ids.

        The options are those of `publish`, for every message; `keys` has one for each. All payloads together must fit a line (see `hello`).
        Raises ValueError for more than 1000, and what `publish` raises.
        """
        batch = [_bytes(payload) for payload in payloads]
        if len(batch) > MAX_COUNT:
            raise ValueError(f"a batch of {len(batch)} payloads; it may have up to {MAX_COUNT}: publish more in several batches")
        if not batch:
            return []
        request = Request("P", queue, payloads=batch, delay=delay, ttl=ttl, priority=priority, headers=headers, keys=keys)
        return (await self._ask(request, again=keys is not None)).ids

    # Messages out.

    async def take(self, queue: str | Sequence[str], *, wait: float = 0, lease: float | Literal[True] | None = None) -> Message | None:
        """Take the first message of a queue, or of the first of several queues that has one; None when there is none.

        - `wait`: 0 to 60 s to wait for a message.
        - `lease`: 0.001 to 604800 s for which the message is hidden, instead of gone: it comes back unless it is acknowledged by then.
          True means the time that the queue's policy says, 30 s without one.

        A take with a lease is repeated after a lost connection: a message that the first one took then comes back when its lease runs out.
        A plain take is not, and raises OutcomeUnknown. A plain take that waits has a connection of its own, which ends with it when it is
        cancelled, so that the broker keeps the message.
        """
        messages = await self._take(queue, 1, wait, lease)
        return messages[0] if messages else None

    async def take_many(
        self, queue: str | Sequence[str], *, count: int, wait: float = 0, lease: float | Literal[True] | None = None
    ) -> list[Message]:
        """Take up to `count` messages (1 to 1000) of one queue: as many as there are, as soon as there is one.

        A reply stops at 8 MiB of payloads. The rest is as for `take`; an empty list means that there was none.
        """
        return await self._take(queue, count, wait, lease)

    def consume(
        self, queue: str | Sequence[str], *, lease: float = 30.0, prefetch: int = 1, wait: float = 20.0, follow: bool = True
    ) -> Consumer:
        """Iterate over the messages of a queue, each acknowledged when the loop asks for the next one. See Consumer.

        - `lease`: 0.001 to 604800 s; it is extended for as long as the body of the loop works, and is how long the message takes to come
          back when this process dies.
        - `prefetch`: 1 to 1000 messages taken at a time.
        - `wait`: seconds that one request waits for a message.
        - `follow`: with False the loop ends when no message came within `wait`.
        """
        return Consumer(self, self._consumers, queue, lease=lease, prefetch=prefetch, wait=wait, follow=follow)

    async def acknowledge(self, message: Message | str) -> None:
        """Tell the broker that a message taken under a lease is done; give the message or its receipt.

        Raises StaleReceipt when the lease ran out before. OutcomeUnknown means that the connection was lost, the request was repeated, and
        the receipt is stale: either the first one was done, or the lease ran out.
        """
        await self._settle(Request("A"), message)

    async def put_back(self, message: Message | str, *, delay: float | None = None) -> None:
        """Give a message taken under a lease back to its old place in the queue, hidden for `delay` (0 to 604800 s). Raises as
        `acknowledge`.
        """
        await self._settle(Request("N", delay=delay), message)

    async def extend(self, message: Message | str, lease: float | Literal[True]) -> None:
        """Have the lease of a message end `lease` seconds from now (0.001 to 604800; True as for `take`). Raises StaleReceipt."""
        await self._settle(Request("E", lease=lease), message)

    async def acknowledge_many(self, messages: Iterable[Message | str]) -> Settled:
        """Acknowledge messages, each for itself; stale receipts are told, not raised. More than 1000 go in several requests."""
        return await self._settle_many(Request("A"), messages)

    async def put_back_many(self, messages: Iterable[Message | str], *, delay: float | None = None) -> Settled:
        """Give messages back, each for itself; stale receipts are told, not raised. More than 1000 go in several requests."""
        return await self._settle_many(Request("N", delay=delay), messages)

    async def extend_many(self, messages: Iterable[Message | str], lease: float | Literal[True]) -> Settled:
        """Extend leases, each for itself; stale receipts are told, not raised. More than 1000 go in several requests."""
        return await self._settle_many(Request("E", lease=lease), messages)

    # Queues.

    async def length(self, queue: str) -> int:
        """How many messages are ready; 0 for a queue that does not exist."""
        return int((await self._ask(Request("L", queue), again=True)).payload)

    async def queues(self) -> list[QueueCounts]:
        """Every queue with its counts, by name."""
        return (await self._ask(Request("Q"), again=True)).queues

    async def info(self, queue: str) -> QueueInfo:
        """One queue looked at closely. Raises NotFound."""
        reply = await self._ask(Request("I", queue), again=True)
        return QueueInfo(
            queue=reply.queue,
            ready=reply.ready,
            delayed=reply.delayed,
            leased=reply.leased,
            bytes=reply.bytes,
            oldest_age=reply.oldest_age,
            policy=reply.policy,
            totals=reply.totals,
        )

    async def peek(self, queue: str, *, count: int = 1) -> list[Message]:
        """Look at the first ready messages (1 to 1000) without taking them."""
        return (await self._ask(Request("K", queue, count=count), again=True)).messages

    async def move(self, queue: str, to: str | None = None, *, count: int | None = None) -> int:
        """Move ready and delayed messages, all or up to `count` (1 to 1000000), and return how many.

        Without `to` dead letters go back to the queues that they came from. All are moved, or none. Raises NotFound, QueueFull.
        """
        return (await self._ask(Request("M", queue, to=to, count=count))).count

    async def clear(self, queue: str) -> int:
        """Remove every message of a queue, delayed and leased ones included, and return how many. Raises NotFound."""
        return (await self._ask(Request("C", queue))).count

    async def delete(self, queue: str) -> int:
        """Remove a queue with its messages, its policy and its keys, and return how many messages went. Raises NotFound."""
        return (await self._ask(Request("D", queue))).count

    async def set_policy(self, queue: str, policy: domain.QueuePolicy) -> QueuePolicy:
        """Replace the queue's policy and return it; `QueuePolicy()` removes all of it. Raises NotFound."""
        return (await self._ask(Request("Y", queue, policy=policy), again=True)).policy

    async def hello(self) -> Hello:
        """Ask the broker for its version, limits and capabilities."""
        reply = await self._pool.ask(self._hello, again=True)
        return Hello(reply.version, reply.limits, reply.capabilities)

    # How it is done.

    async def _ask(self, request: Request, *, again: bool = False) -> Reply:
        return await self._pool.ask(encode(request), again=again)

    async def _take(self, queue: str | Sequence[str], count: int, wait: float, lease: float | None) -> list[Message]:
        one, several = (queue, None) if isinstance(queue, str) else (None, queue)
        tag = next(self._tags) if wait else None
        # Without a lease, `count` is what asks for more than the payload; with one, leaving out a 1 spares the broker work.
        counted = None if lease is not None and count == 1 else count
        line = encode(Request("S", one, queues=several, count=counted, wait=wait or None, lease=lease, tag=tag))
        if lease is not None:
            reply = await self._pool.ask(line, tag=tag, again=True, wait=wait, late=_put_back_late)
        elif wait:
            reply = await self._pool.ask_apart(line, tag=tag, wait=wait, late=_tell_of_loss)
        else:
            reply = await self._pool.ask(line, late=_tell_of_loss)
        return reply.messages

    async def _settle(self, request: Request, message: Message | str) -> None:
        request.receipt = _receipt(message)
        self._leave_to_caller(request, (request.receipt,))
        await self._settle_once(request)

    async def _settle_many(self, request: Request, messages: Iterable[Message | str]) -> Settled:
        receipts = [_receipt(message) for message in messages]
        self._leave_to_caller(request, receipts)
        settled = Settled(0, [])
        for start in range(0, len(receipts), MAX_COUNT):
            request.receipts = receipts[start : start + MAX_COUNT]
            reply = await self._settle_once(request)
            settled = Settled(settled.count + reply.count, settled.stale + reply.stale)
        return settled

    def _leave_to_caller(self, request: Request, receipts: Sequence[str]) -> None:
        if request.operation != "E":
            for consumer in self._consumers:
                consumer.leave_to_caller(receipts)

    async def _settle_once(self, request: Request) -> Reply:
        """Settle up to 1000 receipts; once more when the reply is lost, which harms nobody but may find stale what it settled itself."""
        line = encode(request)
        try:
            return await self._pool.ask(line, again=request.operation == "E")
        except RequestTimeout:
            raise
        except OutcomeUnknown as unknown:
            try:
                reply = await self._pool.ask(line)
            except (ConnectionFailed, RequestRefused) as error:
                raise OutcomeUnknown(f"{unknown}; sent again: {error}") from error
            if reply.stale:
                raise OutcomeUnknown(f"{unknown}; sent again: stale, so it was done the first time, or the lease ran out") from unknown
            return reply


def _bytes(payload: bytes | str) -> bytes:
    return payload.encode() if isinstance(payload, str) else payload


def _receipt(message: Message | str) -> str:
    receipt = message if isinstance(message, str) else message.receipt
    if receipt is None:
        raise ValueError("the message has no receipt: it was taken without a lease, and so there is nothing to settle")
    return receipt


def _put_back_late(connection: Connection, reply: Reply) -> None:
    receipts = [message.receipt for message in reply.messages if message.receipt]
    if receipts:
        connection.tell(encode(Request("N", receipts=receipts)))


def _tell_of_loss(_: Connection, reply: Reply) -> None:
    if reply.messages:
        log.warning("lost %d messages of %s: their plain take was given up before they came", len(reply.messages), reply.queue)
