"""The part of a lane whose payloads are on disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import cast

from gmq.message import PAGED, Message, Span, cut, cut_first
from gmq.paging import Paging

PIECE = 1000
"""Most messages that are brought into memory at once,"""
PIECE_BYTES = 256 << 10
"""and after how many bytes of payload it stops; one message in any case."""


class Shelf:
    """Messages in the order of their ids: plain ones as bare spans, the others as they are, whether their payloads are in memory or not."""

    __slots__ = ("_count", "_items")

    def __init__(self) -> None:
        self._items: deque[Span | Message] = deque()
        self._count = 0

    def __len__(self) -> int:
        """How many messages, with those that are gone."""
        return self._count

    def extend(self, items: Iterable[Span | Message], count: int) -> None:
        """Add `count` messages at the end."""
        self._items.extend(items)
        self._count += count

    def pull(self, paging: Paging, line: deque[bytes | Message], spans: deque[Span]) -> int:
        """Move the next few messages to the end of `line` and `spans`; return how many of them are not plain."""
        pulled, plain = self._next(paging)
        payloads = paging.fetch(ids_of(plain)) if plain else []
        if len(plain) == len(pulled) and None not in payloads:
            line.extend(cast("list[bytes]", payloads))
            spans.extend(plain)
            return 0  # nearly always
        whole = place = 0
        for item in pulled:
            if isinstance(item, Message):
                line.append(item)
                whole += 1
                continue
            part = payloads[place : place + item.count]
            place += item.count
            good = [payload for payload in part if payload is not None]
            line.extend(good)
            if len(good) == item.count:
                spans.append(item)
                continue
            for offset, payload in enumerate(part):
                if payload is not None:
                    spans.extend(cut([item], offset, offset + 1))
        return whole

    def _next(self, paging: Paging) -> tuple[list[Span | Message], list[Span]]:
        """Remove the next few; and the plain ones among them once more."""
        items = self._items
        spans, number, size = self._run(paging)
        for _ in spans:
            items.popleft()
        pulled: list[Span | Message] = [*spans]
        while items and number < PIECE and size < PIECE_BYTES:
            item = items[0]
            count = 1
            if isinstance(item, Message):
                pulled.append(items.popleft())
            else:
                count, more = self._fitting(paging, item, PIECE - number, PIECE_BYTES - size)
                size += more
                span = cut_first(cast("deque[Span]", items), count)
                pulled.append(span)
                spans.append(span)
            number += count
        self._count -= number
        return pulled, spans

    def _run(self, paging: Paging) -> tuple[list[Span], int, int]:
        """The first few spans, where their ids follow each other, as many as surely fit, and how many messages and bytes they have."""
        run: list[Span] = []
        count, end = 0, -1
        for item in self._items:
            if isinstance(item, Message) or (run and item.first != end) or count + item.count > PIECE:
                break
            run.append(item)
            count += item.count
            end = item.first + item.count
        if not run:
            return run, 0, 0
        first, size = run[0].first, paging.run_size(run[0].first, count)
        if size > PIECE_BYTES:
            del run[len(run) * PIECE_BYTES // size :]
            count = sum([span.count for span in run])
            size = paging.run_size(first, count)
        return (run, count, size) if size <= PIECE_BYTES else ([], 0, 0)

    @staticmethod
    def _fitting(paging: Paging, span: Span, most: int, most_bytes: int) -> tuple[int, int]:
        """How many messages of a span to pull, at least one, and their bytes."""
        count = min(span.count, most)
        size = paging.run_size(span.first, count)
        if size <= most_bytes:
            return count, size
        count = size = 0
        while count < span.count and count < most and size < most_bytes:
            size += paging.length(span.first + count)
            count += 1
        return count, size

    def __iter__(self) -> Iterator[Message]:
        """Each as a Message, payloads on disk as PAGED."""
        for item in self._items:
            if isinstance(item, Message):
                yield item
            else:
                for number in range(item.first, item.first + item.count):
                    yield Message(number, PAGED, item.published, item.priority)

    def whole(self) -> Iterator[Message]:
        """Those that are not plain."""
        return (item for item in self._items if isinstance(item, Message))

    def plain_since(self, first: int) -> list[Span]:
        """The plain ones with ids from `first` on."""
        found: list[Span] = []
        for item in reversed(self._items):
            if isinstance(item, Message):
                if item.id < first:
                    break
                continue
            if item.first < first:
                found += cut([item], first - item.first, item.count)
                break
            found.append(item)
        return found[::-1]

    def first_published(self) -> Iterator[int]:
        """When the first plain one was published, if there is one."""
        for item in self._items:
            if isinstance(item, Span):
                yield item.published
                return

    def published(self, most: int) -> Iterator[int]:
        """When the first `most` spans and messages were published."""
        return (item.published for item in islice(self._items, most) if isinstance(item, Span) or not item.gone)

    def sweep(self) -> None:
        """Drop the messages that are gone."""
        before = len(self._items)
        self._items = deque(item for item in self._items if isinstance(item, Span) or not item.gone)
        self._count -= before - len(self._items)


def ids_of(spans: Sequence[Span]) -> Sequence[int]:
    """The ids in spans; a range where there is no gap between them."""
    if not spans:
        return ()
    first, end = spans[0].first, spans[0].first
    for span in spans:
        if span.first != end:
            return [number for span in spans for number in range(span.first, span.first + span.count)]
        end += span.count
    return range(first, end)
