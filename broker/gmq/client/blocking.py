"""The client for threads and scripts: the asyncio client, its event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from gmq.client.aio import Client
from gmq.client.consumer import Consumer
from gmq.client.errors import ConnectionFailed
from gmq.client.link import CLOSED
from gmq.client.tls import Tls
from gmq.client.wire import Message

P = ParamSpec("P")
R = TypeVar("R")


class LoopThread:
    """An event loop that runs in a thread of its own until it is stopped."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._lock = threading.RLock()  # the garbage collector may close a consumer in the thread that holds it
        self._stopped = False
        self._thread = threading.Thread(target=self._main, name="gmq-client", daemon=True)
        self._thread.start()

    @property
    def can_wait(self) -> bool:
        """Whether the caller may wait for something to be run: the loop lives, and the caller is not in it."""
        # An interpreter that ends lets such threads run no more.
        return self._runs and not sys.is_finalizing() and threading.current_thread() is not self._thread

    @property
    def _runs(self) -> bool:
        return self._thread.is_alive() and not self._stopped  # a fork has no other threads than the one that forked

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine there and wait for its result. When the waiting is interrupted, the coroutine is cancelled.

        Raises ConnectionFailed when the loop was stopped, before or meanwhile.
        """
        future = self.submit(coroutine)
        try:
            return future.result()
        except CancelledError:
            raise ConnectionFailed(CLOSED) from None
        except BaseException:
            future.cancel()
            raise

    def submit(self, coroutine: Coroutine[Any, Any, R]) -> Future[R]:
        """Run a coroutine there, without waiting for it. Raises ConnectionFailed when the loop was stopped, or is another process's."""
        with self._lock:  # what is submitted before the end is run, or cancelled then; nothing is after it, as nobody would answer
            if self._runs:
                return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        coroutine.close()
        raise ConnectionFailed(CLOSED if self._stopped else "the client belongs to the process that this one was forked from")

    def call(self, function: Callable[[], None]) -> None:
        """Have the loop call a function soon; do not wait for it. A loop that was stopped does not call it."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(function)

    def stop(self) -> None:
        """End the loop and its thread."""
        with self._lock:
            self._stopped = True
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _main(self) -> None:
        self._loop.run_forever()
        self._loop.run_until_complete(self._cancel_the_rest())
        self._loop.close()

    async def _cancel_the_rest(self) -> None:
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)


def _blocking(method: Callable[Concatenate[Client, P], Coroutine[Any, Any, R]]) -> Callable[Concatenate[BlockingClient, P], R]:
    """The method of the asyncio client, waited for: same arguments, same result, same documentation."""

    @functools.wraps(method)
    def call(self: BlockingClient, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._run(method(self._client, *args, **kwargs))

    return call


class BlockingClient:
    """A client of the broker that blocks; use it as a context manager. Any number of threads may share one.

    It has the methods of `Client`, without `await`, and raises the same errors:

        with BlockingClient("localhost:4567") as client:
            client.publish("orders", "hello")
            with client.consume("orders", follow=False) as messages:
                for message in messages:
                    print(message.text)

    A call that is interrupted (KeyboardInterrupt) is cancelled, with what that means for `Client`.

    A process that is forked off needs a client of its own: to it, a client that was used before the fork raises ConnectionFailed.
    """

    def __init__(
        self,
        address: str = "localhost:4567",
        *,
        user: str | None = None,
        password: str | None = None,
        connections: int = 1,
        connect_timeout: float = 5.0,
        request_timeout: float = 30.0,
        backoff: tuple[float, float] = (0.05, 5.0),
        in_flight: int = 1000,
        tls: Tls | bool = False,
    ) -> None:
        """Prepare a client; nothing is connected yet. The arguments are those of `Client`."""
        self._client = Client(
            address,
            user=user,
            password=password,
            connections=connections,
            connect_timeout=connect_timeout,
            request_timeout=request_timeout,
            backoff=backoff,
            in_flight=in_flight,
            tls=tls,
        )
        self._thread: LoopThread | None = None
        self._closed = False
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        try:
            self.connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Put back what consumers hold, wait up to a second for replies that are due, and close the connections. Requests after it fail."""
        with self._lock:
            self._closed = True
            thread, self._thread = self._thread, None
        if thread and thread.can_wait:  # else a fork of our process closes, and the connections are not its own
            try:
                thread.run(self._client.close())
            finally:
                thread.stop()

    def consume(
        self, queue: str | Sequence[str], *, lease: float = 30.0, prefetch: int = 1, wait: float = 20.0, follow: bool = True
    ) -> BlockingConsumer:
        """Iterate over the messages of a queue, each acknowledged when the loop asks for the next one. See BlockingConsumer and
        Client.consume.
        """
        return BlockingConsumer(self._client.consume(queue, lease=lease, prefetch=prefetch, wait=wait, follow=follow), self._loop_thread())

    connect = _blocking(Client.connect)
    publish = _blocking(Client.publish)
    publish_many = _blocking(Client.publish_many)
    take = _blocking(Client.take)
    take_many = _blocking(Client.take_many)
    acknowledge = _blocking(Client.acknowledge)
    put_back = _blocking(Client.put_back)
    extend = _blocking(Client.extend)
    acknowledge_many = _blocking(Client.acknowledge_many)
    put_back_many = _blocking(Client.put_back_many)
    extend_many = _blocking(Client.extend_many)
    length = _blocking(Client.length)
    queues = _blocking(Client.queues)
    info = _blocking(Client.info)
    peek = _blocking(Client.peek)
    move = _blocking(Client.move)
    clear = _blocking(Client.clear)
    delete = _blocking(Client.delete)
    set_policy = _blocking(Client.set_policy)
    hello = _blocking(Client.hello)

    def _loop_thread(self) -> LoopThread:
        with self._lock:
            if self._closed:
                raise ConnectionFailed(CLOSED)
            self._thread = self._thread or LoopThread()
            return self._thread

    def _run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        try:
            thread = self._loop_thread()
        except ConnectionFailed:
            coroutine.close()
            raise
        return thread.run(coroutine)


class BlockingConsumer:
    """The messages of a queue, one after another, each taken under a lease; `BlockingClient.consume` makes one.

        with client.consume("orders") as messages:
            for message in messages:
                handle(message.payload)

    It does what Consumer does; leases are extended in the background, so here the body may block. Without the `with`, the last message is
    put back after `break`, as after an exception.
    """

    def __init__(self, consumer: Consumer, thread: LoopThread) -> None:
        self._consumer = consumer
        self._thread = thread
        self._entered = False

    def __enter__(self) -> Self:
        self._entered = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._thread.can_wait:  # else closing the client has put everything back
            self._thread.run(self._consumer.finish(done=error is None))

    def __iter__(self) -> Iterator[Message]:
        try:
            while (message := self._thread.run(self._consumer.next())) is not None:
                yield message
        finally:
            if (
                not self._entered and self._thread.can_wait
            ):  # else the garbage collector calls, at a bad moment, or the client has closed us
                self.close()

    def stop(self) -> None:
        """End the loop when it next asks for a message, or now if it waits for one. Any thread, and a signal handler, may call it."""
        self._thread.call(self._consumer.stop)

    def close(self) -> None:
        """Put back what is not acknowledged, and end."""
        if self._thread.can_wait:
            self._thread.run(self._consumer.aclose())
