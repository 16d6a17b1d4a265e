"""Receipts: acknowledging, putting back, extending."""

from __future__ import annotations

import re
from asyncio import Future
from collections import deque
from collections.abc import Collection, Sequence
from typing import NamedTuple

from gmq.message import NEVER, Settled
from gmq.storage.mysql.core import Core
from gmq.storage.mysql.lane import fail, settle
from gmq.storage.mysql.records import COLUMNS, Record
from gmq.storage.mysql.returning import LEASED_COLUMNS, Leased, Returns
from gmq.storage.mysql.session import Session
from gmq.storage.mysql.sql import CLOCK, LEASED, numbers
from gmq.storage.mysql.taking import lease_length
from gmq.storage.mysql.transaction import NothingToCommit

MOST_RECEIPTS = 2000
"""Receipts that are settled in one transaction."""

_RECEIPT = re.compile(r"([0-9a-f]{1,16})-([0-9a-f]{1,16})-([0-9a-f]{16})")


class Receipt(NamedTuple):
    """What a receipt says: the queue's generation, the message's id, and the claim's token."""

    queue: int
    id: int
    token: bytes


def parse(receipt: str) -> Receipt | None:
    """What a receipt says; None where it is none of ours."""
    found = _RECEIPT.fullmatch(receipt)
    if found is None:
        return None
    queue, number = int(found[1], 16), int(found[2], 16)
    return Receipt(queue, number, bytes.fromhex(found[3])) if number < 1 << 63 and queue < 1 << 63 else None


class Settle:
    """A request that waits for its turn. `argument` is a delay or a lease, in milliseconds."""

    __slots__ = ("argument", "future", "receipts")

    def __init__(self, receipts: Sequence[str], argument: int, future: Future[Settled]) -> None:
        self.receipts = receipts
        self.argument = argument
        self.future = future


class Settling:
    """Serves requests with receipts, see `lane.Lanes`; the key is the operation."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def serve(self, operation: str, pending: deque[Settle]) -> None:
        """Serve the first of the requests, as many as go well together."""
        batch = [pending.popleft()]
        count = len(batch[0].receipts)
        while pending and count + len(pending[0].receipts) <= MOST_RECEIPTS:
            batch.append(pending.popleft())
            count += len(batch[-1].receipts)
        settlement = Settlement(self._core, operation, batch)
        try:
            results = await self._core.transactions.run(settlement.run, len(batch))
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is the answer
            for request in batch:
                fail(request, error)
            return
        settlement.done()
        for request, result in zip(batch, results, strict=True):
            settle(request, result)


class Settlement:
    """Requests of one operation, in a transaction."""

    def __init__(self, core: Core, operation: str, batch: Sequence[Settle]) -> None:
        self._core = core
        self._operation = operation
        self._batch = batch
        self._alive: dict[Receipt, Leased] = {}
        self._records: dict[int, Record] = {}
        self._acknowledged: list[Record] = []
        self._due = NEVER
        self._returns: Returns | None = None

    async def run(self, session: Session) -> Sequence[Settled]:
        """Settle, and give what to answer to each request."""
        self._acknowledged, self._due, self._returns = [], NEVER, None
        receipts = {found for request in self._batch for found in map(parse, request.receipts) if found is not None}
        if not receipts:
            raise NothingToCommit([Settled(0, list(request.receipts)) for request in self._batch])
        now = await self._lock(session, receipts)
        results: list[Settled] = []
        work = {"A": self._acknowledge, "N": self._put_back, "E": self._extend}[self._operation]
        settled: dict[int, tuple[int, Leased]] = {}  # by id; of extensions the last one counts
        for request in self._batch:
            stale: list[str] = []
            for receipt in request.receipts:
                leased = self._settled(receipt)
                if leased is None:
                    stale.append(receipt)
                else:
                    settled[leased.id] = request.argument, leased
            results.append(Settled(len(request.receipts) - len(stale), stale))
        if not settled:
            raise NothingToCommit(results)
        groups: dict[int, list[Leased]] = {}
        for argument, leased in settled.values():
            groups.setdefault(argument, []).append(leased)
        for argument, group in groups.items():
            await work(session, group, argument, now)
        return results

    def _settled(self, receipt: str) -> Leased | None:
        """The message under a receipt, which is settled now; an extension does not settle it."""
        found = parse(receipt)
        if found is None:
            return None
        return self._alive.get(found) if self._operation == "E" else self._alive.pop(found, None)

    async def _lock(self, session: Session, receipts: Collection[Receipt]) -> int:
        """Lock the messages whose leases are good, and give the database's time."""
        leased = b"SELECT %b, token, @now FROM gmq_message WHERE id IN (%b) AND state = %d AND due > @now FOR UPDATE"
        queues = b"SELECT %b FROM gmq_queue WHERE generation IN (%b)"
        ids, generations = sorted({receipt.id for receipt in receipts}), {receipt.queue for receipt in receipts}
        sql = b"BEGIN; %b; %b; %b" % (
            CLOCK, leased % (LEASED_COLUMNS, numbers(ids), LEASED), queues % (COLUMNS, numbers(sorted(generations))),
        )  # fmt: skip
        results = await session.run(sql)
        self._records = self._core.records.absorb_generations(results[3])
        self._alive = {}
        now = 0
        for *row, token, clock in results[2].rows:
            message = Leased(*row)
            now = clock
            receipt = Receipt(message.queue, message.id, token)
            if message.queue in self._records and receipt in receipts:
                self._alive[receipt] = message
        return now

    async def _acknowledge(self, session: Session, messages: Sequence[Leased], _: int, __: int) -> None:
        await session.run(b"DELETE FROM gmq_message WHERE id IN (%b)" % numbers([message.id for message in messages]))
        self._acknowledged = [self._records[message.queue] for message in messages]

    async def _put_back(self, session: Session, messages: Sequence[Leased], delay: int, now: int) -> None:
        returns = self._returns = self._returns or Returns(self._core, now)
        await returns.take_back(session, messages, self._records, delay)

    async def _extend(self, session: Session, messages: Sequence[Leased], lease: int, _: int) -> None:
        lengths: dict[int, list[int]] = {}
        for message in messages:
            lengths.setdefault(lease_length(self._records[message.queue], lease), []).append(message.id)
        for length, ids in lengths.items():
            await session.run(b"UPDATE gmq_message SET due = @now + %d WHERE id IN (%b)" % (length, numbers(ids)))
            self._due = min(self._due, length)

    def done(self) -> None:
        """It was committed: account for it."""
        for record in self._acknowledged:
            record.totals.acknowledged += 1
            record.add(-1)
        if self._due != NEVER:
            self._core.due(self._due)
        if self._returns is not None:
            self._returns.done()
