"""Plain requests that arrived together on several connections, served as one.

With many connections each brings few requests at a time, and what a broker does once per chunk costs more than what it does per
request. So the chunks that the event loop received in one round are decoded together, and those that are alike are given to the
broker in one call. The replies are cut apart again; nobody's order changes.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any, ClassVar, Protocol

from msgspec import Struct

from gmq import plain
from gmq.broker import Broker
from gmq.message import MAX_COUNT, GmqError, Taken
from gmq.plain import Acknowledges, Publishes, Run, Spread, Takes
from gmq.server.counts import Counts
from gmq.server.dispatch import acknowledged_singly, spread
from gmq.storage.base import Outcome, T

LARGE = 16 << 10
"""Bytes of a chunk that is worth a call by itself."""


class Member(Protocol):
    """A connection whose requests may be served in a batch."""

    def receive(self, data: bytes) -> None:
        """Take bytes as if they came now."""

    def accept(self, runs: Sequence[Run], size: int) -> None:
        """Serve requests by itself."""

    def may(self, run: Run, start: int, stop: int) -> bool:
        """Whether it may do what a run asks for from `start` to `stop`."""

    def send(self, data: bytes) -> bool:
        """Send replies at once; False where that is not possible: something stands before them, or the connection is closing."""

    def hold(self, part: Part, data: bytes) -> Any:
        """Keep the replies to requests at their place until `release`; return what to call that with."""

    def release(self, held: Any, error: BaseException | None) -> None:
        """Send replies that were held, or refuse the requests where their commit failed with an error."""


class Share(Struct):
    """A member's part of a run: from `start` to `stop`."""

    member: Member
    start: int
    stop: int


class Part(Struct, gc=False):
    """Requests of a run, from `start` to `stop`, and all that was taken for the run."""

    run: Run
    start: int
    stop: int
    taken: Taken | None = None

    def item(self) -> Run:
        """The requests, as a run of their own."""
        return self.run.part(self.start, self.stop)

    def messages(self) -> Sequence[Taken]:
        """What was taken for them."""
        return () if self.taken is None else (self.taken.part(self.start, self.stop),)


