"""Every type of the domain, and the range of every number a client may send.

Times inside the broker are integers: Unix milliseconds for instants, milliseconds for lengths. Seconds (with fractions) exist only at
the edges, on the wire and in the configuration.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Final, Literal, NoReturn, cast, get_args

from msgspec import Struct

NEVER = 1 << 62
"""An instant that does not come (milliseconds)."""

WEEK = 7 * 24 * 3600
YEAR = 365 * 24 * 3600

PRIORITIES = 10
DEFAULT_PRIORITY = 4
DEFAULT_LEASE = 30.0
"""Seconds that `lease: true` means where the queue's policy says nothing."""

MAX_COUNT = 1000
"""Most messages of one take or peek, payloads of one publish, receipts of one acknowledge."""
MAX_QUEUES_OF_A_TAKE = 100
MAX_WAIT = 60
MIN_LEASE = 0.001
MAX_LEASE = MAX_DELAY = MAX_TTL = WEEK
MAX_EXPIRES = YEAR
MAX_DELIVERIES = 1_000_000
MAX_MOVE = 1_000_000
MAX_WAITING = 1000
"""Requests of one connection that wait at the same time."""
MAX_HEADERS_BYTES = 4096
MAX_NAME_BYTES = 255
MAX_KEY_BYTES = 255
MAX_REPLY_BYTES = 8 << 20
"""A take's or peek's reply stops before it would pass this many payload bytes (it holds at least one message)."""

KEY_MEMORY = 5 * 60 * 1000
"""Milliseconds for which a queue remembers a deduplication key."""

KEY_COST = 220
"""Bytes of memory, about, that a remembered deduplication key takes."""

HEADERS_COST, HEADER_COST = 170, 140
"""Bytes of memory, about, that a message's headers take, and each of them, beside their text."""

POLICY_LEASE = 0
"""As the length of a lease: the one that the queue's policy says."""

PAGED: Final = bytes(bytearray(b"(on disk)"))
"""Stands for a payload that is on disk only: this very object, to be compared with `is`."""

Clock = Callable[[], int]
"""Gives the present instant, in Unix milliseconds; it never goes back."""


LimitName = Literal[
    "queues", "message_size", "queue_messages", "waiting", "memory", "keys", "waiting_of_connection", "authentications", "consoles"
]
"""Limits that requests come up against, as metrics name them: those of `limits` by their names there, and fixed ones."""
LIMITS: tuple[LimitName, ...] = get_args(LimitName)


class GmqError(Exception):
    """A request that the broker refuses.

    `code` is the stable word for programs that docs/protocol.md lists; the text is a sentence for people that says what was wrong and
    what would be right. `stale` lists the receipts that were not settled, for the operations that take receipts. `field` names the field
    of the request that is wrong, where it is one. `limit` is the limit that was reached, where that is why.
    """

    def __init__(
        self, code: str, text: str, *, stale: Sequence[str] | None = None, field: str | None = None, limit: LimitName | None = None
    ) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.stale = stale
        self.field = field
        self.limit = limit


def refuse(text: str, field: str | None = None) -> NoReturn:
    """Raise the error of a request that is malformed or out of range, in this field where it is one."""
    raise GmqError("bad_request", text, field=field)


class Dead(Struct, frozen=True, gc=False):
    """Where a dead letter comes from. `at` is in Unix seconds."""

    queue: str
    id: int
    reason: str
    deliveries: int
    at: float


class Message(Struct, gc=False):
    """One message that a queue holds.

    `published`, `due` and `expires` are instants in Unix milliseconds; `deliveries` counts how often it was handed out under a lease.

    What it waits for tells its state: it is leased with a `receipt`, else delayed with a `due`, else ready. `due` is when its lease or
    delay ends, and 0 when it is ready. `gone` marks one that left its queue while something still points at it.
    """

    id: int
    payload: bytes
    published: int
    priority: int = DEFAULT_PRIORITY
    deliveries: int = 0
    due: int = 0
    receipt: str | None = None
    expires: int = NEVER
    headers: dict[str, str] | None = None
    dead: Dead | None = None
    gone: bool = False

    @property
    def size(self) -> int:
        """Bytes that count as the message's: payload (which is not PAGED) and headers."""
        size = len(self.payload)
        if self.headers:
            size += headers_size(self.headers)
        return size


