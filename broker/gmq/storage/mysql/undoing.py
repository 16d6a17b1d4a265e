"""Giving back what was taken for a connection that is gone."""

from __future__ import annotations

import asyncio
import os

import msgspec
import structlog

from gmq.message import KEY_MEMORY, Message, Taken
from gmq.storage.mysql.core import Core
from gmq.storage.mysql.session import Session
from gmq.storage.mysql.settling import parse
from gmq.storage.mysql.sql import CLOCK, LAST_PLACE, LEASED, READY, in_statements, literal, numbers
from gmq.storage.mysql.transaction import NothingToCommit

log = structlog.get_logger()

ATTEMPTS = 10
PAUSE = 1.0
"""How often, and after how many seconds, it is tried again."""

MARK = b"INSERT IGNORE INTO gmq_key (queue, name, message, digest, until) VALUES (0, %b, 0, %b, @now + %d)"
"""Remembers, as a key of no queue, that something was given back."""

_COLUMNS = (
    b"id, queue, state, place, due, expires, published, deliveries, size, headers, dead_queue, dead_id, dead_reason, dead_deliveries, \
dead_at, payload"
)
_encode = msgspec.json.Encoder().encode


class Undoing:
    """Gives messages back to their old places, as never delivered; what cannot be given back is told in the log."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, taken: Taken) -> None:
        """Begin to give back, and do not wait for it."""
        task = asyncio.get_running_loop().create_task(self._undo(taken))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drained(self) -> None:
        """Return when all is given back."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _undo(self, taken: Taken) -> None:
        mark = os.urandom(16)
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(PAUSE)
            try:
                await self._core.transactions.run(lambda session: self._give_back(session, taken, mark))
            except Exception as error:  # noqa: BLE001  # it is tried again, or told
                log.warning("messages for a connection that is gone could not be given back yet", queue=taken.queue, reason=str(error))
                continue
            record = self._core.records.known(taken.queue)
            if record is not None:
                record.totals.delivered -= len(taken)
                if taken.receipts is None:
                    record.add(len(taken))
            self._core.ready(taken.queue)
            return
        log.error(
            "messages for a connection that is gone are lost" if taken.receipts is None else "messages come back when their leases run out",
            queue=taken.queue, ids=[message.id for message in taken.messages()],
        )  # fmt: skip

    async def _give_back(self, session: Session, taken: Taken, mark: bytes) -> None:
        """Give back, in a transaction. What was removed is given back once: somebody may have taken it since a commit without an answer."""
        if taken.receipts is None:
            marked = (await session.run(b"BEGIN; %b; %b" % (CLOCK, MARK % (literal(mark), literal(mark), KEY_MEMORY))))[2].changed
            if not marked:
                raise NothingToCommit(None)
            record = await self._core.records.make_in(session, taken.queue, limited=False)
            rows = [_row(record.generation, message) for message in taken.messages()]
            for some in in_statements(rows, session.max_packet):
                await session.run(b"INSERT IGNORE INTO gmq_message (%b) VALUES %b" % (_COLUMNS, b",".join(some)))
            return
        receipts = [receipt for receipt in map(parse, taken.receipts) if receipt is not None]
        sql = b"""BEGIN; UPDATE gmq_message SET state = %d, due = expires, token = NULL, deliveries = deliveries - 1
            WHERE id IN (%b) AND state = %d AND token = %b"""
        await session.run(sql % (READY, numbers([receipt.id for receipt in receipts]), LEASED, literal(receipts[0].token)))


def _row(generation: int, message: Message) -> bytes:
    """A message as a row of INSERT."""
    dead = message.dead
    origin = b"NULL, NULL, NULL, NULL, NULL"
    if dead is not None:
        origin = b"%b, %d, %b, %d, %d" % (literal(dead.queue), dead.id, literal(dead.reason), dead.deliveries, round(dead.at * 1000))
    headers = literal(_encode(message.headers) if message.headers else None)
    return b"(%d, %d, %d, %d, %d, %d, %d, %d, %d, %b, %b, %b)" % (
        message.id, generation, READY, LAST_PLACE - message.priority, message.expires, message.expires, message.published,
        message.deliveries, message.size, headers, origin, literal(message.payload),
    )  # fmt: skip
