"""The broker: every operation on named queues, for whatever transport, and the consumers that wait for messages.

It checks what is asked and holds the limits; the messages are the storage's.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice

from msgspec import Struct

from gmq.message import (
    MAX_COUNT,
    MAX_DELAY,
    MAX_MOVE,
    MAX_QUEUES_OF_A_TAKE,
    MAX_REPLY_BYTES,
    MAX_WAIT,
    GmqError,
    Limits,
    Message,
    Options,
    QueueCounts,
    QueueInfo,
    QueuePolicy,
    Settled,
    Taken,
    milliseconds,
    refuse,
)
from gmq.storage.base import Outcome, Storage
from gmq.validate import check_count, check_name, check_policy, check_range, lease_length

MESSAGE_COST = 256
"""Bytes of memory allowed for what a new message takes beside its payload, until the storage tells what it is."""
LEASE_COST = 330
"""The same for what a message takes more while it is leased."""
LEASE_SHARE = 1.15
"""The part of the memory for messages up to which they may be leased: so consumers go on where publishes are refused."""
MAX_NAMES = 10_000
FIRST_WAVE = 16
"""For how many waiting consumers a take is begun when a queue has something; twice as many follow when all of them got some of it."""


class Waiter:
    """A consumer that waits for a message; `future` is done when it has one or its time is up (then with an empty result)."""

    __slots__ = ("_timer", "again", "asking", "count", "ended", "future", "lease", "queues")

    def __init__(self, queues: Sequence[str], count: int, lease: int | None) -> None:
        self.queues = queues
        self.count = count
        self.lease = lease
        self.future: Future[Taken] = asyncio.get_running_loop().create_future()
        self.asking = False  # a take for it is under way
        self.again = False  # there may be more than that take saw
        self.ended = False  # its time was up meanwhile
        self._timer: asyncio.TimerHandle | None = None

    def start(self, wait: float) -> None:
        """Let the wait end by itself after `wait` seconds."""
        self._timer = asyncio.get_running_loop().call_later(wait, self.end)

    def stop(self) -> None:
        """Let it not end by itself any more."""
        if self._timer is not None:
            self._timer.cancel()

    def end(self) -> None:
        """End the wait with what there is: nothing, or what the take under way gets."""
        if self.asking:
            self.ended = True
        else:
            self.finish(Taken(""))

    def finish(self, result: Taken | BaseException) -> bool:
        """Give the result; False when the wait is over already."""
        self.stop()
        if self.future.done():
            return False
        if isinstance(result, Taken):
            self.future.set_result(result)
        else:
            self.future.set_exception(result)
        return True


class Wave(Struct):
    """Takes under way for consumers that wait for one queue: how many were begun, are left, and got something.

    `again` says that messages may have come that these takes did not see.
    """

    size: int = 0
    left: int = 0
    served: int = 0
    again: bool = False


class Broker:
    """Every operation. All raise GmqError for what is refused, and then nothing was changed.

    Lengths of time are in seconds here, and checked against the ranges of docs/protocol.md. A storage that answers later makes an
    operation's outcome a future, see `gmq.storage.base`.
    """

    def __init__(self, storage: Storage, limits: Limits) -> None:
        self.storage = storage
        self.limits = limits
        self.commit = storage.commit
        self.draining = False
        self._message_size = limits.message_size
        self._headroom = 0  # bytes that may be published before the storage has to be asked again how much it holds
        self._lease_headroom = 0  # the same for what may be leased
        self._names: set[str] = set()  # some that were found good
        self._waiting: dict[str, dict[Waiter, None]] = {}
        self._waiters = 0
        self._waves: dict[str, Wave] = {}
        self._woken: dict[str, None] = {}
        self._late = not storage.immediate
        storage.on_ready = self._wake
        storage.waited = self._waiting.keys

    def publish(self, queue: str, payloads: Sequence[bytes], size: int, options: Options | None = None) -> Outcome[Sequence[int]]:
        """Add one message per payload, of `size` bytes together, all or none, and return their ids.

        See `validate.publish_options` for the options.
        """
        self._check_publish(queue, payloads, size, options)
        return self.storage.publish(queue, payloads, size, options)

    def publish_run(self, queue: str, payloads: Sequence[bytes], size: int) -> Outcome[Sequence[int | GmqError]]:
        """Publish for requests of one payload each, see `Storage.publish_run`."""
        self._check_publish(queue, payloads, size, None)
        return self.storage.publish_run(queue, payloads, size)

    def _check_publish(self, queue: str, payloads: Sequence[bytes], size: int, options: Options | None) -> None:
        if queue not in self._names:
            self._check_name(queue)
        if size > self._message_size:
            self._check_sizes(payloads)
        cost = size + len(payloads) * (MESSAGE_COST if options is None else MESSAGE_COST + options.cost)
        self._headroom -= cost
        if self._headroom < 0:
            self._check_memory(cost)

    def publish_spread(self, queues: Sequence[str], payloads: Sequence[bytes], size: int) -> Sequence[int | GmqError]:
        """Publish one message to each of several queues, of `size` bytes together, see `Storage.publish_spread`."""
        cost = size + len(payloads) * MESSAGE_COST
        good = size <= self._message_size or max(map(len, payloads)) <= self._message_size
        if good and self._headroom >= cost and self._names.issuperset(queues):
            self._headroom -= cost
            return self.storage.publish_spread(queues, payloads, size)
        results: list[int | GmqError] = []
        for queue, payload in zip(queues, payloads, strict=True):
            try:
                self._check_publish(queue, (payload,), len(payload), None)
                results += self.storage.publish_spread((queue,), (payload,), len(payload))
            except GmqError as error:  # one that is refused must not keep the others
                results.append(error)
        return results

    def take(self, queues: Sequence[str], count: int = 1, lease: float | bool | None = None) -> Outcome[Taken]:  # noqa: FBT001  # `true` is the wire's word for "as the policy says"
        """Hand out up to `count` messages of the first of `queues` that has any; see `validate.lease_length` for the lease."""
        self._check_take(queues, count)
        for name in queues:
            if name in self._waiting and (not self._late or name in self._woken):
                self._woken.pop(name, None)
                self._serve(name)  # they were first
        if lease is None:
            return self.storage.take(queues, count, MAX_REPLY_BYTES, None)
        length = lease_length(lease)
        self._lease_headroom -= count * LEASE_COST
        if self._lease_headroom < 0:
            self._check_lease_memory(count)
        return self.storage.take(queues, count, MAX_REPLY_BYTES, length)

    def _check_take(self, queues: Sequence[str], count: int) -> None:
        if len(queues) > MAX_QUEUES_OF_A_TAKE:
            refuse(f"queues has {len(queues)} names; it may have 1 to {MAX_QUEUES_OF_A_TAKE}", "queues")
        for name in queues:
            if name not in self._names:
                self._check_name(name)
        if not 1 <= count <= MAX_COUNT:
            check_range("count", count, 1, MAX_COUNT)

    def subscribe(self, queues: Sequence[str], count: int, lease: float | bool | None, wait: float) -> Outcome[Taken] | Waiter:  # noqa: FBT001  # as above
        """Take, and where there is nothing wait up to `wait` seconds for a message, behind those who wait already."""
        check_range("wait", wait, 0, MAX_WAIT, "s")
        if wait and self._late:
            self._check_waiting()
        if self._late and wait and not self.draining and all(queue in self._waiting for queue in queues):
            # Those before it found nothing, and are to be the first to know when there is something.
            self._check_take(queues, count)
            return self._wait(Waiter(queues, count, None if lease is None else lease_length(lease)), wait)
        outcome = self.take(queues, count, lease)
        if not wait or self.draining or (isinstance(outcome, Taken) and outcome.entries):
            return outcome
        waiter = Waiter(queues, count, None if lease is None else lease_length(lease))
        if isinstance(outcome, Future):
            waiter.asking = True
            outcome.add_done_callback(partial(self._answered, None, waiter))
        return self._wait(waiter, wait)

    def _wait(self, waiter: Waiter, wait: float) -> Waiter:
        """Put a consumer at the end of the lines that it waits in."""
        self._check_waiting()
        self._waiters += 1
        for name in waiter.queues:
            self._waiting.setdefault(name, {})[waiter] = None
        waiter.future.add_done_callback(partial(self._leave, waiter))
        waiter.start(wait)
        return waiter

    def _check_waiting(self) -> None:
        """Raise where no more consumers may wait."""
        most = self.limits.waiting
        if self._waiters >= most:
            raise GmqError(
                "limit", f"{most} takes wait for a message already, as many as may; take without wait, or later", limit="waiting"
            )

    def undo(self, taken: Taken) -> None:
        """Give back messages whose reply did not leave."""
        if taken.entries:
            self.storage.undo(taken)

    def acknowledge(self, receipts: Sequence[str]) -> Outcome[Settled]:
        """Remove the messages leased under `receipts`."""
        check_count("receipts", receipts)
        return self.storage.acknowledge(receipts)

    def put_back(self, receipts: Sequence[str], delay: float = 0) -> Outcome[Settled]:
        """Return the messages leased under `receipts` to their old places, hidden for `delay` seconds."""
        check_count("receipts", receipts)
        check_range("delay", delay, 0, MAX_DELAY, "s")
        return self.storage.put_back(receipts, milliseconds(delay))

    def extend(self, receipts: Sequence[str], lease: float | bool) -> Outcome[Settled]:  # noqa: FBT001  # as above
        """Let the leases under `receipts` end `lease` from now."""
        check_count("receipts", receipts)
        return self.storage.extend(receipts, lease_length(lease))

    def length(self, queue: str) -> Outcome[int]:
        """The number of ready messages."""
        check_name(queue)
        return self.storage.length(queue)

    def queues(self) -> Outcome[list[QueueCounts]]:
        """Every queue, sorted by name."""
        return self.storage.queues()

    def info(self, queue: str) -> Outcome[QueueInfo]:
        """One queue looked at closely."""
        check_name(queue)
        return self.storage.info(queue)

    def peek(self, queue: str, count: int = 1) -> Outcome[list[Message]]:
        """The first `count` ready messages; they stay."""
        check_name(queue)
        check_range("count", count, 1, MAX_COUNT)
        return self.storage.peek(queue, count, MAX_REPLY_BYTES)

    def move(self, queue: str, to: str | None = None, count: int | None = None) -> Outcome[int]:
        """Move up to `count` messages to the queue `to`, or dead letters back to where they came from."""
        check_name(queue)
        if to is not None:
            check_name(to, "to")
            if to == queue:
                refuse(f"to is {queue!r}, the queue itself; it must be another", "to")
        if count is not None:
            check_range("count", count, 1, MAX_MOVE)
        return self.storage.move(queue, to, MAX_MOVE if count is None else count)

    def clear(self, queue: str) -> Outcome[int]:
        """Remove every message of a queue; return how many."""
        check_name(queue)
        return self.storage.clear(queue)

    def delete(self, queue: str) -> Outcome[int]:
        """Remove a queue; return how many messages went with it."""
        check_name(queue)
        return self.storage.delete(queue)

    def create(self, queue: str, policy: QueuePolicy | None = None) -> Outcome[bool]:
        """Make a queue where it is missing, and set its policy where one is given; whether it was made."""
        check_name(queue)
        if policy is not None:
            self._check_policy(queue, policy)
        return self.storage.create(queue, policy)

    def set_policy(self, queue: str, policy: QueuePolicy) -> Outcome[QueuePolicy]:
        """Replace a queue's policy."""
        check_name(queue)
        self._check_policy(queue, policy)
        return self.storage.set_policy(queue, policy)

    def _check_policy(self, queue: str, policy: QueuePolicy) -> None:
        check_policy(policy, self.limits.queue_messages)
        if policy.dead_letter == queue:
            refuse(f"policy.dead_letter is {queue!r}, the queue itself; it must be another", "policy.dead_letter")

    @property
    def waiting_consumers(self) -> int:
        """How many consumers wait for a message."""
        return self._waiters

    def drain(self) -> None:
        """Let nobody wait any more: who waits gets an empty answer, and so does who would."""
        self.draining = True
        for waiter in list(dict.fromkeys(waiter for line in self._waiting.values() for waiter in line)):
            waiter.end()

    # Waiting consumers

    def _wake(self, name: str) -> None:
        """Serve who waits for this queue, in a moment: when the operation that made a message ready is over."""
        if name in self._waiting:
            if not self._woken:
                asyncio.get_running_loop().call_soon(self._serve_woken)
            self._woken[name] = None

    def _serve_woken(self) -> None:
        woken, self._woken = self._woken, {}
        for name in woken:
            self._serve(name)

    def _serve(self, name: str) -> None:
        """Give messages to the consumers that wait for this queue, first waiting, first served."""
        if self._late:
            self._serve_later(name, FIRST_WAVE)
            return
        while line := self._waiting.get(name):
            waiter = next(iter(line))
            try:
                outcome = self._take_for(waiter)
            except GmqError:
                return  # the storage cannot serve now; it tells when there is something again
            if isinstance(outcome, Future):
                raise TypeError(f"the storage {self.storage.name} answers at once, as it says, or later, but not both")
            if not self._give(waiter, outcome):
                return

    def _serve_later(self, name: str, most: int) -> None:
        """Begin takes for the first who wait, all in one round so that the storage can do them together."""
        if name in self._waves:
            self._waves[name].again = True
            return
        wave = Wave()
        for waiter in list(islice(self._waiting.get(name, ()), most)):
            if waiter.asking:
                waiter.again = True  # nobody behind it is to be served before it
                break
            if not waiter.future.done():
                wave.size += 1
                self._ask(waiter, name)
        if wave.size:
            wave.left = wave.size
            self._waves[name] = wave

    def _ask(self, waiter: Waiter, name: str) -> None:
        waiter.asking = True
        outcome = self._take_for(waiter)
        if not isinstance(outcome, Future):
            raise TypeError(f"the storage {self.storage.name} answers at once, as it says, or later, but not both")
        outcome.add_done_callback(partial(self._answered, name, waiter))

    def _take_for(self, waiter: Waiter) -> Outcome[Taken]:
        return self.storage.take(waiter.queues, waiter.count, MAX_REPLY_BYTES, waiter.lease)

    def _answered(self, name: str | None, waiter: Waiter, outcome: Future[Taken]) -> None:
        """A take for a consumer that waits is done; `name` is the queue in whose wave it was, None where it was in none."""
        waiter.asking = False
        error = outcome.exception()
        served = False
        if error is not None:
            waiter.finish(error)
        else:
            served = self._give(waiter, outcome.result())
            if waiter.ended:
                waiter.end()
        if name is not None:
            self._end_wave(name, served=served)
        elif served:
            waiter.again = True  # those who came behind it meanwhile have not asked, and there may be more
        if waiter.again:
            waiter.again = False
            for queue in waiter.queues:
                self._serve_later(queue, FIRST_WAVE)

    def _end_wave(self, name: str, *, served: bool) -> None:
        """One more take of a wave is done; after the last, go on where there may be more."""
        wave = self._waves[name]
        wave.left -= 1
        wave.served += served
        if not wave.left:
            del self._waves[name]
            if wave.served == wave.size:
                self._serve_later(name, min(2 * wave.size, MAX_COUNT))
            elif wave.again:
                self._serve_later(name, FIRST_WAVE)

    def _give(self, waiter: Waiter, taken: Taken) -> bool:
        """Give a consumer what was taken for it; False when that is nothing."""
        if not taken.entries:
            return False
        if not waiter.finish(taken):
            self.storage.undo(taken)
        self._leave(waiter)
        return True

    def _leave(self, waiter: Waiter, ended: Future[Taken] | None = None) -> None:
        """Take a consumer out of the lines it waits in; its wait has `ended` when its future is done."""
        if ended is not None:
            self._waiters -= 1
            waiter.stop()  # its client may be gone
            self.storage.waited_until_now(waiter.queues)
        for name in waiter.queues:
            line = self._waiting.get(name)
            if line is not None:
                line.pop(waiter, None)
                if not line:
                    del self._waiting[name]

    def _check_name(self, name: str) -> None:
        check_name(name)
        if len(self._names) >= MAX_NAMES:
            self._names.clear()
        self._names.add(name)

    def _check_memory(self, size: int) -> None:
        """Raise where `size` more bytes do not fit into memory; else allow half of what is left before the next look."""
        held, most = self.storage.memory, self.limits.memory
        if held + size > most:
            self._headroom = 0
            raise GmqError(
                "limit", f"the messages take {held} bytes of memory and {size} more do not fit into {most}; take some first", limit="memory"
            )
        self._headroom = (most - held - size) // 2

    def _check_lease_memory(self, count: int) -> None:
        """Raise where the receipts of `count` more messages do not fit into memory, as `_check_memory` does."""
        held, most = self.storage.memory, int(self.limits.memory * LEASE_SHARE)
        left = most - held - count * LEASE_COST
        if left < 0:
            self._lease_headroom = 0
            raise GmqError(
                "limit",
                f"the messages take {held} bytes of memory, many of them as they are leased, and {most} are for both; "
                "acknowledge some first, or take without a lease",
                limit="memory",
            )
        self._lease_headroom = left // 2

    def _check_sizes(self, payloads: Iterable[bytes]) -> None:
        most = self.limits.message_size
        for payload in payloads:
            if len(payload) > most:
                raise GmqError("too_large", f"the message has {len(payload)} bytes; it may have up to {most}", limit="message_size")
