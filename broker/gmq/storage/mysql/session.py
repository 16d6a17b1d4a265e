"""One connection to a database server."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from typing import Any

import asyncmy
from msgspec import Struct

from gmq.database import Database, Host
from gmq.storage.mysql.errors import CONFLICTS, LostError, OutcomeUnknownError, described, understood

BYTES_PER_SECOND = 4 << 20
"""How much of a large statement, or of its result, the network has to move in the time that is added to its timeout."""
LOCK_WAIT = 5
"""Seconds that a statement waits for a lock of another transaction before it is tried again."""
IDLE_TIMEOUT = 60
"""Seconds after which the server drops a connection that says nothing, and with it the locks of a broker that hangs."""
SYNCED = "4"

SETUP = b"""\
SET NAMES utf8mb4;
SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', autocommit = 1, wait_timeout = %d,
    innodb_lock_wait_timeout = %d, lock_wait_timeout = %d;
SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;
SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'read_only', 'max_allowed_packet', 'wsrep_on', 'max_statement_time')"""
GALERA_STATE = b"SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_ready', 'wsrep_local_state', 'wsrep_cluster_status')"


class Result(Struct):
    """What one statement gave: its rows, or how many rows it changed and the first id that it made."""

    rows: tuple[tuple[Any, ...], ...]
    changed: int
    first_id: int


class Session:
    """A connection that is ready to serve. It is of no use after any error but those that it says it survives."""

    def __init__(self, connection: Any, host: Host, timeout: float) -> None:
        self.host = host
        self.max_packet = 1 << 20
        self.used_at = time.monotonic()
        self._connection = connection
        self._timeout = timeout
        self._open = True

    @property
    def open(self) -> bool:
        """Whether it can still be used, as far as is known."""
        return self._open and not self._connection._stream_broken  # noqa: SLF001  # the driver tells it nowhere else

    async def run(self, sql: bytes, expect: int = 0) -> list[Result]:
        """Run statements, separated by semicolons, that send about `expect` bytes, and give the result of each.

        Raises:
            ConflictError: another transaction was in the way; roll back and try again.
            StatementError: the database refuses; the connection lives.
            LostError: the connection does not.
        """
        results: list[Result] = []
        connection = self._connection
        try:
            async with asyncio.timeout(self._timeout + (len(sql) + expect) / BYTES_PER_SECOND):
                await connection.query(sql)
                while True:
                    result = connection._result  # noqa: SLF001  # a cursor would copy it
                    results.append(Result(result.rows or (), result.affected_rows, result.insert_id))
                    if not result.has_next:
                        break
                    await connection.next_result()
        except Exception as error:  # the driver raises all sorts of them
            known = understood(error)
            if isinstance(known, LostError):
                self.close()
            raise known from error
        except BaseException:
            self.close()  # cancelled in the middle of an answer
            raise
        self.used_at = time.monotonic()
        return results

    async def commit(self) -> None:
        """Commit.

        Raises:
            ConflictError: the database says that it was not committed.
            OutcomeUnknownError: nobody knows.
        """
        try:
            async with asyncio.timeout(self._timeout):
                await self._connection.query(b"COMMIT")
        except Exception as error:
            if described(error)[0] in CONFLICTS:
                raise understood(error) from error
            self.close()
            raise OutcomeUnknownError from error
        except BaseException:
            self.close()
            raise
        self.used_at = time.monotonic()

    async def rollback(self) -> None:
        """Roll back; where that fails the connection is closed, which has the same effect."""
        try:
            await self.run(b"ROLLBACK")
        except Exception:  # noqa: BLE001  # whatever it is, closing is right
            self.close()

    def close(self) -> None:
        """Close without a word; the server rolls back what was under way."""
        self._open = False
        self._connection.close()


async def connect(database: Database, host: Host) -> Session:
    """A connection to one host.

    Raises:
        LostError: there is none to be had, or that server cannot serve; the text says why, without any secret.
    """
    try:
        user, password = database.credentials()
        async with asyncio.timeout(database.connect_timeout):
            connection = await asyncmy.connect(
                host=host.name,
                port=host.port,
                unix_socket=host.name if host.is_socket else None,
                user=user,
                password=password.encode(),
                database=database.name,
                autocommit=None,
                connect_timeout=database.connect_timeout,
                program_name="gmq",
                ssl=tls_context(database) if not host.is_socket else None,
            )
            session = Session(connection, host, database.statement_timeout)
            try:
                await set_up(session, database)
            except BaseException:
                session.close()
                raise
    except LostError:
        raise
    except Exception as error:
        text = f"no answer within {database.connect_timeout:g} s" if isinstance(error, TimeoutError) else described(error)[1]
        raise LostError(f"{host}: {text}") from error
    return session


async def set_up(session: Session, database: Database) -> None:
    """Give the connection its settings, and see whether its server may be used."""
    timeout = max(1, round(database.statement_timeout))
    results = await session.run(SETUP % (IDLE_TIMEOUT, min(LOCK_WAIT, timeout), timeout))
    variables = named_values(results[-1])
    session.max_packet = int(variables["max_allowed_packet"])
    if variables["read_only"] not in {"OFF", "0"}:
        raise LostError(f"{session.host}: the server is read-only")
    if "max_statement_time" in variables:  # MariaDB
        await session.run(b"SET SESSION max_statement_time = %d" % timeout)
    if variables.get("wsrep_on") == "ON":
        state = named_values((await session.run(GALERA_STATE))[0])
        if state.get("wsrep_ready") != "ON" or state.get("wsrep_local_state") != SYNCED or state.get("wsrep_cluster_status") != "Primary":
            raise LostError(f"{session.host}: the node is not a synced part of the cluster's primary component")


def named_values(result: Result) -> Mapping[str, str]:
    """The rows of a SHOW, by their names."""
    return {str(name): str(value) for name, value in result.rows}


def tls_context(database: Database) -> ssl.SSLContext | None:
    """How to speak TLS; None where it was not asked for. Files are read anew each time, so that renewed ones count."""
    tls = database.tls
    if tls is None:
        return None
    context = ssl.create_default_context(cafile=tls.ca or None)
    if tls.verify != "full":
        context.check_hostname = False
    if tls.verify == "none":
        context.verify_mode = ssl.CERT_NONE
    if tls.certificate:
        context.load_cert_chain(tls.certificate, tls.key or None)
    return context
