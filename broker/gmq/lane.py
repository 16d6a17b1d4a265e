"""The ready messages of one priority."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush, merge, nsmallest
from itertools import chain, islice

from gmq.message import NEVER, Message, Span, unpack


class Lane:
    """Ready messages of one priority, the lowest id first.

    What is published goes to the end of a line: a plain message as its bare payload, with its id kept in a span beside the line, so that
    publishing and taking many costs next to nothing and a million messages take little room. What comes back (put back, a lease
    or a delay over) waits in a heap by id: whoever has the lower id, head of the line or top of the heap, is first.
    """

    __slots__ = ("_gone", "_last", "_line", "_returned", "_spans", "_whole", "priority")

    def __init__(self, priority: int) -> None:
        self.priority = priority
        self._line: deque[bytes | Message] = deque()
        self._spans: deque[Span] = deque()
        self._returned: list[tuple[int, Message]] = []
        self._last = 0  # the highest id in the line
        self._whole = 0  # entries of the line that are a Message
        self._gone = 0  # messages in the line or the heap that are gone

    def __len__(self) -> int:
        return len(self._line) + len(self._returned) - self._gone

    def extend(self, first: int, payloads: Sequence[bytes], now: int) -> None:
        """Add plain messages with the ids `first`, `first` + 1 and so on, all above every id so far."""
        self._line.extend(payloads)
        self._last = first + len(payloads) - 1
        if self._spans:
            last = self._spans[-1]
            if last.published == now and last.first + last.count == first:
                last.count += len(payloads)
                return
        self._spans.append(Span(first, now, self.priority, len(payloads)))

    def add(self, message: Message) -> None:
        """Add a message at its place."""
        if self._line and message.id < self._last:
            heappush(self._returned, (message.id, message))
            return
        self._line.append(message)
        self._last = message.id
        self._whole += 1

    def discard(self, message: Message) -> None:
        """Remove a message from somewhere in the middle."""
        message.gone = True
        self._gone += 1
        if self._gone > len(self) + 64:
            self._sweep()

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
        if span.count > count:  # nearly always
            spans.append(Span(span.first, span.published, span.priority, count))
            span.first += count
            span.count -= count
            return 0
        while count:
            span = self._spans[0]
            part = min(count, span.count)
            spans.append(self._cut(span, part))
            count -= part
        return 0

    def _cut(self, span: Span, count: int) -> Span:
        """Take the first `count` ids from the head span of the line."""
        if count == span.count:
            return self._spans.popleft()
        cut = Span(span.first, span.published, span.priority, count)
        span.first += count
        span.count -= count
        return cut

    def _take_singly(self, count: int, entries: list[bytes | Message], spans: list[Span]) -> int:
        whole = 0
        while count and (self._line or self._returned):
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
        spans.append(self._cut(self._spans[0], 1))
        return entry

    def _head_id(self) -> int:
        """The lowest id in the line, or NEVER."""
        if not self._line:
            return NEVER
        head = self._line[0]
        return head.id if isinstance(head, Message) else self._spans[0].first

    def peek(self, count: int) -> list[Message]:
        """The first `count` messages, which stay."""
        returned = (message for _, message in nsmallest(count + self._gone, self._returned))
        ordered = merge(unpack(self._line, self._spans), returned, key=lambda message: message.id)
        return list(islice((message for message in ordered if not message.gone), count))

    def oldest(self) -> int:
        """The earliest publish, in Unix milliseconds, or NEVER."""
        plain = (span.published for span in islice(self._spans, 1))
        return min(chain(plain, (message.published for message in self._messages())), default=NEVER)

    def _messages(self) -> Iterator[Message]:
        """The messages that are not plain."""
        if self._whole:
            yield from (entry for entry in self._line if isinstance(entry, Message) and not entry.gone)
        yield from (message for _, message in self._returned if not message.gone)

    def _sweep(self) -> None:
        """Drop the entries of messages that are gone."""
        self._line = deque(entry for entry in self._line if isinstance(entry, bytes) or not entry.gone)
        self._returned = sorted(item for item in self._returned if not item[1].gone)
        self._whole = sum(isinstance(entry, Message) for entry in self._line)
        self._gone = 0

    def clear(self) -> None:
        """Remove everything."""
        self._line.clear()
        self._spans.clear()
        self._returned.clear()
        self._whole = self._gone = 0
