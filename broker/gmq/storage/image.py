"""What records make of a queue: its state, as plain data, from which a `Queue` is made when all records have been read.

Records are applied in the order in which they were written. Some may be missing (damage), and some may come that are older than what is
there already (a queue's file is newer than the journal's first records): each says what is, not what changes, so the last one counts.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

from msgspec import Struct

from gmq.message import DEFAULT_PRIORITY, KEY_MEMORY, PAGED, Message, Plain, QueuePolicy, Span
from gmq.storage.records import Add, Row, State, message_of, pairs

Payloads = Sequence[bytes | None]
"""Payloads of a record; None for one that is damaged or not there."""


class Run(Struct, gc=False):
    """Plain messages with consecutive ids; `payloads` is None where they are in the queue's file."""

    first: int
    count: int
    published: int
    payloads: Sequence[bytes] | None

    def part(self, first: int, stop: int) -> Run:
        """Those with ids from `first` to before `stop`."""
        payloads = None if self.payloads is None else self.payloads[first - self.first : stop - self.first]
        return Run(first, stop - first, self.published, payloads)


class Runs:
    """Plain messages by id."""

    def __init__(self) -> None:
        self._runs: list[Run] = []  # by first id; some are empty
        self._firsts: list[int] = []

    def add(self, run: Run) -> None:
        """Add messages, in the place of those with the same ids."""
        if self._runs and run.first < self._end():
            self.remove(run.first, run.count)
            at, stop = bisect_left(self._firsts, run.first), bisect_left(self._firsts, run.first + run.count)
            self._runs[at:stop] = [run]  # what is empty now must not stand among its ids
            self._firsts[at:stop] = [run.first]
        else:
            self._runs.append(run)
            self._firsts.append(run.first)

    def _end(self) -> int:
        last = self._runs[-1]
        return last.first + last.count

    def remove(self, first: int, count: int) -> list[Run]:
        """Remove the messages with these ids; return what there was of them."""
        stop = first + count
        at = max(0, bisect_right(self._firsts, first) - 1)
        removed: list[Run] = []
        while at < len(self._runs) and self._firsts[at] < stop:
            run = self._runs[at]
            end = run.first + run.count
            low, high = max(first, run.first), min(stop, end)
            if low < high:
                removed.append(run.part(low, high))
                if high < end:
                    rest = run.part(high, end)
                    if low == run.first:  # the head of it goes, as nearly always
                        self._runs[at] = rest
                        self._firsts[at] = rest.first
                        break
                    self._runs.insert(at + 1, rest)
                    self._firsts.insert(at + 1, rest.first)
                self._runs[at] = run.part(run.first, low)
            at += 1
        return removed

    def __iter__(self) -> Iterator[Run]:
        return (run for run in self._runs if run.count)

    def clear(self) -> None:
        """Remove all."""
        self._runs.clear()
        self._firsts.clear()


