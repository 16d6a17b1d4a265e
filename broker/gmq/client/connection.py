"""One connection to a broker: requests out, replies back to whom they belong."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from gmq.address import Address
from gmq.client.errors import ConnectionFailed, refusal
from gmq.client.tls import Tls
from gmq.client.wire import DONE, Reply, decode_replies

WRITE_BUFFER = 1 << 20
"""Bytes that may wait in the transport before callers wait for them to leave."""

SILENCE = 20
"""Seconds after which the system asks a silent peer whether it is still there, and after which unanswered bytes end a connection."""

FAREWELL = 1.0
"""Seconds that closing waits for the replies that are still due."""


class NotSent(Exception):  # noqa: N818  # it says what happened; it does not leave the client
    """The connection was lost before the request left: it may go out on another."""


class ReplyLost(Exception):  # noqa: N818  # as above
    """The connection was lost after the request left, before its reply came."""


Late = Callable[["Connection", Reply], None]
"""Is told of a reply that comes after its caller has gone: was cancelled, or timed out."""


class Exchange:
    """A request under way.

    `line` is the request, `tag` the tag in it. Without a `future` nobody waits for the reply.
    """

    __slots__ = ("future", "late", "line", "tag")

    def __init__(self, line: bytes, tag: int | None = None, late: Late | None = None) -> None:
        self.line = line
        self.tag = tag
        self.late = late
        self.future: asyncio.Future[Reply] | None = None


class Connection(asyncio.Protocol):
    """A connection in lines framing.

    Untagged requests are answered in order; a tagged one when its reply comes. What is asked for in one turn of the event loop leaves in
    one write. At most `in_flight` untagged requests are under way: further callers wait, and so do they while the broker does not read.
    """

    def __init__(self, address: Address, in_flight: int) -> None:
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._room = asyncio.Semaphore(in_flight)
        self._turn = asyncio.Lock()
        self._writable = asyncio.Event()
        self._writable.set()
        self._outbox: list[Exchange] = []
        self._untagged: deque[Exchange] = deque()
        self._tagged: dict[int, Exchange] = {}
        self._partial: list[bytes] = []
        self._quiet: asyncio.Future[None] | None = None
        self._gone = asyncio.Event()
        self._ended = False
        self._said_all = False
        self._lost: str | None = None
        self._heard = 0.0
        self.answered = 0
        self.unsaid: list[bytes] = []
        """What was to be told when nothing could be sent any more."""

    @property
    def usable(self) -> bool:
        """Whether it takes requests: it is neither lost nor being closed."""
        return self._lost is None and not self._ended

    @property
    def load(self) -> int:
        """How many requests are under way."""
        return len(self._outbox) + len(self._untagged) + len(self._tagged)

    async def ask(self, exchange: Exchange, timeout: float) -> Reply:  # noqa: ASYNC109  # it begins when the request's turn has come
        """Send a request when its turn has come, and wait `timeout` seconds for its reply.

        Raises NotSent or ReplyLost when the connection is lost, TimeoutError when the reply is late. A connection that was silent all the
        while is given up then, or those behind would wait in vain too.
        """
        counted = exchange.tag is None
        if counted:
            await self._room.acquire()
        try:
            async with self._turn:  # or who comes when it is writable again goes before those that waited for that
                await self._writable.wait()
            self._refuse_when_unusable()
        except BaseException:
            if counted:
                self._room.release()
            raise
        future: asyncio.Future[Reply] = self._loop.create_future()
        exchange.future = future
        self._post(exchange)
        began = self._loop.time()
        try:
            async with asyncio.timeout(timeout):
                return await future
        except (TimeoutError, asyncio.CancelledError) as gone:
            if exchange.late and future.done() and not future.cancelled() and not future.exception():
                exchange.late(self, future.result())  # it came in the very moment in which the caller went
            if isinstance(gone, TimeoutError) and self._heard < began:
                self.abort("answers nothing")
            raise

    def tell(self, line: bytes) -> None:
        """Send an untagged request whose reply nobody needs."""
        if self._said_all:
            self.unsaid.append(line)
        elif self._lost is None:
            self._post(Exchange(line))

    async def end(self) -> None:
        """Tell the broker that no request follows: it answers what it has, ends waiting takes empty, and closes."""
        self._ended = True
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                if self._lost is None:
                    self._flush()
                    self._said_all = True
                    if self._transport.can_write_eof():
                        self._transport.write_eof()
                    else:  # TLS: its end is the end of both sides
                        self._transport.close()
                await self._gone.wait()
        self.abort("did not end the connection")

    async def close(self) -> None:
        """Close, after the replies that are due came.

        Takes that wait are not waited for; but those whose callers have gone are ended, as their messages may be on their way.
        """
        if any(exchange.future is not None and exchange.future.done() for exchange in self._tagged.values()):
            await self.end()
            return
        self._ended = True
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                if self._outbox or self._untagged:
                    self._quiet = self._loop.create_future()
                    await self._quiet
                self._transport.close()
                await self._gone.wait()
        self.abort("did not let the connection end")

    def abort(self, reason: str) -> None:
        """Drop the connection at once."""
        if self._lost is None:
            self._lost = f"{self._address} {reason}"
            self._transport.abort()

    def _refuse_when_unusable(self) -> None:
        if not self.usable:
            raise NotSent(self._lost)

    def _post(self, exchange: Exchange) -> None:
        if not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox.append(exchange)

    def _flush(self) -> None:
        outbox, self._outbox = self._outbox, []
        lines: list[bytes] = []
        for exchange in outbox:
            if exchange.future is not None and exchange.future.cancelled():
                self._release(exchange)  # its caller has gone and it never left: as if it had not been
                continue
            lines.append(exchange.line)
            if exchange.tag is None:
                self._untagged.append(exchange)
            else:
                self._tagged[exchange.tag] = exchange
        if lines:
            self._transport.write(b"".join(lines))

    def _release(self, exchange: Exchange) -> None:
        if exchange.tag is None and exchange.future is not None:
            self._room.release()

    def _deliver(self, reply: Reply) -> None:
        exchange = self._tagged.pop(reply.tag, None) if isinstance(reply.tag, int) else None
        if exchange is None:
            if not self._untagged:
                self.abort(f"refused the connection: {reply.error}" if reply.error else "answered what nobody asked")
                return
            exchange = self._untagged.popleft()
        self.answered += 1
        self._release(exchange)
        if exchange.future is not None:
            if not exchange.future.done():
                exchange.future.set_result(reply)
            elif exchange.late:
                exchange.late(self, reply)

    def _calm(self) -> None:
        if self._quiet and not self._quiet.done() and not self._outbox and not self._untagged:
            self._quiet.set_result(None)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(WRITE_BUFFER)

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        end = data.rfind(b"\n") + 1
        if not end:
            self._partial.append(data)
            return
        lines = b"".join((*self._partial, data[:end]))
        self._partial = [data[end:]] if end < len(data) else []
        try:
            replies = decode_replies(lines)
        except ValueError as error:
            self.abort(f"sent something that is no reply of a GMQ broker: {error}")
            return
        for reply in replies:
            self._deliver(reply)
        self._calm()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = self._lost or f"{self._address} {f'was lost: {reason(error)}' if error else 'closed the connection'}"
        unsent, self._outbox = self._outbox, []
        sent = [*self._untagged, *self._tagged.values()]
        self._untagged.clear()
        self._tagged.clear()
        for exchanges, failure in ((unsent, NotSent), (sent, ReplyLost)):
            for exchange in exchanges:
                self._release(exchange)
                if exchange.future is not None and not exchange.future.done():
                    exchange.future.set_exception(failure(self._lost))
        self._writable.set()
        self._calm()
        self._gone.set()


def reason(error: Exception) -> str:
    """What an error of the system says, for people."""
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or str(error)).replace('_', ' ').lower()}"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower() + (f": {error.filename}" if error.filename else "")
    return str(error) or type(error).__name__


def doubt(tls: Tls | None) -> str:
    """What may be wrong with a connection that ended before its first reply."""
    if tls is None:
        return "is it a GMQ broker, and one without TLS?"
    if tls.certificate is None:
        return "is it a GMQ broker, or does it ask for a client's certificate?"
    return "is it a GMQ broker, and does it accept the authority of the client's certificate?"


async def open_connection(
    address: Address,
    *,
    hello: bytes,
    timeout: float,  # noqa: ASYNC109  # it is part of the error
    in_flight: int,
    tls: Tls | None,
) -> Connection:
    """Connect and say hello. Raises ConnectionFailed, or RequestRefused when the broker does not want us."""
    connection: Connection | None = None
    reply: Reply | None = None
    try:
        async with asyncio.timeout(timeout):
            connection = await _connect(address, in_flight, tls)
            reply = await connection.ask(Exchange(hello), timeout)
    except TimeoutError:
        did = "answer" if connection else "accept a connection"
        raise ConnectionFailed(f"cannot connect to {address}: it did not {did} within {timeout:g} s") from None
    except OSError as error:
        raise ConnectionFailed(f"cannot connect to {address}: {reason(error)}") from error
    except (NotSent, ReplyLost) as error:
        raise ConnectionFailed(f"{error} before it said hello; {doubt(tls)}") from error
    finally:
        if connection and not reply:  # also where it came in the very moment in which we were cancelled
            connection.abort("did not say hello")
    if reply.confirmation != DONE:
        await connection.close()
        raise refusal(reply.code, reply.error or "the broker gave no reason")
    return connection


async def _connect(address: Address, in_flight: int, tls: Tls | None) -> Connection:
    """Try every address of the host in turn. Raises the OSError of the last."""
    loop = asyncio.get_running_loop()
    context, name = (None, None) if tls is None else (tls.context(), tls.server_name or address.host)
    error: OSError = OSError("the name has no address")
    for family, kind, proto, _, where in await loop.getaddrinfo(*address, type=socket.SOCK_STREAM):
        try:
            peer = socket.socket(family, kind, proto)
        except OSError as unsupported:
            error = unsupported
            continue
        try:
            peer.settimeout(0)
            await loop.sock_connect(peer, where)
            _keep_alive(peer)
            _, connection = await loop.create_connection(
                lambda: Connection(address, in_flight), sock=peer, ssl=context, server_hostname=name
            )
        except OSError as refused:
            peer.close()
            error = refused
        except BaseException:
            peer.close()
            raise
        else:
            return connection
    raise error


def _keep_alive(peer: socket.socket) -> None:
    """Have the system notice that the other side is gone, also while we only wait."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", SILENCE), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", SILENCE * 1000)):
        if hasattr(socket, option):  # not every system has them all
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
