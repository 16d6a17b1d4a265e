"""For whom the console's stream looks at the broker, and how often: the listener of a broker in this process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gmq.auth import Authenticator
from gmq.broker import Broker
from gmq.message import Limits, Measure, QueuePolicy
from gmq.server.http import events
from gmq.server.http.site import Site, main_site
from gmq.server.hub import Hub
from gmq.storage.memory import MemoryStorage

PATIENCE = 10.0
TICKS = 3
ASK = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"


class WatchedStorage(MemoryStorage):
    """Counts how often it is looked at."""

    looks = 0

    def measured(self) -> Iterator[Measure]:
        self.looks += 1
        return super().measured()


@asynccontextmanager
async def served() -> AsyncIterator[tuple[WatchedStorage, Site, tuple[str, int]]]:
    limits = Limits()
    storage = WatchedStorage(limits, lambda _: QueuePolicy())
    hub = Hub(Broker(storage, limits), Authenticator(), line_limit=1, request_timeout=1, max_connections=100)
    hub.opened = True
    listener = socket.create_server(("127.0.0.1", 0))
    site = hub.http = Site(hub, main_site(hub, ()), [listener], 1.0)
    await site.start(100)
    try:
        yield storage, site, listener.getsockname()
    finally:
        await site.stop()
        await storage.close()


def run(work: Callable[[WatchedStorage, Site, tuple[str, int]], Coroutine[Any, Any, None]]) -> None:
    async def all_of_it() -> None:
        async with served() as (storage, site, address), asyncio.timeout(4 * PATIENCE):
            await work(storage, site, address)

    asyncio.run(all_of_it())


async def until(condition: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110  # what others do sets no event
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"within {PATIENCE} s this did not happen: {what}") from None


async def event(reader: asyncio.StreamReader) -> bytes:
    while not (line := await reader.readline()).startswith(b"data: "):
        assert line, "the stream ended"
    return line


def test_viewers_share_each_look_and_without_one_there_is_none() -> None:
    async def work(storage: WatchedStorage, site: Site, address: tuple[str, int]) -> None:
        assert storage.looks == 0, "nobody views, and yet it was looked"
        viewers = [await asyncio.open_connection(*address) for _ in range(10)]
        for _, writer in viewers:
            writer.write(ASK)
        for _ in range(TICKS):
            await asyncio.gather(*(event(reader) for reader, _ in viewers))
        assert storage.looks <= TICKS + 1, f"{len(viewers)} viewers saw {TICKS} events, and it was looked {storage.looks} times"
        for _, writer in viewers:
            writer.close()
        await until(lambda: site.connections == 0, "those who went are forgotten")
        looks = storage.looks
        await asyncio.sleep(TICKS * events.TICK)
        assert storage.looks == looks, "everybody has gone, and yet it was looked"

    run(work)


def test_whoever_comes_between_two_looks_sees_something_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "TICK", 3600.0)

    async def work(storage: WatchedStorage, site: Site, address: tuple[str, int]) -> None:
        storage.publish("orders", [b"x"], 1, None)
        for _ in range(5):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(ASK)
            assert b'"queue":"orders"' in await event(reader)
            writer.close()
            await until(lambda: site.connections == 0, "the viewer is forgotten")
        assert storage.looks == 1, f"coming and going made the broker look {storage.looks} times"

    run(work)


def test_viewers_hear_of_the_broker_also_where_looks_are_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "TICK", 3600.0)
    monkeypatch.setattr(events, "HEARTBEAT", 0.05)

    async def work(storage: WatchedStorage, _: Site, address: tuple[str, int]) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(ASK)
        for _ in range(TICKS):
            await event(reader)
        assert storage.looks == 1
        writer.close()

    run(work)


def test_a_viewer_that_takes_nothing_is_dropped_and_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "TICK", 0.001)
    monkeypatch.setattr(events, "WRITE_TIMEOUT", 0.5)

    async def work(storage: WatchedStorage, site: Site, address: tuple[str, int]) -> None:
        for number in range(100):
            storage.publish(f"{number:03}" + "x" * 250, [b"x"], 1, None)
        loop = asyncio.get_running_loop()
        lazy = socket.socket()
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.settimeout(0)
        await loop.sock_connect(lazy, address)
        await loop.sock_sendall(lazy, ASK)
        reader, writer = await asyncio.open_connection(*address)
        writer.write(ASK)
        await event(reader)
        await until(lambda: site.connections == 2, "both view")

        async def read() -> None:
            while True:
                await event(reader)

        reading = asyncio.create_task(read())
        await until(lambda: site.connections == 1, "the viewer that takes nothing is dropped")
        assert not reading.done(), "the other one was dropped too"
        reading.cancel()
        await asyncio.wait([reading])
        await event(reader)
        writer.close()
        lazy.close()

    run(work)
