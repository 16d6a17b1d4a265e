"""From requests to operations of the broker, and from their outcomes to replies."""

from __future__ import annotations

from asyncio import Future
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from msgspec import Struct

import gmq
from gmq import protocol
from gmq.auth import Authenticator
from gmq.broker import Broker, Waiter, publish_options
from gmq.message import (
    DEFAULT_LEASE,
    MAX_COUNT,
    MAX_DELAY,
    MAX_HEADERS_BYTES,
    MAX_KEY_BYTES,
    MAX_LEASE,
    MAX_QUEUES_OF_A_TAKE,
    MAX_REPLY_BYTES,
    MAX_TTL,
    MAX_WAIT,
    PRIORITIES,
    GmqError,
    Options,
    Outcome,
    Settled,
    T,
    Taken,
    refuse,
)
from gmq.protocol import (
    Acknowledge,
    BadRequest,
    Clear,
    Delete,
    Extend,
    Hello,
    Inspect,
    Item,
    Length,
    List,
    Move,
    Peek,
    PlainPublish,
    PlainTake,
    Publish,
    PutBack,
    Request,
    SetPolicy,
    Take,
)

CAPABILITIES = (
    "batch", "dead_letter", "delay", "headers", "keys", "lease", "move", "peek", "policy", "priority", "queues", "tag", "ttl", "wait",
)  # fmt: skip


class Counts(Struct):
    """What the broker was asked: requests by operation, and refusals by code."""

    requests: Counter[str]
    refusals: Counter[str]


class Pending(Struct):
    """A reply that has to wait: `render` makes it of the future's result."""

    future: Future[Any]
    render: Callable[[Any], bytes]
    waiter: Waiter | None = None


