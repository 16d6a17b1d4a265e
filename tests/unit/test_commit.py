"""What the storage interface promises to a durable storage: shared commits, replies in order behind them, nothing lost with a connection.

The storage is memory with a commit that the test lets succeed or fail: the one thing here that is not real.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from asyncio import Future, StreamReader, StreamWriter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from gmq.auth import Authenticator
from gmq.broker import Broker
from gmq.message import GmqError, Limits, Options, QueuePolicy
from gmq.server.hub import Hub
from gmq.server.tcp import Connection
from gmq.storage.memory import MemoryStorage


class CommittingStorage(MemoryStorage):
    """Memory whose operations are durable only when the test says so."""

    def __init__(self) -> None:
        super().__init__(Limits(), lambda _: QueuePolicy())
        self.commits: list[Future[None]] = []

    def commit(self) -> Future[None] | None:
        if not self.commits or self.commits[-1].done():
            self.commits.append(asyncio.get_running_loop().create_future())
        return self.commits[-1]

    async def holds(self, queue: str, ready: int) -> None:
        """Return when the queue has so many ready messages."""
        async with asyncio.timeout(10):
            while self.length(queue) != ready:  # noqa: ASYNC110  # there is nothing to wait for but the number
                await asyncio.sleep(0.001)

    def succeed(self) -> None:
        """Let the commit under way succeed."""
        self.commits[-1].set_result(None)

    def fail(self) -> None:
        """Let the commit under way fail."""
        self.commits[-1].set_exception(GmqError("unavailable", "the disk is full"))


class LateStorage(MemoryStorage):
    """Memory that answers publishes and takes in a later round of the event loop, as a database does."""

    immediate = False

    def __init__(self) -> None:
        super().__init__(Limits(), lambda _: QueuePolicy())
        self.held: list[Callable[[], None]] | None = None  # answers that the test holds back

    def _later(self, operation: Callable[[], Any]) -> Future[Any]:
        loop = asyncio.get_running_loop()
        future: Future[Any] = loop.create_future()

        def answer() -> None:
            try:
                result = operation()
            except GmqError as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        if self.held is None:
            loop.call_later(0.001, answer)
        else:
            self.held.append(answer)
        return future

    async def holding(self, count: int) -> None:
        """Return when so many answers are held back."""
        async with asyncio.timeout(10):
            while len(self.held or ()) < count:  # noqa: ASYNC110  # there is nothing to wait for but the number
                await asyncio.sleep(0.001)

    def publish(self, queue: str, payloads: Sequence[bytes], size: int, options: Options | None) -> Any:
        now = super().publish
        return self._later(lambda: now(queue, payloads, size, options))

    def take(self, queues: Sequence[str], count: int, max_bytes: int, lease: int | None) -> Any:
        now = super().take
        return self._later(lambda: now(queues, count, max_bytes, lease))


class Client:
    """A connection in lines framing."""

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        writer.write(b"\n")

    def send(self, *requests: dict[str, Any]) -> None:
        self.writer.write(b"".join(json.dumps(request).encode() + b"\n" for request in requests))

    async def read(self) -> dict[str, Any]:
        reply: dict[str, Any] = json.loads(await asyncio.wait_for(self.reader.readline(), 10))
        return reply

    def reset(self) -> None:
        """Close so that the broker sees a reset, not an end of file that might be half of one."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def silent(self) -> bool:
        """Whether no reply comes, though everything that was sent has been served."""
        try:
            line = await asyncio.wait_for(self.reader.readline(), 0.1)
        except TimeoutError:
            return True
        raise AssertionError(f"a reply came too early: {line!r}")


def run(storage: MemoryStorage, scenario: Callable[[Callable[[], Awaitable[Client]]], Awaitable[None]]) -> None:
    """Play a scenario against a listener with the storage."""

    async def play() -> None:
        limits = Limits()
        hub = Hub(Broker(storage, limits), Authenticator(), line_limit=1 << 20, request_timeout=30, max_connections=100)
        server = await asyncio.get_running_loop().create_server(lambda: Connection(hub), "127.0.0.1", 0)
        address = server.sockets[0].getsockname()

        async def connect() -> Client:
            return Client(*await asyncio.open_connection(*address))

        async with server:
            await scenario(connect)
        await storage.close()

    asyncio.run(play())


