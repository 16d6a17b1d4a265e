"""The broker as one user may use it: each operation with the right that it needs. docs/security.md has the table."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Sequence
from functools import partial

from gmq.access import Access
from gmq.broker import Broker, Waiter
from gmq.message import GmqError, Message, Options, QueueCounts, QueueInfo, QueuePolicy, Settled, Taken
from gmq.storage.base import Outcome


class Gate:
    """The operations of `Broker` that a user asks for. All raise GmqError `forbidden` where a right is missing, and `unauthorized`
    where the user is not one any more; then nothing was done.

    A receipt is a secret that a take with the right to subscribe gave: to settle it, that right on any queue is enough.
    """

    __slots__ = ("_broker", "access", "commit", "limits", "storage", "undo")

    def __init__(self, broker: Broker, access: Access) -> None:
        self._broker = broker
        self.access = access
        self.commit = broker.commit
        self.undo = broker.undo
        self.limits = broker.limits
        self.storage = broker.storage

    # Messages in

    def publish(self, queue: str, payloads: Sequence[bytes], size: int, options: Options | None = None) -> Outcome[Sequence[int]]:
        self.access.check("publish", (queue,))
        return self._broker.publish(queue, payloads, size, options)

    def publish_run(self, queue: str, payloads: Sequence[bytes], size: int) -> Outcome[Sequence[int | GmqError]]:
        self.access.check("publish", (queue,))
        return self._broker.publish_run(queue, payloads, size)

    def publish_spread(self, queues: Sequence[str], payloads: Sequence[bytes], size: int) -> Sequence[int | GmqError]:
        self.access.check("publish", queues)
        return self._broker.publish_spread(queues, payloads, size)

    # Messages out

    def take(self, queues: Sequence[str], count: int = 1, lease: float | bool | None = None) -> Outcome[Taken]:  # noqa: FBT001  # as in Broker
        self.access.check("subscribe", queues)
        return self._broker.take(queues, count, lease)

    def subscribe(self, queues: Sequence[str], count: int, lease: float | bool | None, wait: float) -> Outcome[Taken] | Waiter:  # noqa: FBT001  # as in Broker
        """A take that waits ends with the refusal where the user may not take any more."""
        self.access.check("subscribe", queues)
        outcome = self._broker.subscribe(queues, count, lease, wait)
        if isinstance(outcome, Waiter):
            end = partial(self._end_refused, outcome)
            self.access.follow(end)
            outcome.future.add_done_callback(partial(self._forget, end))
        return outcome

    def _end_refused(self, waiter: Waiter) -> None:
        try:
            self.access.check("subscribe", waiter.queues)
        except GmqError as error:
            waiter.finish(error)

    def _forget(self, end: Callable[[], None], _: Future[Taken]) -> None:
        self.access.forget(end)

    def acknowledge(self, receipts: Sequence[str]) -> Outcome[Settled]:
        self.access.check_somewhere("subscribe")
        return self._broker.acknowledge(receipts)

    def put_back(self, receipts: Sequence[str], delay: float = 0) -> Outcome[Settled]:
        self.access.check_somewhere("subscribe")
        return self._broker.put_back(receipts, delay)

    def extend(self, receipts: Sequence[str], lease: float | bool) -> Outcome[Settled]:  # noqa: FBT001  # as in Broker
        self.access.check_somewhere("subscribe")
        return self._broker.extend(receipts, lease)

    # Looking

    def length(self, queue: str) -> Outcome[int]:
        self.access.check("inspect", (queue,))
        return self._broker.length(queue)

    def queues(self) -> Outcome[list[QueueCounts]]:
        """The queues that the user may inspect."""
        self.access.check_live()
        outcome = self._broker.queues()
        if not isinstance(outcome, Future):
            return self._visible(outcome)
        visible: Future[list[QueueCounts]] = outcome.get_loop().create_future()
        outcome.add_done_callback(partial(self._pass_on, visible))
        return visible

    def _visible(self, queues: Sequence[QueueCounts]) -> list[QueueCounts]:
        return [counts for counts in queues if self.access.may("inspect", counts.queue)]

    def _pass_on(self, visible: Future[list[QueueCounts]], outcome: Future[list[QueueCounts]]) -> None:
        if visible.done():
            return
        error = outcome.exception()
        if error is None:
            visible.set_result(self._visible(outcome.result()))
        else:
            visible.set_exception(error)

    def info(self, queue: str) -> Outcome[QueueInfo]:
        self.access.check("inspect", (queue,))
        return self._broker.info(queue)

    def peek(self, queue: str, count: int = 1) -> Outcome[list[Message]]:
        self.access.check("inspect", (queue,))
        return self._broker.peek(queue, count)

    # Managing

    def create(self, queue: str, policy: QueuePolicy | None) -> Outcome[bool]:
        """A policy needs what it does in `set_policy`: it may be for a queue that is there."""
        self._check_manage(queue, policy)
        return self._broker.create(queue, policy)

    def move(self, queue: str, to: str | None = None, count: int | None = None) -> Outcome[int]:
        """Where they are to go has to be one to publish to; dead letters go back to where they were published."""
        self.access.check("manage", (queue,))
        if to is not None:
            self.access.check("publish", (to,))
        return self._broker.move(queue, to, count)

    def clear(self, queue: str) -> Outcome[int]:
        self.access.check("manage", (queue,))
        return self._broker.clear(queue)

    def delete(self, queue: str) -> Outcome[int]:
        self.access.check("manage", (queue,))
        return self._broker.delete(queue)

    def set_policy(self, queue: str, policy: QueuePolicy) -> Outcome[QueuePolicy]:
        self._check_manage(queue, policy)
        return self._broker.set_policy(queue, policy)

    def _check_manage(self, queue: str, policy: QueuePolicy | None) -> None:
        """Refuse who may not manage a queue, or may not publish to where its policy would send dead letters."""
        self.access.check("manage", (queue,))
        if policy is not None and policy.dead_letter is not None:
            self.access.check("publish", (policy.dead_letter,))