class Dispatcher:
    """Serves the requests of one connection, and knows whether it has said who it is.

    `taken` gathers what was taken for the replies made so far: whoever cannot send them gives it back. `unserved` is the rest of a run that
    was served in part.
    """

    __slots__ = ("_authenticated", "_authenticator", "_broker", "_counts", "taken", "unserved")

    def __init__(self, broker: Broker, authenticator: Authenticator, counts: Counts) -> None:
        self._broker = broker
        self._authenticator = authenticator
        self._authenticated = not authenticator.required
        self._counts = counts
        self.taken: list[Taken] = []
        self.unserved: Sequence[Item] = ()

    def serve(self, run: Sequence[Item]) -> bytes | Pending | None:
        """Serve a run of requests that belong together (see `protocol.groups`) and give their replies.

        None when not all of them could be done: nothing was, and each is to be served by itself.
        """
        item = run[0]
        kind = type(item)
        try:
            if kind is PlainPublish and self._authenticated:
                return self._publish_run(run)  # type: ignore[arg-type]  # a run is of one kind
            if kind is PlainTake and self._authenticated:
                return self._take_run(run)  # type: ignore[arg-type]  # a run is of one kind
            if len(run) == 1:
                return self._serve_one(item)
            self._check_access(item)
            return self._lease_run(run) if kind is Take else self._acknowledge_run(run)  # type: ignore[arg-type]  # no other kind makes runs
        except GmqError as error:
            return None if len(run) > 1 else self.refuse(run, error)

    def refuse(self, run: Sequence[Item], error: GmqError) -> bytes:
        """The replies that say that none of the requests was done."""
        self._counts.refusals[error.code] += len(run)
        return b"".join([protocol.refusal(item, error) for item in run])

    # Runs

    def _publish_run(self, run: Sequence[PlainPublish]) -> bytes | Pending:
        queue = run[0].queue
        outcome = self._broker.publish(queue, [item.payload for item in run])
        self._counts.requests["P"] += len(run)
        if isinstance(outcome, Future):
            return Pending(outcome, lambda ids: protocol.published(queue, ids))
        return protocol.published(queue, outcome)

    def _take_run(self, run: Sequence[PlainTake]) -> bytes | Pending:
        queue, count = run[0].queue, len(run)
        outcome = self._broker.take((queue,), count)
        self._counts.requests["S"] += count
        if isinstance(outcome, Future):
            return Pending(outcome, lambda taken: self._taken_singly(queue, count, taken))
        self._leave_rest(run, len(outcome))
        return self._taken_singly(queue, count - len(self.unserved), outcome)

    def _leave_rest(self, run: Sequence[Item], count: int) -> None:
        """Where a take for a whole run gave less than asked for, but something, let the rest of the run try by itself."""
        self.unserved = run[count:] if count else ()

    def _taken_singly(self, queue: str, count: int, taken: Taken) -> bytes:
        if not taken.entries:
            return protocol.nothing_taken(queue, count)
        self.taken.append(taken)
        replies = protocol.taken(queue, taken.payloads())
        return replies if len(taken) == count else replies + protocol.nothing_taken(queue, count - len(taken))

    def _lease_run(self, run: Sequence[Take]) -> bytes | Pending:
        queue, count = named(run[0]), len(run)
        outcome = self._broker.take((queue,), count, run[0].lease)
        self._counts.requests["S"] += count
        if isinstance(outcome, Future):
            return Pending(outcome, lambda taken: self._leased_singly(queue, count, taken))
        self._leave_rest(run, len(outcome))
        return self._leased_singly(queue, count - len(self.unserved), outcome)

    def _leased_singly(self, queue: str, count: int, taken: Taken) -> bytes:
        if not taken.entries:
            return protocol.nothing_leased(queue, count)
        self.taken.append(taken)
        replies = protocol.leased(queue, taken.messages(), taken.receipts or ())
        return replies if len(taken) == count else replies + protocol.nothing_leased(queue, count - len(taken))

    def _acknowledge_run(self, run: Sequence[Acknowledge]) -> bytes | Pending:
        receipts = [item.receipt or "" for item in run]
        outcome = self._broker.acknowledge(receipts)
        self._counts.requests["A"] += len(run)
        return answered(outcome, lambda settled: self._settled_singly(run, receipts, settled))

    def _settled_singly(self, run: Sequence[Acknowledge], receipts: Sequence[str], settled: Settled) -> bytes:
        if not settled.stale:
            return protocol.acknowledged(run[0].queue or "", len(run))
        # A receipt that stands twice in the run was settled by its first mention: count the stale mentions from the end.
        left = Counter(settled.stale)
        replies: list[bytes] = []
        for item, receipt in zip(reversed(run), reversed(receipts), strict=True):
            stale = left[receipt] > 0
            left[receipt] -= stale
            replies.append(self.refuse((item,), stale_receipt([receipt])) if stale else protocol.acknowledged(item.queue or "", 1))
        return b"".join(reversed(replies))

    # Single requests

    def _serve_one(self, item: Item) -> bytes | Pending:
        if isinstance(item, BadRequest):
            raise item.problem
        if isinstance(item, PlainPublish | PlainTake):
            raise unauthorized()
        if protocol.is_tagged(item):
            protocol.check_tag(item)
        if isinstance(item, Hello):
            return self._hello(item)
        self._check_access(item)
        self._counts.requests[item.operation] += 1
        return self._operations[type(item)](self, item)

    def _check_access(self, item: Item) -> None:
        auth = None if isinstance(item, PlainPublish | PlainTake | BadRequest) else item.auth
        if auth is None:
            if not self._authenticated:
                raise unauthorized()
        elif not self._authenticator.accepts(auth.user, auth.password):
            raise unauthorized()

    def _hello(self, item: Hello) -> bytes:
        if item.auth is not None or not self._authenticated:
            self._check_access(item)
            self._authenticated = True
        self._counts.requests["H"] += 1
        return protocol.reply(item, version=gmq.__version__, limits=advertised_limits(self._broker), capabilities=CAPABILITIES)

    def _publish(self, item: Publish) -> bytes | Pending:
        queue = named(item)
        if (item.payload is None) == (item.payloads is None):
            refuse("a publish has either payload or payloads")
        payloads = item.payloads if item.payload is None else [item.payload]
        if not payloads or len(payloads) > MAX_COUNT:
            refuse(f"payloads has {len(payloads or ())} payloads; it may have 1 to {MAX_COUNT}")
        outcome = self._broker.publish(queue, payloads, publish_options_of(item, len(payloads)))
        if item.payload is None:
            return answered(outcome, lambda ids: protocol.reply(item, ids=list(ids)))
        return answered(outcome, lambda ids: protocol.reply(item, id=ids[0]))

    def _take(self, item: Take) -> bytes | Pending:
        if (item.queue is None) == (item.queues is None):
            refuse("a take has either queue or queues")
        queues = [named(item)] if item.queues is None else item.queues
        if not queues:
            refuse(f"queues is empty; it may have 1 to {MAX_QUEUES_OF_A_TAKE} names")
        count = 1 if item.count is None else item.count

        def render(taken: Taken) -> bytes:
            return self._taken(item, taken)

        if item.wait is None:
            return answered(self._broker.take(queues, count, item.lease), render)
        outcome = self._broker.subscribe(queues, count, item.lease, item.wait)
        if isinstance(outcome, Waiter):
            return Pending(outcome.future, render, outcome)
        return render(outcome)

    def _taken(self, item: Take, taken: Taken) -> bytes:
        if taken.entries:
            self.taken.append(taken)
        queue = taken.queue or item.queue or ""
        members: dict[str, Any] = {"count": len(taken)}
        if item.count is None and item.lease is None:
            members["payload"] = taken.payloads()[0] if taken.entries else ""
        else:
            members["messages"] = protocol.delivered(queue, taken.messages(), taken.receipts)
        return protocol.reply(item, queue=queue, **members)

    def _length(self, item: Length) -> bytes | Pending:
        return answered(self._broker.length(named(item)), lambda length: protocol.reply(item, payload=str(length)))

    def _acknowledge(self, item: Acknowledge) -> bytes | Pending:
        return answered(self._broker.acknowledge(receipts_of(item)), lambda settled: self._settled(item, settled))

    def _put_back(self, item: PutBack) -> bytes | Pending:
        outcome = self._broker.put_back(receipts_of(item), item.delay or 0)
        return answered(outcome, lambda settled: self._settled(item, settled))

    def _extend(self, item: Extend) -> bytes | Pending:
        if item.lease is None:
            refuse("lease is missing; it may be a number of seconds, or true for the queue's own")
        return answered(self._broker.extend(receipts_of(item), item.lease), lambda settled: self._settled(item, settled))

    def _settled(self, item: Acknowledge | PutBack | Extend, settled: Settled) -> bytes:
        if item.receipts is None and settled.stale:
            return self.refuse((item,), stale_receipt(settled.stale))
        return protocol.reply(item, count=settled.count, stale=settled.stale)

    def _list(self, item: List) -> bytes | Pending:
        return answered(self._broker.queues(), lambda queues: protocol.reply(item, queues=queues))

    def _inspect(self, item: Inspect) -> bytes | Pending:
        return answered(self._broker.info(named(item)), lambda info: protocol.inspected(item, info))

    def _peek(self, item: Peek) -> bytes | Pending:
        queue = named(item)
        outcome = self._broker.peek(queue, 1 if item.count is None else item.count)
        return answered(outcome, lambda found: protocol.reply(item, count=len(found), messages=protocol.delivered(queue, found, None)))

    def _move(self, item: Move) -> bytes | Pending:
        return answered(self._broker.move(named(item), item.to, item.count), lambda count: protocol.reply(item, count=count))

    def _clear(self, item: Clear) -> bytes | Pending:
        return answered(self._broker.clear(named(item)), lambda count: protocol.reply(item, count=count))

    def _delete(self, item: Delete) -> bytes | Pending:
        return answered(self._broker.delete(named(item)), lambda count: protocol.reply(item, count=count))

    def _set_policy(self, item: SetPolicy) -> bytes | Pending:
        if item.policy is None:
            refuse("policy is missing; it must be an object, and {} removes the queue's policy")
        return answered(self._broker.set_policy(named(item), item.policy), lambda policy: protocol.reply(item, policy=policy))

    _operations: ClassVar[dict[type[Request], Callable[[Dispatcher, Any], bytes | Pending]]] = {
        Publish: _publish,
        Take: _take,
        Length: _length,
        Acknowledge: _acknowledge,
        PutBack: _put_back,
        Extend: _extend,
        List: _list,
        Inspect: _inspect,
        Peek: _peek,
        Move: _move,
        Clear: _clear,
        Delete: _delete,
        SetPolicy: _set_policy,
    }


