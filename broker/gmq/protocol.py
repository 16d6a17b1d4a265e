"""The wire messages and their codec; docs/protocol.md tells what they mean.

The hot path is the decoding of a chunk of plain publishes and takes, and it is short for reasons that were measured: one `decode_lines` call for all
lines that were received together, into structs without a garbage collector's header; payloads decoded to bytes, which checks their
base64 on the way; whatever does not look plain is decoded again with every field, and what is not right at all line by line, so that one bad line
spoils only itself.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, ClassVar, TypeAlias

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from gmq.message import MAX_COUNT, Dead, GmqError, Message, QueueCounts, QueueInfo, QueuePolicy, Totals, refuse

NO_TAG = Raw(b"")
MAX_TAG_BYTES = 256
LINE_OVERHEAD = 64 << 10
"""Bytes that a line may have beyond a message of the largest size in base64."""


class Auth(Struct, gc=False):
    """Credentials, as plain values or as the original client's tokens."""

    user: str = ""
    password: str = ""


class PlainPublish(Struct, tag_field="operation", tag="P", forbid_unknown_fields=True, gc=False):
    """A publish of one message and nothing else that was asked for."""

    queue: str
    payload: bytes


class PlainTake(Struct, tag_field="operation", tag="S", forbid_unknown_fields=True, gc=False):
    """A take of one message and nothing else that was asked for."""

    queue: str


class Request(Struct, tag_field="operation", forbid_unknown_fields=True, gc=False):
    """What every request may carry; those of the original client that mean nothing in a request are accepted."""

    operation: ClassVar[str] = ""

    queue: str | None = None
    auth: Auth | None = None
    tag: Raw = NO_TAG
    confirmation: str | None = None
    error: str | None = None


class NoPayload(Request, gc=False):
    """A request in which the original client's `payload` means nothing."""

    payload: str | None = None


class Publish(Request, tag="P", gc=False):
    operation: ClassVar[str] = "P"

    payload: bytes | None = None
    payloads: list[bytes] | None = None
    delay: float | None = None
    ttl: float | None = None
    priority: int | None = None
    headers: dict[str, str] | None = None
    key: str | None = None
    keys: list[str] | None = None


class Take(NoPayload, tag="S", gc=False):
    operation: ClassVar[str] = "S"

    queues: list[str] | None = None
    count: int | None = None
    wait: float | None = None
    lease: float | bool | None = None


class Length(NoPayload, tag="L", gc=False):
    operation: ClassVar[str] = "L"


class Acknowledge(NoPayload, tag="A", gc=False):
    operation: ClassVar[str] = "A"

    receipt: str | None = None
    receipts: list[str] | None = None


class PutBack(NoPayload, tag="N", gc=False):
    operation: ClassVar[str] = "N"

    receipt: str | None = None
    receipts: list[str] | None = None
    delay: float | None = None


class Extend(NoPayload, tag="E", gc=False):
    operation: ClassVar[str] = "E"

    receipt: str | None = None
    receipts: list[str] | None = None
    lease: float | bool | None = None


class List(NoPayload, tag="Q", gc=False):
    operation: ClassVar[str] = "Q"


class Inspect(NoPayload, tag="I", gc=False):
    operation: ClassVar[str] = "I"


class Peek(NoPayload, tag="K", gc=False):
    operation: ClassVar[str] = "K"

    count: int | None = None


class Move(NoPayload, tag="M", gc=False):
    operation: ClassVar[str] = "M"

    to: str | None = None
    count: int | None = None


class Clear(NoPayload, tag="C", gc=False):
    operation: ClassVar[str] = "C"


class Delete(NoPayload, tag="D", gc=False):
    operation: ClassVar[str] = "D"


class SetPolicy(NoPayload, tag="Y", gc=False):
    operation: ClassVar[str] = "Y"

    policy: QueuePolicy | None = None


class Hello(NoPayload, tag="H", gc=False):
    operation: ClassVar[str] = "H"


AnyRequest: TypeAlias = (
    Publish | Take | Length | Acknowledge | PutBack | Extend | List | Inspect | Peek | Move | Clear | Delete | SetPolicy | Hello
)
REQUESTS: dict[str, type[Request]] = {
    kind.operation: kind
    for kind in (Publish, Take, Length, Acknowledge, PutBack, Extend, List, Inspect, Peek, Move, Clear, Delete, SetPolicy, Hello)
}


