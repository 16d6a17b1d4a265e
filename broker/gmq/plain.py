"""The hot path of the codec: publishes, takes and acknowledgements with nothing special about them, many at a time.

What it does was chosen by measuring, and is worth its lines:

- Lines that arrive together are decoded in one call, into structs without a garbage collector's header. Payloads are decoded to bytes,
  which checks their base64 on the way. Lines that are all the same are compared, and one of them is decoded.
- Two checks that the decoder leaves to us cost as much as the decoding: that every line is one object, and that base64 is canonical. Where
  all lines are publishes of one length they are made on columns of the chunk, at a fraction of the price.
- What is not plain is left to `protocol`, line by line.
- Replies are joined from prepared bytes, one join for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, groupby
from typing import ClassVar, Literal, TypeAlias, cast

import msgspec
from msgspec import Struct

from gmq.message import MAX_COUNT, Dead, Message, Taken

REMEMBERED = 4096
"""Queues whose prepared bytes, and lines of takes whose meaning, are kept."""
MAX_DECODERS = 256
"""Queues that get a decoder of their own: those that are first to receive several publishes at a time."""
LONGEST_REMEMBERED = 512
"""Bytes of a line that is worth keeping."""
# Requests: a run is some of a kind, which one call to the broker can serve. Its `width` is the bytes of each line, 0 where they differ.


class Publishes(Struct, gc=False):
    """Publishes of one message each to one queue; `size` is the bytes of all payloads."""

    operation: ClassVar[str] = "P"

    queue: str
    payloads: Sequence[bytes]
    size: int
    width: int = 0

    def __len__(self) -> int:
        return len(self.payloads)

    @property
    def key(self) -> object:
        """Runs with equal keys can be made one."""
        return "P", self.queue

    def part(self, start: int, stop: int) -> Publishes:
        """Those from `start` to `stop`."""
        payloads = self.payloads[start:stop]
        return Publishes(self.queue, payloads, sum(map(len, payloads)))

    @classmethod
    def join(cls, runs: Sequence[Publishes]) -> Publishes:
        """Runs with equal keys, as one."""
        return cls(runs[0].queue, [payload for run in runs for payload in run.payloads], sum(run.size for run in runs))


class Takes(Struct, gc=False):
    """Takes of one message each from one queue, all with the same lease or none."""

    operation: ClassVar[str] = "S"

    queue: str
    lease: float | bool | None
    count: int
    width: int = 0

    def __len__(self) -> int:
        return self.count

    @property
    def key(self) -> object:
        """Runs with equal keys can be made one."""
        return "S", self.queue, self.lease, type(self.lease)

    def part(self, start: int, stop: int) -> Takes:
        """Those from `start` to `stop`."""
        return Takes(self.queue, self.lease, stop - start)

    @classmethod
    def join(cls, runs: Sequence[Takes]) -> Takes:
        """Runs with equal keys, as one."""
        return cls(runs[0].queue, runs[0].lease, sum(map(len, runs)))


class Acknowledges(Struct, gc=False):
    """Acknowledgements of one receipt each."""

    operation: ClassVar[str] = "A"
    queue: ClassVar[str] = ""

    receipts: Sequence[str]
    width: int = 0

    def __len__(self) -> int:
        return len(self.receipts)

    @property
    def key(self) -> object:
        """Runs with equal keys can be made one."""
        return "A"

    def part(self, start: int, stop: int) -> Acknowledges:
        """Those from `start` to `stop`."""
        return Acknowledges(self.receipts[start:stop])

    @classmethod
    def join(cls, runs: Sequence[Acknowledges]) -> Acknowledges:
        """Runs with equal keys, as one."""
        return cls([receipt for run in runs for receipt in run.receipts])


class Spread(Struct, gc=False):
    """Publishes of one message each, to several queues; `size` is the bytes of all payloads.

    `ends` tells where each line ends in the chunk that they all came in, where that is known.
    """

    operation: ClassVar[str] = "P"
    width: ClassVar[int] = 0

    queues: Sequence[str]
    payloads: Sequence[bytes]
    size: int
    ends: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self.payloads)

    @property
    def key(self) -> object:
        """Runs with equal keys can be made one."""
        return "P"

    def part(self, start: int, stop: int) -> Spread | Publishes:
        """Those from `start` to `stop`."""
        if stop - start == 1:
            payload = self.payloads[start]
            return Publishes(self.queues[start], (payload,), len(payload))
        payloads = self.payloads[start:stop]
        return Spread(self.queues[start:stop], payloads, sum(map(len, payloads)))

    @classmethod
    def join(cls, runs: Sequence[Spread]) -> Spread:
        """Runs with equal keys, as one."""
        queues, payloads = [queue for run in runs for queue in run.queues], [payload for run in runs for payload in run.payloads]
        return cls(queues, payloads, sum([run.size for run in runs]))


Run: TypeAlias = Publishes | Spread | Takes | Acknowledges


class PlainPublish(Struct, tag_field="operation", tag="P", forbid_unknown_fields=True, gc=False):
    """A line that publishes one message."""

    queue: str
    payload: bytes


class PlainTake(Struct, tag_field="operation", tag="S", forbid_unknown_fields=True, gc=False):
    """A line that takes one message, with or without a lease."""

    queue: str
    lease: float | bool | None = None


class PlainAcknowledge(Struct, tag_field="operation", tag="A", forbid_unknown_fields=True, gc=False):
    """A line that acknowledges one receipt."""

    receipt: str


Plain: TypeAlias = PlainPublish | PlainTake | PlainAcknowledge

_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines
_decode_plain: Callable[[bytes], list[Plain]] = msgspec.json.Decoder(Plain).decode_lines
_decode_publishes: Callable[[bytes], list[PlainPublish]] = msgspec.json.Decoder(PlainPublish).decode_lines
_decode_acknowledges: Callable[[bytes], list[PlainAcknowledge]] = msgspec.json.Decoder(PlainAcknowledge).decode_lines

# A padded payload whose last character has bits that belong to nothing: msgspec lets it pass, RFC 4648 (section 3.5) lets us refuse it.
_LAST_BEFORE_ONE_PAD = b"AEIMQUYcgkosw048"
_LAST_BEFORE_TWO_PADS = b"AQgw"
# How a line may end with a payload of no, one or two pads.
_ENDINGS = (
    frozenset((b'"}\n',)),
    frozenset(b'%c="}\n' % last for last in _LAST_BEFORE_ONE_PAD),
    frozenset(b'%c=="}\n' % last for last in _LAST_BEFORE_TWO_PADS),
)
_not_canonical = re.compile(rb'=(?:(?<=[^%b=]=)"|="(?<=[^%b]=="))' % (_LAST_BEFORE_ONE_PAD, _LAST_BEFORE_TWO_PADS)).search
# A newline that is not between the end of an object and the beginning of the next, or of nothing. (A plain object has none inside.)
_odd_newline = re.compile(rb"\n(?:(?<!}\n)|(?!{|\Z))").search

_PUBLISH = b'{"operation":"P","queue":'
_FRAME = len('{"operation":"P","queue":"","payload":""}\n')
_TAIL = len('"}\n')


def decode(chunk: bytes) -> list[Run] | None:
    """The requests in `chunk`, which is whole lines; None where not all are plain and beyond doubt."""
    if b"\\" in chunk:  # an escape may hide anything
        return None
    run = decode_run(chunk)
    if run is not None:
        return [run] if len(run) <= MAX_COUNT else [run.part(at, min(at + MAX_COUNT, len(run))) for at in range(0, len(run), MAX_COUNT)]
    try:
        lines = _decode_plain(chunk)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if not lines or not _is_sound(chunk, len(lines)):
        return None
    return list(_spreads(lines)) if chunk.startswith(_PUBLISH) and chunk.count(_PUBLISH) == len(lines) else list(_runs(lines))


def may_be_odd(line: bytes) -> bool:
    """Whether the base64 in a line may be not canonical; False where it surely is."""
    return b"\\" in line or _not_canonical(line) is not None


def _is_sound(chunk: bytes, count: int) -> bool:
    """Whether each of `count` objects stands on a line of its own, and all base64 is canonical."""
    return chunk.count(b"\n") == count and not _odd_newline(chunk) and not _not_canonical(chunk)


def _spreads(lines: Sequence[Plain]) -> Iterator[Run]:
    """Publishes to several queues."""
    publishes = cast("Sequence[PlainPublish]", lines)
    for start in range(0, len(publishes), MAX_COUNT):
        part = publishes[start : start + MAX_COUNT]
        yield _spread_of(part)


def _spread_of(lines: Sequence[PlainPublish]) -> Spread:
    payloads = [line.payload for line in lines]
    return Spread([line.queue for line in lines], payloads, sum(map(len, payloads)))


def _runs(lines: Iterable[Plain]) -> Iterator[Run]:
    """Neighbours that are alike, together."""
    for _, neighbours in groupby(lines, _likeness):
        group = list(neighbours)
        for start in range(0, len(group), MAX_COUNT):
            yield _run_of(group[start : start + MAX_COUNT])


def _likeness(line: Plain) -> object:
    if isinstance(line, PlainTake):
        return line.queue, line.lease, type(line.lease)
    return line.queue if isinstance(line, PlainPublish) else PlainAcknowledge


def _run_of(lines: Sequence[Plain]) -> Run:
    first = lines[0]
    if isinstance(first, PlainPublish):
        payloads = [line.payload for line in cast("Sequence[PlainPublish]", lines)]
        return Publishes(first.queue, payloads, sum(map(len, payloads)))
    if isinstance(first, PlainTake):
        return Takes(first.queue, first.lease, len(lines))
    return Acknowledges([line.receipt for line in cast("Sequence[PlainAcknowledge]", lines)])


def decode_run(chunk: bytes) -> Run | None:
    """The requests in `chunk` where all are plain and alike, else None. There must be no backslash in it."""
    length = chunk.index(b"\n") + 1
    try:
        if length == len(chunk):
            return _repeated(chunk, 1)
        line, count = chunk[:length], len(chunk) // length
        if count * length == len(chunk) and chunk == line * count:
            return _repeated(line, count)
        if chunk.startswith(_PUBLISH):
            return _all_publishes(chunk, _decode_publishes(line)[0].queue, length)
        if chunk.startswith(b'{"operation":"A"'):
            lines = _decode_acknowledges(chunk)
            return Acknowledges([line.receipt for line in lines]) if _is_sound(chunk, len(lines)) else None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return None


def _repeated(line: bytes, count: int) -> Run | None:
    """The requests in `count` lines that are all the same."""
    if line.startswith(b'{"operation":"S"') and len(line) < LONGEST_REMEMBERED:
        take = _take(line)
        return take if take is None or count == 1 else Takes(take.queue, take.lease, count, len(line))
    lines = _decode_plain(line)
    if len(lines) != 1 or _not_canonical(line):
        return None
    request = lines[0]
    if isinstance(request, PlainPublish):
        size = len(request.payload)
        return Publishes(request.queue, [request.payload] * count, size * count, len(line))
    run = Takes(request.queue, request.lease, count) if isinstance(request, PlainTake) else Acknowledges([request.receipt] * count)
    run.width = len(line)
    return run


@lru_cache(maxsize=REMEMBERED)
def _take(line: bytes) -> Takes | None:
    """The take in a line; consumers send the same one all the time."""
    lines = _decode_plain(line)
    if len(lines) != 1 or not isinstance(lines[0], PlainTake):
        return None
    return Takes(lines[0].queue, lines[0].lease, 1, len(line))


def _all_publishes(chunk: bytes, queue: str, second: int) -> Publishes | Spread | None:
    """The publishes in a chunk's lines where all are to `queue`, as the first one is, or each seems to be to another; else None.

    The second line begins at `second`.
    """
    last = chunk.rindex(b"\n", 0, -1) + 1
    same = b'%b"%b"' % (_PUBLISH, queue.encode())
    if chunk.startswith(same, second):
        return _publishes(chunk, queue) if chunk.startswith(same, last) else None
    if not chunk.startswith(_PUBLISH, second) or not chunk.startswith(_PUBLISH, last):
        return None
    run = _spread_of(_decode_publishes(chunk))
    run.ends = _minimal_ends(chunk, run)
    return run if run.ends or _is_sound(chunk, len(run)) else None


def _minimal_ends(chunk: bytes, run: Spread) -> Sequence[int]:
    """Where each line of `chunk` ends, where none has a superfluous byte and all base64 is canonical; nothing where that is not clear."""
    size = len(run.payloads[0])
    if len(set(map(len, run.payloads))) > 1 or "=" in "".join(run.queues):
        return ()
    # As they are decoded, the objects need all bytes but one newline for each. So where a newline stands at the end of each object's
    # share, there is no other. A payload with pads is the last field, for no name ends like one.
    frame = _FRAME + (size + 2) // 3 * 4
    ends = list(accumulate(map(frame.__add__, map(len, run.queues))))
    pads = -size % 3
    ending = _TAIL + (pads + 1 if pads else 0)
    if ends[-1] != len(chunk) or not {chunk[end - ending : end] for end in ends} <= _ENDINGS[pads]:
        return ()
    return ends


def _publishes(chunk: bytes, queue: str) -> Publishes | None:
    """The publishes in a chunk's lines where all are to `queue`, else None."""
    decode_to_queue = _decoder_to(queue)
    lines = (decode_to_queue or _decode_publishes)(chunk)
    if decode_to_queue is None and len({line.queue for line in lines}) > 1:
        return None
    payloads = [line.payload for line in lines]
    run = Publishes(queue, payloads, sum(map(len, payloads)))
    if _is_uniform(chunk, run):
        run.width = len(chunk) // len(lines)
        return run
    return run if _is_sound(chunk, len(lines)) else None


