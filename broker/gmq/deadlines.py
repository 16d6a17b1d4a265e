"""Things by the instant at which each is due."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

from gmq.message import NEVER

K = TypeVar("K", int, str)
V = TypeVar("V")


class Deadlines(Generic[K, V]):
    """Values by key, each with an instant in Unix milliseconds.

    Adding costs O(log n), finding and removing by key O(1): what is removed or moved leaves its old entry in the heap, which is dropped when it
    comes up, or when such entries are the majority.
    """

    __slots__ = ("_heap", "_items")

    def __init__(self) -> None:
        self._items: dict[K, tuple[int, V]] = {}
        self._heap: list[tuple[int, K]] = []

    def __len__(self) -> int:
        return len(self._items)

    def values(self) -> Iterator[V]:
        """Every value, in no order."""
        return (value for _, value in self._items.values())

    def put(self, key: K, at: int, value: V) -> None:
        """Add `value` under `key`, due at `at`; an earlier one under this key is replaced."""
        self._items[key] = (at, value)
        heappush(self._heap, (at, key))
        if len(self._heap) > 2 * len(self._items) + 64:
            self._heap = [(due, key) for key, (due, _) in self._items.items()]
            heapify(self._heap)

    def get(self, key: K, now: int) -> V | None:
        """The value under `key`, unless it is due."""
        item = self._items.get(key)
        return None if item is None or item[0] <= now else item[1]

    def pop(self, key: K) -> V | None:
        """Remove and return the value under `key`."""
        item = self._items.pop(key, None)
        return None if item is None else item[1]

    def first(self) -> int:
        """The earliest instant, or NEVER."""
        heap = self._heap
        while heap:
            at, key = heap[0]
            item = self._items.get(key)
            if item is not None and item[0] == at:
                return at
            heappop(heap)
        return NEVER

    def pop_due(self, now: int, limit: int) -> list[V]:
        """Remove and return what is due, the earliest first, at most `limit` of it."""
        due: list[V] = []
        while len(due) < limit and self.first() <= now:
            _, key = heappop(self._heap)
            due.append(self._items.pop(key)[1])
        return due

    def in_order(self) -> list[tuple[int, V]]:
        """Every instant and value, the earliest first."""
        return [(at, self._items[key][1]) for at, key in sorted((at, key) for key, (at, _) in self._items.items())]

    def clear(self) -> None:
        """Remove everything."""
        self._items.clear()
        self._heap.clear()
