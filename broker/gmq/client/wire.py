"""What the clients send and receive: requests, replies, and the types that users see. docs/protocol.md describes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct, field

from gmq import message as domain
from gmq.message import Dead, QueueCounts, Totals

DONE = "Y"
"""The confirmation of a request that was done."""


class QueuePolicy(domain.QueuePolicy, frozen=True, omit_defaults=True, forbid_unknown_fields=False):
    """What a queue does by itself; an absent member means: not limited, not done.

    `max_messages` and `max_deliveries` count messages and deliveries; `ttl`, `lease` and `expires` are in seconds; `dead_letter` names the
    queue where messages go that came back `max_deliveries` times. Members that a newer broker knows are not shown.
    """


class Message(Struct, frozen=True, gc=False):
    """A message as a consumer gets it.

    `receipt` is None where it was taken without a lease, or only peeked at. `deliveries` counts how often it was handed out under a lease,
    this time included. `published` is in Unix seconds. `dead` tells, for a dead letter, where it comes from.
    """

    payload: bytes
    queue: str
    id: int
    receipt: str | None = None
    deliveries: int = 0
    priority: int = domain.DEFAULT_PRIORITY
    published: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    dead: Dead | None = None

    @property
    def text(self) -> str:
        """The payload as text. Raises UnicodeDecodeError when it is not UTF-8."""
        return self.payload.decode()


class Settled(Struct, frozen=True):
    """How many receipts were settled, and which were not because they are not good any more."""

    count: int
    stale: list[str]


class QueueInfo(Struct, frozen=True):
    """A queue looked at closely.

    `ready`, `delayed` and `leased` count messages; `bytes` is the size of all payloads and headers; `oldest_age` the age in seconds of the
    oldest message that is ready or leased, None without one; `totals` counts messages since the broker started.
    """

    queue: str
    ready: int
    delayed: int
    leased: int
    bytes: int
    oldest_age: float | None
    policy: QueuePolicy
    totals: Totals


class Hello(Struct, frozen=True):
    """The broker about itself: its version, its limits by name (bytes, seconds or counts), and words for what it can do."""

    version: str
    limits: dict[str, Any]
    capabilities: list[str]


class Request(Struct, omit_defaults=True, gc=False):
    """One request; None leaves a field out."""

    operation: str
    queue: str | None = None
    payload: bytes | None = None
    payloads: Sequence[bytes] | None = None
    delay: float | None = None
    ttl: float | None = None
    priority: int | None = None
    headers: dict[str, str] | None = None
    key: str | None = None
    keys: Sequence[str] | None = None
    queues: Sequence[str] | None = None
    count: int | None = None
    wait: float | None = None
    lease: float | bool | None = None
    receipt: str | None = None
    receipts: Sequence[str] | None = None
    to: str | None = None
    policy: domain.QueuePolicy | None = None
    auth: dict[str, str] | None = None
    tag: int | None = None


class Reply(Struct, gc=False):
    """One reply of any operation, with all that any of them may carry."""

    operation: str = ""
    queue: str = ""
    payload: str = ""
    confirmation: str = ""
    error: str | None = None
    code: str = ""
    id: int = 0
    ids: list[int] = field(default_factory=list)
    count: int = 0
    messages: list[Message] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    queues: list[QueueCounts] = field(default_factory=list)
    ready: int = 0
    delayed: int = 0
    leased: int = 0
    bytes: int = 0
    oldest_age: float | None = None
    policy: QueuePolicy = QueuePolicy()
    totals: Totals = field(default_factory=Totals)
    version: str = ""
    limits: dict[str, Any] = field(default_factory=dict)
    capabilities: list[str] = field(default_factory=list)
    tag: int | str | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Reply)


def encode(request: Request) -> bytes:
    """The request as one line, newline included. Raises ValueError for a length of time that is not finite."""
    lengths = [request.delay, request.ttl, request.wait, request.lease]
    if policy := request.policy:
        lengths += [policy.ttl, policy.lease, policy.expires]
    for length in lengths:
        # JSON has no such numbers, and a null instead means that nothing was asked for: a take without a lease, say.
        if length is not None and not math.isfinite(length):
            raise ValueError(f"{length} is no length of time; it must be a finite number of seconds")
    return _encoder.encode(request) + b"\n"


def decode_replies(lines: bytes) -> list[Reply]:
    """Read whole lines. Raises msgspec.DecodeError or UnicodeDecodeError when one of them is no reply."""
    return _decoder.decode_lines(lines)
