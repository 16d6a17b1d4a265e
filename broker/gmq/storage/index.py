"""Where in a queue's file its messages are."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import Final, NamedTuple

CLOSE: Final = 64 << 10
"""Bytes between payloads that are rather read than left out."""


class Place(NamedTuple):
    """Where a payload is: offset and length in bytes, and the CRC-32 that it has to have."""

    offset: int
    length: int
    check: int


class Run(NamedTuple):
    """Payloads close together: where the first begins and the last ends, where each is, and their checksums."""

    start: int
    end: int
    offsets: array[int]
    lengths: array[int]
    checks: array[int]


class Index:
    """The places of payloads by message id: 16 bytes for each, in packed arrays, and 16 for each stretch of consecutive ids.

    Messages come nearly always in the order of their ids; the others are kept in a dict. Messages that are gone keep their places until
    the file is written anew.
    """

    __slots__ = ("_checks", "_firsts", "_lengths", "_next", "_odd", "_offsets", "_starts")

    def __init__(self) -> None:
        self._firsts = array("Q")  # the first id of each stretch,
        self._starts = array("Q")  # and where in the arrays below its messages begin
        self._next = 0  # above every id in them
        self._offsets = array("Q")
        self._lengths = array("I")
        self._checks = array("I")
        self._odd: dict[int, Place] = {}

    def add(self, ids: Sequence[int], lengths: Sequence[int], checks: Sequence[int], data_at: int) -> None:
        """Note messages with ascending ids, whose payloads stand one behind the other from `data_at` on."""
        if not ids:
            return
        offsets = array("Q", accumulate(lengths, initial=data_at))
        offsets.pop()
        if ids[0] < self._next:
            places = map(Place, offsets, lengths, checks)
            self._odd.update(zip(ids, places, strict=True))
            return
        self._forget_odd(ids)
        for at, number in enumerate(ids[:1] if isinstance(ids, range) else ids):
            self._begin(number, at)
            self._next = number + 1
        self._next = ids[-1] + 1  # of a range only the first was looked at
        self._append(offsets, lengths, checks)

    def _forget_odd(self, ids: Iterable[int]) -> None:
        """These get another place, and the last one counts."""
        if self._odd:
            for number in ids:
                self._odd.pop(number, None)

    def _begin(self, number: int, at: int) -> None:
        """A message, `at` behind those that are here, goes on with their stretch or begins another."""
        if number != self._next or not self._firsts:
            self._firsts.append(number)
            self._starts.append(len(self._offsets) + at)

    def _append(self, offsets: Iterable[int], lengths: Iterable[int], checks: Iterable[int]) -> None:
        self._offsets.extend(offsets)
        self._lengths.extend(lengths)
        self._checks.extend(checks)

    def update(self, other: Index) -> None:
        """Note what another one has too."""
        if not other._firsts or other._firsts[0] >= self._next:
            self._forget_odd(other._ids())
            for first, start in zip(other._firsts, other._starts, strict=True):
                if start or first != self._next or not self._firsts:
                    self._firsts.append(first)
                    self._starts.append(len(self._offsets) + start)
            self._next = max(self._next, other._next)
            self._append(other._offsets, other._lengths, other._checks)
        else:
            places = map(Place, other._offsets, other._lengths, other._checks)
            self._odd.update(zip(other._ids(), places, strict=True))
        self._odd.update(other._odd)

    def _ids(self) -> Iterator[int]:
        """The id of each place in the arrays."""
        ends = [*self._starts[1:], len(self._offsets)] if self._starts else []
        return chain.from_iterable(
            range(first, first + end - start) for first, start, end in zip(self._firsts, self._starts, ends, strict=True)
        )

    def _at(self, number: int) -> int | None:
        """Where in the arrays a message is."""
        stretch = bisect_right(self._firsts, number) - 1
        if stretch < 0:
            return None
        at = self._starts[stretch] + number - self._firsts[stretch]
        end = self._starts[stretch + 1] if stretch + 1 < len(self._starts) else len(self._offsets)
        return at if at < end else None

    def _slice(self, first: int, count: int) -> slice | None:
        """Where messages with consecutive ids are in the arrays, when all of them are there."""
        at, last = self._at(first), self._at(first + count - 1)
        if at is None or last is None or last - at != count - 1:
            return None
        return slice(at, last + 1)

    def find(self, number: int) -> Place | None:
        """A message's place; None where it is not in the file."""
        if self._odd and (odd := self._odd.get(number)) is not None:
            return odd
        at = self._at(number)
        return None if at is None else Place(self._offsets[at], self._lengths[at], self._checks[at])

    def run(self, first: int, count: int) -> Run | None:
        """Where messages with consecutive ids are, when all of them are in the file, in this order and close together."""
        part = None if self._odd else self._slice(first, count)
        if part is None:
            return None
        offsets, lengths = self._offsets[part], self._lengths[part]
        start, end = offsets[0], offsets[-1] + lengths[-1]
        if end - start > 2 * sum(lengths) + CLOSE:
            return None
        return Run(start, end, offsets, lengths, self._checks[part])

    def size(self, first: int, count: int) -> int:
        """The bytes of the payloads with consecutive ids, those that are not in the file left out."""
        part = None if self._odd else self._slice(first, count)
        if part is not None:
            return sum(self._lengths[part])
        return sum(place.length for number in range(first, first + count) if (place := self.find(number)) is not None)

    def places(self, ids: Iterable[int]) -> list[Place | None]:
        """The places of several messages."""
        return [self.find(number) for number in ids]

    def __contains__(self, number: int) -> bool:
        return self.find(number) is not None
