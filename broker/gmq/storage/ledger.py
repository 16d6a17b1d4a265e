"""What queues tell about their changes becomes records of the journal, and a note of what their files do not know yet."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Iterable, Sequence
from typing import Final

from gmq.message import NEVER, Message, QueuePolicy, Taken
from gmq.queue import Queue
from gmq.storage import records
from gmq.storage.journal import Journal
from gmq.storage.queuefile import QueueFile
from gmq.storage.records import Add, Clear, Create, Delete, Keys, Publish, Remove, Spread, State, pairs, spans_of, spans_of_ids, token_of

SLACK: Final = 1 << 20
"""Bytes of a queue's file that need not be of use."""
SURPLUS: Final = 1.4
"""How many times what is alive in it a queue's file may be; while it is written anew the new one is there too, and 2.5 is the promise."""
TOGETHER: Final = 1000
"""Messages of one record, at most, where they come one by one."""
RECORD: Final = 64
"""Bytes that a message, or what is known of one, takes in the journal beside a payload, about."""
ROW: Final = 16
"""Bytes that a message takes in a file beside its payload, at least."""


class Filed:
    """What of a queue is in its file, and what has changed since.

    Messages with ids from `below` on are not in the file, and neither are those in `unfiled`. `touched` are messages with a state that
    may not be what the file says, `removed` the spans of ids in the file that are gone, `keys` the number of new keys. `anew` tells that
    the file is no good base: the next checkpoint writes all. `policy` is the one that was set over the wire.
    """

    __slots__ = ("anew", "below", "changed", "file", "keys", "policy", "removed", "touched", "unfiled")

    def __init__(self, file: QueueFile | None = None, below: int = 0, policy: QueuePolicy | None = None) -> None:
        self.file = file
        self.below = below
        self.policy = policy
        self.anew = file is None
        self.changed = False
        self.unfiled: set[int] = set()
        self.touched: dict[int, Message] = {}
        self.removed: list[int] = []
        self.keys = 0

    def remove(self, spans: Sequence[int]) -> None:
        """Note what is gone."""
        self.changed = True
        below, touched, unfiled = self.below, self.touched, self.unfiled
        for first, count in pairs(spans):
            if first < below:  # in the file, or in the one that is being written
                removed, filed = self.removed, min(count, below - first)
                if removed and removed[-2] + removed[-1] == first:
                    removed[-1] += filed
                else:
                    removed += (first, filed)
            if touched or unfiled:
                for number in range(first, first + count):
                    touched.pop(number, None)
                    unfiled.discard(number)

    def touch(self, messages: Sequence[Message]) -> None:
        """Note messages with a new state."""
        self.changed = True
        self.touched.update([(message.id, message) for message in messages])

    def start_over(self) -> None:
        """Note nothing but that everything is to be written."""
        self.anew = self.changed = True
        if self.file is None:
            self.below = 0  # nothing is in a file
        self.touched.clear()
        self.removed.clear()
        self.unfiled.clear()

    def weight(self, queue: Queue) -> int:
        """How many bytes about it takes to record the queue once more, see `Ledger.carry`."""
        if self.anew and self.file is not None:
            return NEVER
        return queue.bytes + RECORD * (2 + len(self.removed) // 2 + len(self.touched) + self.keys + queue.messages)

    def has_surplus(self, queue: Queue) -> bool:
        """Whether too much of the file is of no use."""
        return self.file is not None and self.file.size > SLACK + SURPLUS * (queue.bytes + ROW * queue.messages)


class Ledger:
    """The recorder of every queue of a storage.

    Plain messages that come one by one, as they do when there are many queues, wait for each other: they become one record, when there
    is something else to record or the commit is asked for.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._queues: list[int] = []  # of the messages that wait,
        self._first: list[int] = []  # their ids,
        self._payloads: list[bytes] = []  # and they themselves
        self._published = 0
        self.filed: dict[int, Filed] = {}
        self.deleted: list[QueueFile] = []  # files of queues that are gone
        self.surplus: set[int] = set()  # numbers of queues with files that are to be written anew

    def commit(self) -> Future[None] | None:
        """The commit that makes all durable that was recorded; None where it is."""
        if self._queues:
            self.flush()
        return self._journal.commit()

    def flush(self) -> None:
        """Record the messages that wait for each other."""
        queues, first, payloads = self._queues, self._first, self._payloads
        if not queues:
            return
        self._queues, self._first, self._payloads = [], [], []
        lengths, checks = records.lengths_of(payloads), records.checks_of(payloads)
        if len(queues) == 1:
            fields = records.encode(Publish(queues[0], first[0], self._published, lengths, checks))
            self._journal.append(Publish.kind, fields, payloads, len(payloads[0]))
        else:
            fields = records.encode(Spread(queues, first, self._published, lengths, checks))
            self._journal.append(Spread.kind, fields, payloads, sum(map(len, payloads)))

    def _append(self, kind: int, fields: bytes, data: Sequence[bytes] = (), data_size: int = 0) -> None:
        if self._queues:
            self.flush()
        self._journal.append(kind, fields, data, data_size)

    def created(self, queue: Queue) -> None:
        """A new queue. Its name stands twice in the journal, so that damage to one record does not cost a whole queue its name."""
        filed = self.filed[queue.number] = Filed()
        filed.changed = True
        for _ in range(2):
            self._append(Create.kind, records.encode(Create(queue.number, queue.name, queue.next_id)))

    def carry(self, queue: Queue) -> None:
        """Record once more what the queue's file does not know: no older record is needed then. The next checkpoint does it again.

        Each record by itself leaves the queue as it is: the power may go in the middle of them. So a message that was gone and is back is
        not called gone before it is told anew.
        """
        number, filed = queue.number, self.filed[queue.number]
        filed.changed = True
        self._append(Create.kind, records.encode(Create(number, queue.name, queue.next_id, filed.policy)))
        if removed := records.spans_without(filed.removed, filed.unfiled):
            self._append(Remove.kind, records.encode(Remove(number, removed)))
        for group, _, payloads in records.grouped(queue.plain_since(filed.below), TOGETHER):
            if payloads is not None:
                publish = records.publish_of(number, group, payloads)
                self._append(Publish.kind, records.encode(publish), payloads, sum(map(len, payloads)))
        whole = queue.whole_messages() if filed.file is None else [message for message in filed.touched.values() if not message.gone]
        new = [message for message in whole if message.id >= filed.below or message.id in filed.unfiled]
        if new:
            self._append_rows(number, new, None, 0, [])
        if len(new) < len(whole):
            known = [message for message in whole if message.id < filed.below and message.id not in filed.unfiled]
            self._append(State.kind, records.encode(State(number, groups_of(known))))
        if keys := queue.remembered(None if filed.file is None else filed.keys):
            self._append(Keys.kind, records.encode(Keys(number, keys)))

    def deleted_queue(self, queue: Queue) -> None:
        """A queue is gone, with all that was in it."""
        filed = self.filed.pop(queue.number)
        self.surplus.discard(queue.number)
        if filed.file is not None:
            self.deleted.append(filed.file)
        self._append(Delete.kind, records.encode(Delete(queue.number, queue.next_id)))

    def moved(self, source: Queue, target: Queue, ids: Sequence[int], messages: Sequence[Message]) -> None:
        """Messages went from one queue to another: one record, so that they are never in none."""
        spans = spans_of_ids(ids)
        self._add(target, messages, None, source.number, spans)
        self.filed[source.number].remove(spans)
        self._consider(source)

    # What a queue tells, see gmq.recorder

    def published(self, queue: Queue, first: int, payloads: Sequence[bytes], now: int, keys: Sequence[str] | None) -> None:
        if len(payloads) == 1 and keys is None:
            if now != self._published or len(self._queues) >= TOGETHER:
                self.flush()
                self._published = now
            self._queues.append(queue.number)
            self._first.append(first)
            self._payloads.append(payloads[0])
        else:
            lengths, checks = records.lengths_of(payloads), records.checks_of(payloads)
            publish = Publish(queue.number, first, now, lengths, checks, None if keys is None else list(keys))
            self._append(Publish.kind, records.encode(publish), payloads, sum(map(len, payloads)))
        if keys is not None:
            self.filed[queue.number].keys += len(keys)

    def appended(self, queues: Sequence[Queue], ids: Sequence[int], payloads: Sequence[bytes], now: int) -> None:
        """Plain messages came, one to each of some queues."""
        if now != self._published or len(self._queues) >= TOGETHER:
            self.flush()
            self._published = now
        self._queues += [queue.number for queue in queues]
        self._first += ids
        self._payloads += payloads

    def added(self, queue: Queue, messages: Sequence[Message], keys: Sequence[str] | None) -> None:
        self._add(queue, messages, keys, 0, [])

    def _add(self, queue: Queue, messages: Sequence[Message], keys: Sequence[str] | None, source: int, removed: list[int]) -> None:
        self._append_rows(queue.number, messages, keys, source, removed)
        filed = self.filed[queue.number]
        filed.touch(messages)
        filed.unfiled.update(message.id for message in messages if message.id < filed.below)
        if keys is not None:
            filed.keys += len(keys)

    def _append_rows(self, number: int, messages: Sequence[Message], keys: Sequence[str] | None, source: int, removed: list[int]) -> None:
        rows = [records.row_of(message) for message in messages]
        payloads = [message.payload for message in messages]
        lengths, checks = records.lengths_of(payloads), records.checks_of(payloads)
        add = Add(number, rows, lengths, checks, None if keys is None else list(keys), source, removed)
        self._append(Add.kind, records.encode(add), payloads, sum(map(len, payloads)))

    def taken(self, queue: Queue, taken: Taken) -> None:
        spans = spans_of(taken.spans) if taken.packed else spans_of_ids(message.id for message in taken.messages())
        self._remove(queue, spans)

    def removed(self, queue: Queue, ids: Sequence[int]) -> None:
        self._remove(queue, spans_of_ids(ids))

    def _remove(self, queue: Queue, spans: list[int]) -> None:
        self._append(Remove.kind, records.encode(Remove(queue.number, spans)))
        self.filed[queue.number].remove(spans)
        self._consider(queue)

    def _consider(self, queue: Queue) -> None:
        filed = self.filed[queue.number]
        if filed.file is not None and filed.file.size > SLACK and filed.has_surplus(queue):
            self.surplus.add(queue.number)

    def changed(self, queue: Queue, messages: Sequence[Message]) -> None:
        self._append(State.kind, records.encode(State(queue.number, groups_of(messages))))
        self.filed[queue.number].touch(messages)

    def cleared(self, queue: Queue) -> None:
        self._append(Clear.kind, records.encode(Clear(queue.number)))
        self.filed[queue.number].start_over()
        self._consider(queue)

    def policy_set(self, queue: Queue) -> None:
        filed = self.filed[queue.number]
        filed.policy = queue.policy
        filed.changed = True
        self._append(Create.kind, records.encode(Create(queue.number, queue.name, queue.next_id, queue.policy)))


def groups_of(messages: Iterable[Message]) -> list[tuple[int, str | None, int, list[int]]]:
    """The states of messages, neighbours that are alike together."""
    groups: list[tuple[int, str | None, int, list[int]]] = []
    last: tuple[int, str | None, int] | None = None
    spans: list[int] = []
    end = -1
    for message in messages:
        number, receipt = message.id, message.receipt
        state = (message.due, None if receipt is None else token_of(receipt), message.deliveries)
        if state != last:
            spans = [number, 1]
            groups.append((*state, spans))
            last = state
        elif number == end:
            spans[-1] += 1
        else:
            spans += (number, 1)
        end = number + 1
    return groups
