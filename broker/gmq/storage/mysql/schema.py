"""The tables, and how they came to be what they are."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

import structlog

from gmq.storage.mysql.errors import NOT_SUPPORTED, StatementError
from gmq.storage.mysql.session import Session
from gmq.storage.mysql.sql import literal

log = structlog.get_logger()

LOCK_SECONDS = 60
"""How long a broker waits for another one that is migrating, and for how long one that died in the middle is waited for."""

MIGRATIONS: Sequence[Sequence[bytes]] = (
    (
        b"""CREATE TABLE IF NOT EXISTS gmq_queue (
            id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
            name VARBINARY(255) NOT NULL,
            generation BIGINT UNSIGNED NOT NULL,
            version BIGINT UNSIGNED NOT NULL DEFAULT 0,
            policy BLOB NULL,
            used BIGINT NOT NULL,
            UNIQUE KEY name (name),
            UNIQUE KEY generation (generation)
        ) ENGINE=InnoDB ROW_FORMAT=DYNAMIC""",
        b"""CREATE TABLE IF NOT EXISTS gmq_generation (
            number BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY
        ) ENGINE=InnoDB""",
        b"""CREATE TABLE IF NOT EXISTS gmq_message (
            id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
            queue BIGINT UNSIGNED NOT NULL,
            state TINYINT UNSIGNED NOT NULL,
            place TINYINT UNSIGNED NOT NULL,
            due BIGINT NOT NULL,
            expires BIGINT NOT NULL,
            published BIGINT NOT NULL,
            deliveries INT UNSIGNED NOT NULL DEFAULT 0,
            token BINARY(8) NULL,
            size INT UNSIGNED NOT NULL,
            headers BLOB NULL,
            dead_queue VARBINARY(255) NULL,
            dead_id BIGINT UNSIGNED NULL,
            dead_reason VARBINARY(32) NULL,
            dead_deliveries INT UNSIGNED NULL,
            dead_at BIGINT NULL,
            payload LONGBLOB NOT NULL,
            KEY take (queue, state, place, id, due, size, published),
            KEY due (state, due)
        ) ENGINE=InnoDB ROW_FORMAT=DYNAMIC""",
        b"""CREATE TABLE IF NOT EXISTS gmq_key (
            queue BIGINT UNSIGNED NOT NULL,
            name VARBINARY(255) NOT NULL,
            message BIGINT UNSIGNED NOT NULL,
            digest BINARY(16) NOT NULL,
            until BIGINT NOT NULL,
            PRIMARY KEY (queue, name),
            KEY until (until)
        ) ENGINE=InnoDB ROW_FORMAT=DYNAMIC""",
    ),
)
"""The statements that lead from each version to the next. They can be run again where they were interrupted."""

LATEST = len(MIGRATIONS)

_VERSIONS = b"""CREATE TABLE IF NOT EXISTS gmq_schema (
    id TINYINT UNSIGNED NOT NULL PRIMARY KEY,
    version INT UNSIGNED NOT NULL,
    holder VARBINARY(32) NULL,
    until BIGINT NOT NULL DEFAULT 0
) ENGINE=InnoDB"""


class SchemaError(Exception):
    """The tables are not what this broker can use."""


async def migrate(session: Session, latest: int = LATEST) -> None:
    """Bring the tables to the latest version; several brokers may do so at the same time.

    Raises:
        SchemaError: they are newer than this broker knows, or the lock is not to be had.
        LostError, StatementError: as the session.
    """
    version = await _version(session)
    if version < latest:
        await _migrate_alone(session, latest)
        version = await _version(session)
    if version > latest:
        raise SchemaError(f"its tables have version {version}, and this broker knows those up to {latest}; run a newer broker")


async def _version(session: Session) -> int:
    exists = b"SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'gmq_schema'"
    if not (await session.run(exists))[0].rows[0][0]:
        return 0
    rows = (await session.run(b"SELECT version FROM gmq_schema WHERE id = 1"))[0].rows
    return int(rows[0][0]) if rows else 0


async def _migrate_alone(session: Session, latest: int) -> None:
    try:
        (got,) = await session.run(b"SELECT GET_LOCK(CONCAT('gmq.schema.', LEFT(SHA2(DATABASE(), 256), 40)), %d)" % min(LOCK_SECONDS, 5))
    except StatementError as error:
        if error.code != NOT_SUPPORTED:  # a Galera cluster has no such locks
            raise
        await _migrate_with_lease(session, latest)
        return
    if got.rows[0][0] != 1:
        raise SchemaError("another broker is bringing its tables up to date")
    try:
        await session.run(_VERSIONS)
        await session.run(b"INSERT IGNORE INTO gmq_schema (id, version) VALUES (1, 0)")
        await _steps(session, latest)
    finally:
        if session.open:
            await session.run(b"DO RELEASE_LOCK(CONCAT('gmq.schema.', LEFT(SHA2(DATABASE(), 256), 40)))")


async def _migrate_with_lease(session: Session, latest: int) -> None:
    """The same with a lock that is a row, for a cluster."""
    await session.run(_VERSIONS)
    await session.run(b"INSERT IGNORE INTO gmq_schema (id, version) VALUES (1, 0)")
    holder = literal(os.urandom(16).hex())
    for _ in range(20):
        sql = b"""UPDATE gmq_schema SET holder = %b, until = UNIX_TIMESTAMP() + %d
            WHERE id = 1 AND (holder IS NULL OR until < UNIX_TIMESTAMP())"""
        if (await session.run(sql % (holder, LOCK_SECONDS)))[0].changed:
            break
        await asyncio.sleep(0.2)
    else:
        raise SchemaError("another broker is bringing its tables up to date")
    try:
        await _steps(session, latest)
    finally:
        if session.open:
            await session.run(b"UPDATE gmq_schema SET holder = NULL WHERE id = 1 AND holder = %b" % holder)


async def _steps(session: Session, latest: int) -> None:
    for number in range(await _version(session), latest):
        for statement in MIGRATIONS[number]:
            await session.run(statement)
        await session.run(b"UPDATE gmq_schema SET version = %d WHERE id = 1" % (number + 1))
        log.info("the tables were brought up to date", version=number + 1)
