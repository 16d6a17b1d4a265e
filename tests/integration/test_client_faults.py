"""The Python client and a network that fails, or a broker that goes away."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from client_network import Proxy, once, proxied, run, through_proxy, until
from gmq.client import (
    Client,
    ConnectionFailed,
    GmqClientError,
    OutcomeUnknown,
    RequestTimeout,
    connection,
)
from gmq.client.wire import decode_replies


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


def test_connecting_that_is_cancelled_when_it_succeeds_leaves_no_connection(shared_broker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with proxied(shared_broker) as proxy:
            connecting = asyncio.create_task(Client(proxy.address).connect())

            def read_and_cancel(lines: bytes) -> Any:
                asyncio.get_running_loop().call_soon(connecting.cancel)  # before the reply wakes who waits for it
                return decode_replies(lines)

            monkeypatch.setattr(connection, "decode_replies", read_and_cancel)
            with pytest.raises(asyncio.CancelledError):
                await connecting
            async with asyncio.timeout(10):
                while proxy.open:  # noqa: ASYNC110  # a connection that nobody has stays
                    await asyncio.sleep(0)

    asyncio.run(main())


@pytest.mark.parametrize(("connected", "size"), [(True, 700_000), (False, 1)], ids=["the broker reads slowly", "the client connects"])
def test_publishes_keep_their_order_while(connected: bool, size: int) -> None:  # noqa: FBT001
    arrived: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            request = json.loads(line)
            if request["operation"] == "P":
                arrived.append(int(request["key"]))
            writer.write(b'{"confirmation":"Y","id":1}\n')
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 26) as server:
            client = Client(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
            if connected:
                await client.connect()
            publishing = []
            for number in range(60):
                publishing.append(asyncio.create_task(client.publish("q", bytes(size), key=str(number))))
                await asyncio.sleep(0)  # one in each turn of the loop, also in the one where what was waited for is there
            await asyncio.gather(*publishing)
            await client.close()

    asyncio.run(main())
    assert arrived == list(range(60))


def test_connecting_again_makes_no_connection_beside_the_first(shared_broker: Any, queue: str) -> None:
    async def main() -> None:
        async with proxied(shared_broker) as proxy:
            client = Client(proxy.address)
            await asyncio.gather(client.connect(), client.connect(), client.length(queue))
            await client.connect()
            await client.length(queue)
            await client.close()
            async with asyncio.timeout(10):
                while proxy.open:  # noqa: ASYNC110  # connections that nobody closes stay
                    await asyncio.sleep(0)

    asyncio.run(main())


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
