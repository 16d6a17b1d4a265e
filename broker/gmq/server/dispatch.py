"""From requests to operations of the broker, and from their outcomes to replies."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

import structlog
from msgspec import Struct

import gmq
from gmq import plain, protocol
from gmq.access import Access
from gmq.auth import Authenticator
from gmq.broker import Broker, Waiter
from gmq.gate import Gate
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
    Settled,
    Taken,
    refuse,
)
from gmq.plain import Acknowledges, Publishes, Run, Spread, Takes
from gmq.protocol import (
    Acknowledge,
    AnyRequest,
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
    Publish,
    PutBack,
    Request,
    SetPolicy,
    Take,
)
from gmq.server.counts import Counts
from gmq.storage.base import Outcome, T
from gmq.validate import publish_options

log = structlog.get_logger()

CAPABILITIES = (
    "batch", "dead_letter", "delay", "headers", "keys", "lease", "move", "peek", "policy", "priority", "queues", "tag", "ttl", "wait",
)  # fmt: skip


class Pending(Struct):
    """A reply that has to wait: `render` makes it of the future's result."""

    future: Future[Any]
    render: Callable[[Any], bytes]
    waiter: Waiter | None = None


class Checking(Struct):
    """Who the client is has to be found out first, which takes a while: the request is to be served again when `future` is done."""

    future: Future[None]


class Unchecked(Exception):  # noqa: N818  # nothing is wrong
    """Whether a user and a password are right cannot be told at once."""


