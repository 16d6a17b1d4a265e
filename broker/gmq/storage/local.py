"""Queues in this process: every operation on them, and one timer for all that is due in any of them."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import cast

from gmq.clock import steady_clock
from gmq.message import (
    KEY_COST,
    NEVER,
    Clock,
    GmqError,
    Limits,
    Measure,
    Message,
    Options,
    QueueCounts,
    QueueInfo,
    QueuePolicy,
    Settled,
    Taken,
    Usage,
)
from gmq.queue import Queue, append_each
from gmq.storage.base import Storage

MESSAGE_COST = 120
"""Bytes that a message takes beside its payload and headers: measured with plain ones of any size; tiny ones take less."""
WHOLE_COST = 75
"""Bytes that a ready message takes more where it is not plain: it has a priority, headers or a time to live, or it came back."""
RETURNED_COST = 80
"""Bytes that one takes more that came back from a lease or a delay."""
SPARE_ALARMS = 64
"""Alarms that may be kept beyond two for each queue; where there are more, those that mean nothing any more are swept out."""


class LocalStorage(Storage):
    """Every queue as a `Queue`.

    For a storage that also keeps them on a disk: it makes its queues in `_build`, is told by `_register`, `_forget` and `_moved`, and
    each operation begins with `_now`, where it may refuse them all. While it is `_suspended` nothing is undone, and nothing happens
    by itself; `_set_timer` starts that again.
    """

    def __init__(self, limits: Limits, policy_for: Callable[[str], QueuePolicy], clock: Clock | None = None) -> None:
        super().__init__()
        self._limits = limits
        self._policy_for = policy_for
        self._clock = clock or steady_clock()
        self._now = self._clock  # where each operation begins
        self._suspended = False
        self._queues: dict[str, Queue] = {}
        self._by_number: dict[str, Queue] = {}
        self._usage = Usage()
        self._last_number = 0
        self._first_id = 1  # of the next new queue: above every id of a queue that was deleted
        self._alarms: list[tuple[int, int, str]] = []  # when, the queue's number, its name
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = NEVER

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Forget the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def memory(self) -> int:
        usage = self._usage
        counted = usage.messages * MESSAGE_COST + usage.whole * WHOLE_COST + usage.returned * RETURNED_COST + usage.keys * KEY_COST
        return usage.bytes + counted + usage.headers + usage.deadlines

    def measured(self) -> Iterator[Measure]:
        for queue in list(self._queues.values()):
            if self._queues.get(queue.name) is queue:  # it may be gone by now
                yield queue.measure(self._clock())

    def publish(self, queue: str, payloads: Sequence[bytes], size: int, options: Options | None) -> Sequence[int]:
        now = self._now()
        found = self._queues.get(queue)
        if found is None:
            found = self._new(queue, now)
            found.check(payloads, options, now)
            self._register(found)
        try:
            ids = found.publish(payloads, size, options, now)
        finally:
            if found.due < found.alarm or found.outbox:
                self._done(found)
        self.on_ready(queue)
        return ids

    def publish_spread(self, queues: Sequence[str], payloads: Sequence[bytes], size: int) -> Sequence[int | GmqError]:
        try:
            now = self._now()
        except GmqError as error:
            return [error] * len(queues)
        found = list(map(self._queues.get, queues))
        ids = append_each(found, payloads, now)
        done = len(ids)
        if done == len(queues):
            self._appended(cast("list[Queue]", found), ids, payloads, size, now)
            return ids
        good, rest = payloads[:done], payloads[done:]
        if good:
            self._appended(cast("list[Queue]", found[:done]), ids, good, sum(map(len, good)), now)
        # What stands in the way of the next one is for `publish` to see, and it may be in the way of those behind it.
        return [*ids, *super().publish_spread(queues[done:], rest, sum(map(len, rest)))]

    def _appended(self, queues: Sequence[Queue], ids: Sequence[int], payloads: Sequence[bytes], size: int, now: int) -> None:  # noqa: ARG002  # for a storage on a disk
        """Plain messages of `size` bytes together were added with these ids, one to each of some queues."""
        usage = self._usage
        usage.messages += len(ids)
        usage.bytes += size
        if self.waited():
            for queue in queues:
                self.on_ready(queue.name)

    def take(self, queues: Sequence[str], count: int, max_bytes: int, lease: int | None) -> Taken:
        now = self._now()
        for name in queues:
            queue = self._queues.get(name)
            if queue is None:
                continue
            token = "" if lease is None else os.urandom(8).hex()
            taken = queue.take(count, max_bytes, lease, token, now)
            if queue.due < queue.alarm or queue.outbox:
                self._done(queue)
            if taken.entries:
                return taken
        return Taken("")

    def waited_until_now(self, queues: Sequence[str]) -> None:
        now = self._clock()
        for name in queues:
            queue = self._queues.get(name)
            if queue is not None:
                queue.use(now)

    def undo(self, taken: Taken) -> None:
        if self._suspended:
            return
        now = self._clock()
        if taken.receipts is not None and taken.queue not in self._queues:
            return  # they were still in their queue, and went with it
        queue = self._found(taken.queue, now)
        queue.undo(taken, now)
        self._done(queue)
        self.on_ready(queue.name)

    def acknowledge(self, receipts: Sequence[str]) -> Settled:
        now = self._now()
        return self._settle(receipts, lambda queue, some: queue.acknowledge(some, now))

    def put_back(self, receipts: Sequence[str], delay: int) -> Settled:
        now = self._now()
        return self._settle(receipts, lambda queue, some: queue.put_back(some, delay, now))

    def extend(self, receipts: Sequence[str], lease: int) -> Settled:
        now = self._now()
        return self._settle(receipts, lambda queue, some: queue.extend(some, lease, now))

    def length(self, queue: str) -> int:
        now = self._now()
        found = self._queues.get(queue)
        return 0 if found is None else self._counts(found, now).ready

    def queues(self) -> list[QueueCounts]:
        now = self._now()
        return [self._counts(self._queues[name], now) for name in sorted(self._queues)]

    def info(self, queue: str) -> QueueInfo:
        now = self._now()
        found = self._existing(queue)
        info = found.info(now)
        self._done(found)
        return info

    def peek(self, queue: str, count: int, max_bytes: int) -> list[Message]:
        now = self._now()
        found = self._queues.get(queue)
        if found is None:
            return []
        messages = found.peek(count, now, max_bytes)
        self._done(found)
        size = 0
        for index, message in enumerate(messages):
            size += len(message.payload)
            if index and size > max_bytes:
                return messages[:index]
        return messages

    def move(self, queue: str, to: str | None, count: int) -> int:
        now = self._now()
        source = self._existing(queue)
        if to is None and not any(message.dead is not None for message in source.whole_messages()):
            return 0  # there may be very many others, and they would all be read from the disk
        withdrawn = source.withdraw(count if to is not None else source.messages, now)
        groups, rest = grouped(withdrawn, to, count)
        try:
            self._check_room(groups, now)
        except GmqError:
            groups, rest = {}, withdrawn
            raise
        finally:
            source.restore(rest, now)
            self._done(source)
        for name, messages in groups.items():
            if to is None:
                for _, message in messages:
                    message.dead = None
            self._hand_over(source, name, messages, now)
        return sum(map(len, groups.values()))

    def clear(self, queue: str) -> int:
        now = self._now()
        found = self._existing(queue)
        count = found.clear(now)
        self._done(found)
        return count

    def delete(self, queue: str) -> int:
        now = self._now()
        found = self._existing(queue)
        count = found.remove(now)
        self._done(found)  # dead letters of leases that ended before are not in it any more
        self._forget(found)
        return count

    def create(self, queue: str, policy: QueuePolicy | None) -> bool:
        now = self._now()
        found = self._queues.get(queue)
        made = found is None
        if found is None:
            found = self._new(queue, now)
            self._register(found)
        if policy is not None:
            found.set_policy(policy, self._limits.queue_messages, now)
        self._done(found)
        return made

    def set_policy(self, queue: str, policy: QueuePolicy) -> QueuePolicy:
        now = self._now()
        found = self._existing(queue)
        found.set_policy(policy, self._limits.queue_messages, now)
        self._done(found)
        return policy

    # Queues come and go

    def _existing(self, name: str) -> Queue:
        queue = self._queues.get(name)
        if queue is None:
            raise GmqError("not_found", f"there is no queue {name!r}")
        return queue

    def _new(self, name: str, now: int) -> Queue:
        """A queue that is not yet one of ours."""
        if len(self._queues) >= self._limits.queues:
            raise self._too_many_queues(name)
        return self._build(name, now)

    def _build(self, name: str, now: int) -> Queue:
        """A new queue; it may be asked something and then not be used."""
        self._last_number += 1
        limits = self._limits
        policy = self._policy_for(name)
        return Queue(name, self._last_number, self._first_id, policy, now, self._usage, capacity=limits.queue_messages, keys=limits.keys)

    def _register(self, queue: Queue) -> None:
        """Make a queue one of ours; nothing was published to it yet."""
        self._queues[queue.name] = queue
        self._by_number[f"{queue.number:x}"] = queue

    def _found(self, name: str, now: int) -> Queue:
        """The queue of a name, made where it is missing: for messages that must not be lost, whatever the limit of queues says."""
        queue = self._queues.get(name)
        if queue is None:
            queue = self._build(name, now)
            self._register(queue)
        return queue

    def _forget(self, queue: Queue) -> None:
        """Let go of a queue whose messages were removed."""
        self._first_id = max(self._first_id, queue.next_id)
        self.departed.add(queue.totals)
        del self._queues[queue.name]
        del self._by_number[f"{queue.number:x}"]

    def _check_room(self, groups: dict[str, list[tuple[int, Message]]], now: int) -> None:
        """Raise where not all of the groups fit into the queues that they are meant for."""
        missing = [name for name in groups if name not in self._queues]
        if missing and len(self._queues) + len(missing) > self._limits.queues:
            raise self._too_many_queues(missing[0])
        for name, messages in groups.items():
            target = self._build(name, now) if name in missing else self._queues[name]
            room = target.room(now)
            if name not in missing:
                self._done(target)
            if len(messages) > room:
                raise GmqError(
                    "queue_full",
                    f"queue {name!r} has room for {room} more messages, and {len(messages)} were to be moved there",
                    limit="queue_messages",
                )

    def _too_many_queues(self, name: str) -> GmqError:
        return GmqError(
            "limit",
            f"there are {len(self._queues)} queues and there may be {self._limits.queues}; {name!r} would be one more",
            limit="queues",
        )

    # Receipts

    def _settle(self, receipts: Sequence[str], settle: Callable[[Queue, Sequence[str]], list[str]]) -> Settled:
        """Settle receipts with the queues that gave them, and tell which were stale."""
        number = receipts[0].partition("-")[0]
        left = self._settle_one(number, receipts, settle)  # nearly always all are of one queue
        if not left:
            return Settled(len(receipts), [])
        stale: list[str] = []
        others: dict[str, list[str]] = {}
        for receipt in left:
            other = receipt.partition("-")[0]
            (stale if other == number else others.setdefault(other, [])).append(receipt)
        for other, part in others.items():
            stale += self._settle_one(other, part, settle)
        return Settled(len(receipts) - len(stale), in_order_of(receipts, stale))

    def _settle_one(self, number: str, receipts: Sequence[str], settle: Callable[[Queue, Sequence[str]], list[str]]) -> Sequence[str]:
        """Settle receipts with one queue; return what it does not know."""
        queue = self._by_number.get(number)
        if queue is None:
            return receipts
        left = settle(queue, receipts)
        self._done(queue)
        if queue.ready:
            self.on_ready(queue.name)
        return left

    # What time and operations bring about

    def _counts(self, queue: Queue, now: int) -> QueueCounts:
        counts = queue.counts(now)
        self._done(queue)
        return counts

    def _done(self, queue: Queue) -> None:
        """After every operation on a queue: deliver its dead letters, and look at it again when its next deadline comes."""
        if queue.outbox:
            self._bury(queue)
        if queue.due < queue.alarm:
            queue.alarm = queue.due
            heappush(self._alarms, (queue.due, queue.number, queue.name))
            if len(self._alarms) > 2 * len(self._queues) + SPARE_ALARMS:
                self._sweep_alarms()
            self._set_timer()

    def _sweep_alarms(self) -> None:
        """Keep one alarm for each queue: the others are of queues that are gone, or have an earlier one."""
        self._alarms = [(queue.alarm, queue.number, queue.name) for queue in self._queues.values() if queue.alarm != NEVER]
        heapify(self._alarms)

    def _bury(self, queue: Queue) -> None:
        letters, queue.outbox = queue.outbox, []
        now = self._clock()
        self._hand_over(queue, queue.policy.dead_letter or queue.name, [(now, letter) for letter in letters], now)

    def _hand_over(self, source: Queue, name: str, messages: Sequence[tuple[int, Message]], now: int) -> None:
        """Add messages that left one queue to another, which is made where it is missing."""
        target = self._found(name, now)
        ids = [message.id for _, message in messages]
        self._moved(source, target, ids, [target.adopt(message, ready_at, now) for ready_at, message in messages])
        self._done(target)
        self.on_ready(name)

    def _moved(self, source: Queue, target: Queue, ids: Sequence[int], messages: Sequence[Message]) -> None:
        """Messages that had these ids in one queue are now in another, as dead letters or because somebody moved them."""

    def _set_timer(self) -> None:
        at = self._alarms[0][0] if self._alarms else NEVER
        if at >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        delay = max(0, at - self._clock()) / 1000
        self._timer = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        """Let happen what is due in each queue whose alarm has come."""
        self._timer, self._timer_at = None, NEVER
        if self._suspended:
            return
        now = self._clock()
        due: list[str] = []
        while self._alarms and self._alarms[0][0] <= now:
            _, number, name = heappop(self._alarms)
            if name in self._queues and self._queues[name].number == number:
                due.append(name)
        for name in dict.fromkeys(due):
            queue = self._queues[name]
            queue.alarm = NEVER
            if name in self.waited():
                queue.use(now)
            queue.advance(now)
            self._done(queue)
            if queue.idle(now):
                queue.remove(now)
                self._forget(queue)
            elif queue.ready:
                self.on_ready(name)
        self._set_timer()


def in_order_of(receipts: Sequence[str], stale: Sequence[str]) -> list[str]:
    """The stale ones in the order of the request; of one that stands there more than once, the last mentions."""
    left = Counter(stale)
    ordered: list[str] = []
    for receipt in reversed(receipts):
        if left[receipt]:
            left[receipt] -= 1
            ordered.append(receipt)
    return ordered[::-1]


def grouped(
    withdrawn: list[tuple[int, Message]], to: str | None, count: int
) -> tuple[dict[str, list[tuple[int, Message]]], list[tuple[int, Message]]]:
    """What is to be moved, by its target, and what stays: without `to`, dead letters go to where they came from and the rest stays."""
    if to is not None:
        return {to: withdrawn}, []
    groups: dict[str, list[tuple[int, Message]]] = {}
    rest: list[tuple[int, Message]] = []
    for item in withdrawn:
        dead = item[1].dead
        if dead is None or count == 0:
            rest.append(item)
        else:
            groups.setdefault(dead.queue, []).append(item)
            count -= 1
    return groups, rest
