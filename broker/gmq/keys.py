"""The deduplication keys that a queue remembers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from itertools import islice

from gmq.message import KEY_MEMORY, NEVER, GmqError, Usage

_ID_BYTES = 8


def digest_of(payload: bytes) -> bytes:
    """What is remembered of a payload: enough to tell another one."""
    return blake2b(payload, digest_size=16).digest()


class Keys:
    """Keys in the order in which they are forgotten, each with the id it was published under and a digest of the payload."""

    __slots__ = ("_known", "_limit", "_order", "_untils", "_usage")

    def __init__(self, limit: int, usage: Usage) -> None:
        self._known: dict[str, bytes] = {}  # id and digest in one object, for there may be a million
        self._order: deque[str] = deque()
        self._untils: deque[tuple[int, int]] = deque()  # an instant, and how many keys are forgotten then
        self._limit = limit
        self._usage = usage

    def __len__(self) -> int:
        return len(self._order)

    def id_of(self, key: str) -> int:
        """The id that a remembered key was published under."""
        return int.from_bytes(self._known[key][:_ID_BYTES], "big")

    def first(self) -> int:
        """When the next key is forgotten, or NEVER."""
        return self._untils[0][0] if self._untils else NEVER

    def add(self, keys: Sequence[str], first: int, digests: Iterable[bytes], now: int) -> None:
        """Remember keys of messages with the ids `first`, `first` + 1 and so on."""
        values = (number.to_bytes(_ID_BYTES, "big") + digest for number, digest in enumerate(digests, first))
        self._known.update(zip(keys, values, strict=True))
        self._add(keys, now + KEY_MEMORY)

    def _add(self, keys: Sequence[str], until: int) -> None:
        count = len(keys)
        self._order.extend(keys)
        self._usage.keys += count
        if self._untils and until <= self._untils[-1][0]:
            until, more = self._untils.pop()
            count += more
        self._untils.append((until, count))

    def load(self, keys: Iterable[tuple[str, int, bytes, int]], now: int) -> None:
        """Add keys with ids, digests and the instants at which they are forgotten, in the order of these."""
        for key, number, digest, until in keys:
            if until > now and key not in self._known:
                self._known[key] = number.to_bytes(_ID_BYTES, "big") + digest
                self._add((key,), until)

    def newest(self, count: int | None) -> list[tuple[str, int, bytes, int]]:
        """The `count` keys that are forgotten last (all without a count), as `load` wants them."""
        keys = iter(reversed(self._order))
        left = len(self._order) if count is None else min(count, len(self._order))
        found: list[tuple[str, int, bytes, int]] = []
        for until, number in reversed(self._untils):
            if len(found) == left:
                break
            for key in islice(keys, min(number, left - len(found))):
                known = self._known[key]
                found.append((key, int.from_bytes(known[:_ID_BYTES], "big"), known[_ID_BYTES:], until))
        return found[::-1]

    def forget(self, now: int) -> None:
        """Forget what is due."""
        while self._untils and self._untils[0][0] <= now:
            _, count = self._untils.popleft()
            self._usage.keys -= count
            for _ in range(count):
                del self._known[self._order.popleft()]

    def fresh(self, keys: Sequence[str], payloads: Sequence[bytes], now: int) -> dict[str, tuple[bytes, bytes]]:
        """What in a batch is new, payloads and digests by key: no remembered key, and of keys that stand there twice the first.

        Raises GmqError `key_conflict` where another payload was published under a key.
        """
        self.forget(now)
        fresh: dict[str, tuple[bytes, bytes]] = {}
        for key, payload in zip(keys, payloads, strict=True):
            digest = digest_of(payload)
            known = self._known.get(key)
            if (fresh.setdefault(key, (payload, digest))[1] if known is None else known[_ID_BYTES:]) != digest:
                raise GmqError("key_conflict", f"another payload was published under the key {key!r}; a repeat must have the same payload")
        return fresh

    def check_room(self, count: int, queue: str) -> None:
        """Raise GmqError `limit` where `count` more are too many."""
        if count and len(self) + count > self._limit:
            raise GmqError(
                "limit", f"queue {queue!r} remembers {len(self)} keys; it remembers up to {self._limit}, for 5 minutes each", limit="keys"
            )

    def clear(self) -> None:
        """Forget everything."""
        self._usage.keys -= len(self._order)
        self._known.clear()
        self._order.clear()
        self._untils.clear()
