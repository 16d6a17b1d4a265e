"""Where the parts of records are in a file, read without the product's code: from the picture in docs/storage.md."""

from __future__ import annotations

from collections.abc import Iterator
from struct import unpack_from
from typing import Any, NamedTuple

import msgspec

OPENING, PUBLISH, ADD, REMOVE, STATE, CREATE, DELETE, CLEAR, KEYS, MARK = range(1, 11)
SPREAD = 11
HEAD = 32


class Part(NamedTuple):
    """A record of a whole file: where it is, and what its fields are. `commit` is the number of the first record of its commit."""

    at: int
    kind: int
    sequence: int
    commit: int
    fields: list[Any]
    data_at: int
    end: int

    def payloads(self) -> Iterator[tuple[int, int, tuple[int, int]]]:
        """From where to where each of its payloads is, and whose: number of the queue, and id."""
        at = self.data_at
        lengths = self.fields[2 if self.kind == ADD else 3] if self.kind in {PUBLISH, ADD, SPREAD} else b""
        for place in range(len(lengths) // 4):
            (length,) = unpack_from("<I", lengths, 4 * place)
            yield at, at + length, self.message(place)
            at += length

    def message(self, place: int) -> tuple[int, int]:
        if self.kind == PUBLISH:
            return self.fields[0], self.fields[1] + place
        if self.kind == SPREAD:
            return self.fields[0][place], self.fields[1][place]
        return self.fields[0], self.fields[1][place][0]

    def touched(self) -> set[tuple[int, int]]:
        """Every message that the record says something of."""
        fields = self.fields
        found = {owner for _, _, owner in self.payloads()}
        spans = []
        if self.kind == REMOVE:
            spans = [(fields[0], fields[1])]
        elif self.kind == STATE:
            spans = [(fields[0], group[3]) for group in fields[1]]
        elif self.kind == ADD and len(fields) > 5 and fields[5]:
            spans = [(fields[5], fields[6])]
        for queue, span in spans:
            for first, count in zip(span[::2], span[1::2], strict=True):
                found |= {(queue, number) for number in range(first, first + count)}
        return found


def parts(data: bytes) -> list[Part]:
    """The records of a file that is whole, the two openings among them."""
    found: list[Part] = []
    at = 0
    while data[at : at + 4] == b"\xa7GMQ":
        kind, fields_size, data_size, sequence, since = unpack_from("<4xB3xIIQI", data, at)
        data_at = at + HEAD + fields_size
        fields = msgspec.msgpack.decode(data[at + HEAD : data_at])
        found.append(Part(at, kind, sequence, sequence - since, fields, data_at, data_at + data_size))
        at = data_at + data_size
    return found
