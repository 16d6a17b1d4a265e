"""The records that the journal and the queues' files are made of: their types, and how they become bytes and bytes become them.

A record is a head of 32 bytes, fields, and data. docs/storage.md has the picture. The head's checksum covers the head and the fields, and
begins with the salt of the file and the record's place in it, so that no leftover of an earlier file passes for a record, and no payload
does, not even one that is a copy of records of the same file. Data is payloads, each with a
checksum of its own among the fields: damage to one message is damage to that message alone.

Every record tells a state, not a change of one (these messages are leased until then, for the third time; those are gone), so that doing
it again changes nothing. Pure: no I/O.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from struct import Struct as Layout
from typing import Any, ClassVar, Final, TypeAlias, cast
from zlib import crc32

import msgspec
from msgspec import Struct

from gmq.message import NEVER, PAGED, Dead, Message, Plain, QueuePolicy, Span, cut

MAGIC: Final = b"\xa7GMQ"
VERSION: Final = 1
HEAD: Final = Layout("<4sBBHIIQI")
CHECK: Final = Layout("<I")
HEAD_SIZE: Final = HEAD.size + CHECK.size
SALT_OF_OPENINGS: Final = 0
"""The salt of the records that open a file: they are what tells the salt of the others."""
LONGEST_FIELDS: Final = 256 << 20
"""Bytes: fields that claim to be longer are damage."""


class Record(Struct, array_like=True, frozen=True, gc=False):
    """The fields of a record, on disk a MessagePack array."""

    kind: ClassVar[int]


class Opening(Record, array_like=True, frozen=True, gc=False):
    """Opens a file, twice, so that damage to one leaves the other.

    Of a journal's segment: `number` is the segment's, `first` the sequence number of its first record; records in earlier segments with
    numbers from `proven` on were never acknowledged and do not count; `last_queue` and `first_id` are the highest number that a queue
    had, and the least id for the next new queue; `fresh` tells that the file was all zeros before, `size` how long it is, and `previous` is
    the number of the segment before, 0 where there is none. Of a queue's file: `number` and `name` are the queue's.
    """

    kind: ClassVar[int] = 1

    version: int
    content: str  # "journal" or "queue"
    salt: int
    number: int
    name: str = ""
    first: int = 0
    proven: int = 0
    last_queue: int = 0
    first_id: int = 1
    fresh: bool = False
    size: int = 0
    previous: int = 0


class Publish(Record, array_like=True, frozen=True, gc=False):
    """Plain messages with ids from `first` on. Data: their payloads, of `lengths` with the checksums `checks`, both packed.

    `keys` has a deduplication key for each, or is None. Those from a place on that is in `later` were published at the instant behind it
    there, and not at `published`.
    """

    kind: ClassVar[int] = 2

    queue: int
    first: int
    published: int
    lengths: bytes
    checks: bytes
    keys: list[str] | None = None
    later: list[int] = []

    def instants(self) -> Iterator[tuple[int, int, int]]:
        """From which place to before which place they were published when."""
        places = [0, *self.later[::2], len(self.lengths) // 4]
        return zip(places, places[1:], [self.published, *self.later[1::2]], strict=False)


class Spread(Record, array_like=True, frozen=True, gc=False):
    """Plain messages, one to each of several queues: `first` has their ids. Data: their payloads, as with `Publish`."""

    kind: ClassVar[int] = 11

    queues: list[int]
    first: list[int]
    published: int
    lengths: bytes
    checks: bytes


class Row(Struct, array_like=True, gc=False, omit_defaults=True):
    """A message that is not plain: what `Message` has, with the token of its receipt while it is leased."""

    id: int
    published: int
    priority: int
    deliveries: int
    expires: int
    due: int
    token: str | None
    headers: dict[str, str] | None
    dead: tuple[str, int, str, int, float] | None


class Add(Record, array_like=True, frozen=True, gc=False):
    """Messages with all that belongs to them. Data: their payloads, as with `Publish`.

    They are moved here when `source` is the number of a queue: there the messages `removed` (spans of ids) are gone with this record.
    """

    kind: ClassVar[int] = 3

    queue: int
    rows: list[Row]
    lengths: bytes
    checks: bytes
    keys: list[str] | None = None
    source: int = 0
    removed: list[int] = []  # msgspec copies it


class Remove(Record, array_like=True, frozen=True, gc=False):
    """Messages that are gone. `spans` has the first id and the number of ids of each span, one after the other."""

    kind: ClassVar[int] = 4

    queue: int
    spans: list[int]


class State(Record, array_like=True, frozen=True, gc=False):
    """Messages in a new state: leased until `due` where there is a token, delayed until `due`, or ready with a `due` of 0.

    Each group is due, token, deliveries and the spans of ids.
    """

    kind: ClassVar[int] = 5

    queue: int
    groups: list[tuple[int, str | None, int, list[int]]]


class Create(Record, array_like=True, frozen=True, gc=False):
    """A queue: its number, its name, the least id of its next message, and its policy where that was set over the wire."""

    kind: ClassVar[int] = 6

    queue: int
    name: str
    next_id: int
    policy: QueuePolicy | None = None


class Delete(Record, array_like=True, frozen=True, gc=False):
    """A queue is gone; a new one's ids begin at `next_id` or above."""

    kind: ClassVar[int] = 7

    queue: int
    next_id: int


