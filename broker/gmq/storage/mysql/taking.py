"""Takes: those that wait together share one SELECT."""

from __future__ import annotations

import os
from asyncio import Future
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gmq.message import DEFAULT_LEASE, POLICY_LEASE, Dead, Message, Taken, milliseconds
from gmq.storage.mysql.core import Core
from gmq.storage.mysql.lane import fail, settle
from gmq.storage.mysql.records import COLUMNS, Record
from gmq.storage.mysql.session import Session
from gmq.storage.mysql.sql import CLOCK, LAST_PLACE, LEASED, LOCK_SKIPPING, READY, literal, literals, numbers
from gmq.storage.mysql.transaction import NothingToCommit, TryAgain

MOST_ROWS = 2000
MOST_BYTES = 16 << 20
"""Messages, and bytes of them, that one transaction hands out; the takes behind them wait for the next."""

FOUND = b"id, place, published, deliveries, expires, headers, dead_queue, dead_id, dead_reason, dead_deliveries, dead_at, payload"
"""What `message_of` makes a message of; the payload last, as the driver takes a large first column for an end of rows."""

_decode_headers = msgspec.json.Decoder(dict[str, str]).decode


class QueueGoneError(Exception):
    """The queue was deleted meanwhile."""


class Take:
    """A take that waits for its turn at one queue."""

    __slots__ = ("count", "future", "lease", "max_bytes", "taken")

    def __init__(self, count: int, max_bytes: int, lease: int | None, future: Future[Taken]) -> None:
        self.count = count
        self.max_bytes = max_bytes
        self.lease = lease
        self.future = future
        self.taken: list[int] = []


