"""The wire messages and their codec; docs/protocol.md tells what they mean, and `plain` is the part of it that has to be fast."""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from gmq import plain
from gmq.message import GmqError, QueueCounts, QueueInfo, QueuePolicy, Totals, refuse
from gmq.plain import Delivered, Run, Spread

NO_TAG = Raw(b"")
MAX_TAG_BYTES = 256
LINE_OVERHEAD = 64 << 10
"""Bytes that a line may have beyond a message of the largest size in base64."""


class Auth(Struct, gc=False):
    """Credentials, as plain values or as the original client's tokens."""

    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return "Auth()"  # never the password


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


Item: TypeAlias = Run | AnyRequest | BadRequest


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
    oldest_age: float | UnsetType | None = UNSET
    policy: QueuePolicy | UnsetType = UNSET
    totals: Totals | UnsetType = UNSET
    version: str | UnsetType = UNSET
    limits: dict[str, float] | UnsetType = UNSET
    capabilities: Sequence[str] | UnsetType = UNSET
    tag: Raw | UnsetType = UNSET


_encode = msgspec.json.Encoder().encode
_decode_one = msgspec.json.Decoder(AnyRequest).decode
_decode_any = msgspec.json.Decoder().decode


def line_limit(message_size: int) -> int:
    """Bytes that a line may have, given the largest message."""
    return (message_size + 2) // 3 * 4 + LINE_OVERHEAD


# Requests


def decode_lines(chunk: bytes, limit: int) -> tuple[Sequence[Item], bool]:
    """The requests in `chunk`, which is whole lines, and whether all of them are plain; those that are stand together in runs.

    Blank lines are passed over; one longer than `limit` bytes is an error.
    """
    if len(chunk) <= limit:
        found = plain.decode(chunk)
        if found is not None:
            return found, True
    return [decode_line(line, limit) for line in chunk.split(b"\n") if line and not line.isspace()], False


def decode_line(line: bytes, limit: int) -> Item:
    """The request in one line, or what is wrong with it."""
    if len(line) > limit:
        return too_long(limit)
    try:
        request: AnyRequest = _decode_one(line)
        if isinstance(request, Publish) and plain.may_be_odd(line):
            _check_canonical(request, line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, GmqError) as error:
        return _bad_request(line, error)
    return request


def too_long(limit: int) -> BadRequest:
    """The refusal of a line, or a one-shot request, that is longer than it may be."""
    return BadRequest(
        "",
        "",
        NO_TAG,
        GmqError(
            "too_large", f"the request is longer than {limit} bytes, the limit that follows from the message size", limit="message_size"
        ),
    )


def is_hello(line: bytes) -> bool:
    """Whether an object is meant as an `H`, right or not."""
    try:
        fields = _decode_any(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(fields, dict) and fields.get("operation") == "H"


def is_tagged(item: Item | Request) -> bool:
    """Whether a request carries a tag."""
    return isinstance(item, Request | BadRequest) and item.tag not in (NO_TAG, _NULL)


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
        what = None
        if isinstance(error, msgspec.ValidationError):  # a number that no type here can hold
            text, _, path = str(error).partition(" - at `$.")
            what = f"{path.rstrip('`') or 'the request'}: {_plain_words(text)}"
        return BadRequest("", "", NO_TAG, GmqError("bad_request", what or f"the request is not JSON: {_plain_words(str(malformed))}"))
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
    if path.partition(".")[0] == "auth":
        return f"{path}: {_plain_words(text)}"  # without its value, which may be a password
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
    """The reply that a request is refused, or each request of a run."""
    if isinstance(item, Spread):
        return b"".join([refusal(item.part(at, at + 1), error) for at in range(len(item))])
    answer = Reply(item.operation, item.queue or "", confirmation="N", error=error.text, code=error.code)
    if isinstance(item, Request | BadRequest) and is_tagged(item):
        answer.tag = item.tag
    if error.stale is not None:
        answer.count, answer.stale = 0, error.stale
    return encode_reply(answer) * (1 if isinstance(item, Request | BadRequest) else len(item))


def inspected(item: Inspect, info: QueueInfo) -> bytes:
    """The reply to `I`."""
    counts = info.counts
    return reply(
        item, ready=counts.ready, delayed=counts.delayed, leased=counts.leased, bytes=counts.bytes, oldest_age=info.oldest_age,
        policy=info.policy, totals=info.totals,
    )  # fmt: skip
