"""What time brings about: delays that pass, leases that run out, messages and keys that expire, queues that nobody uses."""

from __future__ import annotations

import time
from collections.abc import Sequence

from gmq.message import milliseconds
from gmq.storage.mysql.core import Core
from gmq.storage.mysql.records import COLUMNS, Record
from gmq.storage.mysql.returning import LEASED_COLUMNS, Leased, Returns
from gmq.storage.mysql.session import Session
from gmq.storage.mysql.sql import CLOCK, DELAYED, LEASED, LOCK_SKIPPING, READY, TIME, numbers
from gmq.storage.mysql.transaction import NothingToCommit

MOST_DUE = 500
"""Messages that one transaction moves."""
MOST_ROUNDS = 20
"""Such transactions of one sweep; the next one follows soon."""
MOST_REAPED = 1000
"""Messages of a cleared queue, or keys, that one statement deletes."""
CHORES_AFTER = 10.0
"""Seconds between looks at what is not urgent."""
MOST_IDLE = 200
LEAST_IDLE_CHECK = 1.0
"""Queues that are looked at together, and seconds between two looks, to see whether nobody uses them."""

_FIRST_DUE = b"(SELECT MIN(due) FROM gmq_message WHERE state = %d)"
DUES = b"SELECT %b, %b, %b, %b" % (TIME, _FIRST_DUE % READY, _FIRST_DUE % DELAYED, _FIRST_DUE % LEASED)
"""The time, and when something is due first, by state."""