class Taking:
    """Serves takes, see `lane.Lanes`."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def serve(self, name: str, pending: deque[Take]) -> None:
        """Serve the first of the takes from a queue, as many as go well together."""
        batch = [pending.popleft()]
        rows = batch[0].count
        while pending and rows + pending[0].count <= MOST_ROWS:
            batch.append(pending.popleft())
            rows += batch[-1].count
        claim: Claim | None = None
        served: Sequence[Take] = batch
        messages: Mapping[int, Message] = {}
        try:
            while (record := await self._core.records.find(name)) is not None:
                claim = Claim(self._core, record, batch)
                try:
                    served, messages = await self._core.transactions.run(claim.run, len(batch))
                except QueueGoneError:
                    claim = None  # there may be another one of that name
                    continue
                self._account(record, claim, served)
                break
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is the answer
            for take in batch:
                fail(take, error)
            return
        for take in served:
            settle(take, Taken("") if claim is None else claim.taken_of(take, messages))
        pending.extendleft(reversed(batch[len(served) :]))

    def _account(self, record: Record, claim: Claim, served: Sequence[Take]) -> None:
        record.used = True
        delivered = sum(len(take.taken) for take in served)
        removed = sum(len(take.taken) for take in served if take.lease is None) + len(claim.expired)
        record.totals.delivered += delivered
        record.totals.expired += len(claim.expired)
        record.add(-removed)
        for length in claim.leases:
            self._core.due(length)


class Claim:
    """Takes from one queue, in a transaction. `expired` are the messages it found whose time to live was over."""

    def __init__(self, core: Core, record: Record, batch: Sequence[Take]) -> None:
        self._core = core
        self._record = record
        self._batch = batch
        self._token = os.urandom(8).hex()
        self._generation = 0  # that it took from
        self.expired: list[int] = []
        self.leases: dict[int, list[int]] = {}

    async def run(self, session: Session) -> tuple[Sequence[Take], Mapping[int, Message]]:
        """Hand out; give the takes that are done (the first ones) and the messages by id. Raises QueueGoneError."""
        record, wanted = self._record, sum(take.count for take in self._batch)
        self.expired, self.leases = [], {}
        # The record may change while the database works: what counts is what it said when the SELECT was made of it.
        edition, self._generation = record.edition, record.generation
        check = b"SELECT %b, @now FROM gmq_queue WHERE %b" % (COLUMNS, record.row)
        head = b"BEGIN; %b; %b; %b" % (CLOCK, check, first_ready(self._generation, wanted))
        results = await session.run(head)
        if not results[2].rows:
            self._core.records.forget(record)
            raise QueueGoneError
        *row, now = results[2].rows[0]
        if tuple(row[2:4]) != edition:
            self._core.records.absorb(row)
            raise TryAgain
        rows = results[3].rows
        if not rows:
            raise NothingToCommit((self._nothing(self._batch), {}))
        served = self._share(rows, now)
        ids = [number for take in served for number in take.taken]
        statements = self._statements(served, ids)
        results = await session.run(b"; ".join(statements), expect=sum(row[1] for row in rows))
        return served, {message.id: message for message in map(message_of, results[0].rows if ids else ())}

    @staticmethod
    def _nothing(batch: Sequence[Take]) -> Sequence[Take]:
        for take in batch:
            take.taken = []
        return batch

    def _share(self, rows: Sequence[tuple[int, int, int]], now: int) -> Sequence[Take]:
        """Give each take what it gets of the rows (id, size, expires), in order; the takes that got all they can."""
        good = [(number, size) for number, size, expires in rows if expires > now]
        self.expired = [number for number, _, expires in rows if expires <= now]
        more = len(rows) == sum(take.count for take in self._batch)  # there may be others behind them
        at = total = 0
        served: list[Take] = []
        for take in self._batch:
            take.taken = []
            size = 0
            while at < len(good) and len(take.taken) < take.count:
                size += good[at][1]
                if take.taken and size > take.max_bytes:
                    break
                if served and total + size > MOST_BYTES:
                    return served
                take.taken.append(good[at][0])
                at += 1
            if not take.taken and at == len(good) and more and self.expired:
                return served  # it is to look behind those that are expired
            total += size
            served.append(take)
        return served

    def _statements(self, served: Sequence[Take], ids: Sequence[int]) -> list[bytes]:
        statements = [b"SELECT %b FROM gmq_message WHERE id IN (%b)" % (FOUND, numbers(ids))] if ids else []
        gone = [*self.expired, *(number for take in served if take.lease is None for number in take.taken)]
        for take in served:
            if take.lease is not None and take.taken:
                self.leases.setdefault(lease_length(self._record, take.lease), []).extend(take.taken)
        if gone:
            statements.append(b"DELETE FROM gmq_message WHERE id IN (%b)" % numbers(gone))
        for length, leased in self.leases.items():
            statements.append(
                b"UPDATE gmq_message SET state = %d, due = @now + %d, deliveries = deliveries + 1, token = %b WHERE id IN (%b)"
                % (LEASED, length, literal(bytes.fromhex(self._token)), numbers(leased))
            )
        return statements

    def taken_of(self, take: Take, messages: Mapping[int, Message]) -> Taken:
        """What one of the takes answers."""
        if not take.taken:
            return Taken("")
        name = self._record.name
        entries = [messages[number] for number in take.taken]
        if take.lease is None:
            return Taken(name, entries)
        for message in entries:
            message.deliveries += 1
        return Taken(name, entries, receipts=[f"{self._generation:x}-{number:x}-{self._token}" for number in take.taken])


def first_ready(generation: int, count: int) -> bytes:
    """The SELECT that finds, and locks, what is to be handed out first; the index `take` has all that it needs, in this order."""
    return b"SELECT id, size, due FROM gmq_message WHERE queue = %d AND state = %d ORDER BY place, id LIMIT %d %b" % (
        generation, READY, count, LOCK_SKIPPING,
    )  # fmt: skip


def with_a_message(names: Sequence[str]) -> bytes:
    """The SELECT that names those of some queues that have something to hand out."""
    return b"""SELECT q.name FROM gmq_queue q WHERE q.name IN (%b) AND EXISTS
        (SELECT 1 FROM gmq_message m WHERE m.queue = q.generation AND m.state = %d)""" % (literals(names), READY)


def message_of(row: Sequence[Any]) -> Message:
    """A message of the columns FOUND."""
    number, place, published, deliveries, expires, headers, queue, dead_id, reason, dead_deliveries, at, payload = row
    dead = None if queue is None else Dead(queue.decode(), dead_id, reason.decode(), dead_deliveries, at / 1000)
    return Message(
        number, payload, published, LAST_PLACE - place, deliveries, expires=expires,
        headers=_decode_headers(headers) if headers else None, dead=dead,
    )  # fmt: skip


def lease_length(record: Record, lease: int) -> int:
    """The milliseconds of a lease."""
    if lease != POLICY_LEASE:
        return lease
    return milliseconds(DEFAULT_LEASE if record.policy.lease is None else record.policy.lease)
