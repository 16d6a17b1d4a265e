"""Iteration over a queue: take, keep the lease, acknowledge."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import AsyncGenerator, Collection, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from gmq.client.errors import ConnectionFailed, GmqClientError, LimitReached, OutcomeUnknown, StaleReceipt, Unavailable
from gmq.client.link import Backoff
from gmq.client.wire import Message
from gmq.message import MAX_WAIT

if TYPE_CHECKING:
    from gmq.client.aio import Client

log = logging.getLogger("gmq.client")

FAREWELL = 3.0
"""Seconds for which a consumer that ends tries to put back what it holds."""

PASSING = (ConnectionFailed, OutcomeUnknown, Unavailable, LimitReached)
"""Errors that pass by themselves: a consumer that follows its queue outlives them."""


class Consumer:
    """The messages of a queue, one after another, each taken under a lease; `Client.consume` makes one.

        async with client.consume("orders") as messages:
            async for message in messages:
                await handle(message.payload)

    - A message is acknowledged when the loop asks for the next one, and when the `async with` ends without an exception (so `break`
      acknowledges).
    - When the body raises or is cancelled, its message is put back, and so are those that were prefetched.
    - While the body works its lease is extended, in the background. A body that blocks the event loop prevents that.
    - A body may settle its message itself (`client.put_back(message, delay=60)`): the consumer then leaves it alone.
    - A lost connection or an unavailable broker is logged (logger `gmq.client`) and waited for, unless `follow` is False. Other refusals
      are raised.

    `async for message in client.consume("orders")` without `async with` works as well, but Python does not tell such a loop's iterator why
    it ended: after `break`, as after an exception, the last message is put back.

    For several messages at a time use several consumers; they may share a client.
    """

    def __init__(
        self, client: Client, registry: set[Consumer], queue: str | Sequence[str], *, lease: float, prefetch: int, wait: float, follow: bool
    ) -> None:
        """`registry` lists the consumers that hold something. The rest is as for Client.consume. Raises ValueError."""
        if isinstance(lease, bool) or not 0 < lease < math.inf:
            raise ValueError(f"lease is {lease!r}; it must be a number of seconds above 0, so that it can be extended in time")
        if follow and not wait > 0:
            raise ValueError(f"wait is {wait!r}; to follow a queue it must be above 0")
        self._client = client
        self._registry = registry
        self._queue = queue
        self._lease = lease
        self._prefetch = prefetch
        self._wait = wait
        self._follow = follow
        self._ready: deque[Message] = deque()
        self._current: Message | None = None
        self._taking: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._acknowledging: set[asyncio.Task[None]] = set()
        self._entered = False
        self._stopped = False
        self._closed = False

    async def __aenter__(self) -> Self:
        self._entered = True
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self.finish(done=error is None)

    async def __aiter__(self) -> AsyncGenerator[Message, None]:
        try:
            while (message := await self.next()) is not None:
                yield message
        finally:
            if not self._entered:
                await self.aclose()

    async def next(self) -> Message | None:
        """Acknowledge the last message and give the next one; None when there is none (see `follow`), or after `stop`. Raises what
        Client.take raises.
        """
        self._acknowledge_current()
        if not self._closed:
            self._registry.add(self)
            self._keeping = self._keeping or asyncio.create_task(self._keep())
        while not self._ready and not self._stopped and not self._closed:
            await self._take()
            await self._acknowledged()
            if not self._ready and not self._follow:
                break
        if not self._ready or self._stopped or self._closed:
            await self._acknowledged()
            return None
        self._current = self._ready.popleft()
        return self._current

    def stop(self) -> None:
        """End the loop when it next asks for a message, or now if it waits for one. Call it from the event loop's thread."""
        self._stopped = True
        if self._taking:
            self._taking.cancel()

    async def aclose(self) -> None:
        """Put back what is not acknowledged, and end."""
        await self.finish(done=False)

    async def finish(self, *, done: bool) -> None:
        """End; the message under way is acknowledged when it is `done`, else put back."""
        if self._closed:
            return
        self._closed = True
        self.stop()
        if self._keeping:
            self._keeping.cancel()
        if done:
            self._acknowledge_current()
        held = self._held()
        self._current = None
        self._ready.clear()
        try:
            async with asyncio.timeout(FAREWELL):
                await self._client.put_back_many(held)
        except (GmqClientError, TimeoutError) as error:
            log.warning("%d messages come back only when their lease of %g s runs out: %s", len(held), self._lease, error or "no broker")
        finally:
            self._registry.discard(self)
        await self._acknowledged(None if done else FAREWELL)

    def leave_to_caller(self, receipts: Collection[str]) -> None:
        """Forget the message under way if its receipt is among these: somebody else settles it."""
        if self._current and self._current.receipt in receipts:
            self._current = None

    def _held(self) -> list[Message]:
        return [self._current, *self._ready] if self._current else list(self._ready)

    async def _take(self) -> None:
        """Take messages, or nothing after a while or a `stop`."""
        self._taking = taking = asyncio.create_task(self._take_with_patience())
        try:
            await taking
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._stopped or not task or task.cancelling():
                raise
        finally:
            self._taking = None

    async def _take_with_patience(self) -> None:
        """What comes is held at once: who waits for it may be cancelled, or we be closed, in this very moment."""
        clock = asyncio.get_running_loop().time
        until = clock() + self._wait
        backoff = Backoff()
        failures = 0
        while True:
            wait = min(max(until - clock(), 0.0), MAX_WAIT)
            try:
                messages = await self._client.take_many(self._queue, count=self._prefetch, wait=wait, lease=self._lease)
            except PASSING as error:
                if not self._follow or self._client.closed:
                    raise
                log.warning("cannot take from %s, and tries again: %s", self._queue, error)
                failures += 1
                await asyncio.sleep(backoff.delay(failures))
                continue
            self._ready.extend(messages)
            if messages or clock() >= until:
                return

    async def _keep(self) -> None:
        """Extend the leases of all that is held, three times per lease."""
        while True:
            await asyncio.sleep(self._lease / 3)
            held = self._held()
            if not held:
                continue
            try:
                stale = (await self._client.extend_many(held, self._lease)).stale
            except GmqClientError as error:
                log.warning("cannot extend the lease of %d messages: %s", len(held), error)
                continue
            for message in [message for message in self._held() if message.receipt in stale]:
                log.warning("message %d of %s comes again: its lease ran out", message.id, message.queue)
                if message is self._current:
                    self._current = None
                else:
                    self._ready.remove(message)

    def _acknowledge_current(self) -> None:
        message, self._current = self._current, None
        if message:
            self._acknowledging.add(asyncio.create_task(self._acknowledge(message)))

    async def _acknowledge(self, message: Message) -> None:
        try:
            await self._client.acknowledge(message)
        except (*PASSING, StaleReceipt) as error:
            log.warning("message %d of %s may come again: it could not be acknowledged: %s", message.id, message.queue, error)

    async def _acknowledged(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  # asyncio.wait has it
        """Wait for all acknowledgements under way. Raises what refused one for good."""
        if self._acknowledging:
            done, self._acknowledging = await asyncio.wait(self._acknowledging, timeout=timeout)
            refusals = [error for task in done if (error := task.exception())]  # all are looked at, or asyncio complains of the others
            if refusals:
                raise refusals[0]