_decoders: dict[str, Callable[[bytes], list[PlainPublish]]] = {}


def _decoder_to(queue: str) -> Callable[[bytes], list[PlainPublish]] | None:
    """A decoder of publishes to one queue alone, which compares the name and makes no string of it; None where there are enough."""
    decoder = _decoders.get(queue)
    if decoder is None and len(_decoders) < MAX_DECODERS:
        fields = [("queue", Literal[queue]), ("payload", bytes)]
        made = msgspec.defstruct("PublishTo", fields, tag_field="operation", tag="P", forbid_unknown_fields=True, gc=False)
        kind = cast("type[PlainPublish]", made)  # it has its fields, with a narrower type
        decoder = _decoders[queue] = msgspec.json.Decoder(kind).decode_lines
    return decoder


def _is_uniform(chunk: bytes, run: Publishes) -> bool:
    """Whether `chunk` is lines of one length without a superfluous byte, and the base64 in them is canonical."""
    count, size = len(run.payloads), len(run.payloads[0])
    length = _FRAME + len(run.queue.encode()) + (size + 2) // 3 * 4
    # No stretch of `length` has room for more than its newline and, with as many pads (see below), a payload as long as the first;
    # together the payloads are as long as they can be.
    if length * count != len(chunk) or run.size != size * count or chunk[length - 1 :: length] != b"\n" * count:
        return False
    pads = -size % 3
    if not pads:
        return True
    # The payload is the last field, or else the queue's name ends in "=" and its end could be taken for the payload's.
    end = length - _TAIL
    if run.queue.endswith("=") or any(chunk[end - pad :: length] != b"=" * count for pad in range(1, pads + 1)):
        return False
    return not chunk[end - pads - 1 :: length].translate(None, _LAST_BEFORE_ONE_PAD if pads == 1 else _LAST_BEFORE_TWO_PADS)


