"""Messages by the instant at which each is due."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from operator import attrgetter
from typing import Generic, TypeVar

from gmq.message import NEVER, Message, Usage

K = TypeVar("K", int, str)


MESSAGE_COST = 120
"""Bytes of memory, about, that a delayed message takes beyond a plain one: it is an object of its own, and stands in an index."""
INDEX_COST = 50
"""The same for one that stands elsewhere too, where it is counted."""
RECEIPT_COST = 200
"""The same for a leased one, with its receipt."""
INSTANT_COST = 130
"""Bytes, about, that each different instant takes."""


class Deadlines(Generic[K]):
    """Messages by key, each with an instant in Unix milliseconds that stands in its attribute `attribute`.

    Finding and removing by key cost O(1): the heap that tells what is due next has an entry for each instant. What was removed or has
    moved from there is passed over when its instant comes up, or swept out as soon as it is the majority. `usage` is told what this
    takes, with `cost` bytes for each message.
    """

    __slots__ = ("_at", "_cost", "_counted", "_heap", "_heaped", "_items", "_usage", "_when")

    def __init__(self, attribute: str, usage: Usage | None = None, cost: int = MESSAGE_COST) -> None:
        self._usage = usage or Usage()
        self._cost = cost
        self._counted = 0  # of what this takes, in the usage
        self._when = attrgetter(attribute)
        self._items: dict[K, Message] = {}
        self._heap: list[int] = []
        self._at: dict[int, K | list[K]] = {}  # the keys of each instant in the heap; a single one bare, which takes less room
        self._heaped = 0  # keys there, with those that are no longer due then

    def __len__(self) -> int:
        return len(self._items)

    def values(self) -> Iterable[Message]:
        """Every message, in no order."""
        return self._items.values()

    def put(self, key: K, at: int, message: Message) -> None:
        """Add a message that says itself that it is due at `at`; an earlier one under this key is replaced."""
        self._items[key] = message
        known = self._at.get(at)
        if known is None:
            self._at[at] = key
            heappush(self._heap, at)
        elif isinstance(known, list):
            known.append(key)
        else:
            self._at[at] = [known, key]
        self._count(1)

    def put_all(self, keys: Sequence[K], at: int, messages: Iterable[Message]) -> None:
        """Add several that are due at the same time."""
        self._items.update(zip(keys, messages, strict=True))
        known = self._at.get(at)
        if known is None:
            self._at[at] = list(keys)
            heappush(self._heap, at)
        else:
            both = known if isinstance(known, list) else [known]
            both += keys
            self._at[at] = both
        self._count(len(keys))

    def _count(self, added: int) -> None:
        self._heaped += added
        if self._heaped > 2 * len(self._items) + 64:
            self.first()  # nearly always what is stale is old, and goes with this
            if self._heaped > 2 * len(self._items) + 64:
                self._sweep()
        self._account()

    def _account(self) -> None:
        """Tell the usage what this takes now."""
        size = len(self._items) * self._cost + len(self._at) * INSTANT_COST
        self._usage.deadlines += size - self._counted
        self._counted = size

    def _sweep(self) -> None:
        """Make the heap anew."""
        at: dict[int, list[K]] = {}
        when = self._when
        for key, message in self._items.items():
            at.setdefault(when(message), []).append(key)
        self._at = {instant: keys if len(keys) > 1 else keys[0] for instant, keys in at.items()}
        self._heap = sorted(at)
        self._heaped = len(self._items)

    def pop(self, key: K) -> Message | None:
        """Remove and return the message under `key`."""
        message = self._items.pop(key, None)
        if message is not None:
            self._count(0)
        return message

    def _live(self, key: K, at: int) -> bool:
        message = self._items.get(key)
        return message is not None and self._when(message) == at

    def first(self) -> int:
        """The earliest instant, or NEVER."""
        while self._heap:
            at = self._heap[0]
            keys = self._at[at]
            if not isinstance(keys, list):
                keys = self._at[at] = [keys]
            if not self._items.keys().isdisjoint(keys):  # a fast look, and then a close one
                while keys:
                    if self._live(keys[-1], at):
                        return at
                    keys.pop()
                    self._heaped -= 1
            self._heaped -= len(keys)
            del self._at[heappop(self._heap)]
        return NEVER

    def pop_due(self, now: int, limit: int) -> list[Message]:
        """Remove and return up to `limit` of what is due, the earliest first."""
        due: list[Message] = []
        while len(due) < limit and self.first() <= now:
            at = self._heap[0]
            keys = self._at.pop(at)
            heappop(self._heap)
            keys = keys if isinstance(keys, list) else [keys]
            self._heaped -= len(keys)
            now_due, later = keys[: limit - len(due)], keys[limit - len(due) :]
            due += [self._items.pop(key) for key in now_due if self._live(key, at)]
            if later:
                self._at[at] = later
                heappush(self._heap, at)
                self._heaped += len(later)
        if due:
            self._account()
        return due

    def in_order(self) -> list[tuple[int, Message]]:
        """Every instant and message, the earliest first."""
        when = self._when
        return [(at, self._items[key]) for at, key in sorted((when(message), key) for key, message in self._items.items())]

    def clear(self) -> None:
        """Remove everything."""
        self._items.clear()
        self._heap.clear()
        self._at.clear()
        self._heaped = 0
        self._account()


class Leases(Deadlines[str]):
    """Leased messages by receipt, each until its `due`."""

    __slots__ = ()

    def __init__(self, usage: Usage | None = None) -> None:
        super().__init__("due", usage, RECEIPT_COST)

    def pop_live(self, receipts: Sequence[str], now: int) -> list[Message | None]:
        """Remove and return the messages under `receipts`, with None for each that is not there or is due."""
        pop = self._items.pop
        messages = [pop(receipt, None) for receipt in receipts]
        live = [None if message is None else message if message.due > now else self._leave(message) for message in messages]
        self._count(0)
        return live

    def _leave(self, message: Message) -> Message | None:
        """Put back what is due: among much that is, it waits for its turn."""
        if message.receipt is not None:
            self._items[message.receipt] = message
        return None

    def get(self, receipt: str, now: int) -> Message | None:
        """The message under `receipt`, unless it is due."""
        message = self._items.get(receipt)
        return None if message is None or message.due <= now else message
