"""Connections over TCP: framing, whose turn it is, and flow control.

What comes in goes to `protocol` to be understood and to `dispatch` to be done; how it is answered is in `outgoing`. Both know bytes and
order only.
"""

from __future__ import annotations

import asyncio
import os
import socket
from asyncio import Future
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from time import perf_counter

import structlog

from gmq import protocol
from gmq.message import GmqError
from gmq.plain import Run
from gmq.protocol import Item
from gmq.server.dispatch import Checking, Pending
from gmq.server.framing import FirstObject, Framing, Lines, Text, Verdict
from gmq.server.hub import Hub
from gmq.server.limits import SLACK
from gmq.server.outgoing import WRITE_LIMIT, Outgoing, Slot
from gmq.server.patience import SlowReader
from gmq.server.turns import SLICE
from gmq.tls import identity

log = structlog.get_logger()

READ_LIMIT = 256 << 10
"""Bytes of requests that may wait for their turn before no more are read."""
PIECE, PLAIN_PIECE = 1 << 10, 16 << 10
"""Bytes of requests that are decoded together where they are too many to be served at once, and of such that seem to be plain."""
LARGE = 16 << 10
"""Bytes received at once that may be that many."""
GREEDY = 128 << 10
"""Bytes received at once after which others have their turn."""
DRAIN_BYTES = 64 << 10
DRAIN_SECONDS = 1.0
"""How much, and for how long, is still read from a client after its last reply, so that no reset destroys it."""


