"""Publishing over HTTP: a raw body is one message, a JSON body a batch, and lines of JSON any number of messages."""

from __future__ import annotations

import asyncio
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import quote, unquote_to_bytes

import msgspec
from aiohttp import web
from msgspec import Struct

from gmq import plain
from gmq.broker import Broker
from gmq.gate import Gate
from gmq.message import MAX_COUNT, GmqError, Options, refuse
from gmq.protocol import line_limit
from gmq.server.http import replies
from gmq.server.http.doorway import broker_for
from gmq.server.http.incoming import JSON, NDJSON, body_of, check_coding, keep, media_type, next_part, query_of, queue_of
from gmq.server.http.outcomes import done
from gmq.server.http.problem import problem_response, refusal
from gmq.server.http.requests import Batch, BatchMessage, Line, PublishQuery, decode, read_query
from gmq.server.hub import Hub
from gmq.validate import check_count, publish_options

MAX_SLICE_BYTES = 8 << 20
"""Payload bytes of a batch, about; a stream is stored in slices of up to so many, and of up to MAX_COUNT messages."""
SLICE_SHARE = 4
"""So many slices have room among the bytes that may wait in connections, where that means smaller ones."""
PREFIX = "gmq-header-"
FIELDS = {"gmq-delay": "delay", "gmq-ttl": "ttl", "gmq-priority": "priority"}
"""The header fields that say what the query may say, too."""

_decode_any = msgspec.json.Decoder().decode


