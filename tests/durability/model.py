"""What a storage should hold, by what its operations answered: plain dicts, and none of the product's code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

from gmq.message import DEFAULT_PRIORITY, KEY_MEMORY, NEVER, PAGED, Dead, GmqError, Message, Options, QueuePolicy, Settled, Taken, each
from gmq.storage.filesystem import FilesystemStorage

MUCH = 1 << 40


class Held(NamedTuple):
    """A message. It is leased with a receipt, else delayed with a `due`, else ready."""

    queue: str
    id: int
    published: int
    priority: int = DEFAULT_PRIORITY
    deliveries: int = 0
    due: int = 0
    receipt: str | None = None
    expires: int = NEVER
    headers: tuple[tuple[str, str], ...] = ()
    dead: Dead | None = None

    @property
    def ready(self) -> bool:
        return self.receipt is None and not self.due


Item = tuple[Any, ...]
"""("message", payload), ("key", queue, key) or ("queue", name)."""
Items = dict[Item, Any]


def at_rest(value: Any, now: int) -> Any:
    """What a thing is when all has happened to it that time brings about; what is never written down by itself."""
    if isinstance(value, Held):
        if value.due <= now:
            value = value._replace(due=0, receipt=None)
        return None if value.receipt is None and value.expires <= now else value
    if isinstance(value, tuple):  # a key
        return None if value[2] <= now else value
    return value


@dataclass
class Done:
    """An operation: what it changed, from what and to what, when it was asked for and when it was acknowledged (numbers of disk events)."""

    text: str
    now: int
    asked: int
    atomic: bool
    changes: dict[Item, tuple[Any, Any]] = field(default_factory=dict)
    acknowledged: int | None = None


def held_of(queue: str, message: Message) -> Held:
    return Held(
        queue, message.id, message.published, message.priority, message.deliveries, message.due, message.receipt, message.expires,
        tuple(sorted((message.headers or {}).items())), message.dead,
    )  # fmt: skip


def contents(storage: FilesystemStorage, name: str) -> list[tuple[bytes | None, Held]]:
    """Every message of one queue; None for a payload that is damaged."""
    queue = storage._queues[name]
    found: list[tuple[bytes | None, Held]] = []
    for span, payloads in each(queue.plain_since(0)):
        ids = range(span.first, span.first + span.count)
        loaded = payloads if payloads is not None else storage.load_payloads(queue.number, ids)
        found += [(payload, Held(name, number, span.published, span.priority)) for number, payload in zip(ids, loaded, strict=True)]
    for message in queue.whole_messages():
        payload: bytes | None = message.payload
        if payload is PAGED:
            (payload,) = storage.load_payloads(queue.number, [message.id])
        found.append((payload, held_of(name, message)))
    return found


def snapshot(storage: FilesystemStorage) -> Items:
    """All that a storage holds."""
    items: Items = {}
    for name, queue in storage._queues.items():
        items["queue", name] = queue.policy
        for payload, held in contents(storage, name):
            assert payload is not None, f"the payload of {held} is gone"
            other = items.get(("message", payload))
            assert other is None, f"a message is there twice: {other} and {held}, {payload[:40]!r}"
            items["message", payload] = held
        for key, number, digest, until in queue.remembered(None):
            items["key", name, key] = (number, digest, until)
    return items


def brief(messages: Iterable[tuple[bytes, Any]]) -> list[tuple[bytes, Any]]:
    """Payloads as short as they can be told apart."""
    return [(payload[:16].partition(b":")[0], rest) for payload, rest in messages]


def label(item: Item) -> str:
    """An item in short."""
    return " ".join(part[:20].partition(b":")[0].decode(errors="replace") if isinstance(part, bytes) else part for part in item)


class Model:
    """Does each operation with a storage and with plain dicts, and compares what the two say."""

    def __init__(self, storage: FilesystemStorage, clock: Callable[[], int], position: Callable[[], int]) -> None:
        self.storage = storage
        self.items: Items = {}
        self.done: list[Done] = []
        self.floors: dict[str, int] = {}  # the highest id that a queue of this name had
        self.perhaps: Items = {}  # what failed operations may have left
        self._clock = clock
        self._position = position

    def _begin(self, text: str, *, atomic: bool = True) -> int:
        now = self._clock()
        self.done.append(Done(text, now, self._position(), atomic))
        return now

    def _end(self) -> None:
        """Note when what was done is durable."""
        done, commit = self.done[-1], self.storage.commit()
        if commit is None:
            done.acknowledged = self._position()
        else:
            commit.add_done_callback(lambda future: self._acknowledge(done, failed=future.exception() is not None))

    def _acknowledge(self, done: Done, *, failed: bool) -> None:
        if not failed:
            done.acknowledged = self._position()

    def _set(self, item: Item, value: Any) -> None:
        changes = self.done[-1].changes
        before = changes[item][0] if item in changes else self.items.get(item)
        changes[item] = (before, value)
        if value is None:
            self.items.pop(item, None)
        else:
            self.items[item] = value

    def _add(self, payload: bytes, held: Held) -> None:
        if ("queue", held.queue) not in self.items:
            self._set(("queue", held.queue), QueuePolicy())
        assert held.id > self.floors.get(held.queue, 0), f"id {held.id} in {held.queue} is not above {self.floors[held.queue]}"
        self.floors[held.queue] = held.id
        self._set(("message", payload), held)

    def of(self, queue: str) -> list[tuple[bytes, Held]]:
        return [(item[1], held) for item, held in self.items.items() if item[0] == "message" and held.queue == queue]

    def ready(self, queue: str) -> list[tuple[bytes, Held]]:
        return sorted((one for one in self.of(queue) if one[1].ready), key=lambda one: (-one[1].priority, one[1].id))

    def receipts(self) -> list[str]:
        return [held.receipt for item, held in self.items.items() if item[0] == "message" and held.receipt is not None]

    def policy(self, queue: str) -> QueuePolicy:
        return self.items.get(("queue", queue)) or QueuePolicy()

    # Operations

    def publish(self, queue: str, payloads: Sequence[bytes], options: Options | None = None) -> None:
        now = self._begin(f"publish {len(payloads)} to {queue} {options}")
        try:
            ids = self.storage.publish(queue, payloads, sum(map(len, payloads)), options)
        except GmqError as error:
            if error.code not in {"queue_full", "key_conflict"}:
                raise
            self._end()
            return
        options = options or Options()
        ttl = self.policy(queue).ttl
        length = options.ttl if options.ttl is not None else None if ttl is None else round(ttl * 1000)
        for place, (payload, number) in enumerate(zip(payloads, ids, strict=True)):
            if options.keys is not None:
                item = ("key", queue, options.keys[place])
                if (known := self.items.get(item)) is not None:
                    assert known[0] == number, f"{self.done[-1].text}: {item} was {known}, now id {number}"
                    continue
                self._set(item, (number, blake2b(payload, digest_size=16).digest(), now + KEY_MEMORY))
            held = Held(
                queue, number, now, options.priority, due=now + options.delay if options.delay else 0,
                expires=NEVER if length is None else now + length, headers=tuple(sorted((options.headers or {}).items())),
            )  # fmt: skip
            self._add(payload, held)
        self._end()

    def take(self, queues: Sequence[str], count: int, lease: int | None) -> Taken:
        now = self._begin(f"take {count} of {queues}, lease {lease}")
        taken = self.storage.take(queues, count, MUCH, lease)
        expected = next((ready for name in queues if (ready := self.ready(name))), [])[:count]
        messages = taken.messages()
        got = [(message.payload, message.id) for message in messages]
        wanted = [(payload, held.id) for payload, held in expected]
        assert got == wanted, f"{self.done[-1].text}: got {brief(got)} in the place of {brief(wanted)}"
        for message, (payload, held) in zip(messages, expected, strict=True):
            if lease is None:
                self._set(("message", payload), None)
            else:
                leased = held._replace(receipt=message.receipt, due=now + lease, deliveries=held.deliveries + 1)
                self._set(("message", payload), leased)
        self._end()
        return taken

    def undo(self, taken: Taken) -> None:
        """Give back what the last operation took."""
        before = {item: before for item, (before, _) in self.done[-1].changes.items() if item[0] == "message"}
        self._begin(f"undo a take of {len(taken)} of {taken.queue}")
        self.storage.undo(taken)
        for item, held in before.items():
            self._set(item, held)
        self._end()

    def _settle(self, receipts: Sequence[str], settled: Settled) -> list[tuple[bytes, Held]]:
        live = {held.receipt: (item[1], held) for item, held in self.items.items() if item[0] == "message" and held.receipt}
        stale = [receipt for receipt in receipts if receipt not in live]
        assert settled.stale == stale, f"{self.done[-1].text}: stale are {settled.stale}, not {stale}"
        return [live[receipt] for receipt in receipts if receipt in live]

    def acknowledge(self, receipts: Sequence[str]) -> None:
        self._begin(f"acknowledge {receipts}", atomic=len({receipt.partition("-")[0] for receipt in receipts}) == 1)
        for payload, _ in self._settle(receipts, self.storage.acknowledge(receipts)):
            self._set(("message", payload), None)
        self._end()

    def put_back(self, receipts: Sequence[str], delay: int) -> None:
        now = self._begin(f"put back {receipts} in {delay}", atomic=False)
        self._come_back(self._settle(receipts, self.storage.put_back(receipts, delay)), delay, now)
        self._end()

    def extend(self, receipts: Sequence[str], lease: int) -> None:
        now = self._begin(f"extend {receipts} by {lease}", atomic=len({receipt.partition("-")[0] for receipt in receipts}) == 1)
        for payload, held in self._settle(receipts, self.storage.extend(receipts, lease)):
            self._set(("message", payload), held._replace(due=now + lease))
        self._end()

    def _come_back(self, messages: Iterable[tuple[bytes, Held]], delay: int, now: int) -> None:
        """Leases end: messages are ready or delayed again, or dead letters."""
        dead: dict[str, list[tuple[bytes, Held]]] = {}
        for payload, held in messages:
            policy = self.policy(held.queue)
            if policy.max_deliveries is not None and held.deliveries >= policy.max_deliveries:
                if policy.dead_letter is None:
                    self._set(("message", payload), None)
                    continue
                letter = Dead(held.queue, held.id, "max_deliveries", held.deliveries, now / 1000)
                dead.setdefault(policy.dead_letter, []).append((payload, held._replace(dead=letter, expires=NEVER, due=0)))
            elif held.expires <= now:
                self._set(("message", payload), None)
            else:
                self._set(("message", payload), held._replace(receipt=None, due=now + delay if delay else 0))
        for queue, letters in dead.items():
            self._move(letters, queue)

    def _move(self, messages: Iterable[tuple[bytes, Held]], to: str) -> None:
        """Messages are in another queue, under ids that it chose."""
        ids = {payload: held.id for payload, held in contents(self.storage, to)}
        for payload, held in sorted(messages, key=lambda one: ids.get(one[0], 0)):
            assert payload in ids, f"{self.done[-1].text}: {payload[:40]!r} did not come to {to}"
            self._add(payload, held._replace(queue=to, id=ids[payload], deliveries=0, receipt=None))

    def move(self, queue: str, to: str | None, count: int) -> None:
        self._begin(f"move {count} from {queue} to {to}", atomic=to is not None)
        try:
            moved = self.storage.move(queue, to, count)
        except GmqError as error:
            if error.code not in {"queue_full", "not_found"}:
                raise
            self._end()
            return
        delayed = sorted((one for one in self.of(queue) if one[1].due and not one[1].receipt), key=lambda one: (one[1].due, one[1].id))
        messages = [*self.ready(queue), *delayed]
        if to is not None:
            messages = messages[:count]
            self._move(messages, to)
            if ("queue", to) not in self.items:
                self._set(("queue", to), QueuePolicy())  # it is made though there was nothing to move
        else:
            messages = [one for one in messages if one[1].dead is not None][:count]
            for name in dict.fromkeys(held.dead.queue for _, held in messages if held.dead is not None):
                self._move([(one, held._replace(dead=None)) for one, held in messages if held.dead and held.dead.queue == name], name)
        assert moved == len(messages), f"{self.done[-1].text}: {moved} were moved, not {len(messages)}"
        self._end()

    def clear(self, queue: str) -> None:
        self._begin(f"clear {queue}")
        if ("queue", queue) in self.items:
            self.storage.clear(queue)
        for payload, _ in self.of(queue):
            self._set(("message", payload), None)
        self._end()

    def delete(self, queue: str) -> None:
        self._begin(f"delete {queue}")
        if ("queue", queue) in self.items:
            self.storage.delete(queue)
        for item in [item for item in self.items if item[:2] in {("queue", queue), ("key", queue)}]:
            self._set(item, None)
        for payload, _ in self.of(queue):
            self._set(("message", payload), None)
        self._end()

    def set_policy(self, queue: str, policy: QueuePolicy) -> None:
        self._begin(f"policy of {queue}: {policy}")
        if ("queue", queue) in self.items:
            self.storage.set_policy(queue, policy)
            self._set(("queue", queue), policy)
        self._end()

    def tick(self) -> None:
        """Let happen what is due."""
        now = self._begin("time goes on", atomic=False)
        self.storage.queues()
        ended = []
        for item, value in list(self.items.items()):
            if item[0] == "message" and value.receipt is not None:
                if value.due <= now:
                    ended.append((item[1], value))
            elif (rest := at_rest(value, now)) != value:
                self._set(item, rest)
        self._come_back(ended, 0, now)
        self._end()

    def go_back(self) -> None:
        """What was not acknowledged failed, and never was; but an empty queue that it made may have stayed, and what goes item by item may
        have gone in part.
        """
        for done in reversed(self.done):
            if done.acknowledged is None:
                for item, (before, after) in done.changes.items():
                    if not done.atomic:
                        self.perhaps.setdefault(item, after)
                    elif item[0] == "queue" and before is None and not done.text.startswith("policy"):
                        self.perhaps[item] = QueuePolicy()
                    if before is None:
                        self.items.pop(item, None)
                    else:
                        self.items[item] = before
                done.changes.clear()
        self.floors = {}

    def follow(self) -> None:
        """Follow the storage where it made dead letters of what was ready before it recovered, and in what is in `perhaps`.

        The end of a lease is not written down: a message whose lease ended is leased again for a moment when its storage recovers. Where
        its queue has a new policy since then, that decides.
        """
        self._begin("leases end once more", atomic=False)
        self.storage.queues()
        found, now = snapshot(self.storage), self._clock()
        for item, after in self.perhaps.items():
            if at_rest(found.get(item), now) == at_rest(after, now):
                self._set(item, after)
        self.perhaps.clear()
        letters: list[tuple[bytes, Held]] = []
        for payload, held in [(item[1], held) for item, held in self.items.items() if item[0] == "message" and held.ready]:
            policy = self.policy(held.queue)
            if policy.max_deliveries is None or held.deliveries < policy.max_deliveries:
                continue
            queue = self.storage._queues.get(held.queue)
            if queue is not None and payload not in dict(contents(self.storage, held.queue)):
                letters.append((payload, held))
        self._come_back(letters, 0, self._clock())
        self._end()
        self.floors = {}  # those that come now may have come before

    def compare(self) -> None:
        """The storage holds what the model says, but for what time has brought about since."""
        found, now = snapshot(self.storage), self._clock()
        for item in {**found, **self.items}:
            one, other = at_rest(found.get(item), now), at_rest(self.items.get(item), now)
            assert one == other, f"after {self.done[-1].text}: {label(item)} is {one}, and not {other}"