class Clear(Record, array_like=True, frozen=True, gc=False):
    """All messages of a queue are gone."""

    kind: ClassVar[int] = 8

    queue: int


class Keys(Record, array_like=True, frozen=True, gc=False):
    """Deduplication keys, each with its message's id, the digest of the payload, and the instant until which it is remembered."""

    kind: ClassVar[int] = 9

    queue: int
    keys: list[tuple[str, int, bytes, int]]


class Mark(Record, array_like=True, frozen=True, gc=False):
    """In a queue's file, twice: all above is what the journal's records before number `through` made of the queue."""

    kind: ClassVar[int] = 10

    queue: int
    through: int
    next_id: int
    policy: QueuePolicy | None = None


AnyRecord: TypeAlias = Opening | Publish | Spread | Add | Remove | State | Create | Delete | Clear | Keys | Mark
KINDS: Final[dict[int, type[AnyRecord]]] = {
    kind.kind: kind for kind in (Opening, Publish, Spread, Add, Remove, State, Create, Delete, Clear, Keys, Mark)
}

_encode = msgspec.msgpack.Encoder().encode
_decoders: Final[dict[int, Any]] = {kind: msgspec.msgpack.Decoder(record) for kind, record in KINDS.items()}


def encode(record: AnyRecord) -> bytes:
    """A record's fields as bytes."""
    return _encode(record)


def decode(kind: int, fields: bytes) -> AnyRecord | None:
    """The record that the fields are; None for a kind that this version does not know.

    Raises:
        msgspec.MsgspecError: they are not such a record.
    """
    decoder = _decoders.get(kind)
    return None if decoder is None else cast("AnyRecord", decoder.decode(fields))


def seed_of(salt: int, at: int) -> int:
    """What the checksum of a record at place `at` of a file begins with; openings are the same at every place."""
    return salt ^ at if salt else 0


def head_of(kind: int, fields: bytes, data_size: int, sequence: int, since: int, salt: int, at: int) -> bytes:
    """The head of a record at place `at` of its file: what comes before its fields.

    `sequence` is the record's number; that number less `since` is the number of the first record of its commit: all before that were
    durable when this one was written.
    """
    head = HEAD.pack(MAGIC, kind, 0, 0, len(fields), data_size, sequence, since)
    return head + CHECK.pack(crc32(fields, crc32(head, seed_of(salt, at))))


def framed(opening: Opening) -> bytes:
    """A file's opening, twice, as bytes."""
    fields = encode(opening)
    return 2 * (head_of(opening.kind, fields, 0, 0, 0, SALT_OF_OPENINGS, 0) + fields)


class Frame(Struct, gc=False):
    """A record found in a file: where it begins, where its data begins and where it ends, in bytes from the file's beginning."""

    at: int
    kind: int
    sequence: int
    since: int
    fields: bytes
    data_at: int
    end: int


def frame_at(window: bytes, at: int, base: int, salt: int) -> Frame | int | None:
    """The record at place `at` of `window`, which begins at `base` in its file.

    None where there is none; the number of bytes that its head and fields take where the window ends before them.
    """
    if len(window) - at < HEAD_SIZE:
        return HEAD_SIZE
    magic, kind, _, _, fields_size, data_size, sequence, since = HEAD.unpack_from(window, at)
    if magic != MAGIC or fields_size > LONGEST_FIELDS:
        return None
    start = at + HEAD_SIZE
    if len(window) - start < fields_size:
        return HEAD_SIZE + cast("int", fields_size)
    fields = window[start : start + fields_size]
    (check,) = CHECK.unpack_from(window, at + HEAD.size)
    if check != crc32(fields, crc32(window[at : at + HEAD.size], seed_of(salt, base + at))):
        return None
    data_at = base + start + fields_size
    return Frame(base + at, kind, sequence, since, fields, data_at, data_at + data_size)


