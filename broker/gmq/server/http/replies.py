"""What replies over HTTP say: every body as a struct, which writes and describes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from aiohttp import web
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


def published(number: int) -> web.Response:
    """The reply to a publish of one message: `Published`, written quickly."""
    return web.Response(body=b'{"id":%d}' % number, status=201, headers=_HEADERS)