class Connection(Outgoing):
    """One client. docs/protocol.md, Framing, tells what it may expect."""

    __slots__ = (
        "_begun_at", "_checking", "_drained", "_eof", "_first", "_heard", "_hung_up", "_lines", "_lingers", "_queued", "_read_paused",
        "_slow_reader", "_source", "_timer", "_todo", "_todo_bytes", "_write_paused",
    )  # fmt: skip

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        self._first = FirstObject(hub.line_limit)
        self._lines = Lines(hub.line_limit)
        self._todo: deque[Item | Text] = deque()  # what has not had its turn
        self._queued = False  # it will have one
        self._todo_bytes = 0
        self._checking = False  # who the client is, which takes a while
        self._write_paused = False
        self._read_paused = False
        self._eof = False  # it said so itself
        self._hung_up = False  # nothing more is to be sent to it
        self._source: str | None = None  # under what the connection was let in
        self._lingers = False  # it was turned away, and is told so
        self._slow_reader: SlowReader | None = None
        self._heard = True  # it sent something since somebody looked
        self._begun_at: float | None = None  # when the request that is not complete began
        self._timer: asyncio.TimerHandle | None = None
        self._drained = 0

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # asyncio promises no more, and gives a Transport
        self._transport.set_write_buffer_limits(high=SLACK)
        hub = self._hub
        try:
            self._source = hub.admission.enter("tcp", transport.get_extra_info("peername"))
        except GmqError as error:
            self._turn_away(error)
            return
        hub.connections.add(self)
        if hub.broker.draining:  # a handshake of TLS took so long
            self.finish()
            return
        self._slow_reader = None if hub.write_timeout is None else SlowReader(self._transport, hub.write_timeout, self.let_go)
        if hub.authenticator.required:
            peer = self._transport.get_extra_info("peername")
            self._dispatcher.address = str(peer[0]) if peer else ""
            access = hub.authenticator.named(identity(self._transport.get_extra_info("peercert")))
            if access is not None:
                self._dispatcher.admit(access)
        self._watch_request()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        if len(data) >= GREEDY and not self._read_paused:
            self._take_turns()
        if (
            self._plain and data.endswith(b"\n") and not self._todo and not self._lines.partial
            and self._blocker is None and not self._write_paused
        ):  # fmt: skip
            self._batched = True
            self._hub.batch.add(self, data)
            return
        self._leave_batch()
        if self._hung_up:
            self._drain(len(data))
        elif self._framing is Framing.LINES:
            self.receive(data)
        elif self._framing is Framing.UNDECIDED:
            self._receive_first(data)

    def _take_turns(self) -> None:
        """Let others have their turn before more is read: uvloop goes on reading where there is much, for up to 32 buffers."""
        self._transport.pause_reading()
        self._loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        if not self._read_paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def eof_received(self) -> bool:
        self._leave_batch()
        if self._hung_up or self._framing is Framing.UNDECIDED:
            return False  # let the transport close
        self._eof = True
        self.finish()
        return self._transport.can_write_eof()  # keep the sending side open for the replies that are still to come

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._source is not None:
            self._hub.leave(self)
            self._hub.admission.leave(self._source)
            self._hub.buffers.weigh(self, 0)
            if self._slow_reader is not None:
                self._slow_reader.stop()
        elif self._lingers:
            self._hub.admission.lingering -= 1
        self._todo.clear()
        if self._timer is not None:
            self._timer.cancel()
        for slot in (*self._slots, *self._tagged):
            self._abandon(slot)
        self._slots.clear()
        self._tagged.clear()
        if exc is not None:
            log.debug("connection lost", reason=str(exc))

    def pause_writing(self) -> None:
        self._write_paused = True
        if self._slow_reader is not None:
            self._slow_reader.start()
        self._weigh()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._slow_reader is not None:
            self._slow_reader.stop()
        self._weigh()
        self._run()

    def _weigh(self, size: int = 0) -> None:
        """Tell the hub how many bytes wait here, `size` and those that this knows of, where they are many or it thinks so."""
        size += self._todo_bytes + self._held + self._lines.size
        if self._write_paused:
            size += self._transport.get_write_buffer_size()
        if self._weighed or size > SLACK:
            self._weighed = size > SLACK
            self._hub.buffers.weigh(self, size)

    def let_go(self, reason: str) -> None:
        """Close at once, whatever is still to be sent, and count the reason: the limit that the client came up against."""
        self._hub.admission.closed["tcp", reason] += 1
        log.info("connection closed", peer=self.peer, reason=reason, transport="tcp")
        self._transport.abort()

    @property
    def idle(self) -> bool:
        """Whether nothing came since this was asked last, and nothing is under way."""
        heard, self._heard = self._heard, False
        return not (heard or self._slots or self._tagged or self._todo or self._write_paused or self._hung_up)

    def finish(self) -> None:
        """Answer what was received, end what waits, and close."""
        self._leave_batch()
        self._ended = True
        for slot in (*self._slots, *self._tagged):
            if slot.waiter is not None:
                slot.waiter.end()
        self._close_if_done()

    @property
    def peer(self) -> str:
        """The client's address."""
        return str(self._transport.get_extra_info("peername"))

    def abort(self) -> None:
        """Close at once, whatever is still to be sent."""
        self._transport.abort()

    # Bytes into requests

    def _receive_first(self, data: bytes) -> None:
        """Take bytes of a connection that has not shown what it is."""
        first = self._first
        verdict = first.feed(data)
        if verdict is None:
            if first.size > SLACK:
                self._weigh(first.size)
            return
        del self._first
        if self._weighed:
            self._weigh()
        self._begun_at = None
        limit = self._hub.line_limit
        if verdict is Verdict.FOREIGN:
            self._transport.close()
        elif verdict is Verdict.LINES:
            self._framing = Framing.LINES
            self.receive(first.rest)
        elif verdict is Verdict.OBJECT and protocol.is_hello(first.object):
            self._framing = Framing.LINES
            self.accept((protocol.decode_line(first.object, limit),), len(first.object))
            self.receive(first.rest)
        else:
            self._framing = Framing.ONE_SHOT
            item = protocol.decode_line(first.object, limit) if verdict is Verdict.OBJECT else protocol.too_long(limit)
            self.accept((item,), len(first.object))

    def receive(self, data: bytes) -> None:
        """Take bytes in lines framing."""
        self._batched = False
        lines, limit = self._lines, self._hub.line_limit
        whole, too_long = lines.feed(data)
        if whole:
            self._begun_at = None
            if len(whole) > LARGE or self._todo:
                self._todo.append(Text(whole))
                self._todo_bytes += len(whole)
                if self._hub.turns.idle:
                    self._run()
                else:  # others with as much are before it
                    if not self._queued:
                        self._wait_for_turn()
                    self._pace_reading()
            else:
                self.accept(self._decode(whole), len(whole))
        if too_long:
            self.accept((protocol.too_long(limit),), 0)
        if lines.partial and self._begun_at is None:
            self._watch_request()
        if lines.size > SLACK or self._weighed:
            self._weigh()

    def _decode(self, lines: bytes) -> Sequence[Item]:
        items, is_plain = protocol.decode_lines(lines, self._hub.line_limit)
        self._plain = is_plain and self._dispatcher.authenticated and self._hub.batching
        return items

    def _decode_next(self, text: Text, size: int) -> None:
        """Put the next requests of a text, which was the first of what is to be done, in front of the rest of it."""
        items = self._decode(text.some(size))
        if len(text):
            self._todo.appendleft(text)
        self._todo.extendleft(reversed(items))

    def _watch_request(self) -> None:
        """A request has begun: see to it that it is completed in time."""
        self._begun_at = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._hub.request_timeout, self._check_request)

    def _check_request(self) -> None:
        self._timer = None
        if self._begun_at is None or self._hung_up:
            return
        left = self._begun_at + self._hub.request_timeout - self._loop.time()
        if self._read_paused:
            self._watch_request()  # it is we who do not read
        elif left > 0:
            self._timer = self._loop.call_later(left, self._check_request)
        else:
            self.let_go("request_timeout")

    # Requests into replies

    def accept(self, items: Sequence[Item], size: int) -> None:
        """Queue requests of `size` bytes, and serve those whose turn it is."""
        self._batched = False
        self._turn = perf_counter()
        if len(items) == 1 and not self._todo and self._may_serve(items[0]):
            self._serve(items[0])  # nearly always
            if not self._todo:
                self._flush()
                return
        else:
            self._todo.extend(items)
            self._todo_bytes += size
        self._run()

    def _may_serve(self, item: Item) -> bool:
        """Whether nothing holds back the next request."""
        held_back = self._blocker is not None or self._checking or self._write_paused or self._held > WRITE_LIMIT
        return not held_back and not self._order.holds_back(item)

    def _leave_batch(self) -> None:
        """What arrived before comes first."""
        if self._batched:
            self._hub.batch.serve()

    def _run(self) -> None:
        """Serve requests until there are none, or one holds back the others, or the client has to read first."""
        if self._queued:
            return
        todo = self._todo
        if todo:
            self._turn = perf_counter()
        while todo:
            item = todo.popleft()
            if isinstance(item, Text):
                self._decode_next(item, PLAIN_PIECE if self._plain else PIECE)
                continue
            if not self._may_serve(item):
                todo.appendleft(item)
                break
            self._serve(item)
            if self._out_bytes > WRITE_LIMIT:
                self._flush()
            if todo and perf_counter() - self._turn > SLICE:
                self._wait_for_turn()
                break
        if todo and self._blocker is not None and not self._write_paused:
            self._serve_tagged()
        self._flush()
        self._held_back = bool(todo) and self._held > WRITE_LIMIT
        self._pace_reading()
        if self._ended:
            self._close_if_done()

    def _wait_for_turn(self) -> None:
        self._queued = True
        self._hub.turns.add(self)

    def turn(self) -> None:
        """Go on serving."""
        self._queued = False
        if not self._lost:
            self._run()

    def _serve_tagged(self) -> None:
        """Serve the tagged requests among those that are held back: nothing untagged stands in their way."""
        held: list[Item] = []
        for item in self._todo:
            if isinstance(item, Text):
                held += self._decode(item.some(len(item)))
            else:
                held.append(item)
        self._todo.clear()
        self._todo.extend(held)
        tagged = [item for item in held if protocol.is_tagged(item)]
        if not tagged:
            return
        self._todo.clear()
        served: set[int] = set()
        for item in tagged:
            if self._checking or self._write_paused or self._held > WRITE_LIMIT or self._order.holds_back(item):
                break
            served.add(id(item))
            self._serve(item)
        left = [item for item in held if id(item) not in served]
        self._todo_bytes = self._todo_bytes * len(left) // len(held)
        self._todo.extend(left)

    def _serve(self, item: Item) -> None:
        dispatcher = self._dispatcher
        answer = dispatcher.serve(item)
        if isinstance(answer, Checking):
            self._checking = True
            self._todo.appendleft(item)
            answer.future.add_done_callback(self._checked)
            return
        if answer is None and isinstance(item, Run):
            self._todo.extendleft(item.part(at, at + 1) for at in reversed(range(len(item))))
            return
        if dispatcher.unserved is not None:
            self._todo.appendleft(dispatcher.unserved)
            dispatcher.unserved = None
        if isinstance(answer, Pending):
            self._flush()  # what came before it has a place of its own
            self._await(item, answer)
        elif answer is not None and self._slots and protocol.is_tagged(item):
            taken, self._dispatcher.taken = self._dispatcher.taken, []
            self._flush()
            slot = Slot([item], self._turn, answer, taken)
            self._held += len(answer)
            self._tagged.add(slot)
            self._cover(slot)
        elif answer is not None:
            self._out.append(answer)
            self._out_bytes += len(answer)
            self._served.append(item)

    def _checked(self, done: Future[None]) -> None:
        """It is known who the client is, or that it is nobody: go on with its request."""
        self._checking = False
        if not done.cancelled() and (error := done.exception()) is not None:
            log.error("authentication failed in the broker", exc_info=error)
            self.abort()
        elif not self._lost:
            self._run()

    def may(self, run: Run, start: int, stop: int) -> bool:
        """Whether the client may do what a run asks for from `start` to `stop`."""
        return self._dispatcher.may(run, start, stop)

    @property
    def revoked(self) -> bool:
        """Whether its user is not one any more."""
        access = self._dispatcher.access
        return access is not None and access.revoked

    def _pace_reading(self) -> None:
        """Read from the client only while there is room for what it sends."""
        if not self._todo:
            self._todo_bytes = 0
        if self._weighed or self._todo_bytes + self._held > SLACK:
            self._weigh()
        full = self._todo_bytes > READ_LIMIT
        if full != self._read_paused and not self._transport.is_closing():
            self._read_paused = full
            if full:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    # Goodbyes

    def _close_if_done(self) -> None:
        if self._todo or self._out or self._slots or self._tagged or self._batched or self._hung_up:
            return
        self._hang_up()

    def _hang_up(self) -> None:
        """End the sending side, and read on for a moment: closing while bytes arrive would reset the connection and destroy the replies."""
        self._hung_up = True
        self._plain = False  # what still comes is not for the batch
        if self._timer is not None:
            self._timer.cancel()
        if self._eof:
            self._transport.close()
        if self._transport.is_closing():
            return
        if self._read_paused:
            self._read_paused = False
            self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:  # TLS here knows no half-closed connection
            self._transport.close()
        self._timer = self._loop.call_later(DRAIN_SECONDS, self._check_sent, self._transport.get_write_buffer_size(), self._loop.time())

    def _check_sent(self, left: int, since: float) -> None:
        """Close when all is sent, or when the client has not taken any of it for the time that a request may take."""
        now, still = self._loop.time(), self._transport.get_write_buffer_size()
        if not still:
            if self._transport.is_closing():
                end_reading(self._transport)
            self._transport.close()
        elif still == left and now - since >= self._hub.request_timeout:
            self.let_go("write_timeout")
        else:
            self._timer = self._loop.call_later(DRAIN_SECONDS, self._check_sent, still, since if still == left else now)

    def _drain(self, size: int) -> None:
        self._drained += size
        if self._drained > DRAIN_BYTES:
            self._transport.close()

    def _turn_away(self, error: GmqError) -> None:
        """Say why this client is not served, unless too many are being told already."""
        if not self._hub.admission.may_linger():
            self._transport.abort()
            return
        self._lingers = True
        self._hub.admission.lingering += 1
        self._transport.write(protocol.encode_reply(protocol.Reply("", confirmation="N", error=error.text, code=error.code)))
        self._hang_up()


def end_reading(transport: asyncio.Transport) -> None:
    """Let a connection with TLS end that is closed and whose client does not answer that: as if the client had sent its end of file."""
    known = transport.get_extra_info("socket")
    if known is not None:
        with suppress(OSError), socket.socket(fileno=os.dup(known.fileno())) as one:
            one.shutdown(socket.SHUT_RD)