class BadRequest(Struct):
    """A line that is no request: what of it could be read, and what is wrong with it."""

    operation: str
    queue: str
    tag: Raw
    problem: GmqError


Item: TypeAlias = PlainPublish | PlainTake | AnyRequest | BadRequest


class Delivered(Struct, gc=False):
    """A message in a reply. `published` is in Unix seconds."""

    payload: bytes
    queue: str
    id: int
    receipt: str | None
    deliveries: int
    priority: int
    published: float
    headers: dict[str, str]
    dead: Dead | None


class Reply(Struct, gc=False):
    """A reply; what does not belong to it is UNSET and left out."""

    operation: str
    queue: str = ""
    payload: bytes | str = ""
    confirmation: str = "Y"
    error: str | None = None
    code: str | UnsetType = UNSET
    id: int | UnsetType = UNSET
    ids: list[int] | UnsetType = UNSET
    count: int | UnsetType = UNSET
    messages: list[Delivered] | UnsetType = UNSET
    stale: Sequence[str] | UnsetType = UNSET
    queues: list[QueueCounts] | UnsetType = UNSET
    ready: int | UnsetType = UNSET
    delayed: int | UnsetType = UNSET
    leased: int | UnsetType = UNSET
    bytes: int | UnsetType = UNSET
    oldest_age: float | None | UnsetType = UNSET
    policy: QueuePolicy | UnsetType = UNSET
    totals: Totals | UnsetType = UNSET
    version: str | UnsetType = UNSET
    limits: dict[str, float] | UnsetType = UNSET
    capabilities: Sequence[str] | UnsetType = UNSET
    tag: Raw | UnsetType = UNSET


_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines
_decode_plain = msgspec.json.Decoder(PlainPublish | PlainTake).decode_lines
_decode_many = msgspec.json.Decoder(AnyRequest).decode_lines
_decode_one = msgspec.json.Decoder(AnyRequest).decode
_decode_any = msgspec.json.Decoder().decode

# A padded payload whose last character has bits that belong to nothing: msgspec lets it pass, RFC 4648 (section 3.5) lets us refuse it.
_not_canonical = re.compile(rb'=(?:(?<=[^AEIMQUYcgkosw048=]=)"|="(?<=[^AQgw]=="))').search


def line_limit(message_size: int) -> int:
    """Bytes that a line may have, given the largest message."""
    return (message_size + 2) // 3 * 4 + LINE_OVERHEAD


# Requests


def decode_lines(chunk: bytes, limit: int) -> Sequence[Item]:
    """The requests in `chunk`, which is whole lines; blank ones are passed over, one longer than `limit` bytes is an error."""
    if len(chunk) <= limit and b"\\" not in chunk and not _not_canonical(chunk):
        for decode in (_decode_plain, _decode_many):
            try:
                items = decode(chunk)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue
            # One object on each line, or else it is not for us to say where they are.
            if chunk.count(b"\n") == len(items):
                return items
    return [decode_line(line, limit) for line in chunk.split(b"\n") if line and not line.isspace()]


def decode_line(line: bytes, limit: int) -> Item:
    """The request in one line, or what is wrong with it."""
    if len(line) > limit:
        return too_long(limit)
    try:
        request: AnyRequest = _decode_one(line)
        if isinstance(request, Publish):
            _check_canonical(request, line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, GmqError) as error:
        return _bad_request(line, error)
    return request


def too_long(limit: int) -> BadRequest:
    """The refusal of a line, or a one-shot request, that is longer than it may be."""
    return BadRequest(
        "", "", NO_TAG, GmqError("too_large", f"the request is longer than {limit} bytes, the limit that follows from the message size")
    )