# Replies: each is one line, with its newline


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


class PublishedHeads(dict[str, bytes]):
    """What replies to publishes begin with, by queue. Many are looked up at a time, and a dict gives them for half of what a cached
    function takes.
    """

    def __missing__(self, queue: str) -> bytes:
        if len(self) >= REMEMBERED:
            self.clear()
        head = self[queue] = b'{"operation":"P","queue":%b,"payload":"","confirmation":"Y","error":null,"id":' % _encode(queue)
        return head


_published_head = PublishedHeads().__getitem__


@lru_cache(maxsize=REMEMBERED)
def _taken_head(queue: str) -> bytes:
    return b'{"operation":"S","queue":%b,"payload":' % _encode(queue)


@lru_cache(maxsize=REMEMBERED)
def _counted_head(queue: str) -> bytes:
    return _taken_head(queue) + b'"","confirmation":"Y","error":null,"count":'


def published(queue: str, ids: Sequence[int]) -> bytes:
    """The replies to publishes, one for each id."""
    head = _published_head(queue)
    if len(ids) == 1:
        return b"%b%d}\n" % (head, ids[0])
    return head + _encode(list(ids))[1:-1].replace(b",", b"}\n" + head) + b"}\n"


def spread(queues: Sequence[str], ids: Sequence[int]) -> list[bytes]:
    """The replies to publishes to several queues, each in two parts: what they have in common, and the rest."""
    ends = _encode(ids)[1:-1].replace(b",", b"}\n,").split(b",")
    ends[-1] += b"}\n"
    parts = [b""] * (2 * len(ends))
    parts[::2], parts[1::2] = map(_published_head, queues), ends
    return parts


