"""Things by the instant at which each is due."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from itertools import repeat
from typing import Generic, TypeVar

from gmq.message import NEVER

K = TypeVar("K", int, str)
V = TypeVar("V")


class Deadlines(Generic[K, V]):
    """Values by key, each with an instant in Unix milliseconds.

    Finding and removing by key cost O(1): the heap that tells what is due next has an entry for each batch that was added
    together, and what was removed or moved from it is passed over when it comes up, or swept out when it is the majority.
    """

    __slots__ = ("_heap", "_heaped", "_items", "_serial")

    def __init__(self) -> None:
        self._items: dict[K, tuple[int, V]] = {}
        self._heap: list[tuple[int, int, Sequence[K]]] = []  # when, a number that makes each different, the keys
        self._heaped = 0  # keys in the heap, with those that are no longer due then
        self._serial = 0

    def __len__(self) -> int:
        return len(self._items)

    def values(self) -> Iterator[V]:
        """Every value, in no order."""
        return (value for _, value in self._items.values())

    def put(self, key: K, at: int, value: V) -> None:
        """Add `value` under `key`, due at `at`; an earlier one under this key is replaced."""
        self._items[key] = (at, value)
        self._push(at, (key,))

    def put_all(self, keys: Sequence[K], at: int, values: Iterable[V]) -> None:
        """Add several that are due at the same time."""
        self._items.update(zip(keys, zip(repeat(at), values), strict=True))
        self._push(at, keys)

    def _push(self, at: int, keys: Sequence[K]) -> None:
        self._serial += 1
        self._heaped += len(keys)
        heappush(self._heap, (at, self._serial, keys))
        if self._heaped > 2 * len(self._items) + 64:
            self._heap = [(due, number, (key,)) for number, (key, (due, _)) in enumerate(self._items.items())]
            heapify(self._heap)
            self._heaped = self._serial = len(self._heap)

    def get(self, key: K, now: int) -> V | None:
        """The value under `key`, unless it is due."""
        item = self._items.get(key)
        return None if item is None or item[0] <= now else item[1]

    def pop(self, key: K) -> V | None:
        """Remove and return the value under `key`."""
        item = self._items.pop(key, None)
        return None if item is None else item[1]

    def pop_live(self, keys: Sequence[K], now: int) -> list[V | None]:
        """Remove and return the values under `keys`, with None for each that is not there or is due."""
        pop = self._items.pop
        items = [pop(key, None) for key in keys]
        return [
            None if item is None else item[1] if item[0] > now else self._leave(key, item) for key, item in zip(keys, items, strict=True)
        ]

    def _leave(self, key: K, item: tuple[int, V]) -> V | None:
        """Put back what is due: among much that is, it waits for its turn."""
        self._items[key] = item
        return None

    def first(self) -> int:
        """The earliest instant, or NEVER."""
        heap = self._heap
        while heap:
            at, _, keys = heap[0]
            if any(key in self._items and self._items[key][0] == at for key in keys):
                return at
            heappop(heap)
            self._heaped -= len(keys)
        return NEVER

    def pop_due(self, now: int, limit: int) -> list[V]:
        """Remove and return what is due, the earliest first; it stops after the batch with which `limit` is reached."""
        due: list[V] = []
        while len(due) < limit and self.first() <= now:
            at, _, keys = heappop(self._heap)
            self._heaped -= len(keys)
            due += [self._items.pop(key)[1] for key in keys if key in self._items and self._items[key][0] == at]
        return due

    def in_order(self) -> list[tuple[int, V]]:
        """Every instant and value, the earliest first."""
        return [(at, self._items[key][1]) for at, key in sorted((at, key) for key, (at, _) in self._items.items())]

    def clear(self) -> None:
        """Remove everything."""
        self._items.clear()
        self._heap.clear()
        self._heaped = 0
