"""Clients that use everything a queue can do, at random, and write down what they asked and were told."""

from __future__ import annotations

import asyncio
import random
from asyncio import StreamReader, StreamWriter
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from crash.history import DONE, DOUBT, REFUSED, History, Op, Sight, name_of, payload_of
from wire import Reply, b64, unb64

DEAD = "dead"
"""Where dead letters of the queues `strict-*` go."""
MOST_DELIVERIES = 2
PRIVATE = "clear"
"""The beginning of the names of queues that are cleared and deleted."""
STREAM_LIMIT = 64 << 20
LONGEST_LEASE = 4.0
LONGEST_DELAY = 2.0
VERSION_BASE = 1000
"""A policy's version is told by its lease: so many seconds, and the version."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


@dataclass(frozen=True)
class Mix:
    """What clients do, by weight, and how much of it at a time."""

    name: str
    actions: dict[str, float]
    queues: tuple[str, ...] = ("q-0", "q-1", "q-2")
    sizes: tuple[int, ...] = (10, 60, 200, 1000)
    windows: tuple[int, ...] = (1, 8, 60)
    """Requests under way, of which each connection chooses one number."""
    clients: int = 4
    backlog: int = 2000
    """Messages after which clients take more than they publish."""


@dataclass
class Load:
    """What the clients of a run share."""

    mix: Mix
    history: History
    backlog: int = 0
    versions: int = 0


@dataclass
class Held:
    """A receipt, and until when it is surely not over."""

    receipt: str
    until: float


@dataclass
class Client:
    """One client over all its connections."""

    number: int
    seed: int
    load: Load
    published: int = 0
    stopping: bool = False
    held: deque[Held] = field(default_factory=deque)
    keyed: deque[Op] = field(default_factory=deque)
    """Publishes with a key that were not answered: to be repeated."""

    def __post_init__(self) -> None:
        self.random = random.Random(f"{self.seed}-{self.number}")
        self.connection = ""
        self.under_way: deque[Op] = deque()
        self.tagged: dict[int, Op] = {}
        self.recent: deque[Op] = deque(maxlen=20)
        self.unavailable = False
        mix = self.load.mix
        self._actions: list[Callable[[], None]] = [getattr(self, f"do_{name}") for name in mix.actions]
        self._weights = list(mix.actions.values())
        self._taking = [(action, weight) for action, weight in zip(self._actions, self._weights, strict=True) if "take" in action.__name__]
        self._buffer = bytearray()

    async def run(self, host: str, port: int) -> None:
        """Connect, and go on until the connection ends, or `stopping` is set and everything was answered."""
        self.connection = f"c{self.number}/{self.load.history.life}"
        self.under_way.clear()
        self.tagged.clear()
        self.recent.clear()
        window = self.random.choice(self.load.mix.windows)
        try:
            reader, writer = await asyncio.open_connection(host, port, limit=STREAM_LIMIT)
        except OSError:
            return
        try:
            writer.write(b"\n")
            await self._converse(reader, writer, window)
        except OSError:
            pass  # killed
        finally:
            writer.close()

    async def _converse(self, reader: StreamReader, writer: StreamWriter, window: int) -> None:
        while self.keyed:
            self._again(self.keyed.popleft())
        while not self.stopping or self.under_way or self.tagged or self._buffer:
            if not self.stopping and len(self.under_way) <= window // 2:
                for _ in range(1 if self.unavailable else self.random.randint(1, max(1, window))):
                    self._act()
            if self._buffer:
                writer.write(bytes(self._buffer))
                self._buffer.clear()
                await writer.drain()
            if self.under_way or self.tagged:
                line = await reader.readline()
                if not line.endswith(b"\n"):
                    return
                self._answered(_decoder.decode(line))

    # Requests

    def _act(self) -> None:
        if self.load.backlog > self.load.mix.backlog and self._taking and self.random.random() < 0.7:
            actions, weights = zip(*self._taking, strict=True)
            self.random.choices(actions, weights)[0]()
        else:
            self.random.choices(self._actions, self._weights)[0]()

    def _send(self, kind: str, queues: Sequence[str], fields: dict[str, Any], **noted: Any) -> Op:
        """Note a request and put it in line for being sent."""
        op = self.load.history.begin(self.connection, kind, tuple(queues), **noted)
        request: dict[str, Any] = {"operation": kind, **fields}
        if len(queues) == 1 and kind not in "ANE":
            request["queue"] = queues[0]
        elif queues and kind == "S":
            request["queues"] = queues
        if "wait" in fields:
            request["tag"] = op.number
            self.tagged[op.number] = op
        else:
            self.under_way.append(op)
        self._buffer += _encoder.encode(request) + b"\n"
        return op

    def _queue(self) -> str:
        return self.random.choice(self.load.mix.queues)

    def _names(self, count: int) -> list[str]:
        names = []
        for _ in range(count):
            self.published += 1
            names.append(f"c{self.number}-{self.published}-{self.random.choice(self.load.mix.sizes)}")
        return names

    def _publish(self, queue: str, names: Sequence[str], **fields: Any) -> Op:
        payloads = [b64(payload_of(name)) for name in names]
        what: dict[str, Any] = {"payload": payloads[0]} if len(names) == 1 else {"payloads": payloads}
        noted = {name: value for name, value in fields.items() if name != "key"}
        if "key" in fields:
            noted["keys"] = (fields["key"],)
        return self._send("P", (queue,), what | fields, names=tuple(names), **noted)

    def _again(self, op: Op) -> None:
        self._publish(op.queue, op.names, key=op.keys[0], priority=op.priority)

    def do_publish(self) -> None:
        self._publish(self._queue(), self._names(1))

    def do_rich(self) -> None:
        headers = {"of": f"{self.number}-{self.published}", "\u00fc": self.random.choice(["", "x", "\u20ac" * 30])}
        self._publish(self._queue(), self._names(self.random.choice([1, 1, 3])), priority=self.random.randint(0, 9), headers=headers)

    def do_batch(self) -> None:
        self._publish(self._queue(), self._names(self.random.choice([2, 5, 20, 60])))

    def do_delayed(self) -> None:
        self._publish(self._queue(), self._names(self.random.choice([1, 4])), delay=self.random.choice([0.05, 0.4, LONGEST_DELAY]))

    def do_brief(self) -> None:
        self._publish(self._queue(), self._names(self.random.choice([1, 4])), ttl=self.random.choice([0.1, 0.5, 2.0]))

    def do_keyed(self) -> None:
        queue = self._queue()
        if queue.startswith(PRIVATE):
            return  # a deleted queue forgets its keys
        (name,) = self._names(1)
        self.recent.append(self._publish(queue, [name], key=f"key of {name}", priority=self.random.choice([4, 4, 7])))

    def do_repeat(self) -> None:
        if self.recent:
            self._again(self.random.choice(self.recent))

    def do_conflict(self) -> None:
        """Another payload under a key that is known, or will be when this is served."""
        if self.recent:
            op = self.random.choice(self.recent)
            self._publish(op.queue, self._names(1), key=op.keys[0])

    def do_take(self) -> None:
        self._send("S", (self._queue(),), {})

    def do_take_count(self) -> None:
        count = self.random.choice([1, 3, 30])
        self._send("S", (self._queue(),), {"count": count}, count=count)

    def do_take_any(self) -> None:
        queues = self.random.sample(self.load.mix.queues, min(2, len(self.load.mix.queues)))
        self._send("S", queues, {"count": 5}, count=5)

    def do_take_wait(self) -> None:
        if len(self.tagged) < 5:
            self._send("S", (self._queue(),), {"count": 2, "wait": 0.2, "lease": 1.5}, count=2, lease=1.5)

    def do_take_lease(self) -> None:
        count, lease = self.random.choice([1, 4, 30]), self.random.choice([0.15, 0.8, LONGEST_LEASE])
        self._send("S", (self._queue(),), {"count": count, "lease": lease}, count=count, lease=lease)

    def do_settle(self) -> None:
        if not self.held:
            return
        kind = self.random.choices("ANE", (6, 2, 1))[0]
        some = [self.held.popleft() for _ in range(min(len(self.held), self.random.choice([1, 1, 10])))]
        fields: dict[str, Any] = {}
        if kind == "N" and self.random.random() < 0.5:
            fields["delay"] = self.random.choice([0.05, 0.5])
        elif kind == "E":
            fields["lease"] = self.random.choice([0.3, 2.0])
            self.held += some
        receipts = tuple(held.receipt for held in some)
        what: dict[str, Any] = {"receipt": receipts[0]} if len(receipts) == 1 else {"receipts": receipts}
        self._send(kind, (), what | fields, receipts=receipts, **fields)

    def do_move(self) -> None:
        count = self.random.choice([1, 20, 1000])
        self._send("M", ("from",), {"to": "to", "count": count}, to="to")

    def do_redeem(self) -> None:
        """Send dead letters back to where they came from."""
        self._send("M", (DEAD,), {"count": 5})

    def do_clear(self) -> None:
        self._send("C", (PRIVATE,), {})

    def do_delete(self) -> None:
        self._send("D", (PRIVATE,), {})

    def do_policy(self) -> None:
        self.load.versions += 1
        policy = {"max_deliveries": MOST_DELIVERIES, "dead_letter": DEAD, "lease": VERSION_BASE + self.load.versions}
        if self.number == 0:  # one writer alone
            self._send("Y", ("strict-0",), {"policy": policy}, version=self.load.versions)

    def do_look(self) -> None:
        kind = self.random.choice("KKILQ")
        queues = () if kind == "Q" else (self._queue(),)
        self._send(kind, queues, {"count": 3} if kind == "K" else {}, count=3)

    # Replies

    def _answered(self, reply: Reply) -> None:
        op = self.tagged.pop(reply["tag"]) if "tag" in reply else self.under_way.popleft()
        note(op, reply, self.load.history)
        self.unavailable = op.code == "unavailable"
        if op.kind == "P":
            self.load.backlog += len(op.names) if op.done else 0
            if op.keys and op.outcome == DOUBT:
                self.keyed.append(op)
        elif op.kind == "S":
            self.load.backlog -= 0 if op.lease else len(op.got)
            self.held += [Held(sight.receipt, op.sent + op.lease) for sight in op.got if sight.receipt and op.lease]
        elif op.kind == "A":
            self.load.backlog -= op.counted

    def disconnected(self) -> None:
        """What was under way is in doubt; publishes with keys are to be repeated."""
        self.keyed += [op for op in self.under_way if op.keys and op.outcome == DOUBT and op.names[0] in op.keys[0]]
        self._buffer.clear()


def note(op: Op, reply: Reply, history: History) -> None:
    """Write down what a request was answered."""
    assert reply["operation"] == op.kind, f"a reply to {reply['operation']} came in the place of one to {op.told(history.start)}"
    if reply.get("code") == "unknown":
        op.code = "unknown"
        op.ended = history.now() + history.linger  # and it is in doubt
        return
    op.ended = history.now()
    if reply["confirmation"] == "N" and reply["code"] != "stale_receipt":
        op.outcome, op.code = REFUSED, reply["code"]
        return
    op.outcome = DONE
    op.counted = reply.get("count", 0)
    if op.kind == "P":
        op.ids = tuple(reply["ids"]) if "ids" in reply else (reply["id"],)
    elif op.kind in "SK":
        op.got = sights(op, reply)
    elif op.kind in "ANE":
        op.stale = frozenset(reply["stale"])
    elif op.kind == "I":
        op.version = int(reply["policy"].get("lease", VERSION_BASE)) - VERSION_BASE
    elif op.kind == "Q":
        op.counts = {queue["queue"]: (queue["ready"], queue["delayed"], queue["leased"]) for queue in reply["queues"]}


def sights(op: Op, reply: Reply) -> list[Sight]:
    """The messages of a reply."""
    if "messages" in reply:
        return [sight(message) for message in reply["messages"]]
    return [seen(unb64(reply["payload"]), queue=reply["queue"])] if reply["count"] else []


def sight(message: dict[str, Any]) -> Sight:
    names = ("queue", "id", "receipt", "deliveries", "priority", "published", "headers", "dead")
    return seen(unb64(message["payload"]), **{name: message[name] for name in names})


def seen(payload: bytes, **members: Any) -> Sight:
    name = name_of(payload)
    return Sight(name, **members, found=b"" if name else payload[:60])
