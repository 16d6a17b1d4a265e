"""A well-behaved client beside attackers, and what the broker takes meanwhile and afterwards."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abuse.attackers import FILES
from broker_process import Broker
from wire import Wire, b64

WINDOW = 16
"""Requests that the client has on the way."""
PATIENCE = 60.0
"""Seconds within which attackers have to be at work, and the broker back at its level."""
CONFIG: Mapping[str, Any] = {
    "storage": {"type": "memory"},
    "network": {"request_timeout": 3, "write_timeout": 3},
    "limits": {"buffered": 64 << 20},
}
"""Timeouts short enough to be seen at work."""


@dataclass
class Served:
    """How a client fared: messages a second, and seconds in which 99 % of the windows were answered."""

    rate: float
    p99: float
    worst: float

    def __str__(self) -> str:
        return f"{self.rate:,.0f} messages/s, p99 {self.p99 * 1000:.1f} ms, worst {self.worst * 1000:.1f} ms"


@dataclass
class Level:
    """What the broker takes: resident bytes, and descriptors."""

    memory: int
    files: int

    def __str__(self) -> str:
        return f"{self.memory >> 20} MiB, {self.files} descriptors"


def level(broker: Broker) -> Level:
    assert broker.process is not None
    return Level(broker.memory(), len(list(Path(f"/proc/{broker.process.pid}/fd").iterdir())))


class Client:
    """Publishes and takes as any program would, a window at a time."""

    def __init__(self, broker: Broker, queue: str = "good") -> None:
        self.wire = Wire(broker.host, broker.port)
        self._requests = [
            (json.dumps({"operation": "P", "queue": queue, "payload": b64(bytes(100))}) + "\n").encode() * WINDOW,
            (json.dumps({"operation": "S", "queue": queue}) + "\n").encode() * WINDOW,
        ]

    def work(self, seconds: float, pace: float = 0.0) -> Served:
        """Work for so long; `pace` is messages a second to keep to, 0 for as many as possible."""
        times: list[float] = []
        link = self.wire.socket
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = time.perf_counter()
        due = began
        while (now := time.perf_counter()) - began < seconds:
            if pace:
                time.sleep(max(0.0, due - now))  # the pace that is asked for
                due = max(due + 2 * WINDOW / pace, time.perf_counter() - 1)
            for request in self._requests:
                start = time.perf_counter()
                link.sendall(request)
                replies = b""
                while replies.count(b"\n") < WINDOW:
                    part = link.recv(1 << 20)
                    assert part, "the well-behaved client was let go"
                    replies += part
                assert replies.count(b'"confirmation":"Y"') == WINDOW, f"the well-behaved client was refused: {replies[:300]!r}"
                times.append(time.perf_counter() - start)
        took = time.perf_counter() - began
        times.sort()
        return Served(len(times) * WINDOW / took, times[int(len(times) * 0.99)], times[-1])


def enough_files() -> str | None:
    """Let this process and those it starts have the descriptors they need; else why they cannot."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES:
        return f"5,000 connections need {FILES} open files in one process, and this one may have {hard} (ulimit -Hn)"
    if soft != resource.RLIM_INFINITY and soft < FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
    return None


class Attackers:
    """A process full of them."""

    def __init__(self, kind: str, broker: Broker) -> None:
        self.kind = kind
        self.process = subprocess.Popen(
            [sys.executable, "-m", "abuse.attackers", kind, f"127.0.0.1:{broker.port}", broker.http],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[1],
            text=True,
        )

    def ready(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line == "ready\n", f"the attackers ({self.kind}) failed"

    def stop(self) -> dict[str, int]:
        """End the attack; what was done."""
        report, _ = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0
        done: dict[str, int] = json.loads(report)
        return done


@contextmanager
def attackers(kind: str, broker: Broker) -> Iterator[Attackers]:
    made = Attackers(kind, broker)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()


def prepare(broker: Broker) -> None:
    """What attackers take from: a message that many may look at."""
    with Wire(broker.host, broker.port) as wire:
        wire.publish("big", bytes(1000))


def settled(broker: Broker, before: Level, slack: int) -> Level:
    """The level of a broker that nobody attacks any more, as soon as it is back where it was, or after a while where it is not."""
    end = time.monotonic() + PATIENCE
    while True:
        now = level(broker)
        if (now.files <= before.files and now.memory <= before.memory + slack) or time.monotonic() > end:
            return now
        time.sleep(0.1)