# Numbers, packed: 32-bit, little-endian


def packed(numbers: Iterable[int]) -> bytes:
    """Numbers below 2 ** 32 as bytes."""
    values = array("I", numbers)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def unpacked(data: bytes) -> array[int]:
    """The numbers that `packed` packed."""
    values = array("I")
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def checks_of(payloads: Iterable[bytes]) -> bytes:
    """The packed checksums (CRC-32) of payloads."""
    return packed(map(crc32, payloads))


def lengths_of(payloads: Iterable[bytes]) -> bytes:
    """The packed lengths of payloads."""
    return packed(map(len, payloads))


def publish_of(queue: int, spans: Sequence[Span], payloads: Sequence[bytes]) -> Publish:
    """The record of plain messages with consecutive ids."""
    later: list[int] = []
    place, published = 0, spans[0].published
    for span in spans:
        if span.published != published:
            published = span.published
            later += (place, published)
        place += span.count
    return Publish(queue, spans[0].first, spans[0].published, lengths_of(payloads), checks_of(payloads), later=later)


def grouped(plain: Iterable[Plain], most: int) -> Iterator[tuple[list[Span], int, Sequence[bytes] | None]]:
    """Spans of consecutive ids together, up to `most` messages at a time, with how many these are and their payloads."""
    for spans, payloads in plain:
        place = 0
        for group, count in _groups(spans, most):
            yield group, count, None if payloads is None else payloads[place : place + count]
            place += count


def _groups(spans: Iterable[Span], most: int) -> Iterator[tuple[list[Span], int]]:
    group: list[Span] = []
    count, end = 0, -1
    for span in spans:
        more = span.count
        if group and (span.first != end or count + more > most):
            yield group, count
            group, count = [], 0
        end = span.first + more
        if more > most:
            yield from ((cut((span,), at, at + most), min(most, more - at)) for at in range(0, more, most))
            continue
        group.append(span)
        count += more
    if group:
        yield group, count


# Spans of ids: a flat list of first ids and counts


def spans_of_ids(ids: Iterable[int]) -> list[int]:
    """Neighbouring ids together."""
    spans: list[int] = []
    end = -1
    for number in ids:
        if number == end:
            spans[-1] += 1
        else:
            spans += (number, 1)
        end = number + 1
    return spans


def spans_of(spans: Iterable[Span]) -> list[int]:
    """The spans of plain messages, neighbours together."""
    flat: list[int] = []
    end = -1
    for span in spans:
        if span.first == end:
            flat[-1] += span.count
        else:
            flat += (span.first, span.count)
        end = span.first + span.count
    return flat


def spans_without(spans: Sequence[int], ids: Collection[int]) -> list[int]:
    """Spans of ids without these."""
    rest: list[int] = []
    for first, count in pairs(spans):
        at, end = first, first + count
        for number in sorted(number for number in ids if first <= number < end):
            if at < number:
                rest += (at, number - at)
            at = number + 1
        if at < end:
            rest += (at, end - at)
    return rest


def pairs(spans: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first id and the count of each."""
    return zip(spans[::2], spans[1::2], strict=True)


# Messages


def row_of(message: Message) -> Row:
    """A message's row; its payload goes beside it."""
    receipt, dead = message.receipt, message.dead
    return Row(
        id=message.id, published=message.published, priority=message.priority, deliveries=message.deliveries,
        expires=0 if message.expires == NEVER else message.expires, due=message.due,
        token=None if receipt is None else token_of(receipt), headers=message.headers,
        dead=None if dead is None else (dead.queue, dead.id, dead.reason, dead.deliveries, dead.at),
    )  # fmt: skip


def message_of(row: Row, queue: int, payload: bytes = PAGED) -> Message:
    """The message of a row."""
    receipt = None if row.token is None else f"{queue:x}-{row.id:x}-{row.token}"
    dead = None if row.dead is None else Dead(*row.dead)
    return Message(
        id=row.id, payload=payload, published=row.published, priority=row.priority, deliveries=row.deliveries,
        expires=row.expires or NEVER, due=row.due, receipt=receipt, headers=row.headers, dead=dead,
    )  # fmt: skip


def token_of(receipt: str) -> str:
    """The random part of a receipt."""
    return receipt[receipt.rindex("-") + 1 :]


def version_of(fields: bytes) -> int | None:
    """The version that an opening tells, of whatever version it is; None where it tells none."""
    try:
        version = msgspec.msgpack.decode(fields)[0]
    except (msgspec.MsgspecError, IndexError, TypeError, KeyError):
        return None
    return version if isinstance(version, int) else None
