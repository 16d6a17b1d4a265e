"""The series of every queue as text.

There are many of them, so they are written here and not by the client library, which takes ten times as long, and in slices, between
which the event loop serves others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from time import perf_counter
from typing import Final

from gmq.message import Measure
from gmq.server.metrics.definitions import QUEUE_AGE, QUEUE_BYTES, QUEUE_COUNTERS, QUEUE_MESSAGES, REST, STATES, Definition
from gmq.server.metrics.roster import Roster, Values, escaped
from gmq.storage.base import Storage

SLICE: Final = 0.002
"""Seconds of work until others have their turn."""
LOOK: Final = 16
"""Queues between two looks at the clock."""
_MESSAGES, _BYTES, _AGE = QUEUE_MESSAGES.series, QUEUE_BYTES.series, QUEUE_AGE.series


class QueueSeries:
    """Gathers the lines of each metric, queue by queue."""

    def __init__(self) -> None:
        self._counters: list[list[str]] = [[] for _ in QUEUE_COUNTERS]
        self._heads = [definition.series for definition in QUEUE_COUNTERS.values()]
        self._messages: list[str] = []
        self._bytes: list[str] = []
        self._ages: list[str] = []

    def add_counters(self, label: str, values: Values) -> None:
        for lines, head, value in zip(self._counters, self._heads, values, strict=True):
            lines.append(f"{head}{{{label}}} {value}\n")

    def add_sizes(self, label: str, measure: Measure) -> None:
        self._messages.append(
            f'{_MESSAGES}{{{label},state="ready"}} {measure.ready}\n'
            f'{_MESSAGES}{{{label},state="delayed"}} {measure.delayed}\n'
            f'{_MESSAGES}{{{label},state="leased"}} {measure.leased}\n'
        )
        self._bytes.append(f"{_BYTES}{{{label}}} {measure.bytes}\n")
        self._ages.append(f"{_AGE}{{{label}}} {measure.oldest_age}\n")

    def blocks(self, *, openmetrics: bool) -> Iterator[bytes]:
        """The text, metric by metric."""
        rest = ((QUEUE_MESSAGES, self._messages), (QUEUE_BYTES, self._bytes), (QUEUE_AGE, self._ages))
        for definition, lines in (*zip(QUEUE_COUNTERS.values(), self._counters, strict=True), *rest):
            yield (head(definition, openmetrics=openmetrics) + "".join(lines)).encode()


def head(definition: Definition, *, openmetrics: bool) -> str:
    """The lines that stand before a metric's samples."""
    name = definition.name if openmetrics else definition.series
    return f"# HELP {name} {definition.help}\n# TYPE {name} {definition.kind}\n"


async def write_queues(storage: Storage, roster: Roster, *, openmetrics: bool) -> tuple[list[bytes], int]:
    """The series of every queue, and how many queues there are."""
    await storage.measure()
    series = QueueSeries()
    others = Measure(REST, storage.departed, 0, 0, 0, 0, 0.0)
    count = 0
    roster.begin(storage.departed)
    begun = perf_counter()
    for measure in storage.measured():
        count += 1
        named = roster.name(measure)
        if named is None:
            join(others, measure)
        else:
            series.add_counters(named.label, named.shown)
            series.add_sizes(named.label, measure)
        if not count % LOOK and perf_counter() - begun > SLICE:
            await asyncio.sleep(0)
            begun = perf_counter()
    values, unnamed = roster.end()
    label = f'queue="{escaped(REST)}"'
    series.add_counters(label, values)
    if unnamed:
        series.add_sizes(label, others)
    blocks: list[bytes] = []
    for block in series.blocks(openmetrics=openmetrics):
        blocks.append(block)
        await asyncio.sleep(0)
    return blocks, count


def join(sums: Measure, measure: Measure) -> None:
    """Add the sizes of a queue to those of others."""
    for state in (*STATES, "bytes"):
        setattr(sums, state, getattr(sums, state) + getattr(measure, state))
    sums.oldest_age = max(sums.oldest_age, measure.oldest_age)
