"""How each server is spoken to: its requests, encoded beforehand, and what its replies look like."""

from __future__ import annotations

import base64
import json
import re
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from benchmarks.load import BenchmarkError, Exchange, Follow, converse
from benchmarks.work import MANY, MARK, Operation, Shape, payloads

QUEUE: Final = "bench"
Item = TypeVar("Item")
LEASE: Final = 60  # seconds, longer than any measurement


class Dialect(ABC):
    """A protocol."""

    hello: bytes  # what a new server is asked first
    hello_end: bytes  # how the answer to it ends
    refusal = b"\0"  # what only a bad answer contains
    queues = 1  # over which it can spread its work

    def greet(self, link: socket.socket, number: int) -> None:  # noqa: B027
        """Make a new connection, the `number`-th, ready for work."""

    def prepare(self, links: Sequence[socket.socket]) -> None:  # noqa: B027
        """Make the server ready for work, over connections that were greeted."""

    @abstractmethod
    def publish(self, shape: Shape, number: int) -> Exchange | None: ...

    @abstractmethod
    def take(self, shape: Shape, number: int) -> Exchange | None: ...

    def lease(self, shape: Shape, number: int) -> Exchange | None:  # noqa: ARG002
        """Take and acknowledge; None where there is no such thing."""
        return None

    def exchange(self, operation: Operation, shape: Shape, number: int) -> Exchange | None:
        """One window of the `number`-th connection; None when the protocol has no such operation."""
        if shape.queues > self.queues:
            return None
        makers = {Operation.PUBLISH: self.publish, Operation.TAKE: self.take, Operation.LEASE: self.lease}
        return makers[operation](shape, number)

    def clear(self, link: socket.socket, queues: int) -> None:
        """Empty so many queues at once."""
        raise BenchmarkError(f"There is no way to clear {queues} queues over {link}")

    @abstractmethod
    def count(self, link: socket.socket, expected: int) -> int:
        """Messages in the queue, leased ones included. A server that works behind its replies is given time to reach `expected`."""


class Gmq(Dialect):
    """Our own protocol, in lines framing, every connection authenticated."""

    _auth: Final = {"user": "bench", "password": "bench"}
    hello = b"\n" + json.dumps({"operation": "L", "queue": QUEUE, "auth": _auth}).encode() + b"\n"
    hello_end = b"}\n"
    refusal = b'"confirmation":"N"'
    queues = MANY
    _counts: Final = 400  # tries: on a database the counts may be two seconds old

    def greet(self, link: socket.socket, number: int) -> None:  # noqa: ARG002
        reply = json.loads(converse(link, b"\n" + _line({"operation": "H", "auth": self._auth}), 1))
        if reply["confirmation"] != "Y":
            raise BenchmarkError(f"GMQ does not let us in: {reply['error']}")

    def publish(self, shape: Shape, number: int) -> Exchange:
        messages = [base64.b64encode(one).decode() for one in payloads(shape.messages, shape.size, number)]
        queues = self._queues(shape, number)
        if shape.batch == 1:
            requests = [_line({"operation": "P", "queue": queue, "payload": one}) for queue, one in zip(queues, messages, strict=True)]
        else:
            chunks = _chunks(messages, shape.batch)
            requests = [_line({"operation": "P", "queue": queue, "payloads": some}) for queue, some in zip(queues, chunks, strict=True)]
        return Exchange(b"".join(requests), shape.messages, shape.window, b'"confirmation":"Y"', shape.window)

    def take(self, shape: Shape, number: int) -> Exchange:
        more = {"count": shape.batch} if shape.batch > 1 else {}
        requests = [_line({"operation": "S", "queue": queue, **more}) for queue in self._queues(shape, number)]
        # Messages of a batch carry ids and times, whose sizes change.
        return Exchange(b"".join(requests), shape.messages, shape.window, base64.b64encode(MARK), shape.messages, steady=shape.batch == 1)

    def lease(self, shape: Shape, number: int) -> Exchange | None:  # noqa: ARG002
        if shape.batch > 1 or shape.queues > 1:
            return None
        request = _line({"operation": "S", "queue": QUEUE, "lease": LEASE}) * shape.window
        settle = _settler(rb'"receipt":"([^"]+)"', shape.window, b'{"operation":"A","receipt":"', b'"}\n')
        return Exchange(
            request,
            shape.messages,
            shape.window,
            base64.b64encode(MARK),
            shape.messages,
            follow=Follow(settle, shape.window, b'"confirmation":"Y"'),
        )

    def clear(self, link: socket.socket, queues: int) -> None:
        requests = b"".join(_line({"operation": "C", "queue": _queue(number, queues)}) for number in range(queues))
        replies = converse(link, requests, queues)
        if replies.count(b'"confirmation":"Y"') != queues:
            raise BenchmarkError(f"GMQ does not clear all of {queues} queues: {replies[:300]!r}")

    def count(self, link: socket.socket, expected: int) -> int:
        messages = -1
        for _ in range(self._counts):
            reply = json.loads(converse(link, _line({"operation": "Q"}), 1))
            if reply["confirmation"] != "Y":
                raise BenchmarkError(f"GMQ does not count: {reply['error']}")
            messages = sum(int(queue["ready"]) + int(queue["delayed"]) + int(queue["leased"]) for queue in reply["queues"])
            if messages == expected:
                break
            time.sleep(0.01)
        return messages

    def _queues(self, shape: Shape, number: int) -> list[str]:
        """The queue of each request of a window."""
        return [_queue(number * shape.window + place, shape.queues) for place in range(shape.window)]


