"""Reading requests: their bodies, within a size and a time, and what their paths, queries and headers say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from aiohttp import StreamReader, web
from aiohttp.hdrs import ACCEPT_ENCODING, CONTENT_ENCODING
from msgspec import Struct

from gmq.message import GmqError, refuse
from gmq.server.http.connection import Connection
from gmq.server.http.requests import decode, read_query
from gmq.validate import quote

S = TypeVar("S", bound=Struct)
Q = TypeVar("Q", bound=Struct)

JSON = "application/json"
NDJSON = "application/x-ndjson"
SMALL_BODY = 16 << 10
"""Bytes; far below what makes aiohttp pause a connection."""
QUEUE_PART = 3
"""Where a path has the queue's name, between slashes."""


def queue_of(request: web.Request) -> str:
    """The queue that the path names, decoded.

    Raises:
        GmqError: `bad_request`, it is not UTF-8.
    """
    raw = request.rel_url.raw_path
    if "%" not in raw and raw.isascii():
        return request.match_info["queue"]
    try:
        return unquote_to_bytes(raw.split("/")[QUEUE_PART].encode("utf-8", "surrogateescape")).decode()
    except UnicodeDecodeError:
        refuse("queue in the path is not UTF-8", "queue")


def query_of(request: web.Request, kind: type[Q]) -> Q:
    """What the query says.

    Raises:
        GmqError: `bad_request`, which names the field.
    """
    url = request.rel_url
    return read_query(kind, list(url.query.items())) if url.raw_query_string else kind()


async def json_body(request: web.Request, kind: type[S], limit: int, timeout: float) -> S:  # noqa: ASYNC109  # as below
    """The body, which has to be JSON; an absent one is an empty object.

    Raises:
        GmqError: it is not, or too large, or takes too long.
        web.HTTPUnsupportedMediaType: it says to be something else.
    """
    if "Content-Type" in request.headers and media_type(request) != JSON:
        raise web.HTTPUnsupportedMediaType(text=f"the body is {quote(media_type(request))}; it must be {JSON}")
    return decode(kind, await body_of(request, limit, timeout) or b"{}")


def media_type(request: web.Request) -> str:
    """The type of the body, without parameters, in small letters; empty where none is given.

    Raises:
        web.HTTPUnsupportedMediaType: JSON in another encoding than UTF-8.
    """
    value = request.headers.get("Content-Type", "")
    kind, _, parameters = value.partition(";")
    kind = kind.strip().lower()
    if parameters and kind in {JSON, NDJSON}:
        for parameter in parameters.split(";"):
            name, _, charset = parameter.partition("=")
            if name.strip().lower() == "charset" and charset.strip(' "').lower() not in {"utf-8", "utf8", "us-ascii"}:
                raise web.HTTPUnsupportedMediaType(text=f"the charset is {quote(charset.strip())}; JSON is UTF-8")
    return kind


def check_coding(request: web.Request) -> None:
    """A body is what its sender wants to be kept, and is never unpacked.

    Raises:
        web.HTTPUnsupportedMediaType: it has a content coding (RFC 9110, section 8.4).
    """
    coding = request.headers.get(CONTENT_ENCODING)
    if coding is not None and coding.strip().lower() not in {"", "identity"}:
        text = f"the body has the content coding {quote(coding)}; it must come without one"
        raise web.HTTPUnsupportedMediaType(text=text, headers={ACCEPT_ENCODING: "identity"})


async def body_of(request: web.Request, limit: int, timeout: float) -> bytes:  # noqa: ASYNC109  # the time that the client has
    """The whole body, of up to `limit` bytes, which has to be here within `timeout` seconds.

    Raises:
        GmqError: it is larger, or malformed.
        web.HTTPRequestTimeout: it took too long.
        web.HTTPUnsupportedMediaType: it has a content coding.
    """
    check_coding(request)
    content = request.content
    if content.is_eof():  # it came with the head, as small ones do
        data = small_body(content)
        if data is None:
            data = content.read_nowait()
        if len(data) > limit:
            raise too_large(limit, len(data))
        return data
    length = request.content_length
    if length is not None and length > limit:
        raise too_large(limit, length)
    try:
        async with asyncio.timeout(timeout):
            return await _whole(request, limit)
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"the body was not here within {timeout:g} s") from None


def small_body(content: StreamReader) -> bytes | None:
    """A body that is here, in one piece, and small; None where it is not.

    Read in the usual way it would make aiohttp resume the transport and look for the next request, each time, which takes longer than a
    publish. That is not needed where so little is held that reading cannot have been paused.
    """
    held: Sequence[bytes] = getattr(
        content, "_buffer", ()
    )  # private, and so perhaps gone in another version: then it is read in the usual way
    if len(held) == 1 and content.exception() is None:
        data = held[0]
        if content.total_bytes == len(data) <= SMALL_BODY:
            return data
    return None


async def _whole(request: web.Request, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        while part := await next_part(request):
            parts.append(part)
            size += len(part)
            if size > limit:
                raise too_large(limit, None)
            keep(request, size)
        return b"".join(parts)
    finally:
        keep(request, 0)


def keep(request: web.Request, size: int) -> None:
    """So many bytes of the body are kept outside of aiohttp: they count among those that wait in connections."""
    connection = request.protocol
    if isinstance(connection, Connection):
        connection.keep(size)


async def next_part(request: web.Request) -> bytes:
    """What has come of the body since; nothing at its end.

    Raises:
        GmqError: `bad_request`, it is malformed.
    """
    try:
        return await request.content.readany()
    except web.RequestPayloadError:  # whose text has what the client sent
        refuse("the body is malformed: its chunks are not as the standard has them")


def too_large(limit: int, size: int | None) -> GmqError:
    """The refusal of a body of `size` bytes."""
    return GmqError(
        "too_large", f"the body has {'more' if size is None else f'{size} bytes'}; it may have up to {limit} bytes", limit="message_size"
    )
