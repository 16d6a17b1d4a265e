"""Consumers of the Python client against a real broker."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from client_network import DELAY, Proxy, run, through_proxy, until
from gmq.client import (
    Client,
    ConnectionFailed,
    Forbidden,
)


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
            async with client.consume(queue, prefetch=3, wait=0, follow=False) as messages:
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


def test_acknowledgements_that_are_refused_for_good_are_raised_once(
    shared_broker: Any, queue: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(_: Any) -> None:
        raise Forbidden("forbidden", "not any more")

    async def consume(client: Client) -> None:
        async with client.consume(queue, prefetch=3, wait=0, follow=False) as messages:
            async for _ in messages:
                pass

    async def test(client: Client) -> None:
        await client.publish_many(queue, ["1", "2", "3"])
        monkeypatch.setattr(client, "acknowledge", refuse)
        with pytest.raises(Forbidden, match="not any more"):
            await consume(client)
        gc.collect()

    run(shared_broker.address, test)
    assert "never retrieved" not in caplog.text


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


def test_what_comes_in_the_moment_of_the_close_is_put_back(shared_broker: Any, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with Client(shared_broker.address) as client:
            await client.publish_many(queue, ["1", "2"])
            take_many, closing = client.take_many, []

            async def take_and_close(*arguments: Any, **options: Any) -> Any:
                messages = await take_many(*arguments, **options)
                closing.append(asyncio.create_task(client.close()))  # before the consumer is told of them
                return messages

            monkeypatch.setattr(client, "take_many", take_and_close)
            assert await client.consume(queue, prefetch=2).next() is None
            await asyncio.gather(*closing)
        async with Client(shared_broker.address) as client:
            assert await client.length(queue) == 2, "messages stay leased that no consumer has"

    asyncio.run(main())


def test_a_consumer_of_a_closed_client_says_so_instead_of_waiting_for_ever(shared_broker: Any, queue: str) -> None:
    async def main() -> None:
        async with Client(shared_broker.address) as client:
            pass
        async with asyncio.timeout(10):
            with pytest.raises(ConnectionFailed, match="closed"):
                await client.consume(queue).next()

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


@pytest.mark.parametrize("nonsense", [{"lease": True}, {"lease": 0}, {"lease": float("inf")}, {"wait": 0}])
def test_a_consumer_needs_a_lease_and_patience(nonsense: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"it must be|must be above"):
        Client().consume("q", **nonsense)
