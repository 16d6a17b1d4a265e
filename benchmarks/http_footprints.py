"""What the broker takes over HTTP beside its work: memory for a long stream, and for consumers that wait."""

from __future__ import annotations

import base64
import contextlib
import json
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.http_dialects import JSON_BODY, Http, ask
from benchmarks.load import BenchmarkError, blaming, connect
from benchmarks.results import Results
from benchmarks.servers import Cores, HttpGmq, Process, running

STREAMED: Final = 200_000  # messages
SIZE: Final = 1024  # bytes of each, so that they are 200 MB
BATCH: Final = 100
POLLS: Final = 1000
WATCHED: Final = 5.0  # seconds in which wake-ups are counted
SETTLING: Final = 0.5  # seconds for what follows the last request
STREAM: Final = "MB that a stream of 200 MB takes at its peak beyond its messages"
POLL: Final = "KB for each of 1,000 waiting long polls"
WAKE_UPS: Final = "wake-ups a second because of 1,000 waiting long polls"


def stream(cores: Cores, results: Results) -> None:
    """Weigh a broker at the peak of one long upload, and another that got the same messages in batches and is done."""
    lines = [json.dumps({"payload": text}).encode() + b"\n" for text in _texts()]
    with _fresh(cores) as (process, dialect):
        idle = process.resident()
        head = dialect.request("POST", "/v1/queues/bench/messages", b"", "Content-Type: application/x-ndjson\r\n")
        head = head.replace(b"Content-Length: 0", b"Content-Length: %d" % sum(map(len, lines)))
        with connect(process.port) as link:
            stored = ask(link, head + b"".join(lines))
        if stored != {"count": STREAMED}:
            raise BenchmarkError(f"It stored {stored}")
        peak = _peak(process) - idle
    with _fresh(cores) as (process, dialect):
        idle = process.resident()
        texts = _texts()
        with connect(process.port) as link:
            for start in range(0, STREAMED, BATCH):
                body = json.dumps({"messages": [{"payload": text} for text in texts[start : start + BATCH]]}).encode()
                ask(link, dialect.request("POST", "/v1/queues/bench/messages", body, JSON_BODY))
        messages = process.resident() - idle
    results.figures[STREAM] = (peak - messages) / 1e6


def polls(cores: Cores, results: Results) -> None:
    """Weigh a broker with many consumers that wait, and count how often they make it wake up."""
    with _fresh(cores) as (process, dialect), contextlib.ExitStack() as stack:
        before = _wake_ups(process)
        idle = process.resident()
        links = [stack.enter_context(connect(process.port)) for _ in range(POLLS)]
        for link in links:
            link.sendall(dialect.request("POST", "/v1/queues/bench/take?wait=60", b""))
        other = stack.enter_context(connect(process.port))
        ask(other, dialect.request("GET", "/v1"))  # behind the others
        time.sleep(SETTLING)
        results.figures[POLL] = (process.resident() - idle) / POLLS / 1000
        results.figures[WAKE_UPS] = max(0.0, _wake_ups(process) - before)
        ask(other, dialect.request("POST", "/v1/queues/bench/messages", b"x"))
        if b" 200 OK" not in links[0].recv(4096):
            raise BenchmarkError("The first who waited did not get the message")


@contextlib.contextmanager
def _fresh(cores: Cores) -> Iterator[tuple[Process, Http]]:
    """A broker of its own."""
    server = HttpGmq()
    with running(server, cores) as process, blaming(server.name):
        yield process, Http()


def _texts() -> list[str]:
    chance = random.Random(1)
    return [base64.b64encode(chance.randbytes(SIZE)).decode() for _ in range(STREAMED)]


def _peak(process: Process) -> int:
    """The most bytes of memory that the process ever held."""
    found = re.search(r"VmHWM:\s+(\d+)", _status(process))
    return int(found[1]) * 1024 if found else 0


def _wake_ups(process: Process) -> float:
    """How often the process wakes up in a second, left alone."""
    counts = []
    for _ in range(2):
        found = re.search(r"\nvoluntary_ctxt_switches:\s+(\d+)", _status(process))
        counts.append(int(found[1]) if found else 0)
        if len(counts) == 1:
            time.sleep(WATCHED)
    return (counts[1] - counts[0]) / WATCHED


def _status(process: Process) -> str:
    return Path(f"/proc/{process.pid}/status").read_text()
