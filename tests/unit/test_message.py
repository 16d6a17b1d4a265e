"""What was taken, packed and unpacked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gmq.message import Span, Taken


@given(counts=st.lists(st.integers(1, 4), max_size=5), start=st.integers(0, 20), length=st.integers(0, 20))
def test_a_part_of_what_was_taken_has_its_messages_with_their_ids(counts: list[int], start: int, length: int) -> None:
    spans = [Span(100 * number, number, 4, count) for number, count in enumerate(counts)]
    payloads = [b"%d" % number for number in range(sum(counts))]
    taken = Taken("orders", payloads, spans, None, packed=True)
    part = taken.part(start, start + length)
    assert part.messages() == taken.messages()[start : start + length]
    assert part.payloads() == payloads[start : start + length]
