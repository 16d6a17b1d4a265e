"""The order of the measurements: interleaved, so that whatever slows the machine down for a while slows everyone."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

from benchmarks.load import blaming
from benchmarks.results import Results, Sample
from benchmarks.work import Row, Shape


class Player(Protocol):
    """Who takes part in the rounds."""

    name: str

    def offers(self, row: Row) -> bool:
        """Whether it has such an operation."""

    def calibrate(self, shape: Shape, seconds: float) -> None:
        """Choose how much of this shape a measurement publishes and takes, so that both together take twice `seconds`."""

    def measure(self, row: Row) -> Sample:
        """Run a row once: a publish begins with nothing queued, a take or a lease empties what was filled."""

    def time(self, row: Row, count: int) -> Sample:
        """Latencies of `count` requests, one after the other."""

    def drain(self, shape: Shape) -> float:
        """Empty it outside the measurements, and return the seconds that took."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    rounds: int = 5
    seconds: float = 0.4  # of one measurement, about
    blocks: int = 10  # into which the latencies of a round are cut, to alternate between the servers
    requests: int = 800  # of one block
    starts: int = 7  # of each server, for its start-up time
    queued: int = 1_000_000  # messages, for the memory that each takes


QUICK = Effort(rounds=2, seconds=0.08, blocks=2, requests=500, starts=3, queued=64_000)


def play(contenders: Sequence[Player], rows: Sequence[Row], effort: Effort, results: Results, say: Callable[[str], None]) -> None:
    """Measure every row on every contender that has it, in each round."""
    shapes = [(shape, list(some)) for shape, some in itertools.groupby(rows, lambda row: row.shape)]
    for shape, some in shapes:
        if not shape.single:
            say(f"warm-up: {shape.size} B, {shape}")
            _calibrate(contenders, shape, some, effort)
    for number in range(effort.rounds):
        turn = number % len(contenders)
        order = [*contenders[turn:], *contenders[:turn]]
        for shape, some in shapes:
            say(f"round {number + 1} of {effort.rounds}: {shape.size} B, {shape}")
            if shape.single:
                _time(order, some, effort, results)
            else:
                _measure(order, shape, some, results)


def _calibrate(contenders: Sequence[Player], shape: Shape, rows: Sequence[Row], effort: Effort) -> None:
    for contender in contenders:
        if any(contender.offers(row) for row in rows):
            with blaming(contender.name):
                contender.calibrate(shape, effort.seconds)


def _measure(contenders: Sequence[Player], shape: Shape, rows: Sequence[Row], results: Results) -> None:
    for row in rows:
        for contender in contenders:
            if contender.offers(row):
                with blaming(contender.name):
                    results.add(row, contender.name, contender.measure(row))
    for contender in contenders:
        with blaming(contender.name):
            contender.drain(shape)


def _time(contenders: Sequence[Player], rows: Sequence[Row], effort: Effort, results: Results) -> None:
    offers = [(row, contender) for row in rows for contender in contenders if contender.offers(row)]
    samples: list[list[Sample]] = [[] for _ in offers]
    for _ in range(effort.blocks):
        for kept, (row, contender) in zip(samples, offers, strict=True):
            with blaming(contender.name):
                kept.append(contender.time(row, effort.requests))
    for kept, (row, contender) in zip(samples, offers, strict=True):
        results.add(row, contender.name, reduce(operator.add, kept))
    for contender in contenders:
        with blaming(contender.name):
            contender.drain(rows[0].shape)
