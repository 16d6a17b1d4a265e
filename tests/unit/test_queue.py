"""The queue against a model of it: a plain list in which everything is looked up anew.

Half of the queues are on a disk, which is a dictionary here: payloads leave the memory at any time, and queues are built anew from it.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule
from hypothesis.stateful import multiple as several

from fake_disk import Disk
from gmq import lane, shelf
from gmq.message import KEY_MEMORY, NEVER, PAGED, GmqError, Message, Options, Plain, QueuePolicy, Usage, each
from gmq.queue import Queue

START = 1_700_000_000_000
LARGE = 1 << 30

milliseconds = st.sampled_from([1, 2, 5, 50, 1000, 30_000, 7 * 24 * 3600 * 1000])
priorities = st.integers(0, 9)
payloads = st.binary(max_size=6)


@dataclass
class Expected:
    """A message as the model knows it."""

    id: int
    payload: bytes
    priority: int
    published: int
    expires: int
    ready_at: int
    deliveries: int = 0
    receipt: str | None = None
    leased_until: int = 0


@dataclass
class Model:
    """What the queue should be."""

    policy: QueuePolicy
    messages: list[Expected] = field(default_factory=list)
    dead: list[Expected] = field(default_factory=list)
    keys: dict[str, tuple[int, bytes, int]] = field(default_factory=dict)
    expired: int = 0
    dropped: int = 0

    def advance(self, now: int) -> None:
        for message in list(self.messages):
            if message.receipt is not None and message.leased_until <= now:
                self.come_back(message, now, now)
            elif message.receipt is None and message.expires <= now:
                self.messages.remove(message)
                self.expired += 1
        self.keys = {key: known for key, known in self.keys.items() if known[2] > now}

    def come_back(self, message: Expected, ready_at: int, now: int) -> None:
        message.receipt = None
        message.ready_at = ready_at
        if self.policy.max_deliveries is not None and message.deliveries >= self.policy.max_deliveries:
            self.messages.remove(message)
            if self.policy.dead_letter is None:
                self.dropped += 1
            else:
                self.dead.append(message)
        elif message.expires <= now:
            self.messages.remove(message)
            self.expired += 1

    def ready(self, now: int) -> list[Expected]:
        found = [message for message in self.messages if message.receipt is None and message.ready_at <= now]
        return sorted(found, key=lambda message: (-message.priority, message.id))

    def leased(self, receipt: str) -> Expected | None:
        return next((message for message in self.messages if message.receipt == receipt), None)


class QueueMachine(RuleBasedStateMachine):
    """Every operation, in any order, while time moves."""

    receipts = Bundle("receipts")

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(lane, "KEEP", 1)  # so that few messages are a long queue
        self.patch.setattr(shelf, "PIECE", 3)
        self.patch.setattr(shelf, "PIECE_BYTES", 10)

    def teardown(self) -> None:
        self.patch.undo()

    @initialize(
        on_disk=st.booleans(),
        max_messages=st.sampled_from([None, 3, 8]),
        max_deliveries=st.sampled_from([None, 1, 2]),
        dead_letter=st.sampled_from([None, "dead"]),
        ttl=st.sampled_from([None, 0.05, 30.0]),
    )
    def open(
        self, *, on_disk: bool, max_messages: int | None, max_deliveries: int | None, dead_letter: str | None, ttl: float | None
    ) -> None:
        policy = QueuePolicy(max_messages=max_messages, max_deliveries=max_deliveries, dead_letter=dead_letter, ttl=ttl, lease=5.0)
        self.now = START
        self.disk = Disk() if on_disk else None
        self.build(policy)
        self.room = max_messages or 20
        self.ttl = None if ttl is None else int(ttl * 1000)
        self.model = Model(policy)
        self.tokens = count()
        self.last_id = 0

    def build(self, policy: QueuePolicy) -> None:
        self.usage = Usage()
        self.queue = Queue("orders", 1, 1, policy, self.now, self.usage, capacity=20, keys=4, recorder=self.disk, pages=self.disk)

    @rule(length=milliseconds)
    def wait(self, length: int) -> None:
        self.now += length
        self.model.advance(self.now)

    @rule(batch=st.lists(payloads, min_size=1, max_size=4))
    def publish_plain(self, batch: list[bytes]) -> None:
        self.publish(batch, None, Options())

    @rule(
        batch=st.lists(payloads, min_size=1, max_size=4),
        priority=priorities,
        delay=st.sampled_from([0, 5, 1000]),
        ttl=st.sampled_from([None, 6, 2000, 100_000]),
    )
    def publish_with_options(self, batch: list[bytes], priority: int, delay: int, ttl: int | None) -> None:
        options = Options(priority, delay, ttl)
        effective = self.ttl if ttl is None else ttl
        if effective is not None and effective <= delay:
            with pytest.raises(GmqError, match="above the delay"):
                self.queue.publish(batch, sum(map(len, batch)), options, self.now)
            return
        self.publish(batch, options, options)

    def publish(self, batch: list[bytes], options: Options | None, meant: Options) -> None:
        self.model.advance(self.now)
        if len(self.model.messages) + len(batch) > self.room:
            with pytest.raises(GmqError, match="may hold") as refused:
                self.queue.publish(batch, sum(map(len, batch)), options, self.now)
            assert refused.value.code == "queue_full"
            return
        ids = self.queue.publish(batch, sum(map(len, batch)), options, self.now)
        assert len(ids) == len(batch)
        for number, payload in zip(ids, batch, strict=True):
            self.expect(number, payload, meant)

    def expect(self, number: int, payload: bytes, options: Options) -> None:
        assert number > self.last_id, "ids have to increase"
        self.last_id = number
        ttl = self.ttl if options.ttl is None else options.ttl
        expires = NEVER if ttl is None else self.now + ttl
        self.model.messages.append(Expected(number, payload, options.priority, self.now, expires, self.now + options.delay))

    @rule(batch=st.lists(st.tuples(payloads, st.sampled_from("abcdef")), min_size=1, max_size=3))
    def publish_with_keys(self, batch: list[tuple[bytes, str]]) -> None:
        self.model.advance(self.now)
        options = Options(keys=[key for _, key in batch])
        known = {key: (number, payload) for key, (number, payload, _) in self.model.keys.items()}
        fresh: dict[str, bytes] = {}
        conflict = False
        for payload, key in batch:
            first = known[key][1] if key in known else fresh.setdefault(key, payload)
            conflict = conflict or first != payload
        full = bool(fresh) and len(self.model.messages) + len(fresh) > self.room
        if conflict or full or len(known) + len(fresh) > 4:
            with pytest.raises(GmqError) as refused:
                self.queue.publish([payload for payload, _ in batch], sum(len(payload) for payload, _ in batch), options, self.now)
            assert refused.value.code == ("key_conflict" if conflict else "queue_full" if full else "limit")
            return
        ids = self.queue.publish([payload for payload, _ in batch], sum(len(payload) for payload, _ in batch), options, self.now)
        for number, (payload, key) in zip(ids, batch, strict=True):
            if key not in self.model.keys:
                self.expect(number, payload, options)
                self.model.keys[key] = (number, payload, self.now + KEY_MEMORY)
            assert self.model.keys[key][0] == number, "a repeated key has to answer the first id"

    @rule(most=st.integers(1, 4), max_bytes=st.sampled_from([1, 8, LARGE]))
    def take(self, most: int, max_bytes: int) -> None:
        expected = self.expected(most, max_bytes)
        taken = self.queue.take(most, max_bytes, None, "", self.now)
        self.check(taken.messages(), expected)
        assert taken.receipts is None
        for message in expected:
            self.model.messages.remove(message)

    @rule(most=st.integers(1, 4), max_bytes=st.sampled_from([1, 8, LARGE]))
    def take_and_undo(self, most: int, max_bytes: int) -> None:
        expected = self.expected(most, max_bytes)
        taken = self.queue.take(most, max_bytes, None, "", self.now)
        self.check(taken.messages(), expected)
        self.queue.undo(taken, self.now)

    @rule(most=st.integers(1, 4), max_bytes=st.sampled_from([1, 8, LARGE]))
    def lease_and_undo(self, most: int, max_bytes: int) -> None:
        expected = self.expected(most, max_bytes)
        taken = self.queue.take(most, max_bytes, 1000, str(next(self.tokens)), self.now)
        self.check(taken.messages(), expected, leased=True)
        self.queue.undo(taken, self.now)
        assert self.queue.acknowledge(taken.receipts or (), self.now) == list(taken.receipts or ())

    @rule(target=receipts, most=st.integers(1, 4), max_bytes=st.sampled_from([1, 8, LARGE]), lease=milliseconds)
    def lease(self, most: int, max_bytes: int, lease: int) -> object:
        expected = self.expected(most, max_bytes)
        taken = self.queue.take(most, max_bytes, lease, str(next(self.tokens)), self.now)
        self.check(taken.messages(), expected, leased=True)
        for message, receipt in zip(expected, taken.receipts or (), strict=True):
            message.deliveries += 1
            message.receipt = receipt
            message.leased_until = self.now + lease
        return several(*(taken.receipts or ()))

    def expected(self, most: int, max_bytes: int) -> list[Expected]:
        self.model.advance(self.now)
        chosen: list[Expected] = []
        size = 0
        for message in self.model.ready(self.now)[:most]:
            size += len(message.payload)
            if chosen and size > max_bytes:
                break
            chosen.append(message)
        return chosen

    def check(self, got: list[Message], expected: list[Expected], *, leased: bool = False) -> None:
        seen = [(message.id, message.payload, message.priority, message.published, message.deliveries) for message in got]
        wanted = [(one.id, one.payload, one.priority, one.published, one.deliveries + leased) for one in expected]
        assert seen == wanted, "the wrong messages, or in the wrong order"

    @rule(receipt=consumes(receipts))
    def acknowledge(self, receipt: str) -> None:
        self.model.advance(self.now)
        message = self.model.leased(receipt)
        assert self.queue.acknowledge([receipt], self.now) == ([receipt] if message is None else [])
        assert self.queue.acknowledge([receipt], self.now) == [receipt], "a settled receipt has to be stale"
        if message is not None:
            self.model.messages.remove(message)

    @rule(receipt=receipts, delay=st.sampled_from([0, 0, 7, 40_000]))
    def put_back(self, receipt: str, delay: int) -> None:
        self.model.advance(self.now)
        message = self.model.leased(receipt)
        assert self.queue.put_back([receipt], delay, self.now) == ([receipt] if message is None else [])
        if message is not None:
            self.model.come_back(message, self.now + delay, self.now)

    @rule(receipt=receipts, lease=milliseconds)
    def extend(self, receipt: str, lease: int) -> None:
        self.model.advance(self.now)
        message = self.model.leased(receipt)
        assert self.queue.extend([receipt], lease, self.now) == ([receipt] if message is None else [])
        if message is not None:
            message.leased_until = self.now + lease

    @rule(most=st.integers(1, 5))
    def peek(self, most: int) -> None:
        self.model.advance(self.now)
        self.check(self.queue.peek(most, self.now), self.model.ready(self.now)[:most])

    @rule(most=st.integers(1, 6))
    def withdraw_and_restore(self, most: int) -> None:
        self.model.advance(self.now)
        withdrawn = self.queue.withdraw(most, self.now)
        ready = self.model.ready(self.now)
        delayed = sorted(
            (one for one in self.model.messages if one.receipt is None and one.ready_at > self.now), key=lambda one: (one.ready_at, one.id)
        )
        self.check([message for _, message in withdrawn], (ready + delayed)[:most])
        self.queue.restore(withdrawn, self.now)

    @precondition(lambda self: len(self.model.messages) > 6)
    @rule()
    def clear(self) -> None:
        self.model.advance(self.now)
        assert self.queue.clear(self.now) == len(self.model.messages)
        self.model.messages.clear()

    @rule(priority=priorities, payload=payloads, deliveries=st.integers(0, 3))
    def adopt(self, priority: int, payload: bytes, deliveries: int) -> None:
        assume(len(self.model.messages) < 25)
        self.model.advance(self.now)
        message = Message(7, payload, self.now, priority, deliveries)
        message = self.queue.adopt(message, self.now, self.now)
        self.last_id += 1
        assert message.id == self.last_id
        if self.disk is not None:
            self.disk.added(self.queue, [message], None)  # as the owner of the queue does
        self.model.messages.append(Expected(message.id, payload, priority, self.now, NEVER, self.now))

    @precondition(lambda self: self.disk is not None)
    @rule(lines=st.sampled_from([0.5, 0.9, 1]), messages=st.sampled_from([0.5, 1]))
    def page_out(self, lines: float, messages: float) -> None:
        self.queue.page_lines(round(lines * (self.last_id + 1)))
        self.queue.page_messages(self.queue.whole_messages(), round(messages * (self.last_id + 1)))

    @precondition(lambda self: self.disk is not None)
    @rule(first=st.sampled_from([0.3, 0.7, 0.95]))
    def look_at_the_end(self, first: float) -> None:
        start = round(first * self.last_id)
        seen = [number for span, _ in each(self.queue.plain_since(start)) for number in range(span.first, span.first + span.count)]
        everything = [number for span, _ in each(self.queue.plain_since(0)) for number in range(span.first, span.first + span.count)]
        assert seen == [number for number in everything if number >= start]

    @precondition(lambda self: self.disk is not None)
    @rule(start=st.sampled_from([0, 0.2, 0.6]), stop=st.sampled_from([0, 0.5, 1]))
    def recover(self, start: float, stop: float) -> None:
        """Build the queue anew from what was recorded; the payloads from `start` to `stop` stay on disk."""
        assert self.disk is not None
        paged = range(round(start * self.last_id), round(stop * self.last_id) + 1)
        plain, whole = self.disk.found(paged)
        self.reopen(plain, whole, list(self.disk.keys), self.queue.next_id)

    @precondition(lambda self: self.disk is not None)
    @rule()
    def go_on_from_a_snapshot(self) -> None:
        whole = [copy(message) for message in self.queue.whole_messages()]
        self.reopen(self.queue.plain_since(0), whole[::-1], self.queue.remembered(None), self.queue.next_id)

    def reopen(self, plain: list[Plain], whole: list[Message], keys: list[tuple[str, int, bytes, int]], next_id: int) -> None:
        for message in self.model.dead:
            assert self.disk is not None
            self.disk.rows.pop(message.id, None)  # the owner has moved it
        self.build(self.queue.policy)
        self.queue.load(plain, [one for one in whole if one.id not in {dead.id for dead in self.model.dead}], keys, next_id, self.now)
        self.model.dead.clear()
        self.model.expired = self.model.dropped = 0

    @invariant()
    def the_record_agrees(self) -> None:
        """What was recorded is what is there, in the same state but for what time does."""
        if not hasattr(self, "queue") or self.disk is None:
            return
        self.queue.advance_if_due(self.now)
        dead = {message.id for message in self.queue.outbox}
        plain: dict[int, bytes | None] = {}
        for span, parts in each(self.queue.plain_since(0)):
            plain.update(zip(range(span.first, span.first + span.count), parts or [None] * span.count, strict=True))
        whole = {message.id: message for message in self.queue.whole_messages()}
        assert not plain.keys() & whole.keys(), "a message is there twice"
        assert plain.keys() | whole.keys() == self.disk.rows.keys() - dead, "the record has other messages"
        for number, payload in plain.items():
            row = self.disk.rows[number]
            assert payload in (None, row.payload), "a wrong payload"
            assert (row.receipt, row.due, row.deliveries) == (None, 0, 0), "the record of a plain message has a state"
        for number, message in whole.items():
            row = self.disk.rows[number]
            assert not message.gone
            assert message.payload is PAGED or message.payload == row.payload, "a wrong payload"
            assert message.deliveries == row.deliveries
            if row.due > self.now:
                assert (message.due, message.receipt) == (row.due, row.receipt), "the record has another state"
            else:
                assert (message.due, message.receipt) == (0, None), "the record has a state that is not over"
        paged = [number for number, payload in plain.items() if payload is None]
        paged += [number for number, message in whole.items() if message.payload is PAGED]
        assert self.usage.paged == sum(len(self.disk.rows[number].payload) for number in paged), "what is on disk only is counted wrong"
        assert all(message.payload is not PAGED for message in self.queue.outbox), "a dead letter without its payload"
        keys = [(key, number, until) for key, number, _, until in self.queue.remembered(None)]
        assert keys == [(key, number, until) for key, number, _, until in self.disk.keys if until > self.now]
        assert self.queue.remembered(2) == self.queue.remembered(None)[-2:]

    @invariant()
    def counts_agree(self) -> None:
        if not hasattr(self, "queue"):
            return
        self.model.advance(self.now)
        counts = self.queue.counts(self.now)
        leased = sum(one.receipt is not None for one in self.model.messages)
        ready = len(self.model.ready(self.now))
        assert (counts.ready, counts.delayed, counts.leased) == (ready, len(self.model.messages) - ready - leased, leased)
        assert counts.bytes == self.usage.bytes == sum(len(one.payload) for one in self.model.messages)
        assert self.usage.messages == self.queue.messages == len(self.model.messages)
        assert self.usage.keys == len(self.model.keys)
        whole = sum(one.receipt is None and not one.due for one in self.queue.whole_messages())
        assert self.usage.whole == whole, "ready messages that are not plain are counted wrong"
        assert self.usage.headers == 0
        assert (self.queue.totals.expired, self.queue.totals.dropped) == (self.model.expired, self.model.dropped)
        assert sorted(one.id for one in self.queue.outbox) == sorted(one.id for one in self.model.dead), "the wrong dead letters"

    @invariant()
    def nothing_is_due_before_due(self) -> None:
        if not hasattr(self, "queue"):
            return
        waiting = [one.ready_at for one in self.model.messages if one.receipt is None and one.ready_at > self.now]
        waiting += [one.leased_until for one in self.model.messages if one.receipt is not None]
        waiting += [one.expires for one in self.model.messages if one.receipt is None]
        assert self.queue.due <= min(waiting, default=NEVER), "something happens that the owner is not woken for"


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=300, stateful_step_count=60, deadline=None)