def taken(queue: str, payloads: Sequence[bytes]) -> bytes:
    """The replies to takes without a lease, one for each payload."""
    head, tail = _taken_head(queue), b',"confirmation":"Y","error":null,"count":1}\n'
    if len(payloads) == 1:
        return head + _encode(payloads[0]) + tail
    # All at once, as a JSON list: base64 has no comma, so each that is there becomes the end of a reply and the beginning of the next.
    return head + _encode(payloads)[1:-1].replace(b",", tail + head) + tail


def leased(queue: str, messages: Sequence[Message], receipts: Sequence[str]) -> bytes:
    """The replies to takes under a lease, one for each message."""
    head = _counted_head(queue) + b'1,"messages":['
    lines = _encode_lines(delivered(queue, messages, receipts))
    return head + lines[:-1].replace(b"\n", b"]}\n" + head) + b"]}\n"


def nothing(queue: str, count: int, *, with_lease: bool) -> bytes:
    """The replies to `count` takes of an empty queue."""
    return (_counted_head(queue) + (b'0,"messages":[]}\n' if with_lease else b"0}\n")) * count


def take_replies(run: Takes, got: Taken, count: int) -> bytes:
    """The replies to the first `count` takes of a run: the first ones got what was taken, the rest nothing."""
    missing = count - len(got.entries)
    replies = nothing(run.queue, missing, with_lease=run.lease is not None) if missing else b""
    if not got.entries:
        return replies
    receipts = got.receipts
    return (taken(run.queue, got.payloads()) if receipts is None else leased(run.queue, got.messages(), receipts)) + replies


def acknowledged(count: int) -> bytes:
    """The replies to `count` acknowledgements of one receipt each that were all settled."""
    return b'{"operation":"A","queue":"","payload":"","confirmation":"Y","error":null,"count":1,"stale":[]}\n' * count


def delivered(queue: str, messages: Sequence[Message], receipts: Sequence[str | None] | None) -> list[Delivered]:
    """Messages as they stand in a reply."""
    return [
        Delivered(
            message.payload, queue, message.id, receipt, message.deliveries, message.priority, message.published / 1000,
            message.headers or {}, message.dead,
        )
        for message, receipt in zip(messages, receipts or [None] * len(messages), strict=True)
    ]  # fmt: skip