class Upkeep:
    """Does what is due. Any number of brokers may do so at once: each takes what no other has in hand."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._idle_at: dict[int, float] = {}  # by the queue's number, when to look whether nobody uses it
        self._chores_at = 0.0
        self._idle_check_at = 0.0
        self.garbage = True

    async def sweep(self, dues: Sequence[int | None]) -> None:
        """Do what is due, given what DUES said."""
        now, ready, delayed, leased = dues
        works = ((ready, self._expire), (delayed, self._awake), (leased, self._end_leases))
        for due, work in works:
            if due is not None and now is not None and due <= now:
                for _ in range(MOST_ROUNDS):
                    if await work() < MOST_DUE:
                        break

    async def _expire(self) -> int:
        """Drop ready messages whose time to live is over."""

        async def work(session: Session) -> tuple[int, list[Record]]:
            rows = (await session.run(_due(b"id, queue", READY)))[2].rows
            if not rows:
                raise NothingToCommit((0, []))
            await session.run(b"DELETE FROM gmq_message WHERE id IN (%b)" % numbers([row[0] for row in rows]))
            found = (self._core.records.of_generation(queue) for _, queue in rows)
            return len(rows), [record for record in found if record is not None]

        count, records = await self._core.transactions.run(work)
        for record in records:
            record.totals.expired += 1
            record.add(-1)
        return count

    async def _awake(self) -> int:
        """Make ready what was delayed, or drop it where its time to live is over."""

        async def work(session: Session) -> tuple[int, list[Record], list[Record]]:
            rows = (await session.run(_due(b"id, queue, expires, @now", DELAYED)))[2].rows
            if not rows:
                raise NothingToCommit((0, [], []))
            records = await self._owners(session, [row[1] for row in rows])
            good = [row for row in rows if row[2] > row[3]]
            bad = [row for row in rows if row[2] <= row[3]]
            statements = []
            if good:
                ids = numbers([row[0] for row in good])
                statements.append(b"UPDATE gmq_message SET state = %d, due = expires WHERE id IN (%b)" % (READY, ids))
            if bad:
                statements.append(b"DELETE FROM gmq_message WHERE id IN (%b)" % numbers([row[0] for row in bad]))
            await session.run(b"; ".join(statements))
            return (
                len(rows), [records[row[1]] for row in good if row[1] in records], [records[row[1]] for row in bad if row[1] in records],
            )  # fmt: skip

        count, ready, expired = await self._core.transactions.run(work)
        for record in expired:
            record.totals.expired += 1
            record.add(-1)
        for name in dict.fromkeys(record.name for record in ready):
            self._core.ready(name)
        return count

    async def _end_leases(self) -> int:
        """Take back messages whose leases ran out."""

        async def work(session: Session) -> tuple[int, Returns | None]:
            rows = (await session.run(_due(LEASED_COLUMNS + b", @now", LEASED)))[2].rows
            if not rows:
                raise NothingToCommit((0, None))
            records = await self._owners(session, [row[1] for row in rows])
            returns = Returns(self._core, rows[0][-1])
            await returns.take_back(session, [Leased(*row[:-1]) for row in rows], records)
            return len(rows), returns

        count, returns = await self._core.transactions.run(work)
        if returns is not None:
            returns.done()
        return count

    async def _owners(self, session: Session, generations: Sequence[int]) -> dict[int, Record]:
        """The queues of some messages, as they are now."""
        sql = b"SELECT %b FROM gmq_queue WHERE generation IN (%b)" % (COLUMNS, numbers(sorted(set(generations))))
        return self._core.records.absorb_generations((await session.run(sql))[0])

    # What is not urgent

    async def chores(self) -> None:
        """Do what is not urgent, when it is time for it."""
        now = time.monotonic()
        if now >= self._chores_at:
            self._chores_at = now + CHORES_AFTER
            await self._core.records.load()
            await self._core.transactions.read(b"%b; DELETE FROM gmq_key WHERE until <= @now LIMIT %d" % (CLOCK, MOST_REAPED))
            self.garbage = True
        if self.garbage:
            self.garbage = False
            await self._reap()
        if now >= self._idle_check_at:
            self._idle_check_at = now + LEAST_IDLE_CHECK / 4
            await self._drop_idle_queues(now)

    async def _reap(self) -> None:
        """Delete messages of queues that were cleared or deleted, a bounded number: the rest has its turn later."""
        run = self._core.transactions.read
        garbage = b"SELECT g.number FROM gmq_generation g LEFT JOIN gmq_queue q ON q.generation = g.number WHERE q.id IS NULL LIMIT 100"
        for (number,) in (await run(garbage))[0].rows:
            for _ in range(MOST_ROUNDS):
                if (await run(b"DELETE FROM gmq_message WHERE queue = %d LIMIT %d" % (number, MOST_REAPED)))[0].changed < MOST_REAPED:
                    await run(b"DELETE FROM gmq_generation WHERE number = %d" % number)
                    break
            else:
                self.garbage = True
                return

    async def _drop_idle_queues(self, now: float) -> None:
        """Delete queues that were empty and unused for as long as their policy says."""
        candidates: list[Record] = []
        used: list[Record] = []
        there: set[int] = set()
        for record in self._core.records.all():
            if record.policy.expires is None:
                continue
            there.add(record.id)
            if record.used:
                record.used = False
                used.append(record)
                self._idle_at[record.id] = now + record.policy.expires
            elif self._idle_at.setdefault(record.id, now + record.policy.expires) <= now and len(candidates) < MOST_IDLE:
                self._idle_at[record.id] = now + max(LEAST_IDLE_CHECK, record.policy.expires / 2)
                candidates.append(record)
        for number in self._idle_at.keys() - there:
            del self._idle_at[number]
        if used:
            ids = numbers([record.id for record in used])
            await self._core.transactions.read(b"%b; UPDATE gmq_queue SET used = @now WHERE id IN (%b)" % (CLOCK, ids))
        if candidates:
            await self._drop(candidates)

    async def _drop(self, candidates: Sequence[Record]) -> None:
        by_number = {record.id: record for record in candidates}

        async def work(session: Session) -> list[Record]:
            conditions = b" OR ".join(
                b"(%b AND version = %d AND used <= @now - %d)" % (record.row, record.version, milliseconds(record.policy.expires or 0))
                for record in candidates
            )
            locked = await session.run(b"BEGIN; %b; SELECT id FROM gmq_queue WHERE %b FOR UPDATE" % (CLOCK, conditions))
            if not locked[2].rows:
                raise NothingToCommit([])
            # Only now that the queues are locked can it be seen whether they are empty.
            ids = numbers([row[0] for row in locked[2].rows])
            empty = b"""SELECT id FROM gmq_queue q WHERE id IN (%b) AND NOT EXISTS (SELECT 1 FROM gmq_message WHERE queue = q.generation)
                AND NOT EXISTS (SELECT 1 FROM gmq_key k WHERE k.queue = q.id AND k.until > @now)"""
            found = (await session.run(empty % ids))[0].rows
            if not found:
                raise NothingToCommit([])
            await session.run(b"DELETE FROM gmq_queue WHERE id IN (%b)" % numbers([row[0] for row in found]))
            return [by_number[row[0]] for row in found]

        for record in await self._core.transactions.run(work):
            self._core.records.forget(record)
            self.garbage = True


def _due(columns: bytes, state: int) -> bytes:
    """The statements that begin a transaction and lock what is due in a state."""
    return b"BEGIN; %b; SELECT %b FROM gmq_message WHERE state = %d AND due <= @now ORDER BY due LIMIT %d %b" % (
        CLOCK, columns, state, MOST_DUE, LOCK_SKIPPING,
    )  # fmt: skip