def answered(outcome: Outcome[T], render: Callable[[T], bytes]) -> bytes | Pending:
    """The reply, now or when the outcome is there."""
    return Pending(outcome, render) if isinstance(outcome, Future) else render(outcome)


def named(item: Request) -> str:
    """The queue that a request has to name."""
    if item.queue is None:
        refuse(f"queue is missing; {item.operation} needs the name of one")
    return item.queue


def receipts_of(item: Acknowledge | PutBack | Extend) -> Sequence[str]:
    """The receipts that a request has to have."""
    if item.receipt is not None and item.receipts is None:
        return (item.receipt,)
    if item.receipts is None or item.receipt is not None:
        refuse(f"{item.operation} has either receipt or receipts")
    return item.receipts


def publish_options_of(item: Publish, count: int) -> Options | None:
    """What a publish says beside its payloads, checked."""
    if item.payloads is None and item.keys is not None:
        refuse("keys goes with payloads; with payload it is key")
    if item.payload is None and item.key is not None:
        refuse("key goes with payload; with payloads it is keys")
    keys = item.keys if item.key is None else [item.key]
    return publish_options(count, priority=item.priority, delay=item.delay, ttl=item.ttl, headers=item.headers, keys=keys)


def advertised_limits(broker: Broker) -> dict[str, float]:
    """The limits that a client can know beforehand; sizes are in bytes, times in seconds."""
    limits = broker.limits
    return {
        "message_size": limits.message_size, "line": protocol.line_limit(limits.message_size), "queues": limits.queues,
        "queue_messages": limits.queue_messages, "count": MAX_COUNT, "reply": MAX_REPLY_BYTES, "headers": MAX_HEADERS_BYTES,
        "key": MAX_KEY_BYTES, "priority": PRIORITIES - 1, "delay": MAX_DELAY, "ttl": MAX_TTL, "lease": MAX_LEASE,
        "default_lease": DEFAULT_LEASE, "wait": MAX_WAIT,
    }  # fmt: skip


def unauthorized() -> GmqError:
    """The refusal of a request without, or with wrong, credentials."""
    return GmqError("unauthorized", "wrong or missing credentials; send auth with the user and the password, in H once or in the request")


def stale_receipt(receipts: Sequence[str]) -> GmqError:
    """The refusal of a single receipt that is not good any more."""
    return GmqError(
        "stale_receipt", "the receipt is not good any more: it was settled, or its lease ran out, or it never existed", stale=receipts
    )
