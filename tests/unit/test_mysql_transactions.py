"""When a transaction begins anew, and what is told when it cannot: with a session that fails as a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from asyncmy.errors import InternalError, OperationalError

from gmq.histogram import Commits
from gmq.message import GmqError
from gmq.storage.mysql.errors import ConflictError, LostError, StatementError, understood
from gmq.storage.mysql.pool import Pool
from gmq.storage.mysql.session import Session
from gmq.storage.mysql.transaction import NothingToCommit, Transactions


class FakeConnection:
    """The driver's connection: each statement succeeds, or fails with the next error."""

    _stream_broken = False

    def __init__(self, errors: list[BaseException | None], said: list[bytes]) -> None:
        self._errors = errors
        self._said = said
        self._result: Any = None

    async def query(self, sql: bytes) -> None:
        self._said.append(sql)
        error = self._errors.pop(0) if self._errors else None
        if error is not None:
            raise error
        self._result = type("Result", (), {"rows": (), "affected_rows": 0, "insert_id": 0, "has_next": False})

    def close(self) -> None:
        self._said.append(b"(closed)")
        self._stream_broken = True


class FakePool:
    """Gives sessions on such connections, one after the other."""

    def __init__(self, *errors: BaseException | None) -> None:
        self.said: list[bytes] = []
        self._errors = list(errors)
        self.out = 0

    async def acquire(self) -> Session:
        self.out += 1
        return Session(FakeConnection(self._errors, self.said), cast("Any", "db"), 5)

    def release(self, _: Session) -> None:
        self.out -= 1


def run(pool: FakePool, work: Callable[[Session], Any] | None = None, patience: float = 5) -> Any:
    async def insert(session: Session) -> str:
        await session.run(b"INSERT")
        return "done"

    try:
        return asyncio.run(Transactions(cast("Pool", pool), patience, Commits()).run(work or insert))
    finally:
        assert pool.out == 0, "a connection was not given back"


DEADLOCK = OperationalError(1213, "Deadlock found when trying to get lock")
LOCK_WAIT = OperationalError(1205, "Lock wait timeout exceeded")
SNAPSHOT = OperationalError(1020, "Record has changed since last read")
LOST = OperationalError(2013, "Lost connection to MySQL server during query")


@pytest.mark.parametrize("error", [DEADLOCK, LOCK_WAIT, SNAPSHOT])
def test_a_transaction_that_lost_against_another_is_rolled_back_and_begins_anew(error: Exception) -> None:
    pool = FakePool(error)
    assert run(pool) == "done"
    assert pool.said == [b"INSERT", b"ROLLBACK", b"INSERT", b"COMMIT"]


def test_so_does_one_that_the_cluster_refuses_at_its_commit() -> None:
    pool = FakePool(None, DEADLOCK)
    assert run(pool) == "done"
    assert pool.said == [b"INSERT", b"COMMIT", b"ROLLBACK", b"INSERT", b"COMMIT"]


def test_a_connection_that_is_lost_before_the_commit_is_replaced() -> None:
    pool = FakePool(LOST)
    assert run(pool) == "done"
    assert pool.said == [b"INSERT", b"(closed)", b"INSERT", b"COMMIT"]


@pytest.mark.parametrize("error", [LOST, ConnectionResetError("reset"), OperationalError(1180, "Got error during COMMIT"), TimeoutError()])
def test_a_commit_that_is_not_answered_is_unknown_and_not_repeated(error: Exception) -> None:
    pool = FakePool(None, error)
    with pytest.raises(GmqError) as told:
        run(pool)
    assert told.value.code == "unknown"
    assert pool.said == [b"INSERT", b"COMMIT", b"(closed)"]


def test_what_goes_on_losing_is_unavailable_in_the_end() -> None:
    pool = FakePool(*[DEADLOCK, None] * 100)
    with pytest.raises(GmqError) as told:
        run(pool, patience=0.05)
    assert told.value.code == "unavailable"
    assert pool.said[-1] == b"ROLLBACK"


def test_a_statement_that_the_database_refuses_is_told_and_not_repeated() -> None:
    pool = FakePool(OperationalError(1142, "INSERT command denied"))
    with pytest.raises(GmqError, match="INSERT command denied") as told:
        run(pool)
    assert told.value.code == "unavailable"
    assert pool.said == [b"INSERT", b"ROLLBACK"]


def test_nothing_is_committed_where_there_is_nothing_to_commit_or_the_request_is_refused() -> None:
    async def nothing(_: Session) -> str:
        raise NothingToCommit("nothing")

    async def refuse(_: Session) -> str:
        raise GmqError("queue_full", "full")

    pool = FakePool()
    assert run(pool, nothing) == "nothing"
    with pytest.raises(GmqError, match="full"):
        run(pool, refuse)
    assert pool.said == [b"ROLLBACK", b"ROLLBACK"]


def test_errors_of_the_driver_are_understood() -> None:
    assert isinstance(understood(DEADLOCK), ConflictError)
    for error in (
        LOST,
        OperationalError(1047, "WSREP has not yet prepared node"),
        InternalError("Packet sequence number wrong"),
        OSError("x"),
    ):
        assert isinstance(understood(error), LostError), error
    assert isinstance(understood(OperationalError(1064, "syntax")), StatementError)
