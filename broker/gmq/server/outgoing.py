"""The replies of one connection: each leaves when what it depends on is durable, in order where it has to be."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any

import structlog

from gmq import protocol
from gmq.broker import Waiter
from gmq.message import MAX_WAITING, GmqError, Taken
from gmq.plain import Run
from gmq.protocol import Item
from gmq.server.batch import Part
from gmq.server.dispatch import Dispatcher, Pending
from gmq.server.framing import Framing
from gmq.server.hub import Hub
from gmq.server.order import Order

log = structlog.get_logger()

WRITE_LIMIT = 256 << 10
"""Bytes of replies that may wait for a client to read them before no more of its requests are served."""


class Slot:
    """A place among the replies: bytes that leave when what they depend on is durable, and not before what stands in front of them.

    `outcome` is the operation that is still under way, `items` the requests that the bytes answer, `taken` the messages in them; for
    replies of a batch, `part` has both. `begun` is when their turn came, by `time.perf_counter`.
    """

    __slots__ = ("begun", "data", "done", "items", "outcome", "part", "taken", "waiter")

    def __init__(self, items: Sequence[Item], begun: float, data: bytes = b"", taken: Sequence[Taken] = ()) -> None:
        self.items = items
        self.begun = begun
        self.data = data
        self.taken = taken
        self.part: Part | None = None
        self.done = False
        self.outcome: Future[Any] | None = None
        self.waiter: Waiter | None = None


class Outgoing(asyncio.Protocol):
    """What a connection has to send. `Connection` is the other half: it takes requests, and says when the connection ends.

    They are one object, as nearly every request passes through both.
    """

    __slots__ = (
        "_batched", "_blocker", "_dispatcher", "_ended", "_framing", "_held", "_held_back", "_hub", "_loop", "_lost", "_order", "_out",
        "_out_bytes", "_plain", "_served", "_slots", "_tagged", "_transport", "_turn", "_weighed",
    )  # fmt: skip

    def __init__(self, hub: Hub) -> None:
        self._transport: asyncio.Transport
        self._hub = hub
        self._dispatcher = Dispatcher(hub.broker, hub.authenticator, hub.counts)
        self._loop = asyncio.get_running_loop()
        self._framing = Framing.UNDECIDED
        self._out: list[bytes] = []  # the replies of this turn
        self._out_bytes = 0
        self._served: list[Item] = []  # what they answer
        self._turn = 0.0  # when this turn began
        self._slots: deque[Slot] = deque()  # what is to be sent in order
        self._tagged: set[Slot] = set()  # what is to be sent as soon as it is done
        self._blocker: Slot | None = None  # the untagged take that waits, and holds back what is behind it
        self._order = Order()  # of those that the storage has not answered
        self._held = 0  # bytes of the slots
        self._held_back = False  # there are too many of them for more requests to be served
        self._weighed = False  # the hub knows of bytes that wait here
        self._plain = False  # the last requests were plain, and the next ones may be served in a batch
        self._batched = False  # some are waiting for that
        self._ended = False  # nothing more is to be expected from the client
        self._lost = False

    # What the other half does

    def _run(self) -> None:
        """Serve requests: there may be room again, or nothing holds them back any more."""
        raise NotImplementedError

    def _weigh(self, size: int = 0) -> None:
        """Tell the hub how many bytes wait here."""
        raise NotImplementedError

    def _close_if_done(self) -> None:
        """Say goodbye where nothing is left to be said."""
        raise NotImplementedError

    def _hang_up(self) -> None:
        """Say goodbye: this was the last reply."""
        raise NotImplementedError

    # Outcomes into replies

    def _await(self, item: Item, answer: Pending) -> None:
        """Give a reply that has to wait its place."""
        slot = Slot([item], self._turn)
        slot.outcome, slot.waiter = answer.future, answer.waiter
        if slot.waiter is None:
            self._order.begin(item)
        if not protocol.is_tagged(item):
            self._slots.append(slot)
            if slot.waiter is not None:
                self._blocker = slot
        else:
            self._tagged.add(slot)
            if slot.waiter is not None and len(self._tagged) > MAX_WAITING:
                error = GmqError(
                    "limit", f"{MAX_WAITING} requests of this connection are waiting already, as many as may", limit="waiting_of_connection"
                )
                slot.waiter.finish(error)
        if self._ended and slot.waiter is not None:
            slot.waiter.end()
        answer.future.add_done_callback(partial(self._resolved, slot, answer.render))

    def _resolved(self, slot: Slot, render: Callable[[Any], bytes], outcome: Future[Any]) -> None:
        """The outcome of an operation is there: make the reply, and wait for the commit that covers it."""
        if slot.waiter is None:
            self._order.end()
        if self._lost:
            if not outcome.cancelled() and outcome.exception() is None and isinstance(outcome.result(), Taken):
                self._hub.broker.undo(outcome.result())
            return
        slot.outcome = None
        if slot.waiter is not None:
            slot.begun = perf_counter()  # before, there was nothing to do for it
        error = outcome.exception()
        if error is None:
            self._fill(slot, render(outcome.result()))
            slot.taken, self._dispatcher.taken = self._dispatcher.taken, []
        else:
            self._fill(slot, self._refusal(slot, error))
        self._cover(slot)
        if slot is self._blocker:
            self._blocker = None
        self._run()

    def _fill(self, slot: Slot, data: bytes) -> None:
        """Give a slot its replies, instead of those that it has."""
        self._held += len(data) - len(slot.data)
        slot.data = data

    def _refusal(self, slot: Slot, error: BaseException) -> bytes:
        """The replies that say that the requests of a slot failed."""
        if not isinstance(error, GmqError):
            log.error("operation failed", exc_info=error)
            error = GmqError("unknown", "the operation failed in the broker, and its outcome is not known; its log tells more")
        items = slot.items if slot.part is None else (slot.part.item(),)
        return b"".join([self._dispatcher.refuse(item, error) for item in items])

    # Replies into bytes

    def _flush(self) -> None:
        """Send the replies of this turn, or give them a place behind those that wait."""
        out = self._out
        if not out:
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        self._out_bytes = 0
        if self._hub.broker.commit() is None and not self._slots and not self._transport.is_closing():
            self._dispatcher.taken.clear()
            self._write(data)
            self._count(self._served, self._turn)
            self._served.clear()
        else:
            slot = Slot(self._served, self._turn, data, self._dispatcher.taken)
            self._served, self._dispatcher.taken = [], []
            self._held += len(data)
            self._slots.append(slot)
            if self._held > WRITE_LIMIT:
                self._weigh()
            self._cover(slot)

    def hold(self, part: Part, data: bytes) -> Slot:
        """Keep the replies to requests at their place until `release`; return what to call that with."""
        self._batched = False
        slot = Slot((), 0.0, data)
        slot.part = part
        self._held += len(data)
        if self._held > WRITE_LIMIT:
            self._plain = False  # more is not served until there is room
            self._weigh()
        self._slots.append(slot)
        return slot

    def release(self, held: Slot, error: BaseException | None) -> None:
        """Send replies that were held, or refuse the requests where their commit failed with an error."""
        if error is None and not self._lost and not self._ended and self._slots[0] is held:
            self._send_slot(self._slots.popleft())  # nearly always
            if not self._slots or not self._slots[0].done:
                return
        self._settle(held, error)

    def _cover(self, slot: Slot) -> None:
        """Let a slot wait for the commit of what it answers."""
        commit = self._hub.broker.commit()
        if commit is None:
            self._done(slot)
        else:
            commit.add_done_callback(partial(self._committed, slot))

    def _committed(self, slot: Slot, commit: Future[None]) -> None:
        self._settle(slot, commit.exception())

    def _settle(self, slot: Slot, error: BaseException | None) -> None:
        if self._lost:
            return
        if error is not None:
            self._fill(slot, self._refusal(slot, error))
            slot.taken, slot.part = (), None
        self._done(slot)

    def _done(self, slot: Slot) -> None:
        """Send what may be sent now that this slot may."""
        slot.done = True
        if self._tagged and slot in self._tagged:
            self._tagged.discard(slot)
            self._send_slot(slot)
        else:
            while self._slots and self._slots[0].done:
                self._send_slot(self._slots.popleft())
        if self._ended:
            self._close_if_done()

    def _send_slot(self, slot: Slot) -> None:
        self._held -= len(slot.data)
        if self._held_back and self._held <= WRITE_LIMIT:
            self._held_back = False
            self._loop.call_soon(self._run)
        if self._transport.is_closing():
            self._abandon(slot)
        else:
            self._write(slot.data)
            self._count(slot.items, slot.begun)
        if self._weighed:
            self._weigh()  # nothing else may happen here for long

    def _count(self, items: Sequence[Item], begun: float) -> None:
        """The replies to these requests have left."""
        answered = self._hub.counts.answered
        for item in items:
            answered(item.operation, begun, len(item) if isinstance(item, Run) else 1)

    def send(self, data: bytes) -> bool:
        """Send replies at once; False where that is not possible: something stands before them, or the connection is closing."""
        self._batched = False
        if self._slots or self._out or self._transport.is_closing():
            return False
        self._transport.write(data)
        if self._ended:
            self._close_if_done()
        return True

    def _write(self, data: bytes) -> None:
        if self._framing is Framing.ONE_SHOT:
            self._transport.write(data[:-1])
            self._hang_up()
        else:
            self._transport.write(data)

    def _abandon(self, slot: Slot) -> None:
        """The reply cannot leave: end what it waits for, and give back what was taken for it."""
        if slot.outcome is not None and slot.waiter is not None:
            slot.outcome.cancel()
        for taken in slot.taken if slot.part is None else slot.part.messages():
            self._hub.broker.undo(taken)
