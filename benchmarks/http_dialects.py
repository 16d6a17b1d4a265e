"""How servers are spoken to over HTTP: connections that stay open, requests encoded beforehand, replies counted by their newlines."""

from __future__ import annotations

import base64
import json
import re
import socket
from typing import Any, Final

from benchmarks.dialects import QUEUE, Dialect
from benchmarks.load import BUFFER, BenchmarkError, Exchange
from benchmarks.work import MARK, Shape, payloads

ACCEPT_JSON: Final = "Accept: application/json\r\n"
JSON_BODY: Final = "Content-Type: application/json\r\n"
_LENGTH: Final = re.compile(rb"Content-Length: (\d+)\r\n")


class Http(Dialect):
    """The broker's HTTP API, every request authenticated."""

    hello = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    hello_end = b"}"
    _user: Final = base64.b64encode(b"bench:bench").decode()
    _published: Final = 8  # newlines of a reply to a publish: each ends a line of its head
    _taken: Final = 13  # of one to a take of one message as it is

    def publish(self, shape: Shape, number: int) -> Exchange:
        messages = payloads(shape.messages, shape.size, number)
        if shape.batch > 1:
            texts = [base64.b64encode(one).decode() for one in messages]
            chunks = [texts[start : start + shape.batch] for start in range(0, len(texts), shape.batch)]
            bodies = [json.dumps({"messages": [{"payload": one} for one in some]}, separators=(",", ":")).encode() for some in chunks]
        else:
            bodies = messages
        requests = [self.request("POST", f"/v1/queues/{QUEUE}/messages", body, JSON_BODY if shape.batch > 1 else "") for body in bodies]
        return Exchange(b"".join(requests), shape.messages, self._published * shape.window, b" 201 Created", shape.window)

    def take(self, shape: Shape, number: int) -> Exchange:  # noqa: ARG002
        if shape.batch > 1:
            request = self.request("POST", f"/v1/queues/{QUEUE}/take?count={shape.batch}", b"", ACCEPT_JSON)
            lines, proof = self._published, base64.b64encode(MARK)
        else:
            request = self.request("POST", f"/v1/queues/{QUEUE}/take", b"")
            lines, proof = self._taken, MARK
        return Exchange(request * shape.window, shape.messages, lines * shape.window, proof, shape.messages)

    def count(self, link: socket.socket, expected: int) -> int:  # noqa: ARG002
        found = ask(link, self.request("GET", f"/v1/queues/{QUEUE}"))
        return int(found["ready"]) + int(found["leased"])

    def request(self, method: str, path: str, body: bytes = b"", more: str = "") -> bytes:
        """A request as its bytes."""
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {self._user}\r\n{more}Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class Bare(Http):
    """The same requests to a server that answers 201 to all of them."""

    hello = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    hello_end = b"\r\n\r\n"
    _lines: Final = 5  # newlines of a reply

    def publish(self, shape: Shape, number: int) -> Exchange:
        return self._of(super().publish(shape, number), shape)

    def take(self, shape: Shape, number: int) -> Exchange:
        return self._of(super().take(shape, number), shape)

    def _of(self, exchange: Exchange, shape: Shape) -> Exchange:
        return Exchange(exchange.request, shape.messages, self._lines * shape.window, b" 201 Created", shape.window, steady=True)

    def count(self, link: socket.socket, expected: int) -> int:  # noqa: ARG002
        return expected  # it keeps nothing


def ask(link: socket.socket, request: bytes) -> Any:
    """Send a request outside the measurements, and give the JSON of its reply."""
    link.sendall(request)
    reply = b""
    while True:
        head, end, body = reply.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n")
        if end and length and len(body) >= int(length[1]):
            break
        chunk = link.recv(BUFFER)
        if not chunk:
            raise BenchmarkError(f"The server hung up after {reply[-300:]!r}")
        reply += chunk
    if not head.startswith(b"HTTP/1.1 2"):
        raise BenchmarkError(f"It answered {reply[:300]!r}")
    return json.loads(body)