class Options(Struct, frozen=True, gc=False):
    """What a publish may say beside its payloads. Lengths are in milliseconds; `keys` has one deduplication key per payload."""

    priority: int = DEFAULT_PRIORITY
    delay: int = 0
    ttl: int | None = None
    headers: dict[str, str] | None = None
    keys: Sequence[str] | None = None

    @property
    def cost(self) -> int:
        """Bytes of memory, about, that they add to each message."""
        headers = headers_size(self.headers) + headers_cost(self.headers) if self.headers else 0
        return headers + (KEY_COST if self.keys else 0)


class QueuePolicy(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a queue does by itself; an absent member means: not limited, not done.

    `ttl`, `lease` and `expires` are in seconds.
    """

    max_messages: int | None = None
    max_deliveries: int | None = None
    dead_letter: str | None = None
    ttl: float | None = None
    lease: float | None = None
    expires: float | None = None


class Span(Struct, gc=False):
    """Plain messages of one priority with consecutive ids that were published in the same millisecond.

    Nobody changes one that others may have: only the last of a lane grows.
    """

    first: int
    published: int
    priority: int
    count: int


Plain = tuple[Sequence[Span], Sequence[bytes] | None]
"""Plain messages of one priority in the order of their ids, and their payloads, or None where these are on disk only."""


class Taken(Struct):
    """What a take got from one queue, in the order of delivery.

    Plain messages (a payload and nothing else that was asked for) stay packed, as payloads beside the spans of their ids, until somebody
    asks for more than the payload. `receipts` is None where no lease was asked for.
    """

    queue: str
    entries: Sequence[bytes | Message] = ()
    spans: Sequence[Span] = ()
    receipts: Sequence[str] | None = None
    packed: bool = False
    """Whether all entries are payloads."""

    def __len__(self) -> int:
        return len(self.entries)

    def payloads(self) -> Sequence[bytes]:
        if self.packed:
            return self.entries  # type: ignore[return-value]  # packed says so
        return [entry if isinstance(entry, bytes) else entry.payload for entry in self.entries]

    def messages(self) -> list[Message]:
        """The messages, the packed ones unpacked."""
        if not self.packed:
            if not self.spans:
                return cast("list[Message]", self.entries)
            return list(unpack(self.entries, self.spans))
        messages: list[Message] = []
        for span in self.spans:
            payloads = cast("Sequence[bytes]", self.entries[len(messages) : len(messages) + span.count])
            ids = range(span.first, span.first + span.count)
            published, priority = span.published, span.priority
            messages += [Message(number, payload, published, priority) for number, payload in zip(ids, payloads, strict=True)]
        return messages

    def part(self, start: int, stop: int) -> Taken:
        """What was taken from place `start` to place `stop`."""
        receipts = None if self.receipts is None else self.receipts[start:stop]
        return Taken(self.queue, self.entries[start:stop], cut(self.spans, start, stop), receipts, self.packed)


def cut(spans: Iterable[Span], start: int, stop: int) -> list[Span]:
    """The spans of the packed messages from place `start` to place `stop`."""
    found: list[Span] = []
    for span in spans:
        first, last = max(start, 0), min(stop, span.count)
        if first < last:
            found.append(Span(span.first + first, span.published, span.priority, last - first))
        start -= span.count
        stop -= span.count
    return found


def cut_first(spans: deque[Span], count: int) -> Span:
    """Take up to `count` ids from the head span."""
    span = spans[0]
    if count >= span.count:
        return spans.popleft()
    spans[0] = Span(span.first + count, span.published, span.priority, span.count - count)
    return Span(span.first, span.published, span.priority, count)


def since(spans: Iterable[Span], first: int) -> list[Span]:
    """What of spans, in the order of their ids, has ids from `first` on. The last is another one, in case it grows."""
    found = list(spans)
    del found[: bisect_right(found, first, 1, key=attrgetter("first")) - 1]
    if found:
        found[:1] = cut(found[:1], first - found[0].first, found[0].count)
    if found:
        found[-1:] = cut(found[-1:], 0, found[-1].count)
    return found


def each(plain: Iterable[Plain]) -> Iterator[tuple[Span, Sequence[bytes] | None]]:
    """The spans one by one, each with its payloads."""
    for spans, payloads in plain:
        place = 0
        for span in spans:
            yield span, None if payloads is None else payloads[place : place + span.count]
            place += span.count


def unpack(entries: Iterable[bytes | Message], spans: Iterable[Span]) -> Iterator[Message]:
    """Each entry as a Message; the payloads among them take their ids from `spans`, in order."""
    ids = ((span.first + offset, span) for span in spans for offset in range(span.count))
    for entry in entries:
        if isinstance(entry, bytes):
            number, span = next(ids)
            yield Message(number, entry, span.published, span.priority)
        else:
            yield entry


class Settled(Struct):
    """How many receipts were settled, and which were stale."""

    count: int
    stale: list[str]


class Totals(Struct, gc=False):
    """What happened in a queue since the broker started, in messages."""

    published: int = 0
    delivered: int = 0
    acknowledged: int = 0
    expired: int = 0
    dead_lettered: int = 0
    dropped: int = 0

    def add(self, other: Totals) -> None:
        """Count what happened elsewhere too."""
        self.published += other.published
        self.delivered += other.delivered
        self.acknowledged += other.acknowledged
        self.expired += other.expired
        self.dead_lettered += other.dead_lettered
        self.dropped += other.dropped


class Usage(Struct, gc=False):
    """What the queues that share it hold together.

    `paged` are those of the bytes that are on disk only; `deadlines` are bytes, about, that keeping track of deadlines takes, `headers`
    those that headers take beyond their text; `whole` are ready messages that are not plain, `returned` those of them that came back.
    """

    messages: int = 0
    whole: int = 0
    returned: int = 0
    bytes: int = 0
    headers: int = 0
    keys: int = 0
    paged: int = 0
    deadlines: int = 0


class QueueCounts(Struct, frozen=True):
    """A queue's size: messages by state, and bytes of all of them (payloads and headers)."""

    queue: str
    ready: int
    delayed: int
    leased: int
    bytes: int


class Measure(Struct, gc=False):
    """A queue as the metrics show it. `oldest_age` is in seconds, 0 without a message that is ready or leased."""

    queue: str
    totals: Totals
    ready: int
    delayed: int
    leased: int
    bytes: int
    oldest_age: float


class QueueInfo(Struct, frozen=True):
    """A queue looked at closely. `oldest_age` is in seconds: the age of the oldest message that is ready or leased."""

    counts: QueueCounts
    oldest_age: float | None
    policy: QueuePolicy
    totals: Totals


class Limits(Struct, frozen=True):
    """The broker's limits.

    `message_size` is in bytes of the decoded payload, `memory` in bytes of all messages with what they cost, `buffered` in bytes that wait
    in connections. `connections_per_address` is None for any number; `waiting` counts takes.
    """

    queues: int = 4096
    message_size: int = 1 << 20
    queue_messages: int = 1_000_000
    connections: int = 10_000
    connections_per_address: int | None = None
    waiting: int = 100_000
    buffered: int = NEVER
    memory: int = NEVER
    keys: int = 1_000_000


def headers_size(headers: dict[str, str]) -> int:
    """Bytes of the names and values, in UTF-8."""
    return sum(len(name.encode()) + len(value.encode()) for name, value in headers.items())


def headers_cost(headers: dict[str, str]) -> int:
    """Bytes of memory, about, that headers take beyond those of their text in UTF-8: measured with one to twelve of them.

    Where a text has other characters than those of ASCII all of its characters may take 4 bytes, and its UTF-8 is kept beside it.
    """
    cost = HEADERS_COST + HEADER_COST * len(headers)
    for name, value in headers.items():
        if not (name.isascii() and value.isascii()):
            cost += 4 * (len(name) + len(value))
    return cost


def milliseconds(seconds: float) -> int:
    """A length in seconds as whole milliseconds, at least 1 unless it is 0."""
    return max(1, round(seconds * 1000)) if seconds else 0
