"""What a server takes before and beside its work: start-up time and memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from benchmarks.contender import Contender
from benchmarks.load import blaming
from benchmarks.results import Results, Spread
from benchmarks.rounds import Effort
from benchmarks.servers import Cores, Server, running
from benchmarks.work import BATCH, SMALL, Shape

FILLING: Final = Shape(16, 1, SMALL, BATCH)  # the quickest way to queue many messages


def start_ups(servers: Sequence[Server], cores: Cores, effort: Effort, results: Results) -> None:
    """Start each server several times, in turn, and time it from the process's start to its first reply."""
    times: dict[str, list[float]] = {server.name: [] for server in servers}
    for _ in range(effort.starts):
        for server in servers:
            with running(server, cores) as process:
                times[server.name].append(process.start_up)
    for server in servers:
        results.footprints[server.name].start_up = Spread.of(times[server.name])


def memory(servers: Sequence[Server], cores: Cores, effort: Effort, results: Results) -> None:
    """Weigh each server fresh from its start, and again with many messages queued."""
    for server in servers:
        footprint = results.footprints[server.name]
        with running(server, cores) as process:
            footprint.idle = process.resident()
            if not server.keeps:
                continue
            contender = Contender(process)
            try:
                with blaming(server.name):
                    contender.fill(FILLING, effort.queued)
            finally:
                contender.close()
            footprint.loaded = process.resident()
            footprint.messages = effort.queued
