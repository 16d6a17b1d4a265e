"""The connections to the database: a bounded number of them, all to the first host that can serve."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import structlog

from gmq.database import Database, Host
from gmq.storage.mysql.errors import LostError, unavailable
from gmq.storage.mysql.session import IDLE_TIMEOUT, Session, connect

log = structlog.get_logger()

GRACE = 5.0
"""Seconds of an outage during which requests wait for its end; after that they are refused at once."""
RETRY_AFTER = 0.25
"""Seconds between attempts to reach a database that is away."""
PREFER_AFTER = 10.0
"""Seconds between looks whether a host further in front in the list can serve again."""
KEEP = IDLE_TIMEOUT / 2
"""Seconds for which an idle connection is kept."""


class Pool:
    """Connections to one host at a time.

    `problem` says why there are none to be had; it is None while all is well. `prepare` is called with the first connection to each
    host before any other use.
    """

    def __init__(self, database: Database, prepare: Callable[[Session], Awaitable[None]]) -> None:
        self.problem: str | None = "not connected yet"
        self._database = database
        self._prepare = prepare
        self._free = asyncio.Semaphore(database.pool_size)
        self._idle: list[Session] = []
        self._busy: set[Session] = set()
        self._host: Host | None = None
        self._prepared: set[Host] = set()
        self._away_since = time.monotonic()
        self._back = asyncio.Event()
        self._search = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._recovering: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def host(self) -> Host | None:
        """The host that serves, or did so last."""
        return self._host

    async def open(self) -> None:
        """Find a host that serves; where there is none, go on looking for it."""
        try:
            self._release(await self._find())
        except LostError as error:
            self._went_away(str(error))
        if len(self._database.hosts) > 1:
            self._start(self._prefer())

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        self._back.set()
        for task in list(self._tasks):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        for session in (*self._idle, *self._busy):
            session.close()
        self._idle.clear()

    async def acquire(self) -> Session:
        """A connection, to be given back with `release`.

        Raises:
            GmqError: `unavailable`.
        """
        try:
            async with asyncio.timeout(GRACE + self._database.statement_timeout):
                await self._free.acquire()
        except TimeoutError:
            raise unavailable(f"all {self._database.pool_size} connections to it are busy") from None
        try:
            session = self._pop_idle() or await self._connect()
        except BaseException:
            self._free.release()
            raise
        self._busy.add(session)
        return session

    def release(self, session: Session) -> None:
        """Give a connection back, whatever became of it."""
        self._busy.discard(session)
        self._free.release()
        self._release(session)

    def _release(self, session: Session) -> None:
        if self._closed or session.host != self._host or not session.open:
            session.close()
            return
        self._idle.append(session)
        if time.monotonic() - self._idle[0].used_at > KEEP:  # the one that was used last is at the end
            self._idle.pop(0).close()

    def _pop_idle(self) -> Session | None:
        while self._idle:
            session = self._idle.pop()
            if session.open and session.host == self._host and time.monotonic() - session.used_at < KEEP:
                return session
            session.close()
        return None

    async def _connect(self) -> Session:
        """A new connection; while the database is away, wait for it a little."""
        while not self._closed:
            if self.problem is None and self._host is not None:
                try:
                    return await connect(self._database, self._host)
                except LostError as error:
                    log.info("no connection to the database", reason=str(error))
                try:
                    async with self._search:
                        if self.problem is None:
                            return await self._find()
                except LostError as error:
                    self._went_away(str(error))
            left = self._away_since + GRACE - time.monotonic()
            if left <= 0:
                raise unavailable(self.problem or "it was away a moment ago")
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._back.wait()
        raise unavailable("the broker is shutting down")

    async def _find(self) -> Session:
        """A connection to the first host that serves.

        Raises:
            LostError: there is none; the text says why, for each host.
        """
        reasons: list[str] = []
        for host in self._database.hosts:
            try:
                return await self._use(host)
            except LostError as error:
                reasons.append(str(error))
        raise LostError("; ".join(reasons))

    async def _use(self, host: Host) -> Session:
        """A connection to this host, which from now on is the one that all go to."""
        session = await connect(self._database, host)
        if host not in self._prepared:
            try:
                await self._prepare(session)
            except Exception as error:
                session.close()
                raise error if isinstance(error, LostError) else LostError(f"{host}: {error}") from error
            self._prepared.add(host)
        if host != self._host:
            log.info("using the database", host=str(host), database=self._database.name)
            self._host = host
            for old in self._idle:
                old.close()
            self._idle.clear()
        if self.problem is not None:
            self.problem = None
            self._back.set()
        return session

    def _went_away(self, reason: str) -> None:
        """Note that no host serves, and look for one until there is one again."""
        if self.problem is None or self._recovering is None:
            log.error("the database cannot serve", reason=reason)
            self._away_since = time.monotonic()
            self._prepared.clear()  # it may come back as another one
        self.problem = reason
        self._back.clear()
        if self._recovering is None or self._recovering.done():
            self._recovering = self._start(self._recover())

    async def _recover(self) -> None:
        """Look for a host that serves until there is one."""
        while self.problem is not None and not self._closed:
            await asyncio.sleep(RETRY_AFTER)
            try:
                self._release(await self._find())
            except LostError as error:
                if str(error) != self.problem:
                    log.warning("the database still cannot serve", reason=str(error))
                self.problem = str(error)
        log.info("the database serves again", host=str(self._host), seconds=round(time.monotonic() - self._away_since, 1))

    async def _prefer(self) -> None:
        """Go back to a host further in front in the list when it serves again."""
        hosts = self._database.hosts
        while not self._closed:
            await asyncio.sleep(PREFER_AFTER)
            for host in hosts[: hosts.index(self._host)] if self._host in hosts else ():
                with suppress(LostError):
                    self._release(await self._use(host))
                    break

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
