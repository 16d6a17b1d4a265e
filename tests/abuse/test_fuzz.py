"""A short attack on each target, by property; `make abuse` attacks longer, guided by what the code covers."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abuse.targets import SEEDS, TARGETS

PIECES = st.sampled_from(
    [piece for seeds in SEEDS.values() for seed in seeds for piece in (seed, seed[: len(seed) // 2], seed[len(seed) // 2 :])]
)


def inputs(target: str) -> st.SearchStrategy[bytes]:
    """Bytes of any kind, good inputs, and good inputs that something was done to."""
    seeds = st.sampled_from(SEEDS[target])
    noise = st.binary(max_size=64)
    spoilt = st.tuples(seeds, st.integers(0, 200), noise, st.integers(0, 8)).map(
        lambda cut: cut[0][: cut[1]] + cut[2] + cut[0][cut[1] + cut[3] :]
    )
    return st.one_of(st.binary(max_size=300), spoilt, st.lists(PIECES | noise, max_size=4).map(b"".join))


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_that_is_sent_or_found_breaks_a_promise(target: str) -> None:
    @settings(max_examples=1000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(data=inputs(target))
    def attack(data: bytes) -> None:
        TARGETS[target](data)

    attack()
