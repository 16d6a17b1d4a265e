"""A broker at 70 % of its capacity for a long time: memory, descriptors and latency stay where they are. And the crowds, for longer."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from abuse.attackers import ATTACKS
from abuse.load import CONFIG, Client, Level, Served, attackers, enough_files, level, prepare, settled
from broker_process import Broker

CROWD_SECONDS = 60.0
SOAK_SECONDS = 7200.0
CAPACITY = 0.7
WARM_UP = 0.2
"""The part of a soak after which levels are compared with: caches are full then."""
PARTS = 20
GROWTH = 24 << 20
"""Bytes by which a broker may have grown since."""
SLACK = 64 << 20
P99 = 0.05


@contextmanager
def running(config: dict[str, Any]) -> Iterator[Broker]:
    """A broker in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(Path(folder), config)
        broker.start()
        try:
            yield broker
        finally:
            broker.kill()


def soak(seconds: float) -> int:
    """Work for so long, 0 for two hours; 1 where something did not stay as it was."""
    with running({"storage": {"type": "filesystem"}}) as broker:
        problems = soaked(broker, seconds or SOAK_SECONDS)
    for problem in problems:
        print(f"soak: {problem}", file=sys.stderr, flush=True)  # noqa: T201  # a report
    return 1 if problems else 0


def soaked(broker: Broker, seconds: float) -> list[str]:
    """What did not stay as it was while a client kept a broker at 70 % of what it had done at most."""
    client = Client(broker)
    client.work(0.5)
    capacity = client.work(max(2.0, seconds / 100)).rate
    parts: list[tuple[Served, Level]] = []
    for part in range(PARTS):
        served = client.work(seconds / PARTS, capacity * CAPACITY)
        parts.append((served, level(broker)))
        print(f"soak: part {part + 1} of {PARTS}: {served}; {parts[-1][1]}", flush=True)  # noqa: T201  # a report
    warm = int(PARTS * WARM_UP)
    before, after = parts[warm][1], parts[-1][1]
    problems = []
    if after.memory > before.memory + GROWTH:
        problems.append(f"memory grew from {before} to {after}")
    if after.files > before.files + 8:  # segments and queue files come and go
        problems.append(f"descriptors grew from {before} to {after}")
    slow = [served for served, _ in parts[warm:] if served.p99 >= P99]
    if len(slow) > PARTS // 10:  # one may be the machine's
        problems.append(f"latency did not stay: {slow[-1]}")
    return problems


def crowds(seconds: float) -> int:
    """Each crowd for so long, 0 for a minute; 1 where the client beside it was not served, or the broker did not come back."""
    if (reason := enough_files()) is not None:
        print(f"load: {reason}", file=sys.stderr)  # noqa: T201  # a report
        return 1
    failed = 0
    for kind in ATTACKS:
        with running(dict(CONFIG)) as broker:
            prepare(broker)
            client = Client(broker)
            alone = client.work(10)
            before = level(broker)
            with attackers(kind, broker) as crowd:
                crowd.ready()
                beside = client.work(seconds or CROWD_SECONDS)
                during = level(broker)
                done = crowd.stop()
            after = settled(broker, before, SLACK)
        good = beside.rate >= alone.rate / 2 and beside.p99 < P99 and after.files <= before.files and after.memory <= before.memory + SLACK
        failed += not good
        print(  # noqa: T201  # a report
            f"{time.strftime('%H:%M:%S')} {kind}: {'good' if good else 'NOT GOOD'}: alone {alone}; beside it {beside} ({done}); "
            f"before {before}, during {during}, after {after}",
            flush=True,
        )
    return 1 if failed else 0
