"""One queue in memory: ready, delayed and leased messages.

Pure: no I/O, no clock of its own. Every operation is given the present instant `now` in Unix milliseconds, and first lets happen
what time has brought about: delays that have passed, leases that ran out, messages and keys that expired.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple, NoReturn

from msgspec import Struct

from gmq.deadlines import Deadlines
from gmq.lane import Lane
from gmq.message import (
    DEFAULT_LEASE,
    DEFAULT_PRIORITY,
    KEY_MEMORY,
    NEVER,
    POLICY_LEASE,
    Dead,
    GmqError,
    Message,
    Options,
    QueueCounts,
    QueueInfo,
    QueuePolicy,
    Span,
    Taken,
    Totals,
    milliseconds,
)
from gmq.validate import check_ttl

ADVANCE_LIMIT = 10_000
"""Most deadlines of a kind that one operation settles, so that a million at once do not stop the broker; the rest follows at once."""


class Usage(Struct, gc=False):
    """What the queues that share it hold together."""

    messages: int = 0
    bytes: int = 0
    keys: int = 0


class Key(NamedTuple):
    """A remembered deduplication key: the id it was published under, a digest of the payload, and when it is forgotten."""

    id: int
    digest: bytes
    until: int


class Queue:
    """One queue.

    For its owner, who keeps several: `due` is the instant before which nothing happens by itself, and `advance` is to be called when it
    has come (`alarm` is the owner's note of when it will look); `outbox` gathers dead letters, which the owner delivers after each
    operation.
    """

    __slots__ = (
        "_delayed", "_expiring", "_keys", "_keys_limit", "_lanes", "_lanes_in_order", "_leased", "_next_id", "_prefix",
        "_room", "_ttl", "_usage", "_used", "alarm", "bytes", "due", "messages", "name", "number", "outbox", "policy", "ready", "totals",
    )  # fmt: skip

    def __init__(
        self, name: str, number: int, first_id: int, policy: QueuePolicy, now: int, usage: Usage | None = None, *, capacity: int, keys: int
    ) -> None:
        self.name = name
        self.number = number
        self._prefix = f"{number:x}-"
        self._next_id = first_id
        self._usage = usage or Usage()
        self._lanes: dict[int, Lane] = {}
        self._lanes_in_order: list[Lane] = []  # the highest priority first
        self.messages = 0  # in every state
        self._delayed: Deadlines[int, Message] = Deadlines()
        self._leased: Deadlines[str, Message] = Deadlines()
        self._expiring: Deadlines[int, Message] = Deadlines()
        self._keys: dict[str, Key] = {}
        self._keys_limit = keys
        self._used = now
        self.ready = 0
        self.bytes = 0
        self.due = NEVER
        self.alarm = NEVER
        self.outbox: list[Message] = []
        self.totals = Totals()
        self.set_policy(policy, capacity, now)

    @property
    def next_id(self) -> int:
        return self._next_id

    # What users do

    def publish(self, payloads: Sequence[bytes], size: int, options: Options | None, now: int) -> Sequence[int]:
        """Add one message per payload, of `size` bytes together, and return their ids, or raise and add none.

        Raises GmqError `queue_full`, `key_conflict`, `limit` (keys) and `bad_request` (a ttl that is over before the delay).
        """
        self._touch(now)
        if options is not None or self._ttl is not None:
            return self._publish(payloads, options or Options(), now)
        count = len(payloads)
        if self.messages + count > self._room:
            self._refuse_full(count)
        first = self._next_id
        self._next_id = first + count
        lane = self._lanes.get(DEFAULT_PRIORITY)
        if lane is None:
            lane = self._lane(DEFAULT_PRIORITY)
        lane.extend(first, payloads, now)
        self.ready += count
        self._account(count, size)
        self.totals.published += count
        return range(first, first + count)

    def take(self, count: int, max_bytes: int, lease: int | None, token: str, now: int) -> Taken:
        """Hand out up to `count` ready messages with up to `max_bytes` of payload (one in any case).

        `lease` is None to remove them, or the milliseconds for which they are hidden; `token` is the random part of their receipts.
        """
        while True:
            self._touch(now)
            taken, whole = self._pop(count)
            entries = taken.entries
            if not entries:
                return taken
            size = 0 if whole else sum(map(len, taken.payloads()))
            if whole or size > max_bytes:
                self._choose(taken, max_bytes, now)
                size = sum(message.size for message in taken.messages())
            if taken.entries:  # else all were overdue: there may be more behind them
                break
        count = len(taken.entries)
        self.totals.delivered += count
        if lease is None:
            self._account(-count, -size)
        else:
            self._lease(taken, self._lease_length(lease), token, now)
        return taken

    def undo(self, taken: Taken, now: int) -> None:
        """Put back, at their old places and as if never delivered, messages that a take handed out and nobody got."""
        self._touch(now)
        if taken.receipts is None:
            messages = taken.messages()
            self._account(len(messages), sum(message.size for message in messages))
        else:
            messages = [message for message in self._leased.pop_live(taken.receipts, now) if message is not None]
            for message in messages:
                message.deliveries -= 1
        self.totals.delivered -= len(messages)
        for message in messages:
            self._return(message, now, now)

    def acknowledge(self, receipts: Sequence[str], now: int) -> list[str]:
        """Remove the messages leased under `receipts`; return those that are stale."""
        self._touch(now)
        messages = self._leased.pop_live(receipts, now)
        stale = [receipt for receipt, message in zip(receipts, messages, strict=True) if message is None] if None in messages else []
        done = len(receipts) - len(stale)
        self._account(-done, -sum([message.size for message in messages if message is not None]))
        self.totals.acknowledged += done
        return stale

    def put_back(self, receipts: Sequence[str], delay: int, now: int) -> list[str]:
        """Return the messages leased under `receipts` to their old places, in `delay` milliseconds; return the receipts that are stale."""
        self._touch(now)
        stale: list[str] = []
        for receipt, message in zip(receipts, self._leased.pop_live(receipts, now), strict=True):
            if message is None:
                stale.append(receipt)
            else:
                self._come_back(message, now + delay, now)
        return stale

    def extend(self, receipts: Iterable[str], lease: int, now: int) -> list[str]:
        """Let the leases under `receipts` end `lease` milliseconds from now; return the receipts that are stale."""
        self._touch(now)
        until = now + self._lease_length(lease)
        self.due = min(self.due, until)
        stale: list[str] = []
        for receipt in receipts:
            message = self._leased.get(receipt, now)
            if message is None:
                stale.append(receipt)
            else:
                self._leased.put(receipt, until, message)
        return stale

    def peek(self, count: int, now: int) -> list[Message]:
        """The first `count` ready messages, as take would hand them out."""
        self.advance_if_due(now)
        messages: list[Message] = []
        for lane in self._lanes_in_order:
            if lane and len(messages) < count:
                messages += lane.peek(count - len(messages))
        return messages

    def clear(self, now: int) -> int:
        """Remove every message; receipts become stale, keys stay remembered."""
        self._touch(now)
        count = self.messages
        for lane in self._lanes_in_order:
            lane.clear()
        self._delayed.clear()
        self._leased.clear()
        self._expiring.clear()
        self.ready = 0
        self._account(-count, -self.bytes)
        return count

    def remove(self, now: int) -> int:
        """Clear, and forget the keys too: the queue goes."""
        count = self.clear(now)
        self._usage.keys -= len(self._keys)
        self._keys.clear()
        return count

    # What the owner of several queues does

    def withdraw(self, count: int, now: int) -> list[tuple[int, Message]]:
        """Remove up to `count` ready and delayed messages, each with the instant at which it is ready."""
        self._touch(now)
        batch, _ = self._pop(count)
        withdrawn = [(now, message) for message in batch.messages()]
        withdrawn += self._delayed.in_order()[: count - len(withdrawn)]
        for _, message in withdrawn:
            self._delayed.pop(message.id)
            self._expiring.pop(message.id)
        self._account(-len(withdrawn), -sum(message.size for _, message in withdrawn))
        return withdrawn

    def restore(self, withdrawn: Iterable[tuple[int, Message]], now: int) -> None:
        """Put back, at their old places, messages that were withdrawn."""
        for ready_at, message in withdrawn:
            self._account(1, message.size)
            self._return(message, ready_at, now)

    def adopt(self, message: Message, ready_at: int, now: int) -> None:
        """Add a message that comes from another queue; it gets a new id and starts with no deliveries. The queue may be full."""
        self._touch(now)
        message.id = self._next_id
        message.deliveries = 0
        self._next_id += 1
        self._account(1, message.size)
        self._return(message, ready_at, now)

    def room(self, now: int) -> int:
        """How many messages may still be added."""
        self.advance_if_due(now)
        return max(0, self._room - self.messages)

    def set_policy(self, policy: QueuePolicy, capacity: int, now: int) -> None:
        """Replace the policy; `capacity` is the broker's own limit of messages."""
        self.policy = policy
        self._room = min(policy.max_messages or capacity, capacity)
        self._ttl = None if policy.ttl is None else milliseconds(policy.ttl)
        self.due = min(self.due, self._idle_at(now))

    def idle(self, now: int) -> bool:
        """Whether the policy says that this queue, empty and unused for so long, should go."""
        return self.policy.expires is not None and not self.messages and not self._keys and now >= self._idle_at(now)

    def counts(self, now: int) -> QueueCounts:
        """Messages by state, and bytes."""
        self.advance_if_due(now)
        return QueueCounts(self.name, self.ready, len(self._delayed), len(self._leased), self.bytes)

    def info(self, now: int) -> QueueInfo:
        """The queue looked at closely; takes time in proportion to the leased messages and those that came back."""
        counts = self.counts(now)
        oldest = min((message.published for message in self._leased.values()), default=NEVER)
        oldest = min(oldest, *(lane.oldest() for lane in self._lanes_in_order), NEVER)
        return QueueInfo(counts, None if oldest == NEVER else max(0, now - oldest) / 1000, self.policy, self.totals)

    # What time does

    def advance_if_due(self, now: int) -> None:
        """Let happen what is due, where anything may be."""
        if now >= self.due:
            self.advance(now)

    def advance(self, now: int) -> None:
        """Let happen what is due, up to ADVANCE_LIMIT of each kind; `due` then tells when there is more."""
        for message in self._expiring.pop_due(now, ADVANCE_LIMIT):
            self._drop_expired(message)
        for message in self._delayed.pop_due(now, ADVANCE_LIMIT):
            self._make_ready(message)
        for message in self._leased.pop_due(now, ADVANCE_LIMIT):
            self._come_back(message, now, now)
        self._forget_keys(now)
        self.due = min(
            self._expiring.first(), self._delayed.first(), self._leased.first(), self._idle_at(now),
            next((key.until for key in self._keys.values()), NEVER),
        )  # fmt: skip

    def _touch(self, now: int) -> None:
        if now >= self.due:
            self.advance(now)
        self._used = now

    def _idle_at(self, now: int) -> int:
        if self.policy.expires is None:
            return NEVER
        return (now if self.messages or self._keys else self._used) + milliseconds(self.policy.expires)

    def _forget_keys(self, now: int) -> None:
        while self._keys and next(iter(self._keys.values())).until <= now:
            del self._keys[next(iter(self._keys))]
            self._usage.keys -= 1

    def _drop_expired(self, message: Message, *, in_lane: bool = True) -> None:
        """Drop a ready or delayed message whose time to live is over."""
        if self._delayed.pop(message.id) is None and in_lane:
            self._lanes[message.priority].discard(message)
            self.ready -= 1
        self._account(-1, -message.size)
        self.totals.expired += 1

    # How messages change their state

    def _publish(self, payloads: Sequence[bytes], options: Options, now: int) -> Sequence[int]:
        ttl = self._ttl if options.ttl is None else options.ttl
        if ttl is not None:
            check_ttl(ttl, options.delay)
        ids: list[int | None] = [None] * len(payloads)
        digests: list[bytes] = []
        if options.keys is not None:
            digests = [blake2b(payload, digest_size=16).digest() for payload in payloads]
            ids = self._known(options.keys, digests, now)
        fresh = self._fresh(ids, options.keys)
        if fresh and self.messages + len(fresh) > self._room:
            self._refuse_full(len(fresh))
        if options.keys is not None and len(self._keys) + len(fresh) > self._keys_limit:
            raise GmqError(
                "limit", f"queue {self.name!r} remembers {len(self._keys)} keys; it remembers up to {self._keys_limit}, for 5 minutes each"
            )
        expires = NEVER if ttl is None else now + ttl
        for index in fresh:
            message = Message(self._next_id, payloads[index], now, options.priority, expires=expires, headers=options.headers or None)
            self._next_id += 1
            ids[index] = message.id
            self._account(1, message.size)
            self._return(message, now + options.delay, now)
            if options.keys is not None:
                self._keys[options.keys[index]] = Key(message.id, digests[index], now + KEY_MEMORY)
                self._usage.keys += 1
                self.due = min(self.due, now + KEY_MEMORY)
        self.totals.published += len(fresh)
        if options.keys is not None:
            return [self._keys[key].id for key in options.keys]
        return [number for number in ids if number is not None]

    def _known(self, keys: Sequence[str], digests: Sequence[bytes], now: int) -> list[int | None]:
        """The ids of the keys that are remembered; a key under which another payload was published is an error."""
        self._forget_keys(now)
        seen: dict[str, bytes] = {}
        ids: list[int | None] = []
        for key, digest in zip(keys, digests, strict=True):
            known = self._keys.get(key)
            if (known.digest if known else seen.setdefault(key, digest)) != digest:
                raise GmqError("key_conflict", f"another payload was published under the key {key!r}; a repeat must have the same payload")
            ids.append(known.id if known else None)
        return ids

    @staticmethod
    def _fresh(ids: Sequence[int | None], keys: Sequence[str] | None) -> list[int]:
        """The places in a batch that hold something new: no remembered key, and no repeat of a key in the batch itself."""
        if keys is None:
            return list(range(len(ids)))
        first: dict[str, int] = {}
        for index, (known, key) in enumerate(zip(ids, keys, strict=True)):
            if known is None:
                first.setdefault(key, index)
        return list(first.values())

    def _pop(self, count: int) -> tuple[Taken, int]:
        """Remove up to `count` messages from the lanes; and how many of them are not packed."""
        entries: list[bytes | Message] = []
        spans: list[Span] = []
        whole = 0
        for lane in self._lanes_in_order:
            whole += lane.take(count - len(entries), entries, spans)
            if len(entries) >= count:
                break
        self.ready -= len(entries)
        return Taken(self.name, entries, spans, None, not whole), whole

    def _choose(self, taken: Taken, max_bytes: int, now: int) -> None:
        """Keep what may be handed out of what left the lanes: what is overdue is dropped, and what is too much goes back."""
        messages: list[Message] = []
        size = 0
        for message in taken.messages():
            if message.expires <= now:
                self._expiring.pop(message.id)
                self._drop_expired(message, in_lane=False)
                continue
            size += len(message.payload)
            if size > max_bytes and messages:
                self._make_ready(message)
                size = max_bytes + 1  # nothing behind it may overtake it
                continue
            messages.append(message)
            if message.expires != NEVER:
                self._expiring.pop(message.id)
        taken.entries, taken.spans, taken.packed = messages, (), False

    def _lease(self, taken: Taken, length: int, token: str, now: int) -> None:
        """Hide what was taken for `length` milliseconds, each under a receipt of its own."""
        messages = taken.messages()
        for message in messages:
            message.deliveries += 1
        prefix, suffix, until = self._prefix, f"-{token}", now + length
        taken.entries, taken.spans, taken.packed = messages, (), False
        taken.receipts = ["%s%x%s" % (prefix, message.id, suffix) for message in messages]  # noqa: UP031  # the fastest of the ways
        self._leased.put_all(taken.receipts, until, messages)
        if until < self.due:
            self.due = until

    def _lease_length(self, lease: int) -> int:
        if lease != POLICY_LEASE:
            return lease
        return milliseconds(DEFAULT_LEASE if self.policy.lease is None else self.policy.lease)

    def _come_back(self, message: Message, ready_at: int, now: int) -> None:
        """Take back a message whose lease ended without an acknowledgement."""
        most = self.policy.max_deliveries
        if most is None or message.deliveries < most:
            self._return(message, ready_at, now)
            return
        self._account(-1, -message.size)
        if self.policy.dead_letter is None:
            self.totals.dropped += 1
            return
        self.totals.dead_lettered += 1
        message.dead = Dead(self.name, message.id, "max_deliveries", message.deliveries, now / 1000)
        message.expires = NEVER
        self.outbox.append(message)

    def _return(self, message: Message, ready_at: int, now: int) -> None:
        """Give a message its place: ready, delayed, or none when its time to live is over."""
        if message.expires <= now:
            self._account(-1, -message.size)
            self.totals.expired += 1
            return
        if message.expires != NEVER:
            self._expiring.put(message.id, message.expires, message)
            self.due = min(self.due, message.expires)
        if ready_at > now:
            self._delayed.put(message.id, ready_at, message)
            self.due = min(self.due, ready_at)
        else:
            self._make_ready(message)

    def _make_ready(self, message: Message) -> None:
        lane = self._lanes.get(message.priority)
        if lane is None:
            lane = self._lane(message.priority)
        lane.add(message)
        self.ready += 1

    def _lane(self, priority: int) -> Lane:
        """A lane for a priority that had none."""
        lane = self._lanes[priority] = Lane(priority)
        self._lanes_in_order = [self._lanes[key] for key in sorted(self._lanes, reverse=True)]
        return lane

    def _account(self, messages: int, size: int) -> None:
        self.messages += messages
        self.bytes += size
        usage = self._usage
        usage.bytes += size
        usage.messages += messages
        if self.policy.expires is not None:
            self.due = min(self.due, self._idle_at(self._used))

    def _refuse_full(self, count: int) -> NoReturn:
        raise GmqError(
            "queue_full", f"queue {self.name!r} holds {self.messages} messages; it may hold {self._room}, and {count} more do not fit"
        )
