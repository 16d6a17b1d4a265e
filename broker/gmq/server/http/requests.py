"""What requests over HTTP may say: every body and every query as a struct, which reads, checks and describes it.

The ranges that stand here are for the description in `/openapi.json`; the checks, with the same constants, are those of `gmq.validate` and
the broker, as for the wire.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec
from msgspec import Meta, Struct

from gmq.message import (
    DEFAULT_LEASE,
    DEFAULT_PRIORITY,
    MAX_COUNT,
    MAX_DELAY,
    MAX_DELIVERIES,
    MAX_EXPIRES,
    MAX_HEADERS_BYTES,
    MAX_KEY_BYTES,
    MAX_LEASE,
    MAX_MOVE,
    MAX_NAME_BYTES,
    MAX_QUEUES_OF_A_TAKE,
    MAX_TTL,
    MAX_WAIT,
    MIN_LEASE,
    PRIORITIES,
    GmqError,
    QueuePolicy,
    refuse,
)
from gmq.validate import quote

S = TypeVar("S", bound=Struct)
Q = TypeVar("Q", bound=Struct)

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
"""Queues of one page of the list."""
SORTS = ("name", "ready", "leased", "delayed", "bytes")

BASE64 = r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$"
"""Canonical base64: padded, and with no bits set beyond the last byte."""
NAME = r"^[^\x00-\x1f\x7f-\x9f]+$"


def _number(low: float, high: float, description: str, *, above: bool = False, default: float | str | None = None) -> Meta:
    more: dict[str, Any] = {"exclusiveMinimum" if above else "minimum": low, "maximum": high}
    if default is not None:
        more["default"] = default
    return Meta(description=description, extra_json_schema=more)


def _list(description: str, most: int = MAX_COUNT) -> Meta:
    return Meta(description=description, extra_json_schema={"minItems": 1, "maxItems": most})


NAME_SCHEMA: dict[str, Any] = {"minLength": 1, "maxLength": MAX_NAME_BYTES, "pattern": NAME, "format": "queue-name"}
"""A queue's name, as far as JSON Schema can say it."""

KEY_SCHEMA: dict[str, Any] = {"minLength": 1, "maxLength": MAX_KEY_BYTES, "format": "key"}

Name = Annotated[str, Meta(description="a queue's name", extra_json_schema=NAME_SCHEMA)]
Count = Annotated[int, _number(1, MAX_COUNT, "messages, at most", default=1)]
Wait = Annotated[float, _number(0, MAX_WAIT, "seconds to wait for a message where there is none", default=0)]
Delay = Annotated[float, _number(0, MAX_DELAY, "seconds that the message is hidden", default=0)]
Ttl = Annotated[float, _number(0, MAX_TTL, "seconds after which the message is dropped; more than the delay", above=True)]
Priority = Annotated[int, _number(0, PRIORITIES - 1, "higher first", default=DEFAULT_PRIORITY)]
LeaseSeconds = Annotated[float, Meta(extra_json_schema={"minimum": MIN_LEASE, "maximum": MAX_LEASE})]
OwnLease = Annotated[bool, Meta(extra_json_schema={"const": True})]
Lease = Annotated[
    LeaseSeconds | OwnLease,
    Meta(
        description="seconds that the messages are hidden from others until they are acknowledged; "
        f"true for the length that the queue's policy says, {DEFAULT_LEASE:g} where it says none"
    ),
]
MessageHeaders = Annotated[
    dict[str, str], Meta(description=f"the message's headers: names and values have up to {MAX_HEADERS_BYTES} bytes together")
]
Key = Annotated[
    str,
    Meta(
        description=f"deduplication key, up to {MAX_KEY_BYTES} bytes: a repeat stores nothing and answers the id of the first",
        extra_json_schema=KEY_SCHEMA,
    ),
]
Payload = Annotated[bytes, Meta(description="the message in base64", extra_json_schema={"pattern": BASE64})]
Text = Annotated[str, Meta(description="the message as text, which is stored in UTF-8")]
Receipt = Annotated[str, Meta(description="from the take under a lease")]
Receipts = Annotated[list[str], _list("receipts, settled one by one")]


