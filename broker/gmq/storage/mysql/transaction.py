"""Transactions that are tried again where that does no harm, and reads."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TypeVar

import structlog

from gmq.histogram import Commits
from gmq.message import GmqError
from gmq.storage.mysql.errors import DUPLICATE, ConflictError, LostError, OutcomeUnknownError, StatementError, outcome_unknown, unavailable
from gmq.storage.mysql.pool import Pool
from gmq.storage.mysql.session import Result, Session

log = structlog.get_logger()
T = TypeVar("T")

PAUSE = 0.005
LONGEST_PAUSE = 0.2
"""Seconds, the first and the longest, between attempts of a transaction that lost against another; each has a random part."""


class NothingToCommit(Exception):  # noqa: N818  # no error
    """Ends a transaction that found nothing to do; `result` is its result."""

    def __init__(self, result: object) -> None:
        super().__init__()
        self.result = result


class TryAgain(Exception):  # noqa: N818  # no error
    """Rolls back and begins the transaction anew: what it was built on has changed."""


class Transactions:
    """Runs work in transactions, each on a connection of the pool, for up to `patience` seconds; `commits` is told how they went."""

    def __init__(self, pool: Pool, patience: float, commits: Commits) -> None:
        self._pool = pool
        self._patience = patience
        self._commits = commits

    async def run(self, work: Callable[[Session], Awaitable[T]], changes: int = 1) -> T:
        """Do the work, which begins a transaction and does not end it, and commit; begin anew when it lost against another transaction.

        `changes` is how many requests it serves.

        Raises:
            GmqError: what the work raises, then nothing was committed; `unavailable`, nothing was committed; `unknown`.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        pause = PAUSE
        while True:
            try:
                return await self._try(work, changes)
            except TryAgain:
                reason, wait = "its queues change all the time", 0.0
            except (ConflictError, LostError) as error:
                log.debug("a transaction begins anew", reason=str(error))
                self._commits.errors += isinstance(error, LostError)
                reason, wait = str(error), pause * (0.5 + random.random())  # noqa: S311  # no secret
                pause = min(2 * pause, LONGEST_PAUSE)
            except StatementError as error:
                if error.code != DUPLICATE:
                    self._commits.errors += 1
                    raise refused(error) from error
                reason, wait = str(error), PAUSE  # another broker made the same thing: it is there now
            if loop.time() > deadline:
                raise unavailable(reason)
            await asyncio.sleep(wait)

    async def _acquire(self) -> Session:
        try:
            return await self._pool.acquire()
        except GmqError:
            self._commits.errors += 1
            raise

    async def _try(self, work: Callable[[Session], Awaitable[T]], changes: int) -> T:
        """Do the work once, and commit, or roll back."""
        session = await self._acquire()
        begun = perf_counter()
        try:
            result = await work(session)
            await session.commit()
            self._commits.done(perf_counter() - begun, changes)
        except OutcomeUnknownError as error:
            self._commits.errors += 1
            log.error("the outcome of a commit is unknown", host=str(session.host), reason=str(error.__cause__))  # noqa: TRY400  # no bug here
            raise outcome_unknown() from error
        except Exception as error:
            if session.open:
                await session.rollback()
            if isinstance(error, NothingToCommit):
                return error.result  # type: ignore[return-value]  # the work gives what it would have returned
            raise
        except BaseException:
            session.close()
            raise
        finally:
            self._pool.release(session)
        return result

    async def read(self, sql: bytes, expect: int = 0) -> list[Result]:
        """Run statements that change nothing.

        Raises:
            GmqError: `unavailable`.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        while True:
            session = await self._acquire()
            try:
                return await session.run(sql, expect)
            except (ConflictError, LostError) as error:
                self._commits.errors += isinstance(error, LostError)
                if loop.time() > deadline:
                    raise unavailable(str(error)) from error
            except StatementError as error:
                self._commits.errors += 1
                raise refused(error) from error
            finally:
                self._pool.release(session)

    async def change(self, sql: bytes) -> list[Result]:
        """Run statements in a transaction, and give their results without that of BEGIN."""

        async def work(session: Session) -> list[Result]:
            return (await session.run(b"BEGIN;" + sql))[1:]

        return await self.run(work)


def refused(error: StatementError) -> GmqError:
    """What to answer when the database refuses a statement, which is told in the log."""
    log.error("the database refused a statement", reason=str(error))
    return unavailable(str(error))