def publish(payload: str, **fields: Any) -> dict[str, Any]:
    return {"operation": "P", "queue": "orders", "payload": payload, **fields}


TAKE = {"operation": "S", "queue": "orders"}
LENGTH = {"operation": "L", "queue": "orders"}


def test_requests_of_many_connections_share_one_commit_and_their_replies_wait_for_it() -> None:
    storage = CommittingStorage()

    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        clients = [await connect() for _ in range(4)]
        for client in clients:
            client.send(publish("YQ=="), publish("Yg=="), publish("Yw==", priority=7))
        for client in clients:
            assert await client.silent()
        assert len(storage.commits) == 1, "all of them should share one commit"
        storage.succeed()
        ids = [[(await client.read())["id"] for _ in range(3)] for client in clients]
        assert all(sorted(numbers) == numbers for numbers in ids)

    run(storage, scenario)


def test_an_operation_takes_effect_for_later_requests_before_its_commit_and_replies_stay_in_order() -> None:
    storage = CommittingStorage()

    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        client = await connect()
        client.send(publish("YQ=="))
        assert await client.silent()
        first = storage.commits[-1]
        client.send(TAKE, {**TAKE, "wait": 5})
        assert await client.silent()
        first.set_result(None)
        assert (await client.read())["operation"] == "P"
        other = await connect()
        other.send(publish("Yg=="))
        assert await other.silent()
        while not storage.commits[-1].done():
            storage.succeed()
            await asyncio.sleep(0)
        replies = [await client.read() for _ in range(1)]
        assert [reply["payload"] for reply in replies] == ["YQ=="]

    run(storage, scenario)


def test_a_failed_commit_fails_every_request_that_it_covers() -> None:
    storage = CommittingStorage()

    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        one, two = await connect(), await connect()
        one.send(publish("YQ=="), publish("YQ=="), LENGTH)
        two.send(publish("Yg==", delay=5), {**TAKE, "tag": 7})
        assert await one.silent()
        assert await two.silent()
        storage.fail()
        for client, count in ((one, 3), (two, 2)):
            replies = [await client.read() for _ in range(count)]
            assert {reply["code"] for reply in replies} == {"unavailable"}
            assert {reply["error"] for reply in replies} == {"the disk is full"}
        one.send(LENGTH)
        assert await one.silent()
        storage.succeed()
        assert (await one.read())["confirmation"] == "Y"

    run(storage, scenario)


def test_a_message_taken_for_a_connection_that_closed_before_the_commit_is_given_back() -> None:
    storage = CommittingStorage()

    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        gone, batched, rest = await connect(), await connect(), await connect()
        rest.send(publish("YQ=="), publish("Yg=="), publish("Yw=="))
        assert await rest.silent()
        storage.succeed()
        for _ in range(3):
            await rest.read()
        gone.send({**TAKE, "count": 1}, TAKE)
        batched.send({**TAKE, "lease": 30})
        assert await batched.silent()
        gone.reset()
        batched.reset()
        await storage.holds("orders", 3)
        storage.succeed()
        rest.send({**TAKE, "count": 5, "lease": 30})
        assert await rest.silent()
        storage.succeed()
        messages = (await rest.read())["messages"]
        assert [message["payload"] for message in messages] == ["YQ==", "Yg==", "Yw=="]
        assert {message["deliveries"] for message in messages} == {1}, "what nobody got was not delivered"

    run(storage, scenario)


def test_a_storage_that_answers_later_is_answered_in_order() -> None:
    storage = LateStorage()

    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        client = await connect()
        client.send(publish("YQ=="), publish("Yg=="), TAKE, LENGTH, {**TAKE, "wait": 5}, {**TAKE, "wait": 0.05})
        replies = [await client.read() for _ in range(6)]
        assert [reply["operation"] for reply in replies] == ["P", "P", "S", "L", "S", "S"]
        assert [replies[2]["payload"], replies[4]["payload"], replies[5]["count"]] == ["YQ==", "Yg==", 0]

    run(storage, scenario)


