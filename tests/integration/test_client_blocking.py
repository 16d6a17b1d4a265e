"""The Python client for threads against a real broker."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gmq.client import (
    BlockingClient,
    Client,
    ConnectionFailed,
    StaleReceipt,
)
from gmq.client.blocking import LoopThread


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


def test_a_call_that_meets_the_end_of_the_loop_is_told_and_not_forgotten() -> None:
    running, ending, may_end = threading.Event(), threading.Event(), threading.Event()

    async def wait_until_cancelled() -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            may_end.wait()

    thread = LoopThread()
    with ThreadPoolExecutor() as pool:
        early = pool.submit(thread.run, wait_until_cancelled())
        running.wait()
        stopping = pool.submit(thread.stop)
        ending.wait()
        try:
            with pytest.raises(ConnectionFailed, match="closed"):
                thread.submit(asyncio.Event().wait())
        finally:
            may_end.set()
        with pytest.raises(ConnectionFailed, match="closed"):
            early.result()
        stopping.result()


def test_stopping_a_consumer_of_a_closed_client_does_nothing(shared_broker: Any, queue: str) -> None:
    with BlockingClient(shared_broker.address) as client, client.consume(queue) as messages:
        pass
    messages.stop()  # as a signal handler does that is still installed


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


FORKED = """
import os, signal, sys
from gmq.client import BlockingClient, ConnectionFailed

with BlockingClient(sys.argv[1]) as client:
    child = os.fork()
    if not child:
        signal.alarm(10)
        messages = iter(client.consume("forked"))
        for ask in (lambda: client.length("forked"), lambda: next(messages)):
            try:
                ask()
            except ConnectionFailed as error:
                print(error, flush=True)
    else:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print("the child ended with", code, "and the parent goes on with", client.length("forked"))
"""


def test_a_forked_process_is_told_that_the_client_is_not_its_own(shared_broker: Any) -> None:
    done = subprocess.run([sys.executable, "-c", FORKED, shared_broker.address], capture_output=True, text=True, timeout=60, check=False)
    told = "the client belongs to the process that this one was forked from\n"
    assert done.stdout == f"{told}{told}the child ended with 0 and the parent goes on with 0\n", (
        "a call in a forked process hung, or did harm"
    )


LEFT_OPEN = """
import sys
from gmq.client import BlockingClient

client = BlockingClient(sys.argv[1])
client.publish(sys.argv[2], "x")
messages = iter(client.consume(sys.argv[2]))
print(next(messages).text)
"""


def test_a_program_that_closes_nothing_ends(shared_broker: Any, queue: str) -> None:
    program = [sys.executable, "-c", LEFT_OPEN, shared_broker.address, queue]
    done = subprocess.run(program, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "x\n", "")
