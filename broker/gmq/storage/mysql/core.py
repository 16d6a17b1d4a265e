"""What the operations of the storage share."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from gmq.message import Limits
from gmq.storage.mysql.records import Records
from gmq.storage.mysql.transaction import Transactions


class Core(Struct):
    """What the operations share.

    `ready` is told the name of a queue that may have something to hand out; `due` in how many milliseconds something will happen by
    itself; `garbage` that a generation has been left behind.
    """

    transactions: Transactions
    records: Records
    limits: Limits
    ready: Callable[[str], None]
    due: Callable[[int], None]
    garbage: Callable[[], None]
