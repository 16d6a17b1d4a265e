"""What becomes of messages whose lease ended without an acknowledgement, and of dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gmq.message import NEVER
from gmq.storage.mysql.core import Core
from gmq.storage.mysql.records import Record
from gmq.storage.mysql.session import Session
from gmq.storage.mysql.sql import DELAYED, READY, literal, numbers


class Leased(NamedTuple):
    """A message under a lease, without its payload. `queue` is a generation."""

    id: int
    queue: int
    deliveries: int
    expires: int


LEASED_COLUMNS = b"id, queue, deliveries, expires"

BURIED = b"queue, state, place, due, expires, published, size, headers, dead_queue, dead_id, dead_reason, dead_deliveries, dead_at, payload"


class Returns:
    """Messages that come back, in one transaction. What it changes is accounted for by `done`, after the commit."""

    def __init__(self, core: Core, now: int) -> None:
        self._core = core
        self._now = now
        self._statements: list[bytes] = []
        self._ready: dict[str, None] = {}
        self._expired: list[Record] = []
        self._dropped: list[Record] = []
        self._buried: list[tuple[Record, Record]] = []
        self._due = NEVER

    async def take_back(self, session: Session, leased: Iterable[Leased], records: Mapping[int, Record], delay: int = 0) -> None:
        """Give each message its place: ready, delayed, dead, or none. Those of no queue are left: they were cleared."""
        back: list[int] = []
        gone: list[int] = []
        dead: dict[tuple[int, str], list[int]] = {}  # by where they are from, and where they go: the records may change meanwhile
        for message in leased:
            record = records.get(message.queue)
            if record is None:
                gone.append(message.id)
                continue
            policy = record.policy
            if policy.max_deliveries is not None and message.deliveries >= policy.max_deliveries:
                if policy.dead_letter is None:
                    self._dropped.append(record)
                    gone.append(message.id)
                else:
                    dead.setdefault((message.queue, policy.dead_letter), []).append(message.id)
            elif message.expires <= self._now:
                self._expired.append(record)
                gone.append(message.id)
            else:
                back.append(message.id)
                if not delay:
                    self._ready[record.name] = None
                self._due = min(self._due, delay or NEVER, message.expires - self._now)
        self._return(back, delay)
        for (generation, name), ids in dead.items():
            await self._bury(session, records[generation], name, ids)
            gone += ids
        if gone:
            self._statements.append(b"DELETE FROM gmq_message WHERE id IN (%b)" % numbers(gone))
        if self._statements:
            statements, self._statements = self._statements, []
            await session.run(b"; ".join(statements))

    def _return(self, ids: Sequence[int], delay: int) -> None:
        if ids and delay:
            self._statements.append(
                b"UPDATE gmq_message SET state = %d, due = LEAST(@now + %d, expires), token = NULL WHERE id IN (%b)"
                % (DELAYED, delay, numbers(ids))
            )
        elif ids:
            self._statements.append(
                b"UPDATE gmq_message SET state = %d, due = expires, token = NULL WHERE id IN (%b)" % (READY, numbers(ids))
            )

    async def _bury(self, session: Session, source: Record, name: str, ids: Sequence[int]) -> None:
        target = await self._core.records.make_in(session, name, limited=False)
        self._statements.append(
            b"""INSERT INTO gmq_message (%b)
            SELECT %d, %d, place, %d, %d, published, size, headers, %b, id, 'max_deliveries', deliveries, @now, payload
            FROM gmq_message WHERE id IN (%b) ORDER BY place, id"""
            % (BURIED, target.generation, READY, NEVER, NEVER, literal(source.name), numbers(ids))
        )
        self._buried += [(source, target)] * len(ids)
        self._ready[name] = None

    def done(self) -> None:
        """It was committed: account for it, and wake who waits."""
        for record in self._expired:
            record.totals.expired += 1
            record.add(-1)
        for record in self._dropped:
            record.totals.dropped += 1
            record.add(-1)
        for source, target in self._buried:
            source.totals.dead_lettered += 1
            source.add(-1)
            target.add(1)
        if self._due != NEVER:
            self._core.due(self._due)
        for name in self._ready:
            self._core.ready(name)
