"""The load generator: one thread, requests encoded beforehand, replies counted and not decoded.

A lane is a connection that plays one exchange over and over: it sends a window of requests in one write, counts replies until all are in,
and sends the next. Every server is driven the same way.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

PATIENCE: Final = 10  # seconds without a reply that end the run
BUFFER: Final = 1 << 20  # bytes
TAIL: Final = 300  # bytes of the last reply that an error shows


class BenchmarkError(Exception):
    """A server did not do the work: there is nothing to report."""


@dataclass(frozen=True, slots=True)
class Follow:
    """The second half of an exchange, made from the replies to the first: deleting what was reserved."""

    build: Callable[[bytes], bytes]
    lines: int  # newlines in the replies; 0 when the protocol answers nothing
    proof: bytes  # what good replies contain, one time in each line


@dataclass(frozen=True, slots=True)
class Exchange:
    """One window: its requests, and how to tell that all replies are in."""

    request: bytes
    messages: int
    lines: int  # newlines in the replies
    proof: bytes  # what good replies contain
    proofs: int  # and how often, in all
    steady: bool = False  # replies have the same size each time, which is cheaper to count than newlines
    follow: Follow | None = None


def connect(port: int) -> socket.socket:
    """A blocking connection whose calls give up after `PATIENCE`.

    The kernel keeps the time: a timeout of Python's would cost a poll before every call.
    """
    made = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    made.setblocking(True)  # noqa: FBT003
    limit = struct.pack("ll", PATIENCE, 0)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def converse(link: socket.socket, request: bytes, lines: int) -> bytes:
    """Send a request outside the measurements and return its replies, `lines` newlines long."""
    try:
        link.sendall(request)
        replies = b""
        while lines > replies.count(b"\n"):
            chunk = link.recv(BUFFER)
            if not chunk:
                raise BenchmarkError(f"The server hung up after {replies[-TAIL:]!r}")
            replies += chunk
    except BlockingIOError:
        raise BenchmarkError(f"No whole reply to {request[:TAIL]!r} within {PATIENCE} s, only {replies[-TAIL:]!r}") from None
    return replies


def rehearse(link: socket.socket, exchange: Exchange) -> int:
    """Play one window and look at what came back; return the size of the replies in bytes."""
    replies = converse(link, exchange.request, exchange.lines)
    _check(replies, exchange.proof, exchange.proofs)
    if exchange.follow:
        settled = converse(link, exchange.follow.build(replies), exchange.follow.lines)
        _check(settled, exchange.follow.proof, exchange.follow.lines)
    return len(replies)


def _check(replies: bytes, proof: bytes, proofs: int) -> None:
    if proofs and replies.count(proof) != proofs:
        raise BenchmarkError(f"{proofs} times {proof!r} was expected to come, and what came is {replies[:TAIL]!r}")


def latencies(link: socket.socket, exchange: Exchange, count: int) -> tuple[list[int], bytes]:
    """Play `count` windows of one request, one after the other, on a blocking connection.

    Return the nanoseconds of each, and the last reply, for errors to show.
    """
    buffer = bytearray(BUFFER)
    clock = time.perf_counter_ns
    times = []
    reply = b""
    try:
        for _ in range(count):
            started = clock()
            reply = _play(link, exchange, buffer)
            times.append(clock() - started)
    except BlockingIOError:
        raise BenchmarkError(f"No reply within {PATIENCE} s, after {len(times)} good ones") from None
    return times, reply[-TAIL:]


def _play(link: socket.socket, exchange: Exchange, buffer: bytearray) -> bytes:
    """One window, on a blocking connection; return its last replies."""
    link.sendall(exchange.request)
    replies = _await(link, exchange.lines, buffer)
    if not exchange.follow:
        return replies
    link.sendall(exchange.follow.build(replies))
    return _await(link, exchange.follow.lines, buffer)


def _await(link: socket.socket, lines: int, buffer: bytearray) -> bytes:
    """Read until so many newlines came, and return what came."""
    replies = b""
    while lines > 0:
        size = link.recv_into(buffer)
        if not size:
            raise BenchmarkError("The server hung up")
        lines -= buffer.count(b"\n", 0, size)
        replies += memoryview(buffer)[:size]
    return replies


class Lane:
    """A connection and the window it plays."""

    __slots__ = ("_expected", "_link", "_missing", "_size", "_unsent", "exchange")

    def __init__(self, link: socket.socket, exchange: Exchange, size: int) -> None:
        self.exchange = exchange
        self._link = link
        self._size = size if exchange.steady else 0
        self._expected = self._size or exchange.lines
        self._missing = 0
        self._unsent = memoryview(b"")

    @property
    def sending(self) -> bool:
        return bool(self._unsent)

    def begin(self) -> None:
        """Send a window."""
        self._missing = self._expected
        self._send(self.exchange.request)

    def end(self) -> None:
        """Settle what is still open after the last window."""

    def received(self, buffer: bytearray, size: int) -> bool:
        """Count what came; true when the window is complete."""
        if not size:
            raise BenchmarkError("The server hung up")
        self._missing -= size if self._size else buffer.count(b"\n", 0, size)
        if self._missing < 0:
            raise BenchmarkError("More replies came than were asked for")
        return not self._missing

    def flush(self) -> None:
        """Send what the socket had no room for."""
        with contextlib.suppress(BlockingIOError):
            self._unsent = self._unsent[self._link.send(self._unsent) :]

    def _send(self, data: bytes) -> None:
        sent = 0
        with contextlib.suppress(BlockingIOError):
            sent = self._link.send(data)
        if sent < len(data):
            self._unsent = memoryview(data)[sent:]


class SettlingLane(Lane):
    """A lane whose windows have two halves: the replies to the first say what the second is about."""

    __slots__ = ("_follow", "_open", "_replies", "_settling")

    def __init__(self, link: socket.socket, exchange: Exchange, follow: Follow) -> None:
        super().__init__(link, exchange, 0)
        self._follow = follow
        self._replies = bytearray()
        self._settling = False
        self._open = b""

    def begin(self) -> None:
        # What nobody answers travels with the next window, in one write.
        self._missing = self._expected
        self._send(self._open + self.exchange.request)
        self._open = b""

    def end(self) -> None:
        if self._open:
            self._send(self._open)
            self._open = b""

    def received(self, buffer: bytearray, size: int) -> bool:
        if self._settling:
            done = super().received(buffer, size)
            self._settling = not done
            return done
        self._replies += memoryview(buffer)[:size]
        if not super().received(buffer, size):
            return False
        settle = self._follow.build(bytes(self._replies))
        self._replies.clear()
        if not self._follow.lines:
            self._open = settle
            return True
        self._missing = self._follow.lines
        self._settling = True
        self._send(settle)
        return False


def lane(link: socket.socket, exchange: Exchange, size: int) -> Lane:
    """A lane for an exchange whose replies are `size` bytes long."""
    if exchange.follow:
        return SettlingLane(link, exchange, exchange.follow)
    return Lane(link, exchange, size)


def drive(lanes: Mapping[socket.socket, Lane], windows: int) -> tuple[float, bytes]:
    """Play `windows` windows in all, by whichever lane is free.

    Return the seconds from the first request to the last reply, and how that one ended, for errors to show.
    """
    buffer = bytearray(BUFFER)
    size = 0
    by_fd: dict[int, tuple[Callable[[bytearray], int], Lane]] = {link.fileno(): (link.recv_into, one) for link, one in lanes.items()}
    with select.epoll(len(lanes)) as poll, _unblocked(lanes):
        started = time.perf_counter()
        playing = _begin(poll, by_fd, windows)
        left = windows - playing
        while playing:
            events = poll.poll(PATIENCE)
            if not events:
                raise BenchmarkError(f"No reply within {PATIENCE} s; the last chunk ended in {_tail(buffer, size)!r}")
            for fd, event in events:
                receive, one = by_fd[fd]
                if event & select.EPOLLOUT:
                    _flush(poll, fd, one)
                if event & ~select.EPOLLOUT:
                    size = receive(buffer)
                    if one.received(buffer, size):
                        if left:
                            left -= 1
                            one.begin()
                        else:
                            playing -= 1
                            one.end()
                    if one.sending:
                        poll.modify(fd, select.EPOLLIN | select.EPOLLOUT)
        seconds = time.perf_counter() - started
    _finish(lanes.values())
    return seconds, _tail(buffer, size)


def _begin(poll: select.epoll, lanes: Mapping[int, tuple[Callable[[bytearray], int], Lane]], windows: int) -> int:
    """Send the first window of as many lanes as there is work for, and return their number."""
    begun = 0
    for fd, (_, one) in lanes.items():
        if begun == windows:
            break
        one.begin()
        poll.register(fd, select.EPOLLIN | (select.EPOLLOUT if one.sending else 0))
        begun += 1
    return begun


def _finish(lanes: Iterable[Lane]) -> None:
    """Send the last of what nobody answers, over sockets that block again."""
    for one in lanes:
        while one.sending:
            one.flush()


def _flush(poll: select.epoll, fd: int, one: Lane) -> None:
    one.flush()
    if not one.sending:
        poll.modify(fd, select.EPOLLIN)


def _tail(buffer: bytearray, size: int) -> bytes:
    return bytes(memoryview(buffer)[max(0, size - TAIL) : size])


@contextlib.contextmanager
def blaming(name: str) -> Iterator[None]:
    """Say in every error of the block whose it is."""
    try:
        yield
    except (BenchmarkError, OSError) as error:
        raise BenchmarkError(f"{name}: {error}") from error


@contextlib.contextmanager
def _unblocked(links: Iterable[socket.socket]) -> Iterator[None]:
    for link in links:
        link.setblocking(False)  # noqa: FBT003
    try:
        yield
    finally:
        for link in links:
            link.setblocking(True)  # noqa: FBT003
