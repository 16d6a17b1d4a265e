"""A disk for queues that is a dictionary: it records what they tell, gives payloads back, and can replay it all."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

from gmq.keys import digest_of
from gmq.message import KEY_MEMORY, PAGED, Message, Plain, Span, Taken
from gmq.queue import Queue


class Disk:
    """The recorder and the pages of one queue. `rows` is each message in its recorded state, `log` the names of what was told."""

    def __init__(self) -> None:
        self.rows: dict[int, Message] = {}
        self.plain: set[int] = set()
        self.keys: list[tuple[str, int, bytes, int]] = []
        self.damaged: set[int] = set()
        self.log: list[str] = []
        self.reads = 0

    # As recorder

    def published(self, queue: Queue, first: int, payloads: Sequence[bytes], now: int, keys: Sequence[str] | None) -> None:
        assert payloads
        self.log.append("published")
        self.rows.update({number: Message(number, payload, now) for number, payload in enumerate(payloads, first)})
        self.plain.update(range(first, first + len(payloads)))
        self._remember(keys, [self.rows[first + place] for place in range(len(payloads))])

    def added(self, queue: Queue, messages: Sequence[Message], keys: Sequence[str] | None) -> None:
        assert messages
        self.log.append("added")
        for message in messages:
            assert message.id not in self.rows, "a message was added twice"
            assert message.payload is not PAGED
            assert not message.gone
            self.rows[message.id] = copy(message)
        self._remember(keys, messages)

    def _remember(self, keys: Sequence[str] | None, messages: Sequence[Message]) -> None:
        for key, message in zip(keys or (), messages, strict=keys is not None):
            self.keys = [known for known in self.keys if known[0] != key]
            self.keys.append((key, message.id, digest_of(message.payload), message.published + KEY_MEMORY))

    def taken(self, queue: Queue, taken: Taken) -> None:
        self.log.append("taken")
        self._remove([message.id for message in taken.messages()])

    def changed(self, queue: Queue, messages: Sequence[Message]) -> None:
        assert messages
        self.log.append("changed")
        for message in messages:
            row = self.rows[message.id]
            row.due, row.receipt, row.deliveries = message.due, message.receipt, message.deliveries
            self.plain.discard(message.id)

    def removed(self, queue: Queue, ids: Sequence[int]) -> None:
        assert ids
        self.log.append("removed")
        self._remove(ids)

    def _remove(self, ids: Sequence[int]) -> None:
        for number in ids:
            del self.rows[number]
            self.plain.discard(number)

    def cleared(self, queue: Queue) -> None:
        self.log.append("cleared")
        self.rows.clear()
        self.plain.clear()

    def policy_set(self, queue: Queue) -> None:
        self.log.append("policy_set")

    # As pages

    def load(self, ids: Sequence[int]) -> list[bytes | None]:
        self.reads += 1
        return [None if number in self.damaged else self.rows[number].payload for number in ids]

    def size(self, first: int, count: int) -> int:
        return sum(self.length(number) for number in range(first, first + count))

    def length(self, id: int) -> int:  # noqa: A002  # the interface's word
        return len(self.rows[id].payload)

    # As what recovery finds

    def found(self, paged: range) -> tuple[list[Plain], list[Message]]:
        """What `Queue.load` wants; the payloads with ids in `paged` are not in memory."""
        plain: list[Plain] = []
        for number in sorted(self.plain):
            row = self.rows[number]
            plain.append(((Span(number, row.published, row.priority, 1),), None if number in paged else [row.payload]))
        whole = [copy(row) for number, row in self.rows.items() if number not in self.plain]
        for message in whole:
            if message.id in paged:
                message.payload = PAGED
        return plain, whole