class Batch:
    """What has arrived in this round of the event loop."""

    def __init__(self, broker: Broker, counts: Counts, *, guarded: bool) -> None:
        self._broker = broker
        self._guarded = guarded  # whether somebody may be not allowed to do everything
        self._counts = counts
        self._call_soon = asyncio.get_running_loop().call_soon
        self._members: list[Member] = []
        self._chunks: list[bytes] = []
        self._last: Member | None = None  # who sent the latest chunk
        self._begun = 0.0  # when the first of what has arrived did

    def add(self, member: Member, chunk: bytes) -> None:
        """Serve a chunk of whole lines: at once where nobody else seems to be busy, else at the end of this round."""
        if self._members:
            self._members.append(member)
            self._chunks.append(chunk)
        elif member is self._last:
            self._begun = perf_counter()
            self._serve_alone(member, chunk)
        else:
            self._begun = perf_counter()
            self._call_soon(self.serve)
            self._members.append(member)
            self._chunks.append(chunk)
            self._last = member

    def serve(self) -> None:
        """Serve what has arrived so far."""
        members, chunks = self._members, self._chunks
        if not members:
            return
        self._members, self._chunks = [], []
        self._last = members[-1]
        if len(members) > 1 and len(chunks[0]) < LARGE:
            joined = b"".join(chunks)
            run = None if b"\\" in joined else plain.decode_run(joined)
            if run is not None and len(run) <= MAX_COUNT:
                self._serve_run(run, shared_out(members, chunks, run))
                return
        self._serve_groups(members, chunks)

    def _serve_alone(self, member: Member, chunk: bytes) -> None:
        runs = plain.decode(chunk)
        if runs is None:
            member.receive(chunk)
        elif len(runs) == 1:
            self._serve_run(runs[0], (Share(member, 0, len(runs[0])),))
        else:
            member.accept(runs, len(chunk))

    def _serve_groups(self, members: Sequence[Member], chunks: Sequence[bytes]) -> None:
        """Serve together those whose requests are alike."""
        groups: dict[object, tuple[list[Any], list[Share]]] = {}
        for member, chunk in zip(members, chunks, strict=True):
            runs = plain.decode(chunk)
            if runs is None:
                member.receive(chunk)
            elif len(runs) > 1:
                member.accept(runs, len(chunk))
            else:
                parts, shares = groups.setdefault(runs[0].key, ([], []))
                start = shares[-1].stop if shares else 0
                parts.append(runs[0])
                shares.append(Share(member, start, start + len(runs[0])))
        for parts, shares in groups.values():
            if shares[-1].stop <= MAX_COUNT:
                self._serve_run(type(parts[0]).join(parts), shares)
            else:
                for part, share in zip(parts, shares, strict=True):
                    share.member.accept((part,), 0)

    def _serve_run(self, run: Run, shares: Sequence[Share]) -> None:
        """Serve a run with one call, or where that is not possible let every member serve its part."""
        if self._guarded and not all(share.member.may(run, share.start, share.stop) for share in shares):
            for share in shares:
                share.member.accept((run.part(share.start, share.stop),), 0)
            return
        try:
            self._operations[type(run)](self, run, shares)
        except GmqError:  # nothing was done
            for share in shares:
                share.member.accept((run.part(share.start, share.stop),), 0)

    def _publish(self, run: Publishes, shares: Sequence[Share]) -> None:
        ids = now(self._broker.publish(run.queue, run.payloads, run.size))
        self._counts.requests["P"] += len(run)
        self._reply(run, shares, cut(plain.published(run.queue, ids), shares))

    def _spread(self, run: Spread, shares: Sequence[Share]) -> None:
        replies = spread(self._broker, run, self._counts)
        self._reply(run, shares, [b"".join(replies[2 * share.start : 2 * share.stop]) for share in shares])

    def _take(self, run: Takes, shares: Sequence[Share]) -> None:
        asked = run.count
        taken = now(self._broker.take((run.queue,), asked, run.lease))
        count = len(taken.entries) or asked  # of requests that this answers
        self._counts.requests["S"] += count
        served = shares
        if count < asked:
            served = [Share(share.member, share.start, min(share.stop, count)) for share in shares if share.start < count]
        self._reply(run, served, cut(plain.take_replies(run, taken, count), served), taken)
        if count < asked:  # who went empty-handed tries by itself: there may be more, which did not fit
            for share in shares:
                if share.stop > count:
                    share.member.accept((run.part(max(share.start, count), share.stop),), 0)

    def _acknowledge(self, run: Acknowledges, shares: Sequence[Share]) -> None:
        settled = now(self._broker.acknowledge(run.receipts))
        self._counts.requests["A"] += len(run)
        outcomes = acknowledged_singly(run, settled, self._counts) if settled.stale else []
        self._reply(
            run,
            shares,
            [
                b"".join(outcomes[share.start : share.stop]) if outcomes else plain.acknowledged(share.stop - share.start)
                for share in shares
            ],
        )

    def _reply(self, run: Run, shares: Sequence[Share], replies: Sequence[bytes], taken: Taken | None = None) -> None:
        """Send each member its replies, as soon as what they say is durable."""
        commit = self._broker.commit()
        held: list[tuple[Member, Any]] = []
        for share, data in zip(shares, replies, strict=True):
            member = share.member
            if commit is not None or not member.send(data):
                held.append((member, member.hold(Part(run, share.start, share.stop, taken), data)))
        count = shares[-1].stop
        if commit is not None:
            commit.add_done_callback(partial(release, held, partial(self._counts.answered, run.operation, self._begun, count)))
        else:
            self._counts.answered(run.operation, self._begun, count)
            for member, one in held:
                member.release(one, None)

    _operations: ClassVar[dict[type[Run], Callable[[Batch, Any, Sequence[Share]], None]]] = {
        Publishes: _publish,
        Spread: _spread,
        Takes: _take,
        Acknowledges: _acknowledge,
    }


def release(held: Sequence[tuple[Member, Any]], answered: Callable[[], None], commit: Future[None]) -> None:
    """The commit that replies waited for is done."""
    answered()
    error = commit.exception()
    for member, one in held:
        member.release(one, error)


def shared_out(members: Sequence[Member], chunks: Sequence[bytes], run: Run) -> list[Share]:
    """Which of the requests in a run came from whom."""
    width = run.width
    ends = run.ends if isinstance(run, Spread) else ()
    shares: list[Share] = []
    start = size = 0
    for member, chunk in zip(members, chunks, strict=True):
        if width:
            stop = start + len(chunk) // width
        elif ends:
            size += len(chunk)
            stop = bisect_right(ends, size, start)
        else:
            stop = start + chunk.count(b"\n")
        shares.append(Share(member, start, stop))
        start = stop
    return shares


def cut(replies: bytes, shares: Sequence[Share]) -> list[bytes]:
    """The replies of each share, out of those of all: a line each."""
    if len(shares) == 1:
        return [replies]
    count = shares[-1].stop
    size = len(replies) // count
    if size * count == len(replies) and replies[size - 1 :: size] == b"\n" * count:  # nearly always all have one length
        return [replies[share.start * size : share.stop * size] for share in shares]
    lines = replies.splitlines(keepends=True)
    return [b"".join(lines[share.start : share.stop]) for share in shares]


def now(outcome: Outcome[T]) -> T:
    """The outcome of a storage that answers at once: only such a one is served in batches."""
    if isinstance(outcome, Future):
        raise TypeError("a storage that answers later makes batches of its own")
    return outcome
