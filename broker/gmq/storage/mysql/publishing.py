"""Publishes: those that arrive together go into one INSERT."""

from __future__ import annotations

from asyncio import Future
from collections import deque
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from gmq.message import KEY_MEMORY, NEVER, GmqError, Options, QueuePolicy
from gmq.storage.mysql.core import Core
from gmq.storage.mysql.lane import fail, settle
from gmq.storage.mysql.records import COLUMNS, Record
from gmq.storage.mysql.session import Result, Session
from gmq.storage.mysql.sql import CLOCK, DELAYED, LAST_PLACE, PACKET_MARGIN, READY, SHARED, in_statements, literal, literals
from gmq.validate import check_ttl

MOST_ROWS = 4000
MOST_BYTES = 8 << 20
"""Messages, and bytes of them, that share a transaction."""

_COLUMNS = b"queue, state, place, due, expires, published, size, headers, payload"
_encode = msgspec.json.Encoder().encode
_EMPTY = Options()


class QueueChangedError(Exception):
    """The queue was deleted or cleared, or got another policy, since its messages were counted: that has to be done anew."""


class Publish:
    """A publish that waits for its turn.

    `singly` marks one that stands for several requests: where not all fit, the first ones are stored, and the result has an error in
    the place of each of the rest.
    """

    __slots__ = ("future", "options", "payloads", "singly", "size")

    def __init__(
        self, payloads: Sequence[bytes], size: int, options: Options | None, future: Future[Sequence[int | GmqError]], *, singly: bool
    ) -> None:
        self.payloads = payloads
        self.size = size
        self.options = options
        self.future = future
        self.singly = singly


class Known(NamedTuple):
    """A remembered key: the message's id, or the row in the batch that will have it, and the digest of its payload."""

    id: int
    digest: bytes
    row: int | None = None


class Plan:
    """What a batch of publishes will store: rows, keys, and for each request the row or the id of each of its messages, or its refusal."""

    def __init__(self, record: Record, count: int, most: int, max_packet: int, known: Mapping[bytes, Known], keys_left: int) -> None:
        self.rows: list[bytes] = []
        self.answers: list[list[Known | int] | GmqError] = []
        self.refusals: dict[int, GmqError] = {}
        self.keys: dict[bytes, Known] = {}
        self.first_due = NEVER
        self._record = record
        self._count = count
        self._most = most
        self._max_packet = max_packet
        self._known = known
        self._keys_left = keys_left

    def add(self, publish: Publish) -> None:
        """Plan one more request."""
        try:
            self.answers.append(self._plan(publish))
        except GmqError as error:
            self.answers.append(error)

    def _plan(self, publish: Publish) -> list[Known | int]:
        options = publish.options or _EMPTY
        ttl = self._record.default_ttl if options.ttl is None else options.ttl
        if ttl is not None:
            check_ttl(ttl, options.delay)
        keys: dict[bytes, Known] = {}
        answer: list[Known | int] = []
        payloads = publish.payloads
        if options.keys is not None:
            payloads = self._fresh(publish.payloads, options.keys, keys, answer)
        else:
            answer += range(len(self.rows), len(self.rows) + len(payloads))
        room = self._most - self._count - len(self.rows)
        if payloads and len(payloads) > room:
            refusal = self._full(len(payloads) if not publish.singly else 1)
            if not publish.singly or room <= 0:
                raise refusal
            payloads, answer = payloads[:room], answer[:room]
            self.refusals[len(self.answers)] = refusal
        if keys and len(self.keys) + len(keys) > self._keys_left:
            raise GmqError(
                "limit",
                f"queue {self._record.name!r} remembers as many keys as it may, for 5 minutes each; {len(keys)} more do not fit",
                limit="keys",
            )
        rows = self._rows(payloads, options, ttl)
        self.rows += rows
        self.keys |= keys
        return answer

    def _fresh(self, payloads: Sequence[bytes], names: Sequence[str], keys: dict[bytes, Known], answer: list[Known | int]) -> list[bytes]:
        """The payloads whose keys are new."""
        fresh: list[bytes] = []
        for payload, name in zip(payloads, names, strict=True):
            key, digest = name.encode(), digest_of(payload)
            known = keys.get(key) or self.keys.get(key) or self._known.get(key)
            if known is None:
                known = keys[key] = Known(0, digest, len(self.rows) + len(fresh))
                fresh.append(payload)
            elif known.digest != digest:
                raise GmqError("key_conflict", f"another payload was published under the key {name!r}; a repeat must have the same payload")
            answer.append(known)
        return fresh

    def _rows(self, payloads: Sequence[bytes], options: Options, ttl: int | None) -> list[bytes]:
        headers = options.headers and _encode(options.headers)
        extra = 0 if not options.headers else sum(len(name.encode()) + len(value.encode()) for name, value in options.headers.items())
        expires = b"%d" % NEVER if ttl is None else b"@now + %d" % ttl
        due = b"@now + %d" % options.delay if options.delay else expires
        start = b"(%d, %d, %d, %b, %b, @now, " % (
            self._record.generation, DELAYED if options.delay else READY, LAST_PLACE - options.priority, due, expires,
        )  # fmt: skip
        end = b", %b, " % literal(headers or None)
        rows = [b"%b%d%b%b)" % (start, len(payload) + extra, end, literal(payload)) for payload in payloads]
        if (largest := max(map(len, rows), default=0)) > self._max_packet - PACKET_MARGIN:
            raise GmqError(
                "too_large", f"the message needs {largest} bytes in an SQL statement, and the database's max_allowed_packet is "
                f"{self._max_packet}; raise that, or send less than {self._max_packet - PACKET_MARGIN} bytes",
            )  # fmt: skip
        if ttl is not None or options.delay:
            self.first_due = min(self.first_due, options.delay or ttl or 0)
        return rows

    def _full(self, count: int) -> GmqError:
        held = self._count + len(self.rows)
        return GmqError(
            "queue_full",
            f"queue {self._record.name!r} holds {held} messages; it may hold {self._most}, and {count} more do not fit",
            limit="queue_messages",
        )

    def inserts(self) -> list[tuple[bytes, int]]:
        """The INSERT statements, and how many rows each has."""
        return [(_insert(rows), len(rows)) for rows in in_statements(self.rows, self._max_packet)]

    def results(self, ids: Sequence[int]) -> list[Sequence[int | GmqError] | GmqError]:
        """What to answer to each request, when row number n has the n-th id."""
        results: list[Sequence[int | GmqError] | GmqError] = []
        for answer in self.answers:
            if isinstance(answer, GmqError):
                results.append(answer)
                continue
            results.append([_id(item, ids) for item in answer])
        return results


