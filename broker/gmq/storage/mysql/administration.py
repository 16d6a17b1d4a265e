"""Looking at queues, moving, clearing and deleting them, and their policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gmq.message import GmqError, Message, QueueCounts, QueueInfo, QueuePolicy
from gmq.storage.mysql.core import Core
from gmq.storage.mysql.records import COLUMNS, Record, encoded, not_found
from gmq.storage.mysql.returning import BURIED
from gmq.storage.mysql.session import Result, Session
from gmq.storage.mysql.sql import CLOCK, DELAYED, LEASED, LOCK_SKIPPING, READY, literal, numbers
from gmq.storage.mysql.taking import FOUND, message_of
from gmq.storage.mysql.transaction import NothingToCommit
from gmq.storage.mysql.upkeep import DUES, Upkeep

MOST_MOVED = 1000
"""Messages that one statement moves."""
SET_POLICY = b"UPDATE gmq_queue SET policy = %b, version = version + 1, used = @now WHERE id = %d"


class Administration:
    """The operations that are rare: each is served by itself."""

    def __init__(self, core: Core, upkeep: Upkeep) -> None:
        self._core = core
        self._upkeep = upkeep

    async def _read(self, sql: bytes, expect: int = 0) -> list[Result]:
        """Run statements that read, after what is due was done."""
        whole = b"%b; %b; %b" % (CLOCK, DUES, sql)
        results = await self._core.transactions.read(whole, expect)
        now, *dues = results[1].rows[0]
        if any(due is not None and due <= now for due in dues):
            await self._upkeep.sweep(results[1].rows[0])
            results = await self._core.transactions.read(whole, expect)
        return results[2:]

    async def length(self, name: str) -> int:
        sql = b"""SELECT COUNT(*) FROM gmq_message m JOIN gmq_queue q ON m.queue = q.generation
            WHERE q.name = %b AND m.state = %d AND m.due > @now""" % (literal(name), READY)
        count: int = (await self._read(sql))[0].rows[0][0]
        return count

    async def queues(self) -> list[QueueCounts]:
        sql = b"""SELECT q.name, m.state, COUNT(m.id), CAST(COALESCE(SUM(m.size), 0) AS SIGNED) FROM gmq_queue q
            LEFT JOIN gmq_message m ON m.queue = q.generation GROUP BY q.name, m.state"""
        sums: dict[str, dict[int | None, tuple[int, int]]] = {}
        for name, state, count, size in (await self._read(sql))[0].rows:
            sums.setdefault(name.decode(), {})[state] = count, size
        return [_counts(name, sums[name]) for name in sorted(sums)]

    async def info(self, name: str) -> QueueInfo:
        find = b"SELECT %b FROM gmq_queue WHERE name = %b" % (COLUMNS, literal(name))
        sums = b"""SELECT m.state, COUNT(*), CAST(SUM(m.size) AS SIGNED), MIN(m.published), @now FROM gmq_message m
            JOIN gmq_queue q ON m.queue = q.generation WHERE q.name = %b GROUP BY m.state""" % literal(name)
        found, summed = await self._read(b"%b; %b" % (find, sums))
        if not found.rows:
            raise self._missing(name)
        record = self._core.records.absorb(found.rows[0])
        ages = [max(0, now - oldest) / 1000 for state, _, _, oldest, now in summed.rows if state in {READY, LEASED}]
        counts = _counts(name, {state: (count, size) for state, count, size, _, _ in summed.rows})
        return QueueInfo(counts, max(ages, default=None), record.policy, record.totals)

    async def peek(self, name: str, count: int, max_bytes: int) -> list[Message]:
        sql = b"""SELECT m.id, m.size FROM gmq_message m JOIN gmq_queue q ON m.queue = q.generation
            WHERE q.name = %b AND m.state = %d ORDER BY m.place, m.id LIMIT %d""" % (literal(name), READY, count)
        rows = (await self._read(sql))[0].rows
        ids: list[int] = []
        size = 0
        for number, bytes_of_it in rows:
            size += bytes_of_it
            if ids and size > max_bytes:
                break
            ids.append(number)
        if not ids:
            return []
        sql = b"SELECT %b FROM gmq_message WHERE id IN (%b) AND state = %d" % (FOUND, numbers(ids), READY)
        result = (await self._core.transactions.read(sql, size))[0]
        messages = {message.id: message for message in map(message_of, result.rows)}
        return [messages[number] for number in ids if number in messages]

    async def clear(self, name: str) -> int:
        return await self._empty(name, delete=False)

    async def delete(self, name: str) -> int:
        return await self._empty(name, delete=True)

    async def _empty(self, name: str, *, delete: bool) -> int:
        """Leave all messages of a queue behind, to be deleted bit by bit, and give their number."""
        await self._read(b"DO 0")

        async def work(session: Session) -> tuple[int, Record]:
            record = await self._locked(session, name)
            count: int = (await session.run(b"SELECT COUNT(*) FROM gmq_message WHERE queue = %d" % record.generation))[0].rows[0][0]
            if delete:
                await session.run(b"DELETE FROM gmq_queue WHERE id = %d" % record.id)
                return count, record
            new = b"""INSERT INTO gmq_generation () VALUES ();
                UPDATE gmq_queue SET generation = LAST_INSERT_ID(), version = version + 1, used = @now WHERE id = %d"""
            await session.run(new % record.id)
            return count, record

        count, record = await self._core.transactions.run(work)
        if delete:
            self._core.records.forget(record)
        else:
            await self._core.records.reload(name)
        self._core.garbage()
        return count

    async def create(self, name: str, policy: QueuePolicy | None) -> bool:
        async def work(session: Session) -> bool:
            find = b"SELECT id FROM gmq_queue WHERE name = %b FOR UPDATE" % literal(name)
            found = (await session.run(b"BEGIN; %b" % find))[1].rows
            if found and policy is None:
                raise NothingToCommit(False)  # noqa: FBT003  # the result
            record = await self._core.records.make_in(session, name, limited=True)
            if policy is not None:
                await session.run(SET_POLICY % (literal(encoded(policy)), record.id))
            return not found

        made = await self._core.transactions.run(work)
        await self._core.records.reload(name)
        return made

    async def set_policy(self, name: str, policy: QueuePolicy) -> QueuePolicy:
        async def work(session: Session) -> None:
            record = await self._locked(session, name)
            await session.run(SET_POLICY % (literal(encoded(policy)), record.id))

        await self._core.transactions.run(work)
        await self._core.records.reload(name)
        return policy

    async def _locked(self, session: Session, name: str) -> Record:
        """The queue, locked against all that publishes to it."""
        found = (await session.run(b"BEGIN; %b; SELECT %b FROM gmq_queue WHERE name = %b FOR UPDATE" % (CLOCK, COLUMNS, literal(name))))[2]
        if not found.rows:
            raise self._missing(name)
        return self._core.records.absorb(found.rows[0])

    def _missing(self, name: str) -> GmqError:
        record = self._core.records.known(name)
        if record is not None:
            self._core.records.forget(record)
        return not_found(name)

    # Moving

    async def move(self, name: str, to: str | None, count: int) -> int:
        await self._read(b"DO 0")
        moved: dict[str, int] = {}
        source: Record | None = None

        async def work(session: Session) -> Record:
            moved.clear()
            find = b"SELECT %b FROM gmq_queue WHERE name = %b" % (COLUMNS, literal(name))
            found = (await session.run(b"BEGIN; %b; %b" % (CLOCK, find)))[2]
            if not found.rows:
                raise self._missing(name)
            record = self._core.records.absorb(found.rows[0])
            for target, ids in (await self._groups(session, record, to, count)).items():
                await self._move(session, target, ids, keep_dead=to is not None)
                moved[target] = len(ids)
            if not moved:
                raise NothingToCommit(record)
            return record

        source = await self._core.transactions.run(work)
        for target, number in moved.items():
            source.add(-number)
            record = self._core.records.known(target)
            if record is not None:
                record.add(number)
                record.used = True
            self._core.ready(target)
        self._core.due(0)
        return sum(moved.values())

    async def _groups(self, session: Session, source: Record, to: str | None, count: int) -> dict[str, list[int]]:
        """The messages to be moved, locked, by the queue that they go to."""
        dead = b"" if to is not None else b"AND dead_queue IS NOT NULL "
        sql = b"SELECT id, dead_queue FROM gmq_message WHERE queue = %d AND state IN (%d, %d) %bORDER BY state, place, id LIMIT %d %b" % (
            source.generation, READY, DELAYED, dead, count, LOCK_SKIPPING,
        )  # fmt: skip
        groups: dict[str, list[int]] = {}
        for number, queue in (await session.run(sql))[0].rows:
            groups.setdefault(queue.decode() if to is None else to, []).append(number)
        return groups

    async def _move(self, session: Session, name: str, ids: Sequence[int], *, keep_dead: bool) -> None:
        """Move messages to one queue; raise where they do not fit."""
        target = await self._core.records.make_in(session, name, limited=True)
        generation = target.generation  # under lock, which the record is not: it may change
        held: int = (await session.run(b"SELECT COUNT(*) FROM gmq_message WHERE queue = %d" % generation))[0].rows[0][0]
        room = max(0, self._core.records.most(target.policy) - held)
        if len(ids) > room:
            raise GmqError(
                "queue_full",
                f"queue {name!r} has room for {room} more messages, and {len(ids)} were to be moved there",
                limit="queue_messages",
            )
        dead = b"dead_queue, dead_id, dead_reason, dead_deliveries, dead_at" if keep_dead else b"NULL, NULL, NULL, NULL, NULL"
        for start in range(0, len(ids), MOST_MOVED):
            some = numbers(ids[start : start + MOST_MOVED])
            await session.run(
                b"""INSERT INTO gmq_message (%b) SELECT %d, state, place, due, expires, published, size, headers, %b, payload
                FROM gmq_message WHERE id IN (%b) ORDER BY state, place, id; DELETE FROM gmq_message WHERE id IN (%b)"""
                % (BURIED, generation, dead, some, some)
            )


def _counts(name: str, sums: Mapping[int | None, tuple[int, int]]) -> QueueCounts:
    """The sizes of a queue, from the number and the bytes of its messages by state; those of no state are none."""
    ready, delayed, leased = (sums.get(state, (0, 0)) for state in (READY, DELAYED, LEASED))
    return QueueCounts(name, ready[0], delayed[0], leased[0], ready[1] + delayed[1] + leased[1])
