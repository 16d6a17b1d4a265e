"""The Python clients against a real broker, and against a network that fails."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gmq.address import Address, Endpoint, parse_address, parse_endpoint
from gmq.client import (
    BadRequest,
    BlockingClient,
    Client,
    ConnectionFailed,
    GmqClientError,
    KeyConflict,
    LimitReached,
    Message,
    NotFound,
    OutcomeUnknown,
    QueueFull,
    QueuePolicy,
    RequestTimeout,
    StaleReceipt,
    TooLarge,
    Unauthorized,
)
from gmq.client.link import Backoff

DELAY = 0.5

StartBroker = Callable[..., Any]


@pytest.fixture
def queue() -> str:
    """A queue that no other test uses."""
    return f"test-{uuid.uuid4()}"


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


# Operations


def test_a_message_comes_out_as_it_went_in(shared_broker: Any, queue: str) -> None:
    async def test(client: Client) -> None:
        number = await client.publish(queue, b"\x00\xff", priority=7, headers={"colour": "grün"})
        assert await client.length(queue) == 1
        message = await client.take(queue)
        assert message is not None
        assert (message.payload, message.queue, message.id, message.receipt) == (b"\x00\xff", queue, number, None)
        assert (message.priority, message.headers, message.dead) == (7, {"colour": "grün"}, None)
        assert await client.take(queue) is None

    run(shared_broker.address, test)


def test_text_is_utf8_and_may_be_empty(shared_broker: Any, queue: str) -> None:
    async def test(client: Client) -> None:
        assert len(await client.publish_many(queue, ["grün", ""])) == 2
        assert [message.text for message in await client.take_many(queue, count=10)] == ["grün", ""]

    run(shared_broker.address, test)


def test_a_batch_is_published_as_a_whole_or_not_at_all(shared_broker: Any, queue: str) -> None:
    async def test(client: Client) -> None:
        ids = await client.publish_many(queue, [b"1", b"2"])
        assert ids == sorted(set(ids))
        await client.set_policy(queue, QueuePolicy(max_messages=3))
        with pytest.raises(QueueFull):
            await client.publish_many(queue, [b"3", b"4"])
        assert await client.length(queue) == 2
        assert await client.publish_many(queue, []) == []

    run(shared_broker.address, test)


def test_more_than_a_batch_holds_is_an_error_of_the_caller(shared_broker: Any, queue: str) -> None:
    async def test(client: Client) -> None:
        with pytest.raises(ValueError, match="up to 1000"):
            await client.publish_many(queue, [b""] * 1001)

    run(shared_broker.address, test)


def test_the_first_queue_that_has_a_message_serves(shared_broker: Any, queue: str) -> None:
    async def test(client: Client) -> None:
        await client.publish(f"{queue}-2", "x")
        message = await client.take([f"{queue}-1", f"{queue}-2"])
        assert message is not None
        assert message.queue == f"{queue}-2"

    run(shared_broker.address, test)


@pytest.mark.parametrize("lease", [None, 30.0, True])
def test_a_take_that_waits_holds_nobody_back(shared_broker: Any, queue: str, lease: Any) -> None:
    async def test(client: Client) -> None:
        waiting = [asyncio.create_task(client.take(queue, wait=60, lease=lease)) for _ in range(2)]
        assert await client.length(queue) == 0
        await client.publish_many(queue, ["x", "x"])
        assert [message.text for message in await asyncio.gather(*waiting) if message] == ["x", "x"]

    run(shared_broker.address, test)


def test_a_wait_that_brings_nothing_ends(shared_broker: Any, queue: str) -> None:
    async def test(client: Client) -> None:
        assert await client.take(queue, wait=0.01) is None
        assert await client.take_many(queue, count=5, wait=0.01, lease=30) == []

    run(shared_broker.address, test)


def test_a_leased_message_is_acknowledged_put_back_or_extended(shared_broker: Any, queue: str) -> None:
    async def test(client: Client) -> None:
        await client.publish_many(queue, [b"1", b"2", b"3"])
        one, two, three = await client.take_many(queue, count=3, lease=30)
        await client.acknowledge(one)
        assert two.receipt is not None
        await client.put_back(two.receipt)
        await client.extend(three, 60)
        again = await client.take(queue, lease=True)
        assert again is not None
        assert (again.payload, again.deliveries) == (b"2", 2)
        await client.put_back(again, delay=60)
        info = await client.info(queue)
        assert (info.ready, info.delayed, info.leased) == (0, 1, 1)

    run(shared_broker.address, test)


def test_a_stale_receipt_is_an_error_alone_and_told_among_many(shared_broker: Any, queue: str) -> None:
    async def test(client: Client) -> None:
        await client.publish_many(queue, [b"1", b"2"])
        one, two = await client.take_many(queue, count=2, lease=30)
        await client.acknowledge(one)
        with pytest.raises(StaleReceipt) as stale:
            await client.acknowledge(one)
        assert stale.value.stale == [one.receipt]
        settled = await client.put_back_many([one, two])
        assert (settled.count, settled.stale) == (1, [one.receipt])
        assert (await client.extend_many([one], 30)).stale == [one.receipt]
        assert (await client.acknowledge_many([])).count == 0

    run(shared_broker.address, test)


def test_many_receipts_go_in_several_requests(shared_broker: Any, queue: str) -> None:
    async def test(client: Client) -> None:
        held: list[Message] = []
        for _ in range(3):
            await client.publish_many(queue, [b""] * 500)
            held += await client.take_many(queue, count=500, lease=30)
        assert (await client.acknowledge_many(held)).count == 1500

    run(shared_broker.address, test)


def test_a_message_without_a_receipt_cannot_be_settled(shared_broker: Any, queue: str) -> None:
    async def test(client: Client) -> None:
        await client.publish(queue, "x")
        message = await client.take(queue)
        assert message is not None
        with pytest.raises(ValueError, match="no receipt"):
            await client.acknowledge(message)

    run(shared_broker.address, test)


def test_queues_are_looked_at_and_kept_in_order(shared_broker: Any, queue: str) -> None:
    async def test(client: Client) -> None:
        await client.publish_many(queue, [b"12", b"34", b"56"])
        assert [message.payload for message in await client.peek(queue, count=2)] == [b"12", b"34"]
        policy = await client.set_policy(queue, QueuePolicy(max_messages=5, lease=7))
        assert policy == QueuePolicy(max_messages=5, lease=7)
        info = await client.info(queue)
        assert (info.queue, info.ready, info.bytes, info.policy, info.totals.published) == (queue, 3, 6, policy, 3)
        assert info.oldest_age is not None
        assert (queue, 3) in [(one.queue, one.ready) for one in await client.queues()]
        assert await client.move(queue, f"{queue}-2", count=1) == 1
        assert await client.clear(queue) == 2
        assert await client.delete(f"{queue}-2") == 1
        assert (await client.hello()).limits["count"] == 1000

    run(shared_broker.address, test)


def test_refusals_are_told_by_their_class(shared_broker: Any, queue: str) -> None:
    async def test(client: Client) -> None:
        with pytest.raises(NotFound) as refused:
            await client.info(queue)
        assert refused.value.code == "not_found"
        with pytest.raises(BadRequest, match="priority is 12"):
            await client.publish(queue, "x", priority=12)
        with pytest.raises(TooLarge):
            await client.publish(queue, bytes(2 << 20))
        await client.publish(queue, "x", key="k")
        with pytest.raises(KeyConflict):
            await client.publish(queue, "y", key="k")

    run(shared_broker.address, test)


def test_a_key_publishes_once(shared_broker: Any, queue: str) -> None:
    async def test(client: Client) -> None:
        first = await client.publish(queue, "x", key="k")
        assert await client.publish(queue, "x", key="k") == first
        ids = await client.publish_many(queue, ["x", "y"], keys=["k", "l"])
        assert ids[0] == first
        assert await client.length(queue) == 2

    run(shared_broker.address, test)


def test_replies_of_many_megabytes_come_whole(shared_broker: Any, queue: str) -> None:
    async def test(client: Client) -> None:
        payload = bytes(1 << 20)
        for _ in range(9):
            await client.publish(queue, payload)
        messages = await client.take_many(queue, count=9, lease=30)
        assert 1 < len(messages) < 9  # a reply stops at 8 MiB
        assert all(message.payload == payload for message in messages)

    run(shared_broker.address, test)


# Connections


@pytest.mark.parametrize("connections", [1, 3])
def test_many_callers_share_the_connections(shared_broker: Any, queue: str, connections: int) -> None:
    async def test(client: Client) -> None:
        ids = await asyncio.gather(*(client.publish(queue, str(number)) for number in range(3000)))
        assert len(set(ids)) == 3000
        if connections == 1:
            assert ids == sorted(ids)

    run(shared_broker.address, test, connections=connections, in_flight=50)


def test_credentials_open_a_broker_that_asks_for_them(start_broker: StartBroker, queue: str) -> None:
    broker = start_broker({"auth": {"user": "me", "password": "secret"}})

    async def right(client: Client) -> None:
        await client.publish(queue, "x")
        assert await client.take(queue, wait=1) is not None

    run(broker.address, right, user="me", password="secret")
    run(f"gmq://me:secret@{broker.address}", right)
    for wrong in ({}, {"user": "me", "password": "other"}):
        with pytest.raises(Unauthorized):
            run(broker.address, right, **wrong)


def test_a_broker_with_too_many_connections_says_so(start_broker: StartBroker) -> None:
    broker = start_broker({"limits": {"connections": 1}})

    async def test(client: Client) -> None:
        await client.length("a")
        with pytest.raises((LimitReached, ConnectionFailed), match="may have, 1"):
            await Client(broker.address).connect()

    run(broker.address, test)


def test_a_client_connects_by_ipv6(start_broker: StartBroker, queue: str) -> None:
    broker = start_broker({"network": {"interface": "::1"}})

    async def test(client: Client) -> None:
        assert await client.publish(queue, "x") > 0

    run(f"[::1]:{broker.port}", test)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("broker", ("broker", 4567)),
        ("broker:99", ("broker", 99)),
        ("127.0.0.1:99", ("127.0.0.1", 99)),
        ("[::1]:99", ("::1", 99)),
        ("[::1]", ("::1", 4567)),
        ("::1", ("::1", 4567)),
        (":99", ("localhost", 99)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == Address(*address)


@pytest.mark.parametrize("text", ["a:0", "a:65536", "a:b", "a:", "[::1", "[::1]9", "a b", "http://a", "a:-1", "a:٣"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no address"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("broker:99", Endpoint(Address("broker", 99))),
        ("gmq://broker", Endpoint(Address("broker", 4567))),
        ("gmq://me:a%40b%2F%3A%25@broker:99/", Endpoint(Address("broker", 99), "me", "a@b/:%")),
        ("GMQS://me:a:b@[::1]:99", Endpoint(Address("::1", 99), "me", "a:b", tls=True)),
    ],
)
def test_a_uri_has_the_address_and_the_user(text: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize(
    "text", ["http://me:secret@a", "gmq://me@a", "gmq://:secret@a", "gmq://me:secret@a:b", "gmq://me:secret@a/b", "gmq://me:secret@a?b=c"]
)
def test_what_is_no_uri_is_refused_without_telling_the_password(text: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011  # what it must not have is the point
        parse_endpoint(text)
    assert "secret" not in str(refusal.value)


def test_nonsense_in_the_arguments_is_told_at_once() -> None:
    for nonsense in ({"user": "me"}, {"connections": 0}, {"request_timeout": 0}, {"backoff": (1, 0.5)}, {"address": "a:b"}):
        with pytest.raises(ValueError):  # noqa: PT011  # each has its own text
            Client(**nonsense)


def test_pauses_between_attempts_grow_to_a_bound() -> None:
    backoff = Backoff(first=0.1, most=2.0)
    for attempt, longest in ((1, 0.1), (2, 0.2), (5, 1.6), (6, 2.0), (5000, 2.0)):
        assert longest / 2 <= backoff.delay(attempt) <= longest


def test_a_broker_that_is_not_there_is_told_at_once(broker: Any) -> None:
    broker.stop()
    with pytest.raises(ConnectionFailed, match=r"cannot connect to 127\.0\.0\.1:\d+: connection refused"):
        asyncio.run(Client(broker.address).connect())


def test_what_is_no_broker_is_told_from_one() -> None:
    async def main() -> None:
        def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
            with pytest.raises(ConnectionFailed, match="is it a GMQ broker"):
                await Client(f"127.0.0.1:{server.sockets[0].getsockname()[1]}").connect()

    asyncio.run(main())


def test_a_client_that_is_closed_says_so(shared_broker: Any, queue: str) -> None:
    async def main() -> None:
        async with Client(shared_broker.address) as client:
            pass
        with pytest.raises(ConnectionFailed, match="closed"):
            await client.length(queue)

    asyncio.run(main())


# Consumers


def test_a_consumer_acknowledges_when_it_asks_for_the_next(shared_broker: Any, queue: str) -> None:
    async def test(client: Client) -> None:
        await client.publish_many(queue, ["1", "2", "3"])
        left: list[int] = []
        async with client.consume(queue, wait=0, follow=False) as messages:
            async for message in messages:
                left.append(int(message.text))
                info = await client.info(queue)
                assert (info.leased, info.ready) == (1, 3 - len(left))
        assert left == [1, 2, 3]
        info = await client.info(queue)
        assert (info.leased, info.ready, info.totals.acknowledged) == (0, 0, 3)

    run(shared_broker.address, test)


@pytest.mark.parametrize("prefetch", [1, 2, 100])
def test_a_consumer_takes_all_there_is_in_order(shared_broker: Any, queue: str, prefetch: int) -> None:
    async def test(client: Client) -> None:
        await client.publish_many(queue, [str(number) for number in range(250)])
        got = [int(message.text) async for message in client.consume(queue, prefetch=prefetch, wait=0, follow=False)]
        assert got == list(range(250))
        assert (await client.info(queue)).totals.acknowledged == 250

    run(shared_broker.address, test)


def test_an_exception_in_the_body_puts_back_what_is_held(shared_broker: Any, queue: str) -> None:
    async def test(client: Client) -> None:
        await client.publish_many(queue, ["1", "2", "3", "4"])

        async def fail_at_the_second() -> None:
            async with client.consume(queue, prefetch=3) as messages:
                async for message in messages:
                    1 / (int(message.text) - 2)

        with pytest.raises(ZeroDivisionError):
            await fail_at_the_second()
        info = await client.info(queue)
        assert (info.ready, info.leased, info.totals.acknowledged) == (3, 0, 1)
        assert [message.text for message in await client.peek(queue, count=9)] == ["2", "3", "4"]

    run(shared_broker.address, test)


def test_a_cancelled_body_puts_back_what_is_held(shared_broker: Any, queue: str) -> None:
    async def test(client: Client) -> None:
        await client.publish(queue, "1")
        began = asyncio.Event()

        async def hang() -> None:
            async with client.consume(queue) as messages:
                async for _ in messages:
                    began.set()
                    await asyncio.Event().wait()

        task = asyncio.create_task(hang())
        await began.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        info = await client.info(queue)
        assert (info.ready, info.leased) == (1, 0)

    run(shared_broker.address, test)


def test_break_acknowledges_within_async_with(shared_broker: Any, queue: str) -> None:
    async def test(client: Client) -> None:
        await client.publish_many(queue, ["1", "2"])
        async with client.consume(queue, prefetch=2) as messages:
            async for _ in messages:
                break
            await client.length(queue)
        info = await client.info(queue)
        assert (info.ready, info.leased, info.totals.acknowledged) == (1, 0, 1)

    run(shared_broker.address, test)


@pytest.mark.parametrize("way", ["break", "raise"])
def test_a_bare_loop_that_is_left_puts_its_message_back(shared_broker: Any, queue: str, way: str) -> None:
    async def test(client: Client) -> None:
        await client.publish_many(queue, ["1", "2"])

        async def leave() -> None:
            async for _ in client.consume(queue, prefetch=2):
                if way == "break":
                    break
                raise ZeroDivisionError

        try:
            await leave()
        except ZeroDivisionError:
            assert way == "raise"

        async def is_back() -> bool:
            return await client.length(queue) == 2

        await until(is_back)

    run(shared_broker.address, test)


def test_closing_the_client_puts_back_what_a_consumer_holds(shared_broker: Any, queue: str) -> None:
    async def main() -> None:
        async with Client(shared_broker.address) as client:
            await client.publish(queue, "1")
            consumer = client.consume(queue)
            assert await consumer.next() is not None
        async with Client(shared_broker.address) as client:
            assert await client.length(queue) == 1
        assert await consumer.next() is None

    asyncio.run(main())


def test_a_consumer_that_ends_without_a_broker_does_not_wait_long(broker: Any, queue: str) -> None:
    async def test(client: Client) -> None:
        await client.publish(queue, "1")
        async with asyncio.timeout(20), client.consume(queue) as messages:  # less than the request's 30 s
            assert await messages.next() is not None
            await asyncio.to_thread(broker.stop)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(broker.address, test)


def test_requests_may_wait_for_their_turn_longer_than_for_their_reply(shared_broker: Any, queue: str) -> None:
    async def test(client: Client, proxy: Proxy) -> None:
        proxy.rule = lambda _: "delay the reply"
        await asyncio.gather(*(client.length(queue) for _ in range(4)))

    through_proxy(shared_broker, test, request_timeout=3 * DELAY, in_flight=1)


def test_a_slow_body_keeps_its_lease(shared_broker: Any, queue: str) -> None:
    async def test(client: Client) -> None:
        await client.publish_many(queue, ["1", "2"])
        async with client.consume(queue, lease=0.2, prefetch=2, wait=0, follow=False) as messages:
            async for _ in messages:
                assert await client.take(queue, wait=0.7) is None  # three leases later neither message has come back
        assert (await client.info(queue)).totals.acknowledged == 2

    run(shared_broker.address, test)


def test_a_body_may_settle_its_message_itself(shared_broker: Any, queue: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test(client: Client) -> None:
        await client.publish_many(queue, ["1", "2"])
        async with client.consume(queue, wait=0, follow=False) as messages:
            async for message in messages:
                if message.text == "1":
                    await client.put_back(message, delay=60)
                else:
                    await client.acknowledge(message)
        info = await client.info(queue)
        assert (info.delayed, info.totals.acknowledged) == (1, 1)

    run(shared_broker.address, test)
    assert not caplog.records


def test_stop_ends_a_loop_that_waits(shared_broker: Any, queue: str) -> None:
    async def test(client: Client) -> None:
        await client.publish_many(queue, ["1", "2"])
        async with client.consume(queue, prefetch=2) as messages:
            got = []
            async for message in messages:
                got.append(message.text)
                messages.stop()
        assert got == ["1"]
        assert await client.length(queue) == 1  # what was prefetched is back, what was done is not
        await client.clear(queue)
        async with client.consume(queue) as messages:
            asyncio.get_running_loop().call_soon(messages.stop)
            assert [message async for message in messages] == []

    run(shared_broker.address, test)


def test_a_consumer_outlives_its_broker(broker: Any, queue: str) -> None:
    async def test(client: Client) -> None:
        got: list[str] = []
        arrived = asyncio.Event()

        async def consume() -> None:
            async for message in client.consume(queue):
                got.append(message.text)
                arrived.set()

        consuming = asyncio.create_task(consume())
        await client.publish(queue, "before")
        await arrived.wait()
        arrived.clear()
        broker.kill()
        broker.start()
        await client.publish(queue, "after", key="k")  # this client has not noticed yet: without a key it could not tell
        await arrived.wait()
        consuming.cancel()
        await asyncio.gather(consuming, return_exceptions=True)
        assert got == ["before", "after"]

    run(broker.address, test, backoff=(0.01, 0.1))


def test_a_consumer_that_does_not_follow_tells_of_a_lost_broker(broker: Any, queue: str) -> None:
    async def test(client: Client) -> None:
        await asyncio.to_thread(broker.stop)
        with pytest.raises(ConnectionFailed):
            await client.consume(queue, wait=0, follow=False).next()

    run(broker.address, test, request_timeout=0.1)


@pytest.mark.parametrize("nonsense", [{"lease": True}, {"lease": 0}, {"wait": 0}])
def test_a_consumer_needs_a_lease_and_patience(nonsense: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"it must be|must be above"):
        Client().consume("q", **nonsense)


# A network that fails


def test_a_publish_whose_reply_is_lost_is_not_repeated(shared_broker: Any, queue: str) -> None:
    async def test(client: Client, proxy: Proxy) -> None:
        proxy.rule = once("P", "lose the reply")
        with pytest.raises(OutcomeUnknown):
            await client.publish(queue, "x")
        assert await client.length(queue) == 1

    through_proxy(shared_broker, test)


@pytest.mark.parametrize("what", ["lose", "lose the reply"])
def test_a_publish_with_a_key_is_repeated_and_done_once(shared_broker: Any, queue: str, what: str) -> None:
    async def test(client: Client, proxy: Proxy) -> None:
        proxy.rule = once("P", what)
        number = await client.publish(queue, "x", key="k")
        proxy.rule = once("P", what)
        assert (await client.publish_many(queue, ["x", "y"], keys=["k", "l"]))[0] == number
        assert [message.text for message in await client.peek(queue, count=9)] == ["x", "y"]

    through_proxy(shared_broker, test)


def test_a_key_whose_broker_does_not_come_back_leaves_the_outcome_unknown(broker: Any, queue: str) -> None:
    async def test(client: Client, proxy: Proxy) -> None:
        def rule(request: dict[str, Any]) -> str:
            if request["operation"] == "P":
                broker.kill()
            return "forward"

        proxy.rule = rule
        with pytest.raises(OutcomeUnknown):
            await client.publish(queue, "x", key="k")

    through_proxy(broker, test, request_timeout=0.3)


def test_a_plain_take_whose_reply_is_lost_is_not_repeated(shared_broker: Any, queue: str) -> None:
    async def test(client: Client, proxy: Proxy) -> None:
        await client.publish_many(queue, ["1", "2"])
        for wait in (0, 1):
            proxy.rule = once("S", "lose the reply")
            with pytest.raises(OutcomeUnknown):
                await client.take(queue, wait=wait)

    through_proxy(shared_broker, test)


@pytest.mark.parametrize("wait", [0, 1])
def test_a_take_with_a_lease_is_repeated(shared_broker: Any, queue: str, wait: float) -> None:
    async def test(client: Client, proxy: Proxy) -> None:
        await client.publish(queue, "1")
        proxy.rule = once("S", "lose")
        message = await client.take(queue, lease=30, wait=wait)
        assert message is not None
        assert message.deliveries == 1

    through_proxy(shared_broker, test)


def test_a_repeated_acknowledgement_that_finds_its_receipt_stale_does_not_say_it_failed(shared_broker: Any, queue: str) -> None:
    async def test(client: Client, proxy: Proxy) -> None:
        await client.publish_many(queue, ["1", "2"])
        one, two = await client.take_many(queue, count=2, lease=30)
        proxy.rule = once("A", "lose the reply")
        with pytest.raises(OutcomeUnknown):
            await client.acknowledge(one)
        proxy.rule = once("A", "lose the reply")
        with pytest.raises(OutcomeUnknown):
            await client.acknowledge_many([two])
        assert (await client.info(queue)).totals.acknowledged == 2

    through_proxy(shared_broker, test)


def test_an_acknowledgement_that_never_arrived_is_repeated(shared_broker: Any, queue: str) -> None:
    async def test(client: Client, proxy: Proxy) -> None:
        await client.publish(queue, "1")
        message = await client.take(queue, lease=30)
        assert message is not None
        proxy.rule = once("E", "lose the reply")
        await client.extend(message, 60)
        proxy.rule = once("A", "lose")
        await client.acknowledge(message)

    through_proxy(shared_broker, test)


def test_what_only_looks_is_repeated_and_what_removes_is_not(shared_broker: Any, queue: str) -> None:
    async def test(client: Client, proxy: Proxy) -> None:
        await client.publish(queue, "1")
        for operation, ask in (("L", client.length), ("I", client.info), ("K", client.peek)):
            proxy.rule = once(operation, "lose the reply")
            await ask(queue)
        for operation, do in (("C", client.clear), ("D", client.delete)):
            proxy.rule = once(operation, "lose the reply")
            with pytest.raises(OutcomeUnknown):
                await do(queue)

    through_proxy(shared_broker, test)


def test_cancelled_callers_leave_the_replies_to_whom_they_belong(shared_broker: Any, queue: str) -> None:
    async def test(client: Client, proxy: Proxy) -> None:
        proxy.rule = lambda _: "hold the reply"
        for number in range(20):
            await shared.publish(f"{queue}-{number}", "x" * number)
        tasks = [asyncio.create_task(client.peek(f"{queue}-{number}")) for number in range(20)]
        early = [asyncio.create_task(client.peek(f"{queue}-{number}")) for number in range(20)]
        await asyncio.sleep(0)
        for task in early:
            task.cancel()  # before they were written

        async def all_left() -> bool:
            return len(proxy.requests) == 21

        await until(all_left)
        for task in tasks[::2]:
            task.cancel()
        proxy.release()
        for number in range(1, 20, 2):
            assert [len(message.payload) for message in await tasks[number]] == [number]
        assert await client.length(queue) == 0

    async def main() -> None:
        nonlocal shared
        async with Client(shared_broker.address) as shared, proxied(shared_broker) as proxy, Client(proxy.address) as client:
            await test(client, proxy)

    shared: Client
    asyncio.run(main())


@pytest.mark.parametrize("wait", [0, 30])
def test_a_cancelled_take_with_a_lease_puts_its_message_back(shared_broker: Any, queue: str, wait: float) -> None:
    async def test(client: Client, proxy: Proxy) -> None:
        await client.publish(queue, "1")
        proxy.rule = once("S", "hold the reply")
        task = asyncio.create_task(client.take(queue, lease=30, wait=wait))

        async def is_taken() -> bool:
            return any(request["operation"] == "S" for request in proxy.requests)

        await until(is_taken)
        task.cancel()
        proxy.release()

        async def is_back() -> bool:
            return (await client.info(queue)).ready == 1 and any(request["operation"] == "N" for request in proxy.requests)

        await until(is_back)

    through_proxy(shared_broker, test)


def test_a_client_that_closes_puts_back_what_was_on_its_way_to_a_cancelled_take(shared_broker: Any, queue: str) -> None:
    async def test(client: Client, proxy: Proxy) -> None:
        await client.publish(queue, "1")
        proxy.rule = once("S", "hold the reply")
        task = asyncio.create_task(client.take(queue, lease=30, wait=30))
        async with Client(shared_broker.address) as looking:

            async def is_taken() -> bool:
                return (await looking.info(queue)).leased == 1

            await until(is_taken)
            task.cancel()
            closing = asyncio.create_task(client.close())
            await asyncio.wait([task])
            proxy.release()
            await closing
            info = await looking.info(queue)
            assert (info.ready, info.leased) == (1, 0), "the message waits for the end of its lease"

    through_proxy(shared_broker, test)


def test_a_cancelled_plain_take_that_waits_leaves_the_message_in_the_broker(shared_broker: Any, queue: str) -> None:
    async def test(client: Client, proxy: Proxy) -> None:
        task = asyncio.create_task(client.take(queue, wait=30))

        async def waits() -> bool:
            return any(request["operation"] == "S" for request in proxy.requests)

        await until(waits)
        assert proxy.open == 2
        task.cancel()

        async def is_gone() -> bool:
            return proxy.open == 1

        await until(is_gone)
        await client.publish(queue, "1")
        assert await client.length(queue) == 1
        again = await client.take(queue, wait=30)
        assert again is not None

    through_proxy(shared_broker, test)


def test_a_plain_take_that_waits_uses_its_connection_again(shared_broker: Any, queue: str) -> None:
    async def test(client: Client, proxy: Proxy) -> None:
        for _ in range(3):
            await client.take(queue, wait=0.01)
        assert proxy.open == 2

    through_proxy(shared_broker, test)


def test_a_message_that_comes_too_late_for_a_plain_take_is_told(shared_broker: Any, queue: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test(client: Client, proxy: Proxy) -> None:
        await client.publish(queue, "1")
        proxy.rule = once("S", "hold the reply")
        task = asyncio.create_task(client.take(queue))

        async def is_taken() -> bool:
            return any(request["operation"] == "S" for request in proxy.requests)

        await until(is_taken)
        task.cancel()
        proxy.release()
        assert await client.length(queue) == 0

    through_proxy(shared_broker, test)
    assert "lost 1 messages" in caplog.text


def test_a_reply_that_does_not_come_in_time_is_a_timeout(shared_broker: Any, queue: str) -> None:
    async def test(client: Client, proxy: Proxy) -> None:
        proxy.rule = once("P", "hold the reply")
        with pytest.raises(RequestTimeout) as late:
            await client.publish(queue, "x")
        assert isinstance(late.value, OutcomeUnknown | TimeoutError)
        assert await client.length(queue) == 1  # on another connection: the silent one is given up

    through_proxy(shared_broker, test, request_timeout=0.2)


def test_a_connection_that_is_cut_comes_back(shared_broker: Any, queue: str) -> None:
    async def test(client: Client, proxy: Proxy) -> None:
        for _ in range(5):
            proxy.rule = once("L", "lose")
            assert await client.length(queue) == 0

    through_proxy(shared_broker, test)


def test_requests_wait_for_a_broker_that_comes_back(broker: Any, queue: str) -> None:
    async def test(client: Client) -> None:
        await client.publish(queue, "x")
        await asyncio.to_thread(broker.stop)
        asking = [asyncio.create_task(client.publish(queue, "y")) for _ in range(10)]

        async def noticed() -> bool:
            return not any(task.done() for task in asking)

        await until(noticed)
        await asyncio.to_thread(broker.start)
        await asyncio.gather(*asking)
        assert await client.length(queue) == 1 + 10, "what was published before and after the stop is there once"

    run(broker.address, test, backoff=(0.01, 0.05))


def test_requests_do_not_wait_for_ever(broker: Any, queue: str) -> None:
    async def test(client: Client) -> None:
        await asyncio.to_thread(broker.stop)
        with pytest.raises(ConnectionFailed, match="connection refused"):
            await client.publish(queue, "x")

    run(broker.address, test, request_timeout=0.2)


def test_closing_fails_what_still_waits(broker: Any, queue: str) -> None:
    async def main() -> None:
        client = Client(broker.address)
        await client.connect()
        waiting = [asyncio.create_task(client.take(queue, wait=60, lease=lease)) for lease in (None, 30)]
        await client.length(queue)
        broker.kill()
        late = asyncio.create_task(client.length(queue))
        await asyncio.sleep(0)
        await client.close()
        for failure in await asyncio.gather(*waiting, late, return_exceptions=True):
            assert isinstance(failure, GmqClientError)

    asyncio.run(main())


# The blocking twin


@pytest.fixture
def blocking(shared_broker: Any) -> Iterator[BlockingClient]:
    with BlockingClient(shared_broker.address) as client:
        yield client


def test_the_blocking_client_has_every_method_with_the_same_arguments_and_documentation() -> None:
    for name, method in inspect.getmembers(Client, inspect.isfunction):
        if name.startswith("_") or name in {"consume", "close"}:
            continue
        twin = getattr(BlockingClient, name)
        assert inspect.signature(twin) == inspect.signature(method)
        assert twin.__doc__ == method.__doc__
    assert inspect.signature(BlockingClient) == inspect.signature(Client)


def test_the_blocking_client_does_the_same(blocking: BlockingClient, queue: str) -> None:
    number = blocking.publish(queue, "x", headers={"a": "b"})
    message = blocking.take(queue, lease=30)
    assert message is not None
    assert (message.id, message.text, message.headers) == (number, "x", {"a": "b"})
    blocking.acknowledge(message)
    with pytest.raises(StaleReceipt):
        blocking.acknowledge(message)
    assert blocking.take(queue, wait=0.01) is None


def test_threads_share_a_blocking_client(blocking: BlockingClient, queue: str) -> None:
    def publish() -> None:
        for number in range(100):
            blocking.publish(queue, str(number))

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert blocking.length(queue) == 400


def test_the_blocking_consumer_acknowledges_and_puts_back(blocking: BlockingClient, queue: str) -> None:
    blocking.publish_many(queue, ["1", "2", "3"])

    def fail_at_the_second() -> None:
        with blocking.consume(queue) as messages:
            for message in messages:
                1 / (int(message.text) - 2)

    with pytest.raises(ZeroDivisionError):
        fail_at_the_second()
    assert [message.text for message in blocking.peek(queue, count=9)] == ["2", "3"]
    with blocking.consume(queue) as messages:
        for _ in messages:
            break
    assert [message.text for message in blocking.peek(queue, count=9)] == ["3"]
    for _ in blocking.consume(queue):
        break
    assert blocking.length(queue) == 1
    assert [message.text for message in blocking.consume(queue, wait=0, follow=False)] == ["3"]
    assert blocking.info(queue).totals.acknowledged == 3


def test_a_blocking_body_keeps_its_lease(shared_broker: Any, blocking: BlockingClient, queue: str) -> None:
    blocking.publish(queue, "1")
    with BlockingClient(shared_broker.address) as other, blocking.consume(queue, lease=1, wait=0, follow=False) as messages:
        for _ in messages:
            assert other.take(queue, wait=2.5) is None  # the body blocks, the lease is extended
    assert blocking.info(queue).totals.acknowledged == 1


def test_another_thread_stops_a_blocking_consumer(blocking: BlockingClient, queue: str) -> None:
    with blocking.consume(queue) as messages:
        stopper = threading.Timer(0.05, messages.stop)
        stopper.start()
        assert list(messages) == []
        stopper.join()


def test_closing_a_blocking_client_ends_its_thread(shared_broker: Any, queue: str) -> None:
    with BlockingClient(shared_broker.address) as client:
        assert client.length(queue) == 0
        messages = iter(client.consume(queue))
        client.publish(queue, "x")
        next(messages)
    assert "gmq-client" not in [thread.name for thread in threading.enumerate()]
    del messages  # it was closed with the client
    with BlockingClient(shared_broker.address) as other:
        assert other.length(queue) == 1
    client.close()
    with pytest.raises(ConnectionFailed, match="closed"):
        client.length(queue)
    with pytest.raises(ValueError, match="is no address"):
        BlockingClient("a:b")
