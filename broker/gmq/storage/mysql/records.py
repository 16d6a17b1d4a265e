"""What a broker remembers of the queues in the database."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from gmq.message import GmqError, Limits, QueuePolicy, Totals, milliseconds
from gmq.storage.mysql.session import Result, Session
from gmq.storage.mysql.sql import CLOCK, literal
from gmq.storage.mysql.transaction import Transactions

COLUMNS = b"id, name, generation, version, policy"
"""What `Records.absorb` takes."""

COUNT_AGE = 2.0
"""Seconds for which a count of messages is good."""
COUNT_RATE = 50_000
"""Messages a second that other brokers may add: while a queue has room for many, it need not be counted often."""
LONGEST_COUNT_AGE = 60.0
COUNT_SHARE = 10
"""A full queue is not counted again before so many times the time has passed that it took."""

_decode_policy = msgspec.json.Decoder(QueuePolicy).decode
_encode = msgspec.json.Encoder().encode


class Record:
    """One queue, as it was when last seen.

    `generation` stands for the queue in its messages: clearing gives it a new one. `version` rises with every change of the row. A database
    that takes over from another one, or comes back from a backup, may have given the numbers to another queue since.
    `count` is the number of its messages in every state, None before it was counted; `totals` tells what this broker did.
    """

    __slots__ = ("count", "count_took", "counted_at", "generation", "id", "name", "policy", "stored_policy", "totals", "used", "version")

    def __init__(self, number: int, name: str) -> None:
        self.id = number
        self.name = name
        self.generation = 0
        self.version = -1
        self.policy = QueuePolicy()
        self.stored_policy: bytes | None = None
        self.totals = Totals()
        self.count: int | None = None
        self.counted_at = 0.0
        self.count_took = 0.0
        self.used = False  # since the database was last told

    def add(self, messages: int) -> None:
        """Note that messages came, or went."""
        if self.count is not None:
            self.count = max(0, self.count + messages)

    @property
    def row(self) -> bytes:
        """The condition that finds its row."""
        return b"id = %d AND name = %b" % (self.id, literal(self.name))

    @property
    def edition(self) -> tuple[int, int]:
        """The generation and the version: while they are the same, so is the row."""
        return self.generation, self.version

    @property
    def default_ttl(self) -> int | None:
        """The policy's time to live, in milliseconds."""
        return None if self.policy.ttl is None else milliseconds(self.policy.ttl)


