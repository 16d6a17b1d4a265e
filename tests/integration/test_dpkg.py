"""Real input, end to end: the package database of this machine goes through a queue, and one of its consumers is killed on the way."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

STATUS = Path("/var/lib/dpkg/status")
GMQCLIENT = Path(sys.executable).parent / "gmqclient"
QUEUE = "packages"
LEASE = 3.0
"""Seconds after which the messages of the consumer that was killed come back."""

CONSUMER = """
import base64, json, sys
from gmq.client import BlockingClient

address, queue, lease, hold = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4] == "hold"

def tell(event, message):
    print(json.dumps([event, message.id, base64.b64encode(message.payload).decode()]), flush=True)

with BlockingClient(address) as client:
    while True:
        messages = client.take_many(queue, count=10, wait=0.5, lease=lease)
        for message in messages:
            tell("delivered", message)
        for message in messages[:3] if hold else messages:
            client.acknowledge(message)
            tell("acknowledged", message)
        if hold:
            print(json.dumps(["holds", 0, ""]), flush=True)
            sys.stdin.read()
        if not messages:
            counts = client.info(queue)
            if not counts.ready + counts.leased:
                break
"""


def stanzas() -> list[bytes]:
    return [stanza for stanza in STATUS.read_bytes().split(b"\n\n") if stanza.strip()]


class Consumer:
    """A process that takes, tells to a file what it got, and acknowledges; one that holds stops in the middle."""

    def __init__(self, address: str, kind: str, output: Path) -> None:
        self._output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", CONSUMER, address, QUEUE, str(LEASE), kind], stdin=subprocess.PIPE, stdout=file
            )

    def told(self) -> list[Any]:
        return [json.loads(line) for line in self._output.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]

    def until_it_holds(self) -> None:
        while not any(event == "holds" for event, *_ in self.told()):
            assert self.process.poll() is None

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def start_consumer(broker: Any, tmp_path: Path) -> Iterator[Callable[[str], Consumer]]:
    consumers: list[Consumer] = []

    def start(kind: str) -> Consumer:
        consumers.append(Consumer(broker.address, kind, tmp_path / f"consumer-{len(consumers)}"))
        return consumers[-1]

    yield start
    for consumer in consumers:
        consumer.kill()


@pytest.mark.skipif(not STATUS.exists(), reason="this machine has no dpkg")
def test_every_package_comes_out_once_though_a_consumer_is_killed(
    broker: Any, start_consumer: Callable[[str], Consumer], tmp_path: Path
) -> None:
    published = stanzas()
    file = tmp_path / "packages.jsonl"
    file.write_text("".join(json.dumps({"payload": base64.b64encode(stanza).decode()}) + "\n" for stanza in published))
    load = subprocess.run([GMQCLIENT, "load", file, "--queue", QUEUE, "-s", broker.address], stderr=subprocess.PIPE, timeout=60, check=True)
    assert load.stderr == b"gmqclient: published %d messages\n" % len(published)

    victim = start_consumer("hold")
    victim.until_it_holds()
    others = [start_consumer("work") for _ in range(3)]
    victim.kill()
    for one in others:
        assert one.process.wait(60) == 0

    told = [event for one in (victim, *others) for event in one.told()]
    delivered = Counter(number for event, number, _ in told if event == "delivered")
    acknowledged = {number: base64.b64decode(payload) for event, number, payload in told if event == "acknowledged"}
    assert [acknowledged[number] for number in sorted(acknowledged)] == published
    twice = [number for number, times in delivered.items() if times > 1]
    assert 0 < len(twice) <= 7  # those that the killed consumer held, and no other
    assert sum(event == "acknowledged" for event, _, _ in told) == len(published)