def test_a_storage_that_answers_later_serves_waiting_consumers_in_their_order() -> None:
    storage = LateStorage()

    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        consumers = [await connect() for _ in range(3)]
        for consumer in consumers:
            consumer.send({**TAKE, "wait": 20, "tag": "w"}, {**LENGTH, "tag": "l"})
            assert (await consumer.read())["tag"] == "l"
            assert await consumer.silent()
        producer = await connect()
        producer.send(publish("YQ=="), publish("Yg=="), publish("Yw=="))
        assert [(await consumer.read())["payload"] for consumer in consumers] == ["YQ==", "Yg==", "Yw=="]

    run(storage, scenario)


def test_what_a_late_storage_took_for_a_connection_that_is_gone_is_given_back() -> None:
    storage = LateStorage()

    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        gone, other = await connect(), await connect()
        gone.send(publish("YQ=="))
        assert (await gone.read())["operation"] == "P"
        storage.held = []
        gone.send(TAKE)
        assert await gone.silent()
        gone.reset()
        assert await other.silent()
        (answer,), storage.held = storage.held, None
        answer()
        other.send({**TAKE, "wait": 5})
        assert (await other.read())["payload"] == "YQ=="

    run(storage, scenario)


def test_a_take_that_does_not_wait_gets_what_a_storage_answers_later() -> None:
    storage = LateStorage()

    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        client = await connect()
        client.send(publish("YQ=="), {**TAKE, "wait": 0}, {**TAKE, "wait": 0})
        assert [(await client.read()).get("count") for _ in range(3)] == [None, 1, 0]

    run(storage, scenario)


def test_requests_of_one_connection_take_effect_in_their_order_in_a_storage_that_answers_later() -> None:
    storage = LateStorage()

    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        client = await connect()
        storage.held = []
        client.send(TAKE, publish("YQ=="), publish("Yg==", priority=9), TAKE, LENGTH)
        await storage.holding(1)
        assert len(storage.held) == 1, "the publishes have to wait for the take before them"
        storage.held.pop()()
        await storage.holding(2)
        (first, second), storage.held = storage.held, None  # publishes may be under way together
        first()
        second()
        replies = [await client.read() for _ in range(5)]
        assert [reply["operation"] for reply in replies] == ["S", "P", "P", "S", "L"]
        assert (replies[0]["count"], replies[3]["payload"], replies[4]["payload"]) == (0, "Yg==", "1")

    run(storage, scenario)


def test_takes_for_consumers_that_wait_are_begun_together_and_no_one_is_forgotten() -> None:
    storage = LateStorage()
    count = 60

    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        consumers = [await connect() for _ in range(count)]
        for number, consumer in enumerate(consumers):
            consumer.send({**TAKE, "wait": 20, "tag": number}, {**LENGTH, "tag": "l"})
            assert (await consumer.read())["tag"] == "l"
        producer = await connect()
        assert await producer.silent()
        storage.held = []
        producer.send({"operation": "P", "queue": "orders", "payloads": ["YQ=="] * count})
        await storage.holding(1)
        storage.held.pop()()
        await storage.holding(1)
        takes, storage.held = storage.held, None
        assert len(takes) > 1, "their takes could share a transaction"
        for take in takes:
            take()
        for consumer in consumers:
            assert (await consumer.read())["count"] == 1

    run(storage, scenario)


def test_who_begins_to_wait_while_a_take_is_under_way_gets_what_that_left() -> None:
    storage = LateStorage()

    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        first, second = await connect(), await connect()
        first.send({"operation": "P", "queue": "orders", "payloads": ["YQ==", "Yg=="]})
        assert (await first.read())["operation"] == "P"
        storage.held = []
        first.send({**TAKE, "wait": 20})
        await storage.holding(1)
        second.send({**TAKE, "wait": 20, "tag": "w"}, {**LENGTH, "tag": "l"})
        assert (await second.read())["tag"] == "l"
        (answer,), storage.held = storage.held, None
        answer()
        assert [(await consumer.read())["payload"] for consumer in (first, second)] == ["YQ==", "Yg=="]

    run(storage, scenario)