class Body(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A JSON object."""


# Queries


class NoQuery(Body):
    pass


class ListQuery(Body):
    limit: Annotated[int, _number(1, MAX_LIMIT, "queues, at most", default=DEFAULT_LIMIT)] | None = None
    after: Annotated[str, Meta(description="the `next` of the page before")] | None = None
    search: Annotated[str, Meta(description="only queues with this in their names, in any case of letters")] | None = None
    sort: Annotated[Literal[SORTS], Meta(description="by name, or by a count, largest first")] | None = None  # type: ignore[valid-type]  # the words stand once


class PublishQuery(Body):
    delay: Delay | None = None
    ttl: Ttl | None = None
    priority: Priority | None = None


class PeekQuery(Body):
    count: Count | None = None


class TakeQuery(Body):
    count: Count | None = None
    wait: Wait | None = None
    lease: Lease | None = None


# Bodies


class CreateBody(Body):
    """Without a policy a new queue has the configured one of its name, and an old one keeps its own."""

    policy: QueuePolicy | None = None


class BatchMessage(Body):
    """A message of a batch: either `payload` or `text`. Either all of a batch have a key, or none."""

    payload: Payload | None = None
    text: Text | None = None
    key: Key | None = None


class Batch(Body):
    """Messages that are all stored, or none. What stands beside them holds for each."""

    messages: Annotated[list[BatchMessage], _list("the messages")]
    delay: Delay | None = None
    ttl: Ttl | None = None
    priority: Priority | None = None
    headers: MessageHeaders | None = None


class Line(BatchMessage):
    """A line of a stream: either `payload` or `text`. What it does not say is as the query says."""

    delay: Delay | None = None
    ttl: Ttl | None = None
    priority: Priority | None = None
    headers: MessageHeaders | None = None


class TakeBody(Body):
    queues: Annotated[list[Name], _list("the first that has a message serves", MAX_QUEUES_OF_A_TAKE)]
    count: Count | None = None
    wait: Wait | None = None
    lease: Lease | None = None


class AcknowledgeBody(Body):
    """Either `receipt`, and a stale one is refused, or `receipts`, and the stale ones are told."""

    receipt: Receipt | None = None
    receipts: Receipts | None = None


class PutBackBody(AcknowledgeBody):
    """Either `receipt`, and a stale one is refused, or `receipts`, and the stale ones are told."""

    delay: Delay | None = None


class ExtendBody(Body, kw_only=True):
    """Either `receipt`, and a stale one is refused, or `receipts`, and the stale ones are told."""

    receipt: Receipt | None = None
    receipts: Receipts | None = None
    lease: Lease


class MoveBody(Body):
    """Without `to`, dead letters go back to the queues that they came from."""

    to: Name | None = None
    count: Annotated[int, _number(1, MAX_MOVE, "messages, at most", default=MAX_MOVE)] | None = None


POLICY_RANGES: dict[str, dict[str, Any]] = {
    "max_messages": {"minimum": 1},
    "max_deliveries": {"minimum": 1, "maximum": MAX_DELIVERIES},
    "dead_letter": NAME_SCHEMA,
    "ttl": {"exclusiveMinimum": 0, "maximum": MAX_TTL},
    "lease": {"minimum": MIN_LEASE, "maximum": MAX_LEASE},
    "expires": {"minimum": 1, "maximum": MAX_EXPIRES},
}
"""What the description says of the members of a policy, whose struct belongs to `gmq.message`."""


# Reading them

_decode_scalar = msgspec.json.Decoder().decode
_decoders: dict[type, msgspec.json.Decoder[Any]] = {}


def decode(kind: type[S], data: bytes) -> S:
    """A JSON body as the struct.

    Raises:
        GmqError: `bad_request`, which names the field.
    """
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        try:
            return decoder.decode(data)  # type: ignore[no-any-return]  # it is of this kind
        except msgspec.ValidationError as error:
            if "`int" not in str(error) or "`float`" not in str(error):
                raise
        return msgspec.convert(_decode_whole(data), kind)  # for JSON, 6.0 is a whole number
    except msgspec.ValidationError as error:
        raise _explained(error, kind) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        text = str(error).removeprefix("JSON is malformed: ")
        refuse(f"the body is not JSON: {text[:1].lower()}{text[1:]}")


def _whole(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value


_decode_whole = msgspec.json.Decoder(float_hook=_whole).decode


def read_query(kind: type[Q], given: list[tuple[str, str]]) -> Q:
    """The query as the struct: numbers and true are written as in JSON, texts as they are.

    Raises:
        GmqError: `bad_request`, which names the field.
    """
    values: dict[str, Any] = {}
    fields = kind.__struct_fields__
    for name, text in given:
        if name not in fields:
            refuse(f"the query has {quote(name)}; it may have {', '.join(fields) or 'nothing'}", name)
        if name in values:
            refuse(f"the query has {name} more than once", name)
        values[name] = text if name in TEXTS else scalar(name, text)
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise _explained(error, kind) from error


TEXTS = frozenset(("after", "search", "sort"))


def scalar(name: str, text: str) -> object:
    """The number, or the true, that stands in a query or a header field."""
    try:
        value: object = _decode_scalar(text)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        value = text
    if not isinstance(value, int | float):
        refuse(f"{name} is {quote(text)}; it must be a number", name)
    return value


def _explained(error: msgspec.ValidationError, kind: type[Struct]) -> GmqError:
    text, _, place = str(error).partition(" - at `$")
    place = place.rstrip("`").removeprefix(".")
    text = text[:1].lower() + text[1:].replace(" | null`", "`")
    if text.startswith(("object contains unknown field", "object missing required field")):
        name = text.split("`")[1]
        path = f"{place}.{name}" if place else name
        if "unknown" not in text:
            return GmqError("bad_request", f"{path} is missing", field=path)
        allowed = ", ".join(_struct_at(kind, place).__struct_fields__)
        return GmqError("bad_request", f"{path} is unknown; {place or 'the body'} may have {allowed or 'nothing'}", field=path)
    return GmqError("bad_request", f"{place or 'the body'}: {text}", field=place or None)


def _struct_at(kind: type[Struct], place: str) -> type[Struct]:
    """The struct at a place in another one, such as `policy` or `messages[0]`."""
    for step in re.findall(r"\w+", re.sub(r"\[[^\]]*\]", "", place)):
        field = next((field for field in msgspec.structs.fields(kind) if field.encode_name == step), None)
        if field is None:  # the name of the unknown field looks like a place
            break
        kind = _struct_in(field.type) or kind
    return kind


def _struct_in(annotation: Any) -> type[Struct] | None:
    """The struct that an annotation has: itself, or within a list or a union."""
    if isinstance(annotation, type) and issubclass(annotation, Struct):
        return annotation
    return next((found for part in get_args(annotation) if (found := _struct_in(part)) is not None), None)