def is_hello(line: bytes) -> bool:
    """Whether an object is meant as an `H`, right or not."""
    try:
        fields = _decode_any(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(fields, dict) and fields.get("operation") == "H"


def groups(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """The items cut into runs of up to MAX_COUNT that can be served with one call each."""
    kinds = set(map(type, items))
    if len(kinds) == 1 and kinds <= _PLAIN and len({item.queue for item in items}) == 1:
        yield from cut(items)
        return
    for _, run in groupby(items, _run_key):
        yield from cut(list(run))


def cut(run: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """A run in parts of up to MAX_COUNT."""
    if len(run) <= MAX_COUNT:
        yield run
        return
    for start in range(0, len(run), MAX_COUNT):
        yield run[start : start + MAX_COUNT]


_PLAIN: frozenset[type] = frozenset((PlainPublish, PlainTake))


def _run_key(item: Item) -> object:
    """Equal for neighbours that belong to one run; what has to be served alone is equal to nothing."""
    kind = type(item)
    if kind in _PLAIN:
        return kind, item.queue
    if isinstance(item, Acknowledge | Take) and not is_tagged(item) and item.auth is None:
        if isinstance(item, Acknowledge):
            return (kind, item.queue) if item.receipt is not None and item.receipts is None else item.receipts
        if item.lease is not None and item.queues is None and item.count is None and item.wait is None:
            return kind, item.queue, item.lease
    return object()


def is_tagged(item: Item | Request) -> bool:
    """Whether a request carries a tag."""
    return not isinstance(item, PlainPublish | PlainTake) and item.tag not in (NO_TAG, _NULL)


_NULL = Raw(b"null")


def check_tag(item: Request) -> None:
    """Raise where a tag is no string or number, or too long."""
    text = bytes(item.tag)
    if text[:1] not in _TAG_STARTS or len(text) > MAX_TAG_BYTES:
        refuse(f"tag is {_shown(_decode_any(text))}; it may be a string or a number of up to {MAX_TAG_BYTES} bytes as JSON")


_TAG_STARTS = [bytes((byte,)) for byte in b'"-0123456789']


def _check_canonical(request: Publish, line: bytes) -> None:
    """Raise where encoding again what was decoded does not give the text that was sent."""
    fields = _decode_any(line)
    for name, payloads in (("payload", [request.payload]), ("payloads", request.payloads or [])):
        texts = fields.get(name) if name == "payloads" else [fields.get(name)]
        for payload, text in zip(payloads, texts or [], strict=True):
            if payload is not None and b2a_base64(payload, newline=False).decode() != text:
                refuse(f"{name} has base64 that is not canonical: in {_shown(text[-8:])} the bits beyond the last byte are not zero")


def _bad_request(line: bytes, error: Exception) -> BadRequest:
    """What is wrong with a line, in words for the person who wrote it, and as much of its head as can be read."""
    if isinstance(error, UnicodeDecodeError):
        return BadRequest("", "", NO_TAG, GmqError("bad_request", f"the request is not UTF-8: {error.reason} at byte {error.start}"))
    try:
        fields = _decode_any(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as malformed:
        return BadRequest("", "", NO_TAG, GmqError("bad_request", f"the request is not JSON: {_plain_words(str(malformed))}"))
    if not isinstance(fields, dict):
        return BadRequest("", "", NO_TAG, GmqError("bad_request", f"a request is a JSON object, and this is {_shown(fields)}"))
    operation, queue, tag = fields.get("operation"), fields.get("queue"), fields.get("tag")
    known = operation if isinstance(operation, str) and operation in REQUESTS else ""
    tag_text = Raw(_encode(tag)) if isinstance(tag, str | int | float) and not isinstance(tag, bool) else NO_TAG
    if len(bytes(tag_text)) > MAX_TAG_BYTES:
        tag_text = NO_TAG
    problem = error if isinstance(error, GmqError) else GmqError("bad_request", _explained(fields, known, error))
    return BadRequest(known, queue if isinstance(queue, str) else "", tag_text, problem)


def _explained(fields: dict[str, object], operation: str, error: Exception) -> str:
    operations = ", ".join(REQUESTS)
    if "operation" not in fields:
        return f"operation is missing; it may be one of {operations}"
    if not operation:
        return f"operation is {_shown(fields['operation'])}; it may be one of {operations}"
    allowed = REQUESTS[operation].__struct_fields__
    for name in fields:
        if name != "operation" and name not in allowed:
            return f"{operation} has no field {_shown(name)}; it may have {', '.join(allowed)}"
    text, _, path = str(error).partition(" - at `$.")
    path = path.rstrip("`")
    value: object = fields
    for step in re.findall(r"[^.\[\]]+", path):
        if isinstance(value, list) and step.isdigit():
            value = value[int(step)]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            return f"{path or 'the request'}: {_plain_words(text)}"
    return f"{path} is {_shown(value)}: {_plain_words(text)}"


def _shown(value: object) -> str:
    text = _encode(value).decode()
    return text if len(text) <= 60 else f"{text[:60]}..."


def _plain_words(text: str) -> str:
    """An error text of msgspec, to go on a sentence."""
    text = text.removeprefix("JSON is malformed: ").replace(" | null`", "`")
    return text[:1].lower() + text[1:]


# Replies: each is one line, with its newline


def reply(item: Request, *, queue: str | None = None, **members: Any) -> bytes:
    """The reply to a request, with the members of Reply that belong to it."""
    tag = item.tag if is_tagged(item) else UNSET
    return encode_reply(Reply(item.operation, item.queue or "" if queue is None else queue, tag=tag, **members))


def encode_reply(message: Reply) -> bytes:
    """A reply as its line."""
    return _encode(message) + b"\n"


def refusal(item: Item, error: GmqError) -> bytes:
    """The reply that a request is refused."""
    answer = Reply("", item.queue or "", confirmation="N", error=error.text, code=error.code)
    if isinstance(item, PlainPublish | PlainTake):
        answer.operation = "P" if isinstance(item, PlainPublish) else "S"
    else:
        answer.operation = item.operation
        if is_tagged(item):
            answer.tag = item.tag
    if error.stale is not None:
        answer.count, answer.stale = 0, error.stale
    return encode_reply(answer)


def published(queue: str, ids: Sequence[int]) -> bytes:
    """The replies to plain publishes, one for each id."""
    head = b'{"operation":"P","queue":%b,"payload":"","confirmation":"Y","error":null,"id":' % _encode(queue)
    if len(ids) == 1:
        return b"%b%d}\n" % (head, ids[0])
    return head + _encode(list(ids))[1:-1].replace(b",", b"}\n" + head) + b"}\n"


def taken(queue: str, payloads: Sequence[bytes]) -> bytes:
    """The replies to plain takes, one for each payload."""
    head = b'{"operation":"S","queue":%b,"payload":"' % _encode(queue)
    tail = b'","confirmation":"Y","error":null,"count":1}\n'
    return head + (tail + head).join([b2a_base64(payload, newline=False) for payload in payloads]) + tail


def nothing_taken(queue: str, count: int) -> bytes:
    """The replies to `count` plain takes of an empty queue."""
    return b'{"operation":"S","queue":%b,"payload":"","confirmation":"Y","error":null,"count":0}\n' % _encode(queue) * count


def leased(queue: str, messages: Sequence[Message], receipts: Sequence[str]) -> bytes:
    """The replies to takes of one message each under a lease."""
    head = b'{"operation":"S","queue":%b,"payload":"","confirmation":"Y","error":null,"count":1,"messages":[' % _encode(queue)
    lines = _encode_lines(delivered(queue, messages, receipts))
    return head + lines[:-1].replace(b"\n", b"]}\n" + head) + b"]}\n"


def nothing_leased(queue: str, count: int) -> bytes:
    """The replies to `count` takes under a lease of an empty queue."""
    return b'{"operation":"S","queue":%b,"payload":"","confirmation":"Y","error":null,"count":0,"messages":[]}\n' % _encode(queue) * count


def acknowledged(queue: str, count: int) -> bytes:
    """The replies to `count` acknowledgements of one receipt each that were all settled."""
    return b'{"operation":"A","queue":%b,"payload":"","confirmation":"Y","error":null,"count":1,"stale":[]}\n' % _encode(queue) * count


def delivered(queue: str, messages: Sequence[Message], receipts: Sequence[str] | None) -> list[Delivered]:
    """Messages as they stand in a reply."""
    return [
        Delivered(
            message.payload, queue, message.id, receipt, message.deliveries, message.priority, message.published / 1000, message.headers or {},
            message.dead,
        )
        for message, receipt in zip(messages, [None] * len(messages) if receipts is None else receipts, strict=True)
    ]  # fmt: skip


def inspected(item: Inspect, info: QueueInfo) -> bytes:
    """The reply to `I`."""
    counts = info.counts
    return reply(
        item, ready=counts.ready, delayed=counts.delayed, leased=counts.leased, bytes=counts.bytes, oldest_age=info.oldest_age,
        policy=info.policy, totals=info.totals,
    )  # fmt: skip