def _id(item: Known | int, ids: Sequence[int]) -> int:
    if isinstance(item, int):
        return ids[item]
    return item.id if item.row is None else ids[item.row]


def _insert(rows: Sequence[bytes]) -> bytes:
    return b"INSERT INTO gmq_message (%b) VALUES %b" % (_COLUMNS, b",".join(rows))


def digest_of(payload: bytes) -> bytes:
    return blake2b(payload, digest_size=16).digest()


class Publishing:
    """Serves publishes, see `lane.Lanes`."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.pending_bytes = 0

    async def serve(self, name: str, pending: deque[Publish]) -> None:
        """Serve the first of the publishes to a queue, as many as go well together."""
        batch = [pending.popleft()]
        rows, size = len(batch[0].payloads), batch[0].size
        while pending and rows + len(pending[0].payloads) <= MOST_ROWS and size + pending[0].size <= MOST_BYTES:
            publish = pending.popleft()
            batch.append(publish)
            rows += len(publish.payloads)
            size += publish.size
        try:
            results = await self._store(name, batch, rows)
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is the answer
            for publish in batch:
                fail(publish, error)
        else:
            for publish, result in zip(batch, results, strict=True):
                if isinstance(result, GmqError):
                    fail(publish, result)
                else:
                    settle(publish, result)
        finally:
            self.pending_bytes -= size

    async def _store(self, name: str, batch: Sequence[Publish], rows: int) -> Sequence[Sequence[int | GmqError] | GmqError]:
        """Store a batch, and give what to answer to each publish."""
        records = self._core.records
        while True:
            record = await records.find(name)
            if record is None:
                # What will be refused must not make a queue.
                policy = records.policy_of_new(name)
                if all(isinstance(answer, GmqError) for answer in self._rehearsed(name, policy, batch)):
                    return [answer for answer in self._rehearsed(name, policy, batch) if isinstance(answer, GmqError)]
                record = await records.make(name)
            count = await records.count(record, rows)
            attempt = Attempt(self._core, record, batch, count)
            try:
                plan, ids = await self._core.transactions.run(attempt.run, len(batch))
            except QueueChangedError:
                continue
            record.add(len(ids))
            record.used = True
            record.totals.published += len(ids)
            if plan.first_due != NEVER:
                self._core.due(plan.first_due)
            if ids:
                self._core.ready(name)
            results = plan.results(ids)
            for index, refusal in plan.refusals.items():
                result = results[index]
                if not isinstance(result, GmqError):
                    results[index] = [*result, *[refusal] * (len(batch[index].payloads) - len(result))]
            return results

    def _rehearsed(self, name: str, policy: QueuePolicy, batch: Sequence[Publish]) -> Sequence[object]:
        record = Record(0, name)
        record.policy = policy
        plan = Plan(record, 0, self._core.records.most(policy), 1 << 40, {}, self._core.limits.keys)
        for publish in batch:
            plan.add(publish)
        return plan.answers


class Attempt:
    """One batch for one queue, which holds `count` messages as the record is now, in a transaction."""

    def __init__(self, core: Core, record: Record, batch: Sequence[Publish], count: int) -> None:
        self._core = core
        self._record = record
        self._edition = record.edition
        self._batch = batch
        self._count = count
        self._names = [key for publish in batch if publish.options is not None and publish.options.keys for key in publish.options.keys]

    async def run(self, session: Session) -> tuple[Plan, Sequence[int]]:
        """Store the batch; give what was planned, and the ids of its rows. Raises QueueChangedError."""
        head = b"BEGIN; %b; SELECT %b FROM gmq_queue WHERE %b %b" % (CLOCK, COLUMNS, self._record.row, SHARED)
        if self._names:
            return await self._run_with_keys(session, head)
        plan = self._planned(session, {}, 0)
        statements = plan.inserts()
        step = b"; SELECT @@auto_increment_increment"
        first = statements[0][0] if statements else b"DO 0"
        results = await session.run(b"%b; %b%b" % (head, first, step))
        self._check(results[2])
        more = [(await session.run(statement))[0] for statement, _ in statements[1:]]
        return plan, _ids(statements, [results[3], *more], results[4])

    async def _run_with_keys(self, session: Session, head: bytes) -> tuple[Plan, Sequence[int]]:
        queue, names = self._record.id, literals(dict.fromkeys(self._names))
        old = b"DELETE FROM gmq_key WHERE queue = %d AND name IN (%b) AND until <= @now" % (queue, names)
        find = b"SELECT name, message, digest FROM gmq_key WHERE queue = %d AND name IN (%b) FOR UPDATE" % (queue, names)
        count = b"SELECT COUNT(*) FROM gmq_key WHERE queue = %d AND until > @now" % queue
        results = await session.run(b"%b; %b; %b; %b; SELECT @@auto_increment_increment" % (head, old, find, count))
        self._check(results[2])
        known = {name: Known(message, digest) for name, message, digest in results[4].rows}
        plan = self._planned(session, known, results[5].rows[0][0])
        if plan.keys:  # first, so that a repeat at another broker waits here
            await session.run(_keys(queue, [(name, key.digest, 0) for name, key in plan.keys.items()]))
        statements = plan.inserts()
        inserted = [(await session.run(statement))[0] for statement, _ in statements]
        ids = _ids(statements, inserted, results[6])
        if plan.keys:
            rows = [(name, key.digest, ids[key.row or 0]) for name, key in plan.keys.items()]
            await session.run(_keys(queue, rows) + b" ON DUPLICATE KEY UPDATE message = VALUES(message)")
        return plan, ids

    def _planned(self, session: Session, known: Mapping[bytes, Known], keys: int) -> Plan:
        record, limits = self._record, self._core.limits
        if record.edition != self._edition:
            raise QueueChangedError
        plan = Plan(record, self._count, self._core.records.most(record.policy), session.max_packet, known, limits.keys - keys)
        for publish in self._batch:
            plan.add(publish)
        return plan

    def _check(self, found: Result) -> None:
        """See to it that the queue is what the plan was made for.

        The record does not tell: while the database worked it may have learned of a change that the plan does not know.
        """
        if not found.rows:
            self._core.records.forget(self._record)
            raise QueueChangedError
        if found.rows[0][2:4] != self._edition:
            self._core.records.absorb(found.rows[0])
            raise QueueChangedError


def _keys(queue: int, keys: Sequence[tuple[bytes, bytes, int]]) -> bytes:
    rows = b",".join(
        [b"(%d, %b, %d, %b, @now + %d)" % (queue, literal(name), message, literal(digest), KEY_MEMORY) for name, digest, message in keys]
    )
    return b"INSERT INTO gmq_key (queue, name, message, digest, until) VALUES " + rows


def _ids(statements: Sequence[tuple[bytes, int]], inserted: Sequence[Result], step: Result) -> Sequence[int]:
    """The ids of all rows: InnoDB gives those of one statement at even distances."""
    distance: int = step.rows[0][0]
    if len(statements) == 1:
        first = inserted[0].first_id
        return range(first, first + statements[0][1] * distance, distance)
    ids: list[int] = []
    for (_, count), result in zip(statements, inserted, strict=False):
        ids += range(result.first_id, result.first_id + count * distance, distance)
    return ids