class Dispatcher:
    """Serves the requests of one connection, which comes from `address`.

    `authenticated` tells whether it has said who it is, or need not; `access` has its rights, None where there are no users. `taken`
    gathers what was taken for the replies made so far: whoever cannot send them gives it back. `unserved` is the rest of a run that was
    served in part.
    """

    __slots__ = (
        "_authenticator", "_broker", "_checked", "_counts", "_fit", "_late", "_whole", "access", "address", "authenticated", "taken",
        "unserved",
    )  # fmt: skip

    def __init__(self, broker: Broker, authenticator: Authenticator, counts: Counts) -> None:
        self._whole = broker
        self._broker: Broker | Gate = broker
        self._authenticator = authenticator
        self._checked: tuple[str, str, Access | None] | None = None  # a user and a password, and whose they are
        self.access: Access | None = None
        self.address = ""
        self.authenticated = not authenticator.required
        self._counts = counts
        self._late = not broker.storage.immediate
        self._fit = max(1, MAX_REPLY_BYTES // broker.limits.message_size)  # messages that one take surely gives, if they are there
        self.taken: list[Taken] = []
        self.unserved: Takes | None = None

    def admit(self, access: Access) -> None:
        """From now on the connection is this user's."""
        self.access = access
        self._broker = Gate(self._whole, access)
        self.authenticated = True

    def may(self, run: Run, start: int, stop: int) -> bool:
        """Whether the user may do what a run asks for from `start` to `stop`."""
        access = self.access
        if access is None:
            return True
        if isinstance(run, Takes):
            return access.may("subscribe", run.queue)
        if isinstance(run, Publishes):
            return access.may("publish", run.queue)
        if isinstance(run, Spread):
            return all(access.may("publish", queue) for queue in run.queues[start:stop])
        return access.may_somewhere("subscribe")

    def serve(self, item: Item) -> bytes | Pending | Checking | None:
        """Serve a request, or a run of them, and give the replies.

        None when not all requests of a run could be done: nothing was, and each is to be served by itself.
        """
        try:
            if isinstance(item, Run):
                return self._serve_run(item)
            return self._serve_one(item)
        except Unchecked:
            self._counts.requests[item.operation] -= 1  # it comes again
            return Checking(asyncio.ensure_future(self._check(item)))
        except GmqError as error:
            if isinstance(item, Run):
                if len(item) > 1:
                    return None
                self._counts.requests[item.operation] += 1
            return self.refuse(item, error)

    def refuse(self, item: Item, error: GmqError) -> bytes:
        """The reply that a request, or every request of a run, was not done."""
        self._counts.refused(item.operation, error, len(item) if isinstance(item, Run) else 1)
        return protocol.refusal(item, error)

    # Runs

    def _serve_run(self, run: Run) -> bytes | Pending | None:
        if not self.authenticated:
            raise unauthorized()
        if isinstance(run, Publishes):
            return self._publish_run(run)
        if isinstance(run, Takes):
            return self._take_run(run)
        if isinstance(run, Spread):
            return self._publish_spread(run)
        return self._acknowledge_run(run)

    def _publish_spread(self, run: Spread) -> bytes | None:
        """Publish to several queues; None where the storage answers later, and each is to be served by itself."""
        if not self._broker.storage.immediate:
            return None
        return b"".join(spread(self._broker, run, self._counts))

    def _publish_run(self, run: Publishes) -> bytes | Pending:
        if self._late:
            later = self._broker.publish_run(run.queue, run.payloads, run.size)
            self._counts.requests["P"] += len(run)
            return answered(later, lambda results: self._published_singly(run, results))
        outcome = self._broker.publish(run.queue, run.payloads, run.size)
        self._counts.requests["P"] += len(run)
        return answered(outcome, lambda ids: plain.published(run.queue, ids))

    def _published_singly(self, run: Publishes, results: Sequence[int | GmqError]) -> bytes:
        ids = [result for result in results if isinstance(result, int)]
        replies = plain.published(run.queue, ids) if ids else b""
        refused = [self.refuse(run.part(at, at + 1), result) for at, result in enumerate(results) if isinstance(result, GmqError)]
        return b"".join((replies, *refused))

    def _take_run(self, run: Takes) -> bytes | Pending:
        if self._late and len(run) > self._fit:  # more might not fit into what one take gives
            self.unserved = run.part(self._fit, len(run))
            run = run.part(0, self._fit)
        outcome = self._broker.take((run.queue,), len(run), run.lease)
        if isinstance(outcome, Future):
            self._counts.requests["S"] += len(run)
            return Pending(outcome, lambda taken: self._taken_singly(run, taken))
        if 0 < len(outcome.entries) < len(run):  # there may be more, which did not fit: the rest of the run is to try by itself
            self.unserved = run.part(len(outcome.entries), len(run))
            run = run.part(0, len(outcome.entries))
        self._counts.requests["S"] += len(run)
        return self._taken_singly(run, outcome)

    def _taken_singly(self, run: Takes, taken: Taken) -> bytes:
        if taken.entries:
            self.taken.append(taken)
        return plain.take_replies(run, taken, len(run))

    def _acknowledge_run(self, run: Acknowledges) -> bytes | Pending:
        outcome = self._broker.acknowledge(run.receipts)
        self._counts.requests["A"] += len(run)
        return answered(outcome, lambda settled: b"".join(acknowledged_singly(run, settled, self._counts)))

    # Single requests

    def _serve_one(self, item: AnyRequest | BadRequest) -> bytes | Pending:
        self._counts.requests[item.operation] += 1
        if isinstance(item, BadRequest):
            raise item.problem
        if protocol.is_tagged(item):
            protocol.check_tag(item)
        if isinstance(item, Hello):
            return self._hello(item)
        access = self._user_of(item)
        if access is self.access:
            return self._operations[type(item)](self, item)
        usual = self._broker
        self._broker = self._whole if access is None else Gate(self._whole, access)
        try:
            return self._operations[type(item)](self, item)
        finally:
            self._broker = usual

    def _user_of(self, item: Request) -> Access | None:
        """Who asks; None where nobody has to say so."""
        auth = item.auth
        if auth is None or not self._authenticator.required:
            if not self.authenticated:
                raise unauthorized()
            return self.access
        access = self._authenticator.at_once(auth.user, auth.password)
        if access is None:
            if self._checked is None or self._checked[:2] != (auth.user, auth.password):
                raise Unchecked
            access, self._checked = self._checked[2], None
            if access is None:
                raise unauthorized()
        return access

    async def _check(self, item: Item) -> None:
        """Find out whose a request is."""
        auth = getattr(item, "auth", None)
        if auth is None:
            return
        try:
            access = await self._authenticator.check(auth.user, auth.password, self.address)
        except GmqError as error:  # it is refused as any wrong one is, and the log tells more
            log.warning("an attempt to authenticate was turned away", reason=error.text)
            if error.limit is not None:
                self._counts.limits[error.limit] += 1
            access = None
        self._checked = auth.user, auth.password, access

    def _hello(self, item: Hello) -> bytes:
        if item.auth is not None or not self.authenticated:
            access = self._user_of(item)
            if access is not None:
                self.admit(access)
        elif self.access is not None:
            self.access.check_live()
        return protocol.reply(item, version=gmq.__version__, limits=advertised_limits(self._broker), capabilities=CAPABILITIES)

    def _publish(self, item: Publish) -> bytes | Pending:
        queue = named(item)
        if (item.payload is None) == (item.payloads is None):
            refuse("a publish has either payload or payloads")
        payloads = item.payloads if item.payload is None else [item.payload]
        if not payloads or len(payloads) > MAX_COUNT:
            refuse(f"payloads has {len(payloads or ())} payloads; it may have 1 to {MAX_COUNT}")
        outcome = self._broker.publish(queue, payloads, sum(map(len, payloads)), publish_options_of(item, len(payloads)))
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
        return answered(outcome, render)

    def _taken(self, item: Take, taken: Taken) -> bytes:
        if taken.entries:
            self.taken.append(taken)
        queue = taken.queue or item.queue or ""
        members: dict[str, Any] = {"count": len(taken)}
        if item.count is None and item.lease is None:
            members["payload"] = taken.payloads()[0] if taken.entries else ""
        else:
            members["messages"] = plain.delivered(queue, taken.messages(), taken.receipts)
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
            return self.refuse(item, stale_receipt(settled.stale))
        return protocol.reply(item, count=settled.count, stale=settled.stale)

    def _list(self, item: List) -> bytes | Pending:
        return answered(self._broker.queues(), lambda queues: protocol.reply(item, queues=queues))

    def _inspect(self, item: Inspect) -> bytes | Pending:
        return answered(self._broker.info(named(item)), lambda info: protocol.inspected(item, info))

    def _peek(self, item: Peek) -> bytes | Pending:
        queue = named(item)
        outcome = self._broker.peek(queue, 1 if item.count is None else item.count)
        return answered(outcome, lambda found: protocol.reply(item, count=len(found), messages=plain.delivered(queue, found, None)))

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


def spread(broker: Broker | Gate, run: Spread, counts: Counts) -> list[bytes]:
    """Publish to several queues of a storage that answers at once; the replies, each in two parts."""
    results = broker.publish_spread(run.queues, run.payloads, run.size)
    counts.requests["P"] += len(run)
    try:
        return plain.spread(run.queues, cast("Sequence[int]", results))
    except TypeError:  # an error is no number
        replies = plain.spread(run.queues, [0 if isinstance(result, GmqError) else result for result in results])
    for place, result in enumerate(results):
        if isinstance(result, GmqError):
            counts.refused("P", result)
            replies[2 * place : 2 * place + 2] = protocol.refusal(run.part(place, place + 1), result), b""
    return replies


def acknowledged_singly(run: Acknowledges, settled: Settled, counts: Counts) -> list[bytes]:
    """The replies to acknowledgements of one receipt each that were settled together."""
    if not settled.stale:
        return [plain.acknowledged(1)] * len(run)
    # A receipt that stands twice among them was settled by its first mention: go from the end.
    left = Counter(settled.stale)
    replies: list[bytes] = []
    for receipt in reversed(run.receipts):
        stale = left[receipt] > 0
        left[receipt] -= stale
        counts.refusals["A", "stale_receipt"] += stale
        replies.append(protocol.refusal(Acknowledges((receipt,)), stale_receipt([receipt])) if stale else plain.acknowledged(1))
    return replies[::-1]


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


def advertised_limits(broker: Broker | Gate) -> dict[str, float]:
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
