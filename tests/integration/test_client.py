"""The Python client against a real broker: operations and connections."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest

from client_network import StartBroker, run
from gmq.address import Address, Endpoint, parse_address, parse_endpoint
from gmq.client import (
    BadRequest,
    Client,
    ConnectionFailed,
    KeyConflict,
    LimitReached,
    Message,
    NotFound,
    QueueFull,
    QueuePolicy,
    StaleReceipt,
    Tls,
    TooLarge,
    Unauthorized,
)
from gmq.client.link import Backoff

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


@pytest.mark.parametrize(
    "text", ["a:0", "a:65536", "a:b", "a:", "[::1", "[::1]9", "a b", "http://a", "a:-1", "a:٣", "a..b", f"{'a' * 64}:99", "\udcff"]
)
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
    "text",
    [
        "me:secret@a:99",
        "secret@a",
        "gmq:/me:secret@a",
        "[secret@a",
        "http://me:secret@a",
        "gmq://me@a",
        "gmq://:secret@a",
        "gmq://me:secret@a:b",
        "gmq://me:secret@a/b",
        "gmq://me:secret@a?b=c",
    ],
)
def test_what_is_no_uri_is_refused_without_telling_the_password(text: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011  # what it must not have is the point
        parse_endpoint(text)
    assert "secret" not in str(refusal.value)


def test_nonsense_in_the_arguments_is_told_at_once() -> None:
    for nonsense in ({"user": "me"}, {"connections": 0}, {"request_timeout": 0}, {"backoff": (1, 0.5)}, {"address": "a:b"}):
        with pytest.raises(ValueError):  # noqa: PT011  # each has its own text
            Client(**nonsense)


@pytest.mark.parametrize("endless", [math.inf, math.nan])
def test_a_time_that_json_cannot_say_is_refused_and_not_left_out(shared_broker: Any, queue: str, endless: float) -> None:
    async def test(client: Client) -> None:
        await client.publish(queue, "1")
        for ask in (
            lambda: client.take(queue, lease=endless),
            lambda: client.take_many(queue, count=2, lease=endless),
            lambda: client.take(queue, wait=endless),
            lambda: client.publish(queue, "2", delay=endless),
            lambda: client.publish_many(queue, ["2"], ttl=endless),
            lambda: client.put_back("a receipt", delay=endless),
            lambda: client.extend("a receipt", endless),
            lambda: client.set_policy(queue, QueuePolicy(ttl=endless)),
        ):
            with pytest.raises(ValueError, match="finite"):
                await ask()
        assert await client.length(queue) == 1, "a request went out without the time that was asked for"

    run(shared_broker.address, test)


def test_pauses_between_attempts_grow_to_a_bound() -> None:
    backoff = Backoff(first=0.1, most=2.0)
    for attempt, longest in ((1, 0.1), (2, 0.2), (5, 1.6), (6, 2.0), (5000, 2.0)):
        assert longest / 2 <= backoff.delay(attempt) <= longest


def test_a_broker_that_is_not_there_is_told_at_once(broker: Any) -> None:
    broker.stop()
    with pytest.raises(ConnectionFailed, match=r"cannot connect to 127\.0\.0\.1:\d+: connection refused"):
        asyncio.run(Client(broker.address).connect())


@pytest.mark.parametrize("which", ["ca", "certificate", "key"])
def test_a_file_of_tls_that_cannot_be_read_is_named(shared_broker: Any, tmp_path: Path, which: str) -> None:
    there, missing = tmp_path / "there.pem", tmp_path / "missing.pem"
    there.touch()
    client = Client(shared_broker.address, tls=Tls(**{"certificate": there, which: missing}))
    with pytest.raises(ConnectionFailed, match=f"no such file or directory: {missing}"):
        asyncio.run(client.connect())


def test_what_is_no_broker_is_told_from_one() -> None:
    async def main() -> None:
        def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
            with pytest.raises(ConnectionFailed, match="is it a GMQ broker"):
                await Client(f"127.0.0.1:{server.sockets[0].getsockname()[1]}").connect()

    asyncio.run(main())


def test_a_client_that_is_closed_says_so_and_connects_no_more(shared_broker: Any, queue: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with Client(shared_broker.address) as client:
            await client.publish(queue, "1")
        for ask in (
            lambda: client.length(queue),
            lambda: client.take(queue, wait=1),
            lambda: client.take(queue, lease=30, wait=1),
            client.connect,
        ):
            with pytest.raises(ConnectionFailed, match="closed"):
                await ask()

    asyncio.run(main())
    assert "tries again" not in caplog.text, "a closed client does not try again"
