"""Where in a queue's file its messages are."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
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
    """The places of payloads by message id: 24 bytes for each, in packed arrays.

    Messages come nearly always in the order of their ids; the others are kept in a dict. Messages that are gone keep their places until
    the file is written anew.
    """

    __slots__ = ("_checks", "_ids", "_lengths", "_odd", "_offsets")

    def __init__(self) -> None:
        self._ids = array("Q")
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
        if self._ids and ids[0] <= self._ids[-1]:
            places = map(Place, offsets, lengths, checks)
            self._odd.update(zip(ids, places, strict=True))
            return
        self._ids.extend(ids)
        self._offsets.extend(offsets)
        self._lengths.extend(lengths)
        self._checks.extend(checks)

    def update(self, other: Index) -> None:
        """Note what another one has too."""
        if not other._ids or not self._ids or other._ids[0] > self._ids[-1]:
            self._ids.extend(other._ids)
            self._offsets.extend(other._offsets)
            self._lengths.extend(other._lengths)
            self._checks.extend(other._checks)
        else:
            places = map(Place, other._offsets, other._lengths, other._checks)
            self._odd.update(zip(other._ids, places, strict=True))
        self._odd.update(other._odd)

    def find(self, number: int) -> Place | None:
        """A message's place; None where it is not in the file."""
        if self._odd and (odd := self._odd.get(number)) is not None:
            return odd
        at = bisect_left(self._ids, number)
        if at == len(self._ids) or self._ids[at] != number:
            return None
        return Place(self._offsets[at], self._lengths[at], self._checks[at])

    def run(self, first: int, count: int) -> Run | None:
        """Where messages with consecutive ids are, when all of them are in the file, in this order and close together."""
        at = bisect_left(self._ids, first)
        last = at + count - 1
        if self._odd or last >= len(self._ids) or self._ids[at] != first or self._ids[last] != first + count - 1:
            return None
        lengths = self._lengths[at : last + 1]
        start, end = self._offsets[at], self._offsets[last] + lengths[-1]
        if end - start > 2 * sum(lengths) + CLOSE:
            return None
        return Run(start, end, self._offsets[at : last + 1], lengths, self._checks[at : last + 1])

    def size(self, first: int, count: int) -> int:
        """The bytes of the payloads with consecutive ids, those that are not in the file left out."""
        if not self._odd:
            at = bisect_left(self._ids, first)
            last = at + count - 1
            if last < len(self._ids) and self._ids[at] == first and self._ids[last] == first + count - 1:
                return sum(self._lengths[at : last + 1])
        return sum(place.length for number in range(first, first + count) if (place := self.find(number)) is not None)

    def places(self, ids: Iterable[int]) -> list[Place | None]:
        """The places of several messages."""
        return [self.find(number) for number in ids]

    def __contains__(self, number: int) -> bool:
        return self.find(number) is not None
