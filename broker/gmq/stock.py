"""What one queue holds: its messages by state, how many and how large they are, and which payloads are on disk only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import cast

from gmq.deadlines import INDEX_COST, Deadlines, Leases
from gmq.lane import Lane
from gmq.message import DEFAULT_PRIORITY, NEVER, PAGED, Message, Plain, Span, Taken, Usage, headers_cost
from gmq.paging import Paging
from gmq.recorder import Pages

INSTANTS = 64
"""How many instants are known, so that messages share them: an integer takes 32 bytes."""


class Stock:
    """The messages of a queue.

    With `recorded` the ids of messages that are dropped gather in `_removed`, and messages that leave are marked as gone.
    """

    __slots__ = (
        "_delayed", "_expiring", "_headers", "_instants", "_lanes", "_lanes_in_order", "_leased", "_next_id", "_paging", "_recorded",
        "_removed", "_returned", "_usage", "_whole", "bytes", "due", "messages", "name", "ready",
    )  # fmt: skip

    def __init__(self, name: str, first_id: int, usage: Usage, pages: Pages | None, *, recorded: bool) -> None:
        self.name = name
        self._next_id = first_id
        self._usage = usage
        self._paging = None if pages is None else Paging(pages, usage)
        self._recorded = recorded
        self._removed: list[int] = []
        self._lanes: dict[int, Lane] = {}
        self._lanes_in_order: list[Lane] = []  # the highest priority first
        self._delayed: Deadlines[int] = Deadlines("due", usage)
        self._leased = Leases(usage)
        self._expiring: Deadlines[int] = Deadlines("expires", usage, INDEX_COST)
        self._instants: dict[int, int] = {}
        self._whole = 0  # ready messages that are not plain
        self._returned = 0  # those of them that came back, at the last look
        self._headers = 0  # what headers take beyond their text
        self.messages = 0  # in every state
        self.ready = 0
        self.bytes = 0
        self.due = NEVER

    @property
    def next_id(self) -> int:
        return self._next_id

    # In and out

    def _add_plain(self, payloads: Sequence[bytes], size: int, now: int) -> range:
        """Add plain messages of the default priority; return their ids."""
        count = len(payloads)
        first = self._next_id
        self._next_id = first + count
        lane = self._lanes.get(DEFAULT_PRIORITY)
        if lane is None:
            lane = self._lane(DEFAULT_PRIORITY)
        lane.extend(first, payloads, now)
        self.ready += count
        self.messages += count
        self.bytes += size
        usage = self._usage
        usage.messages += count
        usage.bytes += size
        return range(first, self._next_id)

    def _pop(self, count: int, max_bytes: int) -> Taken:
        """Remove up to `count` messages from the lanes."""
        entries: list[bytes | Message] = []
        spans: list[Span] = []
        whole = 0
        for lane in self._lanes_in_order:
            whole += lane.take(count - len(entries), entries, spans)
            if len(entries) >= count:
                break
            if self._paging is not None and lane.waiting:
                whole += self._pop_paged(lane, count, max_bytes, entries, spans, self._paging)
                if lane.waiting:
                    break
        self.ready -= len(entries)
        if whole or self._returned:
            self._count_whole(-whole, sum([lane.returned for lane in self._lanes_in_order]) - self._returned)
        return Taken(self.name, entries, spans, None, not whole)

    def _pop_paged(self, lane: Lane, count: int, max_bytes: int, entries: list[bytes | Message], spans: list[Span], paging: Paging) -> int:
        """Go on popping from a lane that has more on disk, until it is too much; return how many of these are not packed."""
        whole = 0
        while lane.waiting and len(entries) < count and paging.sizes(entries) <= max_bytes:
            lane.refill(paging)
            whole += lane.take(count - len(entries), entries, spans)
        if paging.lost:
            self.ready -= len(paging.lost)
            self._account(-len(paging.lost), -paging.lost_bytes)
            self._removed += paging.lost
            paging.lost, paging.lost_bytes = [], 0
        return whole

    def _place(self, message: Message, ready_at: int, now: int) -> None:
        """Give a message its place: ready or delayed."""
        message.receipt = None
        message.gone = False
        if message.expires != NEVER:
            self._expiring.put(message.id, message.expires, message)
            self.due = min(self.due, message.expires)
        if ready_at > now:
            message.due = ready_at
            self._delayed.put(message.id, ready_at, message)
            self.due = min(self.due, ready_at)
        else:
            message.due = 0
            self._make_ready(message)

    def _make_ready(self, message: Message) -> None:
        lane = self._lanes.get(message.priority)
        if lane is None:
            lane = self._lane(message.priority)
        before = lane.returned
        lane.add(message)
        self.ready += 1
        self._count_whole(1, lane.returned - before)

    def _lane(self, priority: int) -> Lane:
        """A lane for a priority that had none."""
        lane = self._lanes[priority] = Lane(priority)
        self._lanes_in_order = [self._lanes[key] for key in sorted(self._lanes, reverse=True)]
        return lane

    def _drop(self, message: Message) -> None:
        """Take a message off the books that is in no index any more."""
        self._account_for((message,), -1)
        if self._recorded:
            self._leave((message,))
            self._removed.append(message.id)

    def _leave(self, messages: Iterable[Message], loaded: dict[int, bytes | None] | None = None) -> None:
        """Mark messages as gone that left the queue; give them the payloads that were read for them."""
        for message in messages:
            message.gone = True
            if self._paging is not None and message.payload is PAGED:
                self._paging.put_away(-self._paging.length(message.id))
                payload = loaded.get(message.id) if loaded else None
                if payload is not None:
                    message.payload = payload

    def _hide(self, taken: Taken, prefix: str, suffix: str, until: int, loaded: dict[int, bytes | None] | None) -> list[Message]:
        """Lease what was taken, with receipts between `prefix` and `suffix`; return the messages as they are here."""
        if taken.packed:
            messages, receipts = leased(taken, prefix, suffix, until)
        else:
            messages = taken.messages()
            receipts = [f"{prefix}{message.id:x}{suffix}" for message in messages]
            for message, receipt in zip(messages, receipts, strict=True):
                message.deliveries += 1
                message.due = until
                message.receipt = receipt
        self._leased.put_all(receipts, until, messages)
        if until < self.due:
            self.due = until
        taken.entries, taken.spans, taken.packed, taken.receipts = messages, (), False, receipts
        if self._paging is not None:  # what is handed out keeps its payload when this queue drops it from memory
            taken.entries = self._paging.copies(messages, NEVER, loaded or {})
        return messages

    def _empty(self) -> None:
        """Remove every message."""
        if self._recorded:
            for message in self.whole_messages():
                message.gone = True
        if self._paging is not None:
            self._paging.put_away(-self._paging.bytes)
        for lane in self._lanes_in_order:
            lane.clear()
        self._delayed.clear()
        self._leased.clear()
        self._expiring.clear()
        self.ready = 0
        self._count_whole(-self._whole, -self._returned)
        self._account(-self.messages, -self.bytes, -self._headers)

    # Sizes and payloads

    def _account(self, messages: int, size: int, headers: int = 0) -> None:
        self.messages += messages
        self.bytes += size
        usage = self._usage
        usage.bytes += size
        usage.messages += messages
        if headers:
            self._headers += headers
            usage.headers += headers

    def _account_for(self, messages: Sequence[Message], sign: int) -> None:
        """Take messages onto the books, with `sign` 1, or off them, with -1."""
        headers = costs(messages) if self._headers or sign > 0 else 0
        self._account(sign * len(messages), sign * self._sizes(messages), sign * headers)

    def _count_whole(self, count: int, returned: int = 0) -> None:
        """So many ready messages more are not plain, and so many of these came back from a lease or a delay."""
        self._whole += count
        self._returned += returned
        usage = self._usage
        usage.whole += count
        usage.returned += returned

    def _sizes(self, messages: Iterable[Message]) -> int:
        if self._paging is not None:
            return sum(map(self._paging.size, messages))
        return sum([message.size if message.headers else len(message.payload) for message in messages])

    def _shared(self, instant: int) -> int:
        """The same instant, as the object that other messages have."""
        if len(self._instants) > INSTANTS:
            self._instants.clear()
        return self._instants.setdefault(instant, instant)

    def _intact(self, messages: list[Message]) -> tuple[list[Message], dict[int, bytes | None]]:
        """Read payloads that are on disk, and drop the messages whose payloads are damaged: the others, and the payloads by id."""
        loaded = {} if self._paging is None else self._paging.read(messages)
        if None not in loaded.values():
            return messages, loaded
        for message in messages:
            if loaded.get(message.id, b"") is None:
                self._drop(message)
        return [message for message in messages if loaded.get(message.id, b"") is not None], loaded

    # What a storage on disk does

    def page_lines(self, below: int) -> None:
        """Drop the payloads of plain ready messages from memory, but for the first few; those with ids below this are on disk."""
        if self._paging is not None:
            self._paging.put_away(sum(lane.page(below) for lane in self._lanes_in_order))

    def page_messages(self, messages: Iterable[Message], below: int) -> None:
        """Drop the payloads of these messages of this queue from memory, if they still are in it; those with ids below this are on disk."""
        if self._paging is None:
            return
        size = 0
        for message in messages:
            if message.id < below and message.payload is not PAGED and not message.gone:
                size += len(message.payload)
                message.payload = PAGED
        self._paging.put_away(size)

    def plain_since(self, first: int) -> list[Plain]:
        """The plain messages with ids from `first` on, in order within each priority; without payloads where these are on disk only."""
        return [part for lane in self._lanes_in_order for part in lane.plain_since(first)]

    def whole_messages(self) -> list[Message]:
        """Every message that is not plain, in every state and in no order."""
        messages = [*self._delayed.values(), *self._leased.values()]
        for lane in self._lanes_in_order:
            messages += lane.whole()
        return messages

    def _fill(self, plain: Iterable[Plain], messages: Iterable[Message]) -> None:
        """Fill an empty stock."""
        spans = self._fill_plain(plain)
        ready = self._fill_whole(messages)
        for priority in {*spans, *ready}:
            whole = sorted(ready.get(priority, ()), key=attrgetter("id"))
            dropped = self._lane(priority).load(spans.get(priority, ()), whole)
            if self._paging is not None:
                self._paging.put_away(dropped)

    def _fill_plain(self, plain: Iterable[Plain]) -> dict[int, list[Plain]]:
        """Count plain messages; return them by priority."""
        found: dict[int, list[Plain]] = {}
        for spans, payloads in plain:
            own = [Span(span.first, self._shared(span.published), span.priority, span.count) for span in spans]
            found.setdefault(own[0].priority, []).append((own, payloads))
            count = sum([span.count for span in own])
            size = sum(map(len, payloads or ()))
            if payloads is None and self._paging is not None:
                size = sum(self._paging.length(number) for span in own for number in range(span.first, span.first + span.count))
                self._paging.put_away(size)
            self.ready += count
            self._account(count, size)
        return found

    def _fill_whole(self, messages: Iterable[Message]) -> dict[int, list[Message]]:
        """Count other messages, and give leased and delayed ones their places; return those that are ready, by priority."""
        ready: dict[int, list[Message]] = {}
        for message in messages:
            self._account_for((message,), 1)
            if self._paging is not None and message.payload is PAGED:
                self._paging.put_away(self._paging.length(message.id))
            message.gone = False
            message.published = self._shared(message.published)
            message.due = self._shared(message.due)
            message.expires = self._shared(message.expires)
            if message.receipt is not None:
                self._leased.put(message.receipt, message.due, message)
                continue
            if message.expires != NEVER:
                self._expiring.put(message.id, message.expires, message)
            if message.due:
                self._delayed.put(message.id, message.due, message)
            else:
                ready.setdefault(message.priority, []).append(message)
                self.ready += 1
                self._count_whole(1)
        return ready


def costs(messages: Iterable[Message]) -> int:
    """What the headers of messages take beyond their text."""
    return sum([headers_cost(message.headers) for message in messages if message.headers])


def leased(taken: Taken, prefix: str, suffix: str, until: int) -> tuple[list[Message], list[str]]:
    """Packed plain messages as leased ones, and their receipts."""
    messages: list[Message] = []
    receipts: list[str] = []
    for span in taken.spans:
        ids = range(span.first, span.first + span.count)
        own = ["%s%x%s" % (prefix, number, suffix) for number in ids]  # noqa: UP031  # the fastest of the ways
        payloads = cast("Sequence[bytes]", taken.entries[len(messages) : len(messages) + span.count])
        published, priority = span.published, span.priority
        messages += [
            Message(number, payload, published, priority, 1, until, receipt)
            for number, payload, receipt in zip(ids, payloads, own, strict=True)
        ]
        receipts += own
    return messages, receipts