class Echo(Dialect):
    """The same bytes there and back: as many as the larger one of GMQ's request and reply."""

    hello = b"hello\n"
    hello_end = b"hello\n"

    def publish(self, shape: Shape, number: int) -> Exchange:
        return self._of(Gmq().publish(shape, number).request, shape)

    def take(self, shape: Shape, number: int) -> Exchange:
        messages = [base64.b64encode(one).decode() for one in payloads(shape.messages, shape.size, number)]
        if shape.batch == 1:
            reply = {"operation": "S", "queue": QUEUE, "payload": "", "confirmation": "Y", "error": None, "count": 1}
            return self._of(b"".join(_line(reply | {"payload": one}) for one in messages), shape)
        return self._of(b"".join(_line({"messages": some}) for some in _chunks(messages, shape.batch)), shape)

    def count(self, link: socket.socket, expected: int) -> int:  # noqa: ARG002
        return expected  # it keeps nothing

    def _of(self, data: bytes, shape: Shape) -> Exchange:
        return Exchange(data, shape.messages, shape.window, base64.b64encode(MARK), shape.messages, steady=True)


class Redis(Dialect):
    """A list: LPUSH and RPOP. Nothing is acknowledged, so there is no lease."""

    hello = b"PING\r\n"
    hello_end = b"+PONG\r\n"

    def publish(self, shape: Shape, number: int) -> Exchange:
        requests = [_resp(b"LPUSH", QUEUE.encode(), *some) for some in _chunks(payloads(shape.messages, shape.size, number), shape.batch)]
        return Exchange(b"".join(requests), shape.messages, shape.window, b":", shape.window)

    def take(self, shape: Shape, number: int) -> Exchange:  # noqa: ARG002
        count = [str(shape.batch).encode()] if shape.batch > 1 else []
        lines = 2 * shape.messages + (shape.window if count else 0)
        return Exchange(_resp(b"RPOP", QUEUE.encode(), *count) * shape.window, shape.messages, lines, MARK, shape.messages, steady=True)

    def count(self, link: socket.socket, expected: int) -> int:  # noqa: ARG002
        return int(converse(link, _resp(b"LLEN", QUEUE.encode()), 1)[1:])


class Beanstalkd(Dialect):
    """A tube: put, and reserve with delete, which is its only way to take. It has no batches."""

    hello = b"use bench\r\n"
    hello_end = b"USING bench\r\n"

    def greet(self, link: socket.socket, number: int) -> None:  # noqa: ARG002
        converse(link, f"use {QUEUE}\r\nwatch {QUEUE}\r\nignore default\r\n".encode(), 3)

    def publish(self, shape: Shape, number: int) -> Exchange | None:
        if shape.batch > 1:
            return None
        requests = [b"put 0 0 %d %d\r\n%b\r\n" % (LEASE, len(one), one) for one in payloads(shape.messages, shape.size, number)]
        return Exchange(b"".join(requests), shape.messages, shape.window, b"INSERTED ", shape.window)

    def take(self, shape: Shape, number: int) -> Exchange | None:  # noqa: ARG002
        if shape.batch > 1:
            return None
        settle = _settler(rb"RESERVED (\d+) ", shape.window, b"delete ", b"\r\n")
        follow = Follow(settle, shape.window, b"DELETED")
        return Exchange(b"reserve\r\n" * shape.window, shape.messages, 2 * shape.window, MARK, shape.messages, follow=follow)

    def lease(self, shape: Shape, number: int) -> Exchange | None:
        return self.take(shape, number)

    def count(self, link: socket.socket, expected: int) -> int:  # noqa: ARG002
        reply = converse(link, f"stats-tube {QUEUE}\r\n".encode(), 1)
        head, _, body = reply.partition(b"\r\n")
        while len(body) < int(head.removeprefix(b"OK ")) + len(b"\r\n"):
            body += converse(link, b"", 1)
        return sum(map(int, re.findall(rb"current-jobs-(?:ready|reserved|delayed|buried): (\d+)", body)))


