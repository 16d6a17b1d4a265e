"""Requests of several connections served as one: everybody gets the replies to its own, in its own order."""

from __future__ import annotations

import asyncio
import json
from itertools import accumulate, chain, pairwise
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from gmq.auth import Authenticator
from gmq.broker import Broker
from gmq.message import Limits, QueuePolicy
from gmq.server.batch import Share, cut
from gmq.server.hub import Hub
from gmq.server.tcp import Connection
from gmq.storage.memory import MemoryStorage


class Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def set_write_buffer_limits(self, high: int) -> None:
        """As asyncio's."""

    def get_extra_info(self, name: str) -> None:
        """Nothing is known of the other side."""

    def is_closing(self) -> bool:
        return False


def publish(size: int, queue: str) -> bytes:
    return b'{"operation":"P","queue":"%b","payload":"%b"}' % (queue.encode(), b"AAAA" * size)


queues = st.sampled_from(["a", "b", "longer="])
lines = st.one_of(
    st.builds(publish, st.integers(0, 4), queues),
    st.just(publish(2, "a")),
    st.just(b'{"operation":"P","queue":"a","payload":"aGk="}'),
    st.just(b'{"operation":"P","queue":"a","payload":"aGl="}'),  # not canonical
    st.just(b'{"payload":"aGk=","operation":"P","queue":"longer="}'),
    st.just(b'{"payload":"aGl=","operation":"P","queue":"longer="}'),  # not canonical
    st.just(b'{"operation":"P","queue":"a","payload":"aGk=","priority":7}'),
    st.builds(lambda queue: b'{"operation":"S","queue":"%b"}' % queue.encode(), queues),
    st.just(b'{"operation":"S","queue":"a","lease":30}'),
    st.just(b'{"operation":"S","queue":"a","lease":true}'),
    st.just(b'{"operation":"A","receipt":"nonsense"}'),
    st.just(b'{"operation":"L","queue":"a"}'),
    st.just(b"nonsense"),
)
chunks = st.lists(lines, min_size=1, max_size=8) | st.builds(lambda line, count: [line] * count, lines, st.integers(1, 8))


def expected(line: bytes) -> tuple[str, str]:
    """The operation and the confirmation of the reply to a line."""
    if line == b"nonsense":
        return "", "N"
    request = json.loads(line)
    refused = request.get("payload") == "aGl=" or request["operation"] == "A"
    return request["operation"], "N" if refused else "Y"


@settings(max_examples=300, deadline=None)
@given(rounds=st.lists(st.lists(chunks, min_size=1, max_size=5), min_size=1, max_size=3))
def test_each_connection_gets_the_replies_to_its_own_requests_in_order(rounds: list[list[list[bytes]]]) -> None:
    async def play() -> None:
        limits = Limits()
        storage = MemoryStorage(limits, lambda _: QueuePolicy())
        hub = Hub(Broker(storage, limits), Authenticator(), line_limit=1 << 20, request_timeout=30, max_connections=100)
        connections = [Connection(hub) for _ in range(5)]
        transports = [Transport() for _ in connections]
        for connection, transport in zip(connections, transports, strict=True):
            connection.connection_made(cast("asyncio.Transport", transport))
            connection.data_received(b"\n")
            connection.data_received(b'{"operation":"S","queue":"warm up"}\n')
            assert json.loads(transport.written)["count"] == 0
        published = 0
        for each in rounds:
            for transport in transports:
                transport.written = b""
            for connection, requests in zip(connections, each, strict=False):
                connection.data_received(b"\n".join(requests) + b"\n")
            hub.batch.serve()
            while not hub.turns.idle:  # noqa: ASYNC110  # the next round of the loop is what is waited for
                await asyncio.sleep(0)
            for transport, requests in zip(transports, each, strict=False):
                replies: list[dict[str, Any]] = [json.loads(line) for line in transport.written.splitlines()]
                assert [(reply["operation"], reply["confirmation"]) for reply in replies] == [expected(line) for line in requests]
                published += sum(reply["operation"] == "P" and reply["confirmation"] == "Y" for reply in replies)
                published -= sum(reply["operation"] == "S" and reply["count"] == 1 for reply in replies)
        assert sum(counts.ready for counts in storage.queues()) == published, "a message was lost or invented"
        await storage.close()

    asyncio.run(play())


@given(shares=st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=4))
def test_replies_of_any_length_are_cut_where_the_next_connection_s_begin(shares: list[list[int]]) -> None:
    replies = [[b"%b\n" % (b"x" * size) for size in sizes] for sizes in shares]
    bounds = [0, *accumulate(map(len, replies))]
    member = cast("Any", None)  # nobody looks at it
    found = cut(b"".join(chain(*replies)), [Share(member, start, stop) for start, stop in pairwise(bounds)])
    assert found == [b"".join(own) for own in replies]