class Image:
    """A queue as the records tell. `through` is the number of the journal's first record that its file does not know of."""

    def __init__(self, number: int, name: str | None = None) -> None:
        self.number = number
        self.name = name  # None where no record told it
        self.through = 0
        self.next_id = 1
        self.policy: QueuePolicy | None = None
        self.plain = Runs()
        self.whole: dict[int, Message] = {}
        self.keys: dict[str, tuple[int, bytes, int]] = {}
        self.below = 0  # ids from here on are not in the queue's file
        self.returned: set[int] = set()  # messages that were gone and are back: the file has them, and will have that they are gone
        self.touched: set[int] = set()  # messages that the journal has more to say about than the file
        self.removed: list[int] = []  # spans of ids in the file that are gone according to the journal
        self.new_keys = 0
        self.changed = False

    def filed(self) -> None:
        """The queue's file has been read; what comes now is from the journal."""
        self.below = self.next_id
        self.touched.clear()
        self.returned.clear()
        self.removed.clear()
        self.new_keys = 0
        self.changed = False

    def publish(self, first: int, published: int, payloads: Payloads | None, count: int, keys: Sequence[str] | None) -> None:
        """Plain messages; `payloads` is None where they stay in the queue's file."""
        self.next_id = max(self.next_id, first + count)
        for number in range(first, first + count) if self.whole else ():
            self.whole.pop(number, None)
        if payloads is None:
            self.plain.add(Run(first, count, published, None))
            return
        for start, stop in stretches(payloads):
            self.plain.add(Run(first + start, stop - start, published, payloads[start:stop]))  # type: ignore[arg-type]  # none is None
        for number, (key, payload) in enumerate(zip(keys or (), payloads, strict=False), first):
            if payload is not None:
                self._remember(key, number, payload, published)

    def add(self, record: Add, payloads: Payloads | None) -> None:
        """Messages with all that belongs to them."""
        for index, row in enumerate(record.rows):
            payload = PAGED if payloads is None else payloads[index]
            self.next_id = max(self.next_id, row.id + 1)
            if payload is None:
                continue
            self._put(row, payload)
            self.touched.add(row.id)
            if row.id < self.below:
                self.returned.add(row.id)
            if record.keys is not None and payload is not PAGED:
                self._remember(record.keys[index], row.id, payload, row.published)

    def _put(self, row: Row, payload: bytes) -> None:
        self.plain.remove(row.id, 1)
        self.whole.pop(row.id, None)
        self.whole[row.id] = message_of(row, self.number, payload)

    def _remember(self, key: str, number: int, payload: bytes, published: int) -> None:
        self.new_keys += 1
        self.keys.pop(key, None)
        self.keys[key] = (number, blake2b(payload, digest_size=16).digest(), published + KEY_MEMORY)

    def remove(self, spans: Sequence[int]) -> None:
        """Messages are gone."""
        for first, count in pairs(spans):
            self.next_id = max(self.next_id, first + count)
            self.plain.remove(first, count)
            if first < self.below:
                self.removed += (first, min(count, self.below - first))
            if self.whole:
                for number in range(first, first + count):
                    self.whole.pop(number, None)
                    self.touched.discard(number)
                    self.returned.discard(number)

    def state(self, record: State) -> None:
        """Messages in a new state; of those that are not there nothing is known but their state, and they stay away."""
        for due, token, deliveries, spans in record.groups:
            for first, count in pairs(spans):
                for run in self.plain.remove(first, count):
                    self._unpack(run)
                for number in range(first, first + count):
                    message = self.whole.get(number)
                    if message is not None:
                        self.touched.add(number)
                        message.due = due
                        message.deliveries = deliveries
                        message.receipt = None if token is None else f"{self.number:x}-{number:x}-{token}"

    def _unpack(self, run: Run) -> None:
        payloads = [PAGED] * run.count if run.payloads is None else run.payloads
        for number, payload in enumerate(payloads, run.first):
            self.whole[number] = Message(number, payload, run.published, DEFAULT_PRIORITY)

    def remember(self, keys: Iterable[tuple[str, int, bytes, int]]) -> None:
        """Deduplication keys."""
        for key, number, digest, until in keys:
            self.new_keys += 1
            self.keys.pop(key, None)
            self.keys[key] = (number, digest, until)

    def clear(self) -> None:
        """All messages are gone."""
        self.plain.clear()
        self.whole.clear()

    def spans(self) -> Iterator[Plain]:
        """The plain messages, as a queue is loaded with them."""
        return (((Span(run.first, run.published, DEFAULT_PRIORITY, run.count),), run.payloads) for run in self.plain)

    def remembered(self) -> list[tuple[str, int, bytes, int]]:
        """The keys, in the order in which they will be forgotten."""
        return sorted(((key, *known) for key, known in self.keys.items()), key=lambda item: item[3])


def stretches(payloads: Payloads) -> Iterator[tuple[int, int]]:
    """The places from which and before which nothing is missing."""
    start = 0
    for place, payload in enumerate(payloads):
        if payload is None:
            if start < place:
                yield start, place
            start = place + 1
    if start < len(payloads):
        yield start, len(payloads)