class Nats(Dialect):
    """A JetStream work queue: acknowledged publishes, and a pull consumer with an explicit acknowledgement of each message."""

    hello = b'CONNECT {"verbose":false,"pedantic":false,"headers":true}\r\nPING\r\n'
    hello_end = b"PONG\r\n"
    _first_ping: Final = 4  # seconds: the server measures each new connection's round trip once, after about two

    def __init__(self, storage: str = "memory") -> None:
        self._storage = storage

    def greet(self, link: socket.socket, number: int) -> None:
        converse(link, self.hello, 2)  # INFO and PONG
        link.sendall(f"SUB _INBOX.{number} 1\r\n".encode())

    def prepare(self, links: Sequence[socket.socket]) -> None:
        for number, link in enumerate(links):
            ping = converse(link, b"", 1)
            if ping != b"PING\r\n":
                raise BenchmarkError(f"Connection {number} to NATS: a ping was expected to come, not {ping!r}")
            link.sendall(b"PONG\r\n")
        self._ask(links[0], "STREAM.CREATE.bench", self._stream())
        self._ask(links[0], "CONSUMER.DURABLE.CREATE.bench.bench", self._consumer())

    def publish(self, shape: Shape, number: int) -> Exchange | None:
        if shape.batch > 1:
            return None
        requests = [b"PUB bench _INBOX.%d %d\r\n%b\r\n" % (number, len(one), one) for one in payloads(shape.messages, shape.size, number)]
        return Exchange(b"".join(requests), shape.messages, 2 * shape.window, b'"seq":', shape.window)

    def take(self, shape: Shape, number: int) -> Exchange:
        body = b'{"batch":%d}' % shape.batch if shape.batch > 1 else b""
        request = b"PUB $JS.API.CONSUMER.MSG.NEXT.bench.bench _INBOX.%d %d\r\n%b\r\n" % (number, len(body), body)
        settle = _settler(rb" (\$JS\.ACK\.\S+) ", shape.messages, b"PUB ", b" 0\r\n\r\n")
        # Acknowledgements are not answered: they travel with the next window.
        return Exchange(
            request * shape.window, shape.messages, 2 * shape.messages, MARK, shape.messages, follow=Follow(settle, lines=0, proof=b"")
        )

    def lease(self, shape: Shape, number: int) -> Exchange | None:
        return self.take(shape, number)

    def count(self, link: socket.socket, expected: int) -> int:
        messages = -1
        for _ in range(500):
            messages = int(self._ask(link, "STREAM.INFO.bench", {})["state"]["messages"])
            if messages == expected:
                break
            time.sleep(0.01)
        return messages

    def _stream(self) -> dict[str, object]:
        return {"name": "bench", "subjects": ["bench"], "storage": self._storage, "retention": "workqueue"}

    def _consumer(self) -> dict[str, object]:
        limits = {"max_waiting": 1 << 16, "max_ack_pending": -1}  # as many as the deepest window asks for
        return {"stream_name": "bench", "config": {"durable_name": "bench", "ack_policy": "explicit", **limits}}

    def _ask(self, link: socket.socket, subject: str, body: dict[str, object]) -> Any:
        """Call JetStream's interface over the connection number 0."""
        data = json.dumps(body)
        answer = converse(link, f"PUB $JS.API.{subject} _INBOX.0 {len(data)}\r\n{data}\r\n".encode(), 2)
        reply = json.loads(answer.splitlines()[1])
        if "error" in reply:
            raise BenchmarkError(f"NATS does not {subject}: {reply['error']}")
        return reply


def _settler(pattern: bytes, messages: int, head: bytes, tail: bytes) -> Callable[[bytes], bytes]:
    """A function that finds the names of so many messages in replies and makes a request of each."""
    find = re.compile(pattern).findall
    between = tail + head

    def settle(replies: bytes) -> bytes:
        names: list[bytes] = find(replies)
        if len(names) != messages:
            raise BenchmarkError(f"{messages} messages were expected to come, and {len(names)} came: {replies[:300]!r}")
        return head + between.join(names) + tail

    return settle


def _queue(number: int, queues: int) -> str:
    return f"{QUEUE}-{number % queues}" if queues > 1 else QUEUE


def _line(request: Mapping[str, object]) -> bytes:
    return json.dumps(request, separators=(",", ":")).encode() + b"\n"


def _resp(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def _chunks(items: list[Item], size: int) -> list[list[Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