class Publishing:
    """Publishes, for one broker."""

    def __init__(self, hub: Hub) -> None:
        self._broker = hub.broker
        self._timeout = hub.request_timeout
        self._message_size = hub.broker.limits.message_size
        self._line_limit = line_limit(self._message_size)
        self.batch_limit = line_limit(max(self._message_size, MAX_SLICE_BYTES))
        self._slice_size = min(MAX_SLICE_BYTES, hub.buffers.limit // SLICE_SHARE)

    async def publish(self, request: web.Request) -> web.StreamResponse:
        """Publish what the body has, by its type."""
        kind = request.headers.get("Content-Type")
        if kind is not None and "json" in kind.lower():
            media = media_type(request)
            if media == JSON:
                return await self._publish_batch(request)
            if media == NDJSON:
                return await self._publish_stream(request)
        queue = queue_of(request)
        options = raw_options(request)
        payload = await body_of(request, self._message_size, self._timeout)
        outcome = broker_for(request, self._broker).publish(queue, (payload,), len(payload), options)
        return replies.published(request, (await done(self._broker, outcome))[0])

    async def _publish_batch(self, request: web.Request) -> web.StreamResponse:
        queue, (query, key) = queue_of(request), said_beside(request)
        data = await body_of(request, self.batch_limit, self._timeout)
        batch = decode(Batch, data)
        check_canonical(data)
        messages = batch.messages
        check_count("messages", messages)
        payloads = payloads_of(messages)
        options = publish_options(
            len(payloads),
            priority=query.priority if batch.priority is None else batch.priority,
            delay=query.delay if batch.delay is None else batch.delay,
            ttl=query.ttl if batch.ttl is None else batch.ttl,
            headers=batch.headers,
            keys=keys_of(messages, key),
        )
        outcome = broker_for(request, self._broker).publish(queue, payloads, sum(map(len, payloads)), options)
        ids = await done(self._broker, outcome)
        return replies.published_batch(request, ids)

    # Streams

    async def _publish_stream(self, request: web.Request) -> web.Response:
        """Publish a stream of lines, slice by slice; an error tells the line, and how many messages before it were stored."""
        queue, (query, key) = queue_of(request), said_beside(request)
        check_coding(request)
        reader = Lines(request, self._line_limit, self._timeout)
        broker = broker_for(request, self._broker)
        part = Slice(self._slice_size)
        number = stored = place = 0
        try:
            while lines := await reader.some():
                for line in lines:
                    number += 1
                    if not line or line.isspace():
                        continue
                    options, own_key, payload = self._read_line(line, query, None if key is None else f"{key}/{place}")
                    place += 1
                    if not part.fits(options, own_key, payload):
                        stored += await self._store(broker, queue, part)
                        part = Slice(self._slice_size)
                    part.add(options, own_key, payload, number)
                reader.beside = part.size
            stored += await self._store(broker, queue, part)
        except GmqError as error:
            return refusal(error, line=part.first if part.storing else max(number, 1), stored=stored)
        except TimeoutError:
            text = f"nothing more of the body came within {self._timeout:g} s"
            return problem_response("bad_request", text, HTTPStatus.REQUEST_TIMEOUT, line=number + 1, stored=stored)
        finally:
            keep(request, 0)
        return replies.reply(replies.PublishedStream(stored), 201 if stored else 200)

    def _read_line(self, data: bytes, query: PublishQuery, key: str | None) -> tuple[Options | None, str | None, bytes]:
        if len(data) > self._line_limit:
            raise GmqError(
                "too_large",
                f"the line is longer than {self._line_limit} bytes, the limit that follows from the message size",
                limit="message_size",
            )
        line = decode(Line, data)
        check_canonical(data)
        if line.key is not None:
            if key is not None:
                refuse(TWO_KEYS, "Idempotency-Key")
            key = line.key
        payload = payload_of(line, "")
        if len(payload) > self._message_size:
            raise GmqError(
                "too_large", f"the message has {len(payload)} bytes; it may have up to {self._message_size}", limit="message_size"
            )
        options = publish_options(
            1,
            priority=query.priority if line.priority is None else line.priority,
            delay=query.delay if line.delay is None else line.delay,
            ttl=query.ttl if line.ttl is None else line.ttl,
            headers=line.headers,
            keys=None if key is None else [key],
        )
        return options, key, payload

    async def _store(self, broker: Broker | Gate, queue: str, part: Slice) -> int:
        """Store a slice, and give the number of its messages."""
        if not part.payloads:
            return 0
        part.storing = True
        outcome = broker.publish(queue, part.payloads, part.size, part.whole_options())
        await done(self._broker, outcome)
        return len(part.payloads)


class Lines:
    """The lines of a body, as they come: `timeout` seconds may pass without any.

    `beside` are bytes that were read before and are kept by the caller.
    """

    def __init__(self, request: web.Request, limit: int, timeout: float) -> None:
        self._request = request
        self._limit = limit
        self._timeout = timeout
        self._parts: list[bytes] = []  # of a line that is not complete
        self._size = 0
        self._ended = False
        self.beside = 0

    async def some(self) -> list[bytes]:
        """The next lines; none at the end. One that is longer than it may be is given cut, and is the last.

        Raises:
            GmqError: the body is malformed.
            TimeoutError: nothing came in time.
        """
        while not self._ended:
            async with asyncio.timeout(self._timeout):
                data = await next_part(self._request)
            self._ended = not data
            self._parts.append(data)
            self._size += len(data)
            keep(self._request, self._size + self.beside)
            lines: list[bytes] = []
            if b"\n" in data or self._ended:
                *lines, rest = b"".join(self._parts).split(b"\n")
                self._parts, self._size = [rest], len(rest)
                if self._ended:
                    lines.append(rest)
            if self._size > self._limit and not self._ended:
                self._ended = True
                lines.append(b"".join(self._parts))
            if lines:
                return lines
        return []


class Slice:
    """Messages of a stream that are stored together, up to `most` bytes: their options are the same. `first` is the line of the first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.payloads: list[bytes] = []
        self.keys: list[str] = []
        self.size = 0
        self.first = 0
        self.storing = False
        self._options: Options | None = None

    def fits(self, options: Options | None, key: str | None, payload: bytes) -> bool:
        """Whether one more message may go with them."""
        if not self.payloads:
            return True
        if len(self.payloads) >= MAX_COUNT or self.size + len(payload) > self._most or (key is None) == bool(self.keys):
            return False
        mine = self._options
        if options is None or mine is None:
            return options is mine
        return (options.priority, options.delay, options.ttl, options.headers) == (mine.priority, mine.delay, mine.ttl, mine.headers)

    def add(self, options: Options | None, key: str | None, payload: bytes, line: int) -> None:
        if not self.payloads:
            self.first, self._options = line, options
        self.payloads.append(payload)
        self.size += len(payload)
        if key is not None:
            self.keys.append(key)

    def whole_options(self) -> Options | None:
        """What holds for all of them, with their keys."""
        if self._options is None or not self.keys:
            return self._options
        return msgspec.structs.replace(self._options, keys=self.keys)


# What requests say


class Headers(Struct):
    """What the header fields of a publish say."""

    key: str | None
    headers: dict[str, str]
    fields: list[tuple[str, str]]


NOTHING = Headers(None, {}, [])


def raw_options(request: web.Request) -> Options | None:
    """What the query and the header fields say of a message that is the whole body."""
    url = request.rel_url
    given = list(url.query.items()) if url.raw_query_string else []
    said = said_by_headers(request)
    if said is NOTHING and not given:
        return None
    query = read_query(PublishQuery, given + said.fields)
    keys = None if said.key is None else [said.key]
    return publish_options(1, priority=query.priority, delay=query.delay, ttl=query.ttl, headers=said.headers, keys=keys)


def said_by_headers(request: web.Request) -> Headers:
    """What the header fields say.

    Raises:
        GmqError: `bad_request`, one of them is unknown, there twice, or malformed.
    """
    for raw, _ in request.raw_headers:
        if raw[:1] in b"GgIi" and (raw[:4].lower() == b"gmq-" or raw.lower() == b"idempotency-key"):
            break
    else:
        return NOTHING
    said = Headers(None, {}, [])
    for field_name, value in request.headers.items():
        name = str(field_name)  # it is of a class of its own
        small = name.lower()
        if small == "idempotency-key":
            if said.key is not None:
                refuse("Idempotency-Key is there more than once", "Idempotency-Key")
            said.key = key_of(name, value)
        elif small.startswith(PREFIX):
            field = text_of(name, small.removeprefix(PREFIX))
            if field in said.headers:
                refuse(f"{name} is there more than once", name)
            said.headers[field] = text_of(name, value)
        elif small in FIELDS:
            said.fields.append((FIELDS[small], value))
        elif small.startswith("gmq-"):
            refuse(f"{name} is unknown; a message's own headers begin with Gmq-Header-", name)
    return said


def key_of(name: str, value: str) -> str:
    """The key that a header field has, with or without quotes; an empty one would be the same for all who send it."""
    key = text_of(name, value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value)
    if not key:
        refuse("Idempotency-Key is empty; a key has 1 to 255 bytes", "key")
    return key


def text_of(name: str, value: str) -> str:
    """The text that a header field has: in UTF-8, where what is not printable ASCII, and `%` itself, may be percent-encoded."""
    if "%" not in value and value.isascii():
        return value
    parts = value.split("%")
    if any(len(part) < 2 or not set(part[:2]) <= _HEXADECIMAL for part in parts[1:]):  # two digits
        refuse(f"{name} has a % that no two hexadecimal digits follow; write %25 for the sign itself", name)
    try:
        return unquote_to_bytes(value.encode("utf-8", "surrogateescape")).decode()
    except UnicodeDecodeError:
        refuse(f"{name} is not UTF-8", name)


_HEXADECIMAL = set("0123456789abcdefABCDEF")


def header_text(text: str) -> str:
    """A text as a header field has it; spaces at its ends are encoded too, as they would be taken for those around the field's value."""
    if text.isascii() and text.isprintable() and "%" not in text and text.strip(" ") == text:
        return text
    inner = text.strip(" ")
    before = len(text) - len(text.lstrip(" ")) if inner else 0
    return "%20" * before + quote(inner, safe=_PRINTABLE) + "%20" * (len(text) - len(inner) - before)


_PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


def said_beside(request: web.Request) -> tuple[PublishQuery, str | None]:
    """What the query says of a batch or a stream, whose other options are in its body, and its key."""
    said = said_by_headers(request)
    if said.headers or said.fields:
        refuse("header fields that begin with Gmq- are for one message; here the body has its headers and options")
    return query_of(request, PublishQuery), said.key


def payload_of(message: BatchMessage, where: str) -> bytes:
    """What a message of a batch or a stream has: its payload, or its text."""
    if (message.payload is None) == (message.text is None):
        refuse(f"{where or 'a message'} has either payload or text", where or None)
    if message.text is not None:
        return message.text.encode()
    return message.payload or b""


def payloads_of(messages: Sequence[BatchMessage]) -> Sequence[bytes]:
    """What the messages of a batch have."""
    payloads = [message.payload for message in messages if message.text is None]
    if len(payloads) == len(messages) and None not in payloads:
        return payloads  # type: ignore[return-value]  # none of them is None
    return [payload_of(message, f"messages[{at}]") for at, message in enumerate(messages)]


def keys_of(messages: Sequence[BatchMessage], key: str | None) -> list[str] | None:
    """The keys of a batch, its messages' own or those that follow from the key of the whole."""
    keys = [message.key for message in messages if message.key is not None]
    if key is not None:
        if keys:
            refuse(TWO_KEYS, "Idempotency-Key")
        return [f"{key}/{place}" for place in range(len(messages))]
    if keys and len(keys) < len(messages):
        at = next(at for at, message in enumerate(messages) if message.key is None)
        refuse(f"messages[{at}].key is missing; either all messages of a batch have a key, or none", f"messages[{at}].key")
    return keys or None


TWO_KEYS = "a message has a key of its own, and there is Idempotency-Key for all; it may be one of them"


def check_canonical(data: bytes) -> None:
    """Raise where base64 is not what encoding its bytes gives."""
    if not plain.may_be_odd(data):
        return
    fields = _decode_any(data)
    for message in fields.get("messages", (fields,)):
        text = message.get("payload")
        if text and b2a_base64(a2b_base64(text), newline=False).decode() != text:
            refuse("payload has base64 that is not canonical: the bits beyond the last byte are not zero", "payload")
