"""One queue in memory: ready, delayed and leased messages.

Pure: no I/O, no clock of its own. Every operation is given the present instant `now` in Unix milliseconds, and first lets happen
what time has brought about: delays that have passed, leases that ran out, messages and keys that expired.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from itertools import islice
from typing import NoReturn

from gmq.keys import Keys
from gmq.lane import Lane
from gmq.message import (
    DEFAULT_LEASE,
    DEFAULT_PRIORITY,
    NEVER,
    POLICY_LEASE,
    Dead,
    GmqError,
    Measure,
    Message,
    Options,
    Plain,
    QueueCounts,
    QueueInfo,
    QueuePolicy,
    Taken,
    Totals,
    Usage,
    milliseconds,
)
from gmq.recorder import Pages, Recorder
from gmq.stock import Stock, costs
from gmq.validate import check_ttl

ADVANCE_LIMIT = 10_000
"""Most deadlines of a kind that one operation settles, so that a million at once do not stop the broker; the rest follows at once."""
LETTERS_LIMIT = 256
"""The same for leases, where their ends may make dead letters whose payloads have to be read from a disk."""
LOOKED_AT = 10_000
"""Messages in each of the places where one can be that are looked at for the metrics' oldest age: a millisecond's work."""


class Queue(Stock):
    """One queue.

    For its owner, who keeps several: `due` is the instant before which nothing happens by itself, and `advance` is to be called when it
    has come (`alarm` is the owner's note of when it will look); `outbox` gathers dead letters, which the owner delivers after each
    operation.

    A storage on disk has a `recorder` that is told each change, and `pages`, from which payloads come back that were dropped from memory.
    """

    __slots__ = ("_keys", "_open", "_prefix", "_recorder", "_room", "_ttl", "_used", "alarm", "number", "outbox", "policy", "totals")

    def __init__(
        self, name: str, number: int, first_id: int, policy: QueuePolicy, now: int, usage: Usage | None = None, *,
        capacity: int, keys: int, recorder: Recorder[Queue] | None = None, pages: Pages | None = None,
    ) -> None:  # fmt: skip
        usage = usage or Usage()
        super().__init__(name, first_id, usage, pages, recorded=recorder is not None)
        self.number = number
        self._prefix = f"{number:x}-"
        self._recorder = recorder
        self._keys = Keys(keys, usage)
        self._used = now
        self.alarm = NEVER
        self.outbox: list[Message] = []
        self.totals = Totals()
        self._open: Lane | None  # takes what is published, where nothing becomes of that but a message
        self._set_policy(policy, capacity, now)

    # What users do

    def publish(self, payloads: Sequence[bytes], size: int, options: Options | None, now: int) -> Sequence[int]:
        """Add one message per payload, of `size` bytes together, and return their ids, or raise and add none.

        Raises GmqError `queue_full`, `key_conflict`, `limit` (keys) and `bad_request` (a ttl that is over before the delay).
        """
        self._touch(now)
        if options is not None or self._ttl is not None:
            return self._publish(payloads, options or Options(), now)
        if self.messages + len(payloads) > self._room:
            self._refuse_full(len(payloads))
        ids = self._add_plain(payloads, size, now)
        if self.policy.expires is None:
            self._open = self._lanes[DEFAULT_PRIORITY]
        self.totals.published += len(payloads)
        if self._recorder is not None:
            self._recorder.published(self, ids.start, payloads, now, None)
        return ids

    def append(self, payload: bytes, now: int) -> int | None:
        """Add one plain message where nothing stands in its way; None where `publish` has to look at it.

        The owner records it, and accounts for it in the usage. The queue has been used when the message leaves, at the earliest.
        """
        lane = self._open
        if lane is None or now >= self.due or self.messages >= self._room:
            return None
        number = self._next_id
        self._next_id = number + 1
        lane.append(number, payload, now)
        self.ready += 1
        self.messages += 1
        self.bytes += len(payload)
        self.totals.published += 1
        return number

    def check(self, payloads: Sequence[bytes], options: Options | None, now: int) -> None:
        """Raise what publish would raise."""
        self._touch(now)
        self._fresh(payloads, options or Options(), now)

    def take(self, count: int, max_bytes: int, lease: int | None, token: str, now: int) -> Taken:
        """Hand out up to `count` ready messages with up to `max_bytes` of payload (one in any case).

        `lease` is None to remove them, or the milliseconds for which they are hidden; `token` is the random part of their receipts.
        """
        loaded: dict[int, bytes | None] | None = None
        headers = 0
        while True:
            self._touch(now)
            taken = self._pop(count, max_bytes)
            entries = taken.entries
            size = sum(map(len, entries)) if taken.packed else 0  # type: ignore[arg-type]  # all of them are payloads
            if not taken.packed or size > max_bytes:
                loaded = self._choose(taken, max_bytes, now)
                messages = taken.messages()
                size, headers = self._sizes(messages), costs(messages) if self._headers else 0
            if taken.entries or not entries:  # else all were overdue, or damaged: there may be more behind them
                break
        if self._removed:
            self._tell_removed()
        count = len(taken.entries)
        if not count:
            return taken
        self.totals.delivered += count
        if lease is not None:
            self._lease(taken, self._lease_length(lease), token, loaded, now)
            return taken
        self._account(-count, -size, -headers)
        if self._recorder is not None:
            if not taken.packed:
                self._leave(taken.messages(), loaded)
            self._recorder.taken(self, taken)
        return taken

    def undo(self, taken: Taken, now: int) -> None:
        """Put back, at their old places and as if never delivered, messages that a take handed out and nobody got."""
        self._touch(now)
        self.totals.delivered -= len(taken)
        if taken.receipts is None:
            messages = [message for message in taken.messages() if message.expires > now]
            self.totals.expired += len(taken) - len(messages)
            self._account_for(messages, 1)
        else:
            messages = [message for message in self._leased.pop_live(taken.receipts, now) if message is not None]
            self.totals.delivered += len(taken) - len(messages)
            for message in messages:
                message.deliveries -= 1
        back = [message for message in messages if self._return(message, now, now)]
        if self._recorder is not None and back:
            if taken.receipts is None:
                self._recorder.added(self, back, None)
            else:
                self._recorder.changed(self, back)
        self._tell_removed()

    def acknowledge(self, receipts: Sequence[str], now: int) -> list[str]:
        """Remove the messages leased under `receipts`; return those that are stale."""
        self._touch(now)
        found = self._leased.pop_live(receipts, now)
        stale = [receipt for receipt, message in zip(receipts, found, strict=True) if message is None] if None in found else []
        messages = [message for message in found if message is not None]
        self.totals.acknowledged += len(messages)
        self._account_for(messages, -1)
        if self._recorder is not None and messages:
            self._leave(messages)
            self._recorder.removed(self, [message.id for message in messages])
        return stale

    def put_back(self, receipts: Sequence[str], delay: int, now: int) -> list[str]:
        """Return the messages leased under `receipts` to their old places, in `delay` milliseconds; return the receipts that are stale."""
        self._touch(now)
        stale: list[str] = []
        back: list[Message] = []
        for receipt, message in zip(receipts, self._leased.pop_live(receipts, now), strict=True):
            if message is None:
                stale.append(receipt)
            elif self._come_back(message, now + delay, now):
                back.append(message)
        self._tell_changed(back)
        return stale

    def extend(self, receipts: Iterable[str], lease: int, now: int) -> list[str]:
        """Let the leases under `receipts` end `lease` milliseconds from now; return the receipts that are stale."""
        self._touch(now)
        until = self._shared(now + self._lease_length(lease))
        self.due = min(self.due, until)
        stale: list[str] = []
        extended: list[Message] = []
        for receipt in receipts:
            message = self._leased.get(receipt, now)
            if message is None:
                stale.append(receipt)
            else:
                message.due = until
                self._leased.put(receipt, until, message)
                extended.append(message)
        self._tell_changed(extended)
        return stale

    def peek(self, count: int, now: int, max_bytes: int = NEVER) -> list[Message]:
        """The first `count` ready messages, as take would hand them out; it stops after `max_bytes` of payload."""
        self.advance_if_due(now)
        messages: list[Message] = []
        for lane in self._lanes_in_order:
            if lane and len(messages) < count:
                messages += lane.in_order(count - len(messages))
        return messages if self._paging is None else self._paging.copies(messages, max_bytes)

    def clear(self, now: int) -> int:
        """Remove every message; receipts become stale, keys stay remembered."""
        count = self._clear(now)
        if self._recorder is not None and count:
            self._recorder.cleared(self)
        return count

    def remove(self, now: int) -> int:
        """Clear, and forget the keys too: the queue goes. This is not recorded."""
        count = self._clear(now)
        self._keys.clear()
        return count

    def _clear(self, now: int) -> int:
        self._touch(now)
        count = self.messages
        self._empty()
        return count

    # What the owner of several queues does

    def withdraw(self, count: int, now: int) -> list[tuple[int, Message]]:
        """Remove up to `count` ready and delayed messages, each with the instant at which it is ready. This is not recorded."""
        self._touch(now)
        batch = self._pop(count, NEVER)
        withdrawn = [(now, message) for message in batch.messages()]
        withdrawn += self._delayed.in_order()[: count - len(withdrawn)]
        for _, message in withdrawn:
            self._delayed.pop(message.id)
            self._expiring.pop(message.id)
        if self._paging is not None:
            intact, loaded = self._intact([message for _, message in withdrawn])
            if len(intact) < len(withdrawn):
                kept = {message.id for message in intact}
                withdrawn = [item for item in withdrawn if item[1].id in kept]
            self._account_for(intact, -1)
            self._leave(intact, loaded)
        else:
            self._account_for([message for _, message in withdrawn], -1)
        self._tell_removed()
        return withdrawn

    def restore(self, withdrawn: Iterable[tuple[int, Message]], now: int) -> None:
        """Put back, at their old places, messages that were withdrawn."""
        back: list[Message] = []
        for ready_at, message in withdrawn:
            self._account_for((message,), 1)
            if self._return(message, ready_at, now):
                back.append(message)
        self._tell_changed(back)  # some were plain

    def adopt(self, message: Message, ready_at: int, now: int) -> Message:
        """Add a message that comes from another queue, under a new id and with no deliveries, and return it as it is here.

        The queue may be full. This is not recorded.
        """
        self._touch(now)
        if message.gone:
            message = copy(message)  # for the other queue it stays gone
        message.id = self._next_id
        message.deliveries = 0
        self._next_id += 1
        self._account_for((message,), 1)
        self._return(message, ready_at, now)
        return message

    def room(self, now: int) -> int:
        """How many messages may still be added."""
        self.advance_if_due(now)
        return max(0, self._room - self.messages)

    def set_policy(self, policy: QueuePolicy, capacity: int, now: int) -> None:
        """Replace the policy; `capacity` is the broker's own limit of messages."""
        self._used = now
        self._set_policy(policy, capacity, now)
        if self._recorder is not None:
            self._recorder.policy_set(self)

    def _set_policy(self, policy: QueuePolicy, capacity: int, now: int) -> None:
        self.policy = policy
        self._room = min(policy.max_messages or capacity, capacity)
        self._ttl = None if policy.ttl is None else milliseconds(policy.ttl)
        self._open = None
        self.due = min(self.due, self._idle_at(now))

    def use(self, now: int) -> None:
        """Count as used now, though nothing was done."""
        self._used = now

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

    def measure(self, now: int) -> Measure:
        """The queue as the metrics show it. Nothing changes, and it takes a moment only.

        Where very many messages are leased or came back, the oldest age is that of those that were leased first, or have the lowest ids.
        """
        leased = self._leased
        oldest = min([message.published for message in islice(leased.values(), LOOKED_AT)]) if leased else NEVER
        for lane in self._lanes_in_order:
            oldest = min(oldest, lane.oldest_of(LOOKED_AT))
        age = 0.0 if oldest == NEVER else max(0, now - oldest) / 1000
        return Measure(self.name, self.totals, self.ready, len(self._delayed), len(leased), self.bytes, age)

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
            message.due = 0
            self._make_ready(message)
        limit = ADVANCE_LIMIT if self._paging is None or self.policy.dead_letter is None else LETTERS_LIMIT
        # Told, though it would come again by itself: by then the policy may be another.
        self._tell_changed([message for message in self._leased.pop_due(now, limit) if self._come_back(message, now, now)])
        self._keys.forget(now)
        self._look_ahead(now)

    def _look_ahead(self, now: int) -> None:
        self.due = min(self._expiring.first(), self._delayed.first(), self._leased.first(), self._idle_at(now), self._keys.first())

    def _touch(self, now: int) -> None:
        if now >= self.due:
            self.advance(now)
        self._used = now
        if self.policy.expires is not None:
            self.due = min(self.due, self._idle_at(now))

    def _idle_at(self, now: int) -> int:
        if self.policy.expires is None:
            return NEVER
        return (now if self.messages or self._keys else self._used) + milliseconds(self.policy.expires)

    def _drop_expired(self, message: Message, *, in_lane: bool = True) -> None:
        """Drop a ready or delayed message whose time to live is over."""
        if self._delayed.pop(message.id) is None and in_lane:
            self._lanes[message.priority].discard(message)
            self._count_whole(-1)
            self.ready -= 1
        self._drop(message)
        self.totals.expired += 1

    # How messages change their state

    def _publish(self, payloads: Sequence[bytes], options: Options, now: int) -> Sequence[int]:
        keyed = self._fresh(payloads, options, now)
        if options.keys is None:
            return self._admit(payloads, None, options, now)
        if keyed:
            self._keys.add(list(keyed), self._next_id, [digest for _, digest in keyed.values()], now)
            self.due = min(self.due, self._keys.first())
            self._admit([payload for payload, _ in keyed.values()], list(keyed), options, now)
        return [self._keys.id_of(key) for key in options.keys]

    def _admit(self, payloads: Sequence[bytes], keys: Sequence[str] | None, options: Options, now: int) -> range:
        """Add messages that were checked; `keys`, which are remembered already, are for the record."""
        ttl = self._ttl if options.ttl is None else options.ttl
        self.totals.published += len(payloads)
        if ttl is None and options.priority == DEFAULT_PRIORITY and not options.delay and not options.headers:
            ids = self._add_plain(payloads, sum(map(len, payloads)), now)
            if self._recorder is not None:
                self._recorder.published(self, ids.start, payloads, now, keys)
            return ids
        messages = self._add(payloads, options, NEVER if ttl is None else now + ttl, now)
        if self._recorder is not None:
            self._recorder.added(self, messages, keys)
        return range(self._next_id - len(messages), self._next_id)

    def _add(self, payloads: Sequence[bytes], options: Options, expires: int, now: int) -> list[Message]:
        """Add messages with options."""
        now, due, expires = self._shared(now), self._shared(now + options.delay), self._shared(expires)
        messages: list[Message] = []
        for number, payload in enumerate(payloads, self._next_id):
            message = Message(number, payload, now, options.priority, expires=expires, headers=options.headers or None)
            messages.append(message)
            self._place(message, due, now)
        self._next_id += len(messages)
        self._account_for(messages, 1)
        return messages

    def _fresh(self, payloads: Sequence[bytes], options: Options, now: int) -> dict[str, tuple[bytes, bytes]]:
        """Check a publish; of one with keys, what is new: payloads and digests by key."""
        ttl = self._ttl if options.ttl is None else options.ttl
        if ttl is not None:
            check_ttl(ttl, options.delay)
        keyed = {} if options.keys is None else self._keys.fresh(options.keys, payloads, now)
        count = len(payloads) if options.keys is None else len(keyed)
        if count and self.messages + count > self._room:
            self._refuse_full(count)
        self._keys.check_room(len(keyed), self.name)
        return keyed

    def _choose(self, taken: Taken, max_bytes: int, now: int) -> dict[int, bytes | None]:
        """Keep what may be handed out of what left the lanes: what is overdue is dropped, and what is too much goes back.

        Returns the payloads that had to be read from the disk.
        """
        paging = self._paging
        messages: list[Message] = []
        left: list[Message] = []
        size = 0
        for message in taken.messages():
            if message.expires <= now:
                self._expiring.pop(message.id)
                self._drop_expired(message, in_lane=False)
                continue
            size += len(message.payload) if paging is None else paging.payload_size(message)
            if size > max_bytes and messages:
                self._make_ready(message)
                left.append(message)
                size = max_bytes + 1  # nothing behind it may overtake it
                continue
            messages.append(message)
            if message.expires != NEVER:
                self._expiring.pop(message.id)
        messages, loaded = self._intact(messages)
        taken.entries, taken.spans, taken.packed = messages, (), False
        if self._recorder is not None and left:
            self._recorder.changed(self, left)  # some were plain
        return loaded

    def _lease(self, taken: Taken, length: int, token: str, loaded: dict[int, bytes | None] | None, now: int) -> None:
        """Hide what was taken for `length` milliseconds, each under a receipt of its own."""
        messages = self._hide(taken, self._prefix, f"-{token}", self._shared(now + length), loaded)
        if self._recorder is not None:
            self._recorder.changed(self, messages)

    def _lease_length(self, lease: int) -> int:
        if lease != POLICY_LEASE:
            return lease
        return milliseconds(DEFAULT_LEASE if self.policy.lease is None else self.policy.lease)

    def _come_back(self, message: Message, ready_at: int, now: int) -> bool:
        """Take back a message whose lease ended without an acknowledgement; return whether it stays."""
        most = self.policy.max_deliveries
        if most is None or message.deliveries < most:
            return self._return(message, ready_at, now)
        message.due, message.receipt = 0, None
        if self.policy.dead_letter is None:
            self._drop(message)
            self.totals.dropped += 1
            return False
        intact, loaded = self._intact([message])
        if not intact:
            return False
        self._account_for((message,), -1)
        self.totals.dead_lettered += 1
        if self._recorder is not None:
            self._leave(intact, loaded)
        message.dead = Dead(self.name, message.id, "max_deliveries", message.deliveries, now / 1000)
        message.expires = NEVER
        self.outbox.append(message)
        return False

    def _return(self, message: Message, ready_at: int, now: int) -> bool:
        """Give a message its place: ready, delayed, or none when its time to live is over; return whether it has one."""
        if message.expires <= now:
            message.due, message.receipt = 0, None
            self._drop(message)
            self.totals.expired += 1
            return False
        self._place(message, ready_at, now)
        return True

    def _tell_changed(self, messages: Sequence[Message]) -> None:
        if self._recorder is not None and messages:
            self._recorder.changed(self, messages)
        self._tell_removed()

    def _tell_removed(self) -> None:
        if self._removed and self._recorder is not None:
            removed, self._removed = self._removed, []
            self._recorder.removed(self, removed)

    def _refuse_full(self, count: int) -> NoReturn:
        raise GmqError(
            "queue_full",
            f"queue {self.name!r} holds {self.messages} messages; it may hold {self._room}, and {count} more do not fit",
            limit="queue_messages",
        )

    # What a storage on disk does

    def remembered(self, newest: int | None) -> list[tuple[str, int, bytes, int]]:
        """The keys that are forgotten last, so many or all, in this order: key, id, digest, and when it is forgotten."""
        return self._keys.newest(newest)

    def load(
        self, plain: Iterable[Plain], messages: Iterable[Message], keys: Iterable[tuple[str, int, bytes, int]], next_id: int, now: int
    ) -> None:
        """Fill a new queue with what another one held (see `plain_since`, `whole_messages` and `remembered`). This is not recorded.

        Plain messages come in the order of their ids within each priority. Those from the first without payloads to the last such are all
        on disk, and kept there only. What is overdue happens in the next operation.
        """
        self._fill(plain, messages)
        self._keys.load(keys, now)
        self._next_id = max(self._next_id, next_id)
        self._used = now
        self._look_ahead(now)


def append_each(queues: Iterable[Queue | None], payloads: Iterable[bytes], now: int) -> list[int]:
    """Add one plain message to each of some queues, up to the first one that is missing or where something stands in the way; the ids."""
    ids: list[int] = []
    for queue, payload in zip(queues, payloads, strict=True):
        number = None if queue is None else queue.append(payload, now)
        if number is None:
            break
        ids.append(number)
    return ids
