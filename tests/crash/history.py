"""What clients asked and what they were told."""

from __future__ import annotations

import random
import re
import time
from dataclasses import dataclass, field
from math import inf
from typing import Any
from zlib import crc32

LARGEST = 20_000
_NOISE = random.Random(0).randbytes(1 << 16)
_NAME = re.compile(rb"\w+-\d+-(\d+)")

DONE, REFUSED, DOUBT = "done", "refused", "in doubt"


def payload_of(name: str) -> bytes:
    """The payload of the message of this name: `client-number-size`. It begins with the name."""
    size = int(name.rpartition("-")[2])
    start = crc32(name.encode()) % (len(_NOISE) - LARGEST)
    return f"{name}|".encode() + _NOISE[start : start + size]


def name_of(payload: bytes) -> str | None:
    """The name of the message that has exactly this payload; None where no client makes such a one."""
    head = payload.partition(b"|")[0]
    found = _NAME.fullmatch(head)
    if found is None or int(found[1]) > LARGEST:
        return None
    name = head.decode()
    return name if payload_of(name) == payload else None


@dataclass(slots=True)
class Sight:
    """A message as a reply showed it; an id of 0, and None, mean that the reply did not tell."""

    name: str | None
    queue: str
    id: int = 0
    receipt: str | None = None
    deliveries: int | None = None
    priority: int | None = None
    published: float | None = None
    headers: dict[str, str] | None = None
    dead: dict[str, Any] | None = None
    found: bytes = b""
    """The beginning of a payload that nobody sent."""


@dataclass(slots=True)
class Op:
    """A request and what became of it. `sent` and `ended` are on the steady clock: nothing happened before, and nothing after.

    A request in doubt ended when it was certain that nothing more could happen: with the process that had it.
    """

    number: int
    connection: str
    life: int
    kind: str
    queues: tuple[str, ...]
    sent: float
    ended: float = inf
    outcome: str = DOUBT
    code: str = ""
    names: tuple[str, ...] = ()
    ids: tuple[int, ...] = ()
    keys: tuple[str, ...] = ()
    delay: float = 0.0
    ttl: float | None = None
    priority: int = 4
    headers: dict[str, str] = field(default_factory=dict)
    count: int = 1
    lease: float | None = None
    receipts: tuple[str, ...] = ()
    stale: frozenset[str] = frozenset()
    to: str | None = None
    version: int = 0
    """Of a policy that was set, or seen."""
    got: list[Sight] = field(default_factory=list)
    counted: int = 0
    counts: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    quiet: bool = False
    """Whether nobody else did anything at that time."""

    @property
    def queue(self) -> str:
        return self.queues[0]

    @property
    def done(self) -> bool:
        return self.outcome == DONE

    @property
    def possible(self) -> bool:
        """Whether it happened, or may have."""
        return self.outcome != REFUSED

    def told(self, start: float) -> str:
        """In words, for the person who looks for a fault."""
        parts = [
            f"{self.sent - start:9.3f} to {self.ended - start:9.3f} life {self.life} {self.connection} {self.kind} {','.join(self.queues)}"
        ]
        members = {name: getattr(self, name) for name in ("keys", "delay", "ttl", "headers", "lease", "to", "version")}
        parts += [f"{name}={value}" for name, value in members.items() if value]
        if self.kind == "P":
            parts.append(f"priority={self.priority} {len(self.names)} messages" if len(self.names) > 1 else f"priority={self.priority}")
        if self.kind in "SK":
            parts.append(f"count={self.count}")
        parts.append(f"-> {self.outcome} {self.code}".rstrip())
        return " ".join(parts)


@dataclass
class History:
    """All requests in the order in which they were sent, and when the broker, or its database, was killed."""

    ops: list[Op] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    """When each life was over; the last one's end is missing."""
    dead_letters: dict[str, tuple[str, int]] = field(default_factory=dict)
    """By queue: where its dead letters go, and after how many deliveries."""
    start: float = field(default_factory=time.monotonic)
    unix: float = field(default_factory=lambda: time.time() - time.monotonic())
    """What to add to the steady clock for the time of day."""
    linger: float = 0.0
    """How long something may still happen after the reply that its outcome cannot be known."""

    @property
    def life(self) -> int:
        return len(self.ends)

    @staticmethod
    def now() -> float:
        """The steady clock."""
        return time.monotonic()

    def begin(self, connection: str, kind: str, queues: tuple[str, ...], **fields: Any) -> Op:
        """Note a request that is about to be sent."""
        op = Op(len(self.ops), connection, self.life, kind, queues, time.monotonic(), **fields)
        self.ops.append(op)
        return op

    def end_life(self, at: float) -> None:
        """Note that whoever served was gone by then."""
        self.ends.append(at)

    def settle(self) -> None:
        """Note that nobody waits for a reply any more: what was not answered has happened by the last end, or never will."""
        at = self.ends[-1]
        for op in reversed(self.ops):
            if op.life + 1 < len(self.ends):
                break
            if op.outcome == DOUBT and op.ended == inf:
                op.ended = at
                if op.sent > at:  # nobody was there
                    op.outcome, op.ended = REFUSED, op.sent