class Records:
    """The queues that this broker has met, by name and by generation; `departed` sums up what it did in those that are gone."""

    def __init__(self, transactions: Transactions, limits: Limits, policy_for: Callable[[str], QueuePolicy], departed: Totals) -> None:
        self._transactions = transactions
        self._departed = departed
        self._limits = limits
        self._policy_for = policy_for
        self._by_name: dict[str, Record] = {}
        self._by_generation: dict[int, Record] = {}

    def known(self, name: str) -> Record | None:
        """The queue, if it was met."""
        return self._by_name.get(name)

    def of_generation(self, generation: int) -> Record | None:
        """The queue of a message, if it was met."""
        return self._by_generation.get(generation)

    def all(self) -> Sequence[Record]:
        """Every queue that was met."""
        return list(self._by_name.values())

    def absorb(self, row: Sequence[Any]) -> Record:
        """Take over what a row of gmq_queue says, see COLUMNS."""
        number, name, generation, version, policy = row
        text = name.decode()
        record = self._by_name.get(text)
        if record is None or record.id != number:
            if record is not None:
                self.forget(record)
            record = self._by_name[text] = Record(number, text)
        if record.edition != (generation, version):
            if record.generation != generation:
                self._by_generation.pop(record.generation, None)
                record.count = None
            record.generation, record.version, record.stored_policy = generation, version, policy
            record.policy = self._policy_for(text) if policy is None else _decode_policy(policy)
        self._by_generation[generation] = record
        return record

    def forget(self, record: Record) -> None:
        """The queue is gone."""
        if self._by_name.get(record.name) is record:
            del self._by_name[record.name]
            self._departed.add(record.totals)
        if self._by_generation.get(record.generation) is record:
            del self._by_generation[record.generation]

    async def find(self, name: str) -> Record | None:
        """The queue, from the database where it is not known; None where there is none."""
        return self._by_name.get(name) or await self.reload(name)

    async def reload(self, name: str) -> Record | None:
        """The queue as the database has it now."""
        result = (await self._transactions.read(b"SELECT %b FROM gmq_queue WHERE name = %b" % (COLUMNS, literal(name))))[0]
        if result.rows:
            return self.absorb(result.rows[0])
        record = self._by_name.get(name)
        if record is not None:
            self.forget(record)
        return None

    async def load(self) -> None:
        """Every queue, as the database has them now."""
        result = (await self._transactions.read(b"SELECT %b FROM gmq_queue" % COLUMNS))[0]
        there = {self.absorb(row).name for row in result.rows}
        for name in self._by_name.keys() - there:
            self.forget(self._by_name[name])

    async def existing(self, name: str) -> Record:
        """The queue as the database has it now, or the error that there is none."""
        record = await self.reload(name)
        if record is None:
            raise not_found(name)
        return record

    def absorb_generations(self, result: Result) -> dict[int, Record]:
        """The queues in a result with COLUMNS, by their generation now."""
        return {row[2]: self.absorb(row) for row in result.rows}

    def policy_of_new(self, name: str) -> QueuePolicy:
        """The policy that a queue of this name would start with."""
        return self._policy_for(name)

    async def make(self, name: str, *, limited: bool = True) -> Record:
        """The queue, made where it is missing; `limited` refuses it where there are as many as there may be."""

        async def work(session: Session) -> Record:
            return await self.make_in(session, name, limited=limited, begin=b"BEGIN;")

        return await self._transactions.run(work)

    async def make_in(self, session: Session, name: str, *, limited: bool, begin: bytes = b"") -> Record:
        """The same inside a transaction, with the queue's row locked against clearing and deletion."""
        find = b"SELECT %b FROM gmq_queue WHERE name = %b LOCK IN SHARE MODE" % (COLUMNS, literal(name))
        results = await session.run(b"%b%b; %b; SELECT COUNT(*) FROM gmq_queue" % (begin, CLOCK, find))
        found, count = results[-2], results[-1].rows[0][0]
        if not found.rows:
            if limited and count >= self._limits.queues:
                raise GmqError(
                    "limit", f"there are {count} queues and there may be {self._limits.queues}; {name!r} would be one more", limit="queues"
                )
            new = b"""INSERT INTO gmq_generation () VALUES ();
                INSERT INTO gmq_queue (name, generation, used) VALUES (%b, LAST_INSERT_ID(), @now); %b"""
            found = (await session.run(new % (literal(name), find)))[-1]
        return self.absorb(found.rows[0])

    # Counts

    def most(self, policy: QueuePolicy) -> int:
        """How many messages a queue may hold."""
        capacity = self._limits.queue_messages
        return min(policy.max_messages or capacity, capacity)

    async def count(self, record: Record, wanted: int) -> int:
        """How many messages a queue holds, good enough to tell whether `wanted` more fit."""
        age, most = time.monotonic() - record.counted_at, self.most(record.policy)
        if record.count is not None:
            if record.count + wanted > most:
                good_for = COUNT_SHARE * record.count_took
            else:
                good_for = min(max(COUNT_AGE, (most - record.count) / COUNT_RATE), LONGEST_COUNT_AGE)
            if age < good_for:
                return record.count
        while True:
            started, generation = time.monotonic(), record.generation
            result = (await self._transactions.read(b"SELECT COUNT(*) FROM gmq_message WHERE queue = %d" % generation))[0]
            if record.generation == generation:  # else it was cleared meanwhile
                break
        count: int = result.rows[0][0]
        record.count, record.counted_at = count, time.monotonic()
        record.count_took = record.counted_at - started
        return count


def not_found(name: str) -> GmqError:
    return GmqError("not_found", f"there is no queue {name!r}")


def encoded(policy: QueuePolicy) -> bytes:
    """A policy as a row has it."""
    return _encode(policy)
