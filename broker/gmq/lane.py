"""The ready messages of one priority."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush, merge, nsmallest
from itertools import chain, groupby, islice
from operator import attrgetter, itemgetter
from typing import cast

from gmq.message import NEVER, Message, Plain, Span, cut, cut_first, each, since, unpack
from gmq.paging import Paging
from gmq.shelf import Shelf

KEEP = 512
"""Most messages at the head of a lane that stay in memory, to be taken fast,"""
KEEP_BYTES = 1 << 20
"""and most bytes of payload."""


class Lane:
    """Ready messages of one priority, the lowest id first.

    What is published goes to the end of a line: a plain message as its bare payload, with its id kept in a span beside the line, so that
    publishing and taking many costs next to nothing and a million messages take little room. What comes back (put back, a lease
    or a delay over) waits in a heap by id: whoever has the lower id, head of the line or top of the heap, is first.

    When payloads were put on disk, a shelf stands behind the line, and behind the shelf the tail, a lane that takes what is published.
    While `waiting` says so, `refill` is to be called when the line ran out.
    """

    __slots__ = ("_gone", "_line", "_returned", "_shelf", "_spans", "_tail", "_whole", "last", "priority")

    def __init__(self, priority: int) -> None:
        self.priority = priority
        self._shelf = _NO_SHELF
        self._tail: Lane | None = None
        self._line: deque[bytes | Message] = deque()
        self._spans: deque[Span] = deque()
        self._returned: list[tuple[int, Message]] = []
        self.last = 0  # the highest id in the line
        self._whole = 0  # entries of the line that are a Message
        self._gone = 0  # messages in the line or the heap that are gone

    def __len__(self) -> int:
        behind = 0 if self._tail is None else len(self._shelf) + len(self._tail)
        return len(self._line) + len(self._returned) + behind - self._gone

    @property
    def returned(self) -> int:
        """How many messages are in the heap, with those that are gone."""
        return len(self._returned)

    @property
    def waiting(self) -> bool:
        """Whether there may be more behind the line."""
        return self._tail is not None

    def extend(self, first: int, payloads: Sequence[bytes], now: int) -> None:
        """Add plain messages with the ids `first`, `first` + 1 and so on, all above every id so far."""
        if self._tail is not None:
            self._tail.extend(first, payloads, now)
            return
        self._line.extend(payloads)
        self.last = first + len(payloads) - 1
        if self._spans:
            last = self._spans[-1]
            if last.published == now and last.first + last.count == first:
                last.count += len(payloads)
                return
        self._spans.append(Span(first, now, self.priority, len(payloads)))

    def append(self, number: int, payload: bytes, now: int) -> None:
        """Add one plain message, with an id above every id so far."""
        lane = self if self._tail is None else self._tail
        lane._line.append(payload)  # noqa: SLF001  # another of us
        lane.last = number
        spans = lane._spans  # noqa: SLF001  # as above
        if spans:
            last = spans[-1]
            if last.published == now and last.first + last.count == number:
                last.count += 1
                return
        spans.append(Span(number, now, lane.priority, 1))

    def add(self, message: Message) -> None:
        """Add a message at its place."""
        if self._tail is not None:
            if message.id > self._tail.last:
                self._tail.add(message)
            else:
                heappush(self._returned, (message.id, message))
        elif self._line and message.id < self.last:
            heappush(self._returned, (message.id, message))
        else:
            self._line.append(message)
            self.last = message.id
            self._whole += 1

    def discard(self, message: Message) -> None:
        """Remove a message from somewhere in the middle."""
        message.gone = True
        self._gone += 1
        if self._gone > len(self) + 64:
            self.sweep()

    def take(self, count: int, entries: list[bytes | Message], spans: list[Span]) -> int:
        """Move up to `count` messages to the end of `entries`, and what tells the ids of the plain ones to `spans`.

        Returns how many of them are not plain.
        """
        if self._whole or self._returned:
            return self._take_singly(count, entries, spans)
        line = self._line
        if not line:
            return 0
        if count >= len(line):
            entries.extend(line)
            spans.extend(self._spans)
            line.clear()
            self._spans.clear()
            return 0
        popleft = line.popleft
        if count == 1:
            entries.append(popleft())
        else:
            entries += [popleft() for _ in range(count)]
        span = self._spans[0]
        while count >= span.count:
            spans.append(self._spans.popleft())
            count -= span.count
            span = self._spans[0]
        if count:
            spans.append(cut_first(self._spans, count))
        return 0

    def _take_singly(self, count: int, entries: list[bytes | Message], spans: list[Span]) -> int:
        whole = 0
        while count and (self._line or (self._returned and self._tail is None)):
            entry = self._pop(spans)
            if isinstance(entry, Message):
                if entry.gone:
                    self._gone -= 1
                    continue
                whole += 1
            entries.append(entry)
            count -= 1
        return whole

    def _pop(self, spans: list[Span]) -> bytes | Message:
        if self._returned and self._returned[0][0] < self._head_id():
            return heappop(self._returned)[1]
        entry = self._line.popleft()
        if isinstance(entry, Message):
            self._whole -= 1
            return entry
        spans.append(cut_first(self._spans, 1))
        return entry

    def _head_id(self) -> int:
        """The lowest id in the line, or NEVER."""
        if not self._line:
            return NEVER
        head = self._line[0]
        return head.id if isinstance(head, Message) else self._spans[0].first

    def in_order(self, count: int) -> Iterator[Message]:
        """The first `count` messages, which stay; of those on the shelf the payloads are PAGED."""
        returned = (message for _, message in nsmallest(count + self._gone, self._returned))
        ordered = merge(self._in_line(), returned, key=attrgetter("id"))
        return islice((message for message in ordered if not message.gone), count)

    def _in_line(self) -> Iterator[Message]:
        yield from unpack(self._line, self._spans)
        if self._tail is not None:
            yield from self._shelf
            yield from self._tail.in_order(len(self._tail))

    def oldest(self) -> int:
        """The earliest publish, in Unix milliseconds, or NEVER."""
        plain = (span.published for span in islice(self._spans, 1))
        whole = (message.published for message in self.whole())
        behind = () if self._tail is None else (*self._shelf.first_published(), self._tail.oldest())
        return min(chain(plain, whole, behind), default=NEVER)

    def oldest_of(self, most: int) -> int:
        """The same, of those with the lowest ids, about: no more than `most` are looked at in each of the places where a message can be."""
        if not self._whole and not self._returned and self._tail is None:
            return self._spans[0].published if self._spans else NEVER  # nearly always
        plain = (span.published for span in islice(self._spans, 1))
        line = islice(self._line, most) if self._whole else ()
        entries = chain(line, map(itemgetter(1), islice(self._returned, most)))
        whole = (entry.published for entry in entries if isinstance(entry, Message) and not entry.gone)
        behind = () if self._tail is None else (*self._shelf.published(most), self._tail.oldest_of(most))
        return min(chain(plain, whole, behind), default=NEVER)

    def whole(self) -> list[Message]:
        """The messages that are not plain."""
        found: list[Message] = list(map(itemgetter(1), self._returned))
        if self._whole == len(self._line):
            found += self._line  # type: ignore[arg-type]  # none of them is a payload
        elif self._whole:
            found += [entry for entry in self._line if isinstance(entry, Message)]
        if self._tail is not None:
            found += self._shelf.whole()
            found += self._tail.whole()
        return [message for message in found if not message.gone] if self._gone else found

    # What is on disk

    def page(self, below: int) -> int:
        """Put plain messages with ids below this, but for the first few of all, on the shelf; return the bytes of their payloads."""
        if self._tail is None:
            kept = self._kept()
            if len(self._line) in (kept, self._whole):
                return 0
            self._shelf = Shelf()
            self._tail = Lane(self.priority)
            self._tail.take_over(self, kept)
        return self._tail.shelve(self._shelf, below)

    def _kept(self) -> int:
        """How many entries of the line stay in memory."""
        count = size = 0
        for entry in islice(self._line, KEEP):
            size += 0 if isinstance(entry, Message) else len(entry)
            if size > KEEP_BYTES:
                break
            count += 1
        return count

    def take_over(self, other: Lane, skip: int) -> None:
        """Become what another line is but for its first `skip` entries, which stay there."""
        head, head_spans, whole = deque[bytes | Message](), deque[Span](), 0
        line, spans, all_whole = other.replace(head, head_spans, 0)
        self.replace(line, spans, all_whole)
        self.last = other.last
        while len(head) < skip and line:
            if isinstance(line[0], Message):
                head.append(line.popleft())
                whole += 1
            else:
                span = cut_first(spans, skip - len(head))
                head_spans.append(span)
                head.extend([line.popleft() for _ in range(span.count)])
        self._whole -= whole
        other.replace(head, head_spans, whole)

    def replace(self, line: deque[bytes | Message], spans: deque[Span], whole: int) -> tuple[deque[bytes | Message], deque[Span], int]:
        """Give the line, its spans and how many of its entries are not plain, and have these instead."""
        old = self._line, self._spans, self._whole
        self._line, self._spans, self._whole = line, spans, whole
        return old

    def shelve(self, shelf: Shelf, below: int) -> int:
        """Move the line's messages with ids below this to the end of a shelf; return the bytes of payloads that are dropped with it."""
        rest, rest_spans, rest_whole = self._cut_end(below)
        line, spans, whole = self.replace(rest, rest_spans, rest_whole)
        if whole == rest_whole:
            shelf.extend(spans, len(line))
            return sum(map(len, line))  # type: ignore[arg-type]  # none of them is a Message
        size = 0
        for kind, run in groupby(line, type):
            entries = list(run)
            if kind is Message:
                shelf.extend(entries, len(entries))  # type: ignore[arg-type]  # kind says so
                continue
            size += sum(map(len, entries))  # type: ignore[arg-type]  # as above
            left = len(entries)
            while left:
                span = cut_first(spans, left)
                shelf.extend((span,), span.count)
                left -= span.count
        return size

    def _cut_end(self, below: int) -> tuple[deque[bytes | Message], deque[Span], int]:
        """Take what has ids not below this from the end of the line."""
        line, spans = self._line, self._spans
        rest, rest_spans, whole = deque[bytes | Message](), deque[Span](), 0
        while line:
            last = line[-1]
            if isinstance(last, Message):
                if last.id < below:
                    break
                rest.appendleft(line.pop())
                whole += 1
                continue
            span = spans[-1]
            keep = min(max(below - span.first, 0), span.count)
            if keep == span.count:
                break
            rest.extendleft([line.pop() for _ in range(span.count - keep)])
            rest_spans.extendleft(cut([span], keep, span.count))
            if keep:
                spans[-1] = Span(span.first, span.published, span.priority, keep)
                break
            spans.pop()
        return rest, rest_spans, whole

    def refill(self, paging: Paging) -> None:
        """Bring what is next into the line, which ran out."""
        if self._shelf:
            self._whole += self._shelf.pull(paging, self._line, self._spans)
        elif self._tail is not None:
            self.replace(*self._tail.replace(self._line, self._spans, 0))
            self.last = self._tail.last
            self._shelf, self._tail = _NO_SHELF, None

    def plain_since(self, first: int) -> list[Plain]:
        """The plain messages with ids from `first` on, in order, without payloads where these are on the shelf."""
        found: list[Plain] = []
        if spans := since(self._spans, first):
            line = [entry for entry in self._line if isinstance(entry, bytes)] if self._whole else cast("deque[bytes]", self._line)
            found.append((spans, list(islice(line, len(line) - sum([span.count for span in spans]), None))))
        if self._tail is not None:
            if shelved := self._shelf.plain_since(first):
                found.append((shelved, None))
            found += self._tail.plain_since(first)
        return found

    def load(self, plain: Iterable[Plain], messages: Iterable[Message]) -> int:
        """Fill an empty lane, from both in the order of their ids; return the bytes of payloads that are given but not kept.

        Spans without payloads go to the shelf, and so does, up to the last of them, all that follows the first.
        """
        parts = list(each(plain))
        paged = [span.first for span, payloads in parts if payloads is None]
        shelved = range(paged[0], paged[-1] + 1) if paged else range(0)
        size = 0
        none: Sequence[bytes] | None = None
        spans = ((span.first, span, payloads) for span, payloads in parts)
        ordered = merge(spans, ((message.id, message, none) for message in messages), key=itemgetter(0))
        for first, item, payloads in cast("Iterator[tuple[int, Span | Message, Sequence[bytes] | None]]", ordered):
            if first in shelved:
                if self._tail is None:
                    self._shelf, self._tail = Shelf(), Lane(self.priority)
                count = 1 if isinstance(item, Message) else item.count
                self._shelf.extend((item,), count)
                self._tail.last = first + count - 1
                size += sum(map(len, payloads or ()))
            elif isinstance(item, Message):
                self.add(item)
            else:
                self.extend(first, payloads or (), item.published)
        return size

    def sweep(self) -> None:
        """Drop the entries of messages that are gone."""
        self._line = deque(entry for entry in self._line if isinstance(entry, bytes) or not entry.gone)
        self._returned = sorted(item for item in self._returned if not item[1].gone)
        self._whole = sum(isinstance(entry, Message) for entry in self._line)
        self._gone = 0
        if self._tail is not None:
            self._shelf.sweep()
            self._tail.sweep()

    def clear(self) -> None:
        """Remove everything."""
        self._line.clear()
        self._spans.clear()
        self._returned.clear()
        self._shelf, self._tail = _NO_SHELF, None
        self._whole = self._gone = 0


_NO_SHELF = Shelf()
"""Of the lanes that have none; it stays empty."""
