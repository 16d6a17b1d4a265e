"""What replies over HTTP say: every body as a struct, which writes and describes it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from email.utils import formatdate
from typing import Annotated, Any

import msgspec
from aiohttp import ClientConnectionResetError, HttpVersion11, web
from msgspec import Meta, Struct
from multidict import CIMultiDict

from gmq.message import QueueCounts, QueuePolicy, Totals
from gmq.plain import Delivered
from gmq.server.http.problem import COMMON_HEADERS

JSON = "application/json"

_encode = msgspec.json.Encoder().encode
_HEADERS = CIMultiDict((("Content-Type", JSON), *COMMON_HEADERS))


class About(Struct):
    """The broker. Sizes are in bytes, times in seconds."""

    version: str
    limits: dict[str, float]
    capabilities: Sequence[str]


class QueueList(Struct):
    """A page of the list of queues; `next` is the `after` of the next page, null on the last. `total` counts all that were searched for."""

    queues: list[QueueCounts]
    next: str | None
    total: int


class QueueState(Struct):
    """A queue looked at closely. `oldest_age` is in seconds: the age of the oldest message that is ready or leased."""

    queue: str
    ready: int
    delayed: int
    leased: int
    bytes: int
    oldest_age: float | None
    policy: QueuePolicy
    totals: Totals


class Published(Struct):
    """The message's number in its queue."""

    id: int


class PublishedBatch(Struct):
    """The messages' numbers in their queue, in the order of the request."""

    ids: list[int]


class PublishedStream(Struct):
    """How many messages were stored."""

    count: int


class Messages(Struct):
    """Messages, in the order of delivery. `published` is in Unix seconds."""

    count: int
    messages: list[Delivered]


class Counted(Struct):
    """How many messages it was."""

    count: int


class SettledReceipts(Struct):
    """How many receipts were settled, and those that were not: they are not good any more."""

    count: int
    stale: Annotated[list[str], Meta(description="in the order of the request")]


def reply(value: Any, status: int = 200) -> web.Response:
    """The reply that has this value as its JSON."""
    return web.Response(body=_encode(value), status=status, headers=_HEADERS)


class Prepared(web.StreamResponse):
    """A reply whose bytes are made already: to one that is asked for very often, on a connection that stays open.

    What aiohttp does to prepare a reply takes as long as all that a publish does.
    """

    def __init__(self, status: int, reason: str, data: bytes) -> None:
        super().__init__(status=status, reason=reason)
        self._data = data

    @property
    def prepared(self) -> bool:
        return True

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send it, head and body."""
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ClientConnectionResetError("the client is gone")
        transport.write(self._data)

    async def write_eof(self, data: bytes = b"") -> None:  # as the base class has it
        """Nothing is left to be sent."""


def published(request: web.Request, number: int) -> web.StreamResponse:
    """The reply to a publish of one message: `Published`, written quickly."""
    return _created(request, b'{"id":%d}' % number)


def published_batch(request: web.Request, ids: Sequence[int]) -> web.StreamResponse:
    """The reply to a publish of a batch."""
    return _created(request, _encode(PublishedBatch(list(ids))))


def _created(request: web.Request, body: bytes) -> web.StreamResponse:
    transport = request.transport
    if not request.keep_alive or request.version != HttpVersion11 or transport is None or transport.get_write_buffer_size():
        # To a client that does not read, aiohttp waits with the next reply until it does.
        return web.Response(body=body, status=201, headers=_HEADERS)
    second = int(time.time())
    if second != _date.second:
        _date.second, _date.head = second, b"".join((_CREATED, formatdate(second, usegmt=True).encode(), b"\r\nContent-Length: "))
    return Prepared(201, "Created", b"%b%d\r\n\r\n%b" % (_date.head, len(body), body))


class _Date:
    """The head of such a reply, up to its length, and the second for which it is right."""

    second = 0
    head = b""


_date = _Date()
_CREATED = b"HTTP/1.1 201 Created\r\n" + "".join(f"{name}: {value}\r\n" for name, value in _HEADERS.items()).encode() + b"Date: "
