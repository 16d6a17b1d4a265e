"""The order of requests of one connection whose effects come later."""

from __future__ import annotations

from gmq import protocol
from gmq.protocol import Item

LIMIT = 256
"""Requests, or runs of them, that may be under way before no more are served."""
OVERLAPPING = frozenset("PSANE")
"""Operations of which several may be under way at once, as the storage keeps the order of each: publishes, takes, those with receipts."""


class Order:
    """Holds back a request until those before it have taken effect, where a storage answers later."""

    __slots__ = ("_kind", "_under_way")

    def __init__(self) -> None:
        self._under_way = 0
        self._kind: str | None = None  # of all that are under way

    def holds_back(self, item: Item) -> bool:
        """Whether a request has to wait."""
        if not self._under_way:
            return False
        kind = kind_of(item)
        return self._under_way >= LIMIT or kind is None or kind != self._kind

    def begin(self, item: Item) -> None:
        """A request is under way."""
        self._under_way += 1
        self._kind = kind_of(item)

    def end(self) -> None:
        """A request has taken effect, or failed."""
        self._under_way -= 1


def kind_of(item: Item) -> str | None:
    """What requests have in common that may be under way at once; None for one that is alone."""
    if isinstance(item, protocol.BadRequest) or (isinstance(item, protocol.Take) and item.queues is not None):
        return None
    return item.operation if item.operation in OVERLAPPING else None
