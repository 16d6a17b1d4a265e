"""The Python client in a test: connected to a broker, or to a network between them that does what the test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from gmq.client import (
    Client,
)

DELAY = 0.5
"""Seconds by which a reply comes late where a test wants it late."""

StartBroker = Callable[..., Any]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it is so; the test's own timeout is the limit."""
    while not await condition():  # noqa: ASYNC110  # it asks another process
        await asyncio.sleep(0.005)


def run(address: str, test: Callable[[Client], Awaitable[None]], **options: Any) -> None:
    """Run a test with a client that is connected."""

    async def main() -> None:
        async with Client(address, **options) as client:
            await test(client)

    asyncio.run(main())


class Proxy:
    """A network between a client and a broker that does what a test says.

    `rule` is asked about each request: "forward" it, "lose" it (cut the connection before the broker gets it), "lose the reply" (cut the
    connection when the broker has answered), "hold the reply" (until `release`), or "delay the reply" (for DELAY seconds).
    """

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._released = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.rule: Callable[[dict[str, Any]], str] = lambda _: "forward"
        self.requests: list[dict[str, Any]] = []
        self.open = 0
        self.address = ""

    def release(self) -> None:
        self._released.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.open += 1
        broker_reader, broker_writer = await asyncio.open_connection(*self._upstream, limit=1 << 26)
        fate = asyncio.Queue[str]()
        replies = asyncio.create_task(self._replies(broker_reader, writer, fate))
        try:
            await self._requests(reader, broker_writer, fate)
            await replies
        except (ConnectionError, asyncio.CancelledError):
            pass  # the test is over, or one side has gone: so does the other
        finally:
            replies.cancel()
            self.open -= 1
            self._tasks.discard(task)
            writer.transport.abort()
            broker_writer.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader, broker: asyncio.StreamWriter, fate: asyncio.Queue[str]) -> None:
        while line := await reader.readline():
            request = json.loads(line)
            self.requests.append(request)
            what = self.rule(request)
            if what == "lose":
                raise ConnectionResetError
            fate.put_nowait(what)
            broker.write(line)
        broker.write_eof()

    async def _replies(self, broker: asyncio.StreamReader, writer: asyncio.StreamWriter, fate: asyncio.Queue[str]) -> None:
        while line := await broker.readline():
            what = await fate.get()
            if what == "hold the reply":
                await self._released.wait()
            elif what == "delay the reply":
                await asyncio.sleep(DELAY)
            elif what == "lose the reply":
                writer.transport.abort()
                return
            writer.write(line)

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def proxied(broker: Any) -> AsyncIterator[Proxy]:
    proxy = Proxy(broker.host, broker.port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, limit=1 << 26)
    proxy.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()


def through_proxy(broker: Any, test: Callable[[Client, Proxy], Awaitable[None]], **options: Any) -> None:
    """Run a test with a client behind a proxy."""

    async def main() -> None:
        async with proxied(broker) as proxy, Client(proxy.address, **options) as client:
            await test(client, proxy)

    asyncio.run(main())


def once(operation: str, what: str) -> Callable[[dict[str, Any]], str]:
    """Do that to the first request of an operation."""
    left = [what]
    return lambda request: left.pop() if request["operation"] == operation and left else "forward"
