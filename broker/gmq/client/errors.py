"""What can go wrong for a client of the broker."""
# ruff: noqa: N818  # the names say what happened, and the user reads them in an `except`

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class GmqClientError(Exception):
    """The base of everything the clients raise on purpose (beside ValueError for arguments that make no sense)."""


class ConnectionFailed(GmqClientError):
    """The broker could not be reached in time. Nothing was done: the request never left."""


class OutcomeUnknown(GmqClientError):
    """The request was sent, its reply did not come, and repeating it by itself could do it twice or lose a message.

    It was done, or not. A publish with a `key` and a take with a `lease` are repeated instead, and so seldom end this way.
    """


class RequestTimeout(OutcomeUnknown, TimeoutError):
    """The broker did not answer within the `request_timeout`; like any OutcomeUnknown, the request may have been done."""


class RequestRefused(GmqClientError):
    """The broker answered "N": it did nothing, and says why.

    `code` is the stable word for programs that docs/protocol.md lists; the text is a sentence for people. The subclasses have a code each.
    `stale` lists the receipts that were not settled, for the operations that take receipts.
    """

    CODE: ClassVar[str] = ""

    def __init__(self, code: str, text: str, stale: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.code = code
        self.stale = list(stale)


class BadRequest(RequestRefused):
    """A value out of its range, of the wrong type, or unknown to this broker. The same request fails again."""

    CODE = "bad_request"


class Unauthorized(RequestRefused):
    """No credentials, or wrong ones."""

    CODE = "unauthorized"


class Forbidden(RequestRefused):
    """These credentials may not do that."""

    CODE = "forbidden"


class TooLarge(RequestRefused):
    """A message, or all of a batch, above the broker's limit."""

    CODE = "too_large"


class QueueFull(RequestRefused):
    """The queue holds as many messages as it may. Try again later."""

    CODE = "queue_full"


class LimitReached(RequestRefused):
    """Another limit is reached: queues, memory, remembered keys, waiting requests of a connection. Try again later."""

    CODE = "limit"


class StaleReceipt(RequestRefused):
    """The receipt is not good any more: it was settled before, or its lease ran out. The message may come again."""

    CODE = "stale_receipt"


class KeyConflict(RequestRefused):
    """Another payload was published under this key."""

    CODE = "key_conflict"


class NotFound(RequestRefused):
    """There is no such queue."""

    CODE = "not_found"


class Unavailable(RequestRefused):
    """The storage cannot serve now, or the broker is shutting down. Try again later."""

    CODE = "unavailable"


_BY_CODE: dict[str, type[RequestRefused]] = {refused.CODE: refused for refused in RequestRefused.__subclasses__()}


def refusal(code: str, text: str, stale: Sequence[str] = ()) -> RequestRefused:
    """The error that stands for a code; RequestRefused itself for one that this client does not know."""
    return _BY_CODE.get(code, RequestRefused)(code, text, stale)
