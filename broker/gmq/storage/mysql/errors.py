"""What can go wrong between the broker and its database, and what it means for who asked."""

from __future__ import annotations

from asyncmy.errors import MySQLError

from gmq.message import GmqError

DEADLOCK, LOCK_WAIT, SNAPSHOT_CONFLICT = 1213, 1205, 1020
CONFLICTS = frozenset({DEADLOCK, LOCK_WAIT, SNAPSHOT_CONFLICT})
"""A transaction that lost against another one: it was rolled back, or is to be, and is tried again."""

DUPLICATE = 1062
NOT_SUPPORTED = 1235
PACKET_TOO_LARGE = 1153

AWAY = frozenset({
    1047,  # Galera: the node is not ready for queries
    1053,  # the server is shutting down
    1290, 1836,  # the server became read-only
    1158, 1159, 1160, 1161,  # reading from or writing to the network
    1927,  # MariaDB: the connection was killed
    2003, 2006, 2013, 2055,  # the driver's words for a connection that is lost
    4031,  # MySQL: the server closed an idle connection
})  # fmt: skip
"""This connection is of no use any more; another one, perhaps to another host, may be."""


class LostError(Exception):
    """The connection is lost, and nothing was committed. The text says why."""


class ConflictError(Exception):
    """The transaction lost against another one, and was not committed."""


class OutcomeUnknownError(Exception):
    """A COMMIT was sent, and its answer did not come."""


class StatementError(Exception):
    """The database refused a statement. `code` is its number for that."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{text} ({code})")
        self.code = code


def understood(error: BaseException) -> Exception:
    """An error of the driver as one of the above."""
    code, text = described(error)
    if not isinstance(error, MySQLError) or code in AWAY or not code:
        return LostError(text)
    if code in CONFLICTS:
        return ConflictError(text)
    return StatementError(code, text)


def described(error: BaseException) -> tuple[int, str]:
    """The number and the text of an error of the driver; number 0 where it has none."""
    if isinstance(error, TimeoutError):
        return 0, "it did not answer in time"
    arguments = error.args
    if isinstance(error, MySQLError) and len(arguments) > 1 and isinstance(arguments[0], int):
        return arguments[0], str(arguments[1])
    return 0, str(error) or type(error).__name__


def unavailable(reason: str) -> GmqError:
    """The refusal of what cannot be done now."""
    return GmqError("unavailable", f"the database cannot serve now: {reason}; nothing was done, try again later")


def outcome_unknown() -> GmqError:
    """The answer to a request whose COMMIT was not answered."""
    return GmqError(
        "unknown", "the connection to the database was lost during the commit, so it is not known whether this was done; "
        "a publish with a key can be repeated without harm",
    )  # fmt: skip
