"""A client as bare as can be, for tests that drive the wire."""

from __future__ import annotations

import base64
import json
import socket
from typing import Any

Reply = dict[str, Any]


def b64(payload: bytes) -> str:
    """Payload as the wire has it."""
    return base64.b64encode(payload).decode()


def unb64(text: str) -> bytes:
    """What a payload on the wire means."""
    return base64.b64decode(text, validate=True)


class Wire:
    """One connection in lines framing."""

    def __init__(self, host: str, port: int, *, timeout: float = 20.0, opening: bytes = b"\n") -> None:
        self.socket = socket.create_connection((host, port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.socket.makefile("rb")
        self.socket.sendall(opening)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, operation: str, queue: str | None = None, **fields: Any) -> None:
        """Send a request and do not wait for the reply."""
        request: Reply = {"operation": operation}
        if queue is not None:
            request["queue"] = queue
        self.socket.sendall(json.dumps({**request, **fields}).encode() + b"\n")

    def send_together(self, *requests: tuple[str, str, dict[str, Any]]) -> None:
        """Send requests (operation, queue, fields) at once, and do not wait for the replies."""
        lines = [json.dumps({"operation": operation, "queue": queue, **fields}) for operation, queue, fields in requests]
        self.socket.sendall("".join(f"{line}\n" for line in lines).encode())

    def read(self) -> Reply:
        """The next reply."""
        line = self._file.readline()
        assert line.endswith(b"\n"), f"the connection ended in the place of a reply: {line!r}"
        reply: Reply = json.loads(line)
        return reply

    def ask(self, operation: str, queue: str | None = None, **fields: Any) -> Reply:
        """Send a request and give its reply."""
        self.send(operation, queue, **fields)
        return self.read()

    def done(self, operation: str, queue: str | None = None, **fields: Any) -> Reply:
        """Send a request that has to succeed, and give its reply."""
        reply = self.ask(operation, queue, **fields)
        assert reply["confirmation"] == "Y", f"{operation} {queue} {fields} was refused: {reply['error']}"
        return reply

    def refused(self, operation: str, queue: str | None = None, **fields: Any) -> Reply:
        """Send a request that has to be refused, and give its reply."""
        reply = self.ask(operation, queue, **fields)
        assert reply["confirmation"] == "N", f"{operation} {queue} {fields} was not refused: {reply}"
        assert reply["error"], "a refusal has to say why"
        return reply

    def ended(self) -> bool:
        """Whether the broker ends the connection, with nothing more to read."""
        return self._file.read() == b""

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self.socket.close()

    # Short words for what tests do most

    def publish(self, queue: str, payload: bytes, **fields: Any) -> int:
        """Publish one message and give its id."""
        number: int = self.done("P", queue, payload=b64(payload), **fields)["id"]
        return number

    def take(self, queue: str, **fields: Any) -> bytes | None:
        """Take the first message; None when there is none."""
        reply = self.done("S", queue, **fields)
        return unb64(reply["payload"]) if reply["count"] else None

    def lease(self, queue: str, lease: float | bool = 30, **fields: Any) -> list[Reply]:  # noqa: FBT001  # as on the wire
        """Take messages under a lease."""
        messages: list[Reply] = self.done("S", queue, lease=lease, **fields)["messages"]
        return messages

    def drain(self, queue: str) -> list[bytes]:
        """Take every message that is ready."""
        messages: list[bytes] = []
        while found := self.done("S", queue, count=1000)["messages"]:
            messages += [unb64(message["payload"]) for message in found]
        return messages

    def counts(self, queue: str) -> tuple[int, int, int]:
        """Ready, delayed and leased messages."""
        reply = self.done("I", queue)
        return reply["ready"], reply["delayed"], reply["leased"]


def one_shot(host: str, port: int, data: bytes, *, timeout: float = 20.0) -> bytes:
    """Write, and read to the end of file, as the original client does."""
    with socket.create_connection((host, port), timeout) as connection:
        connection.sendall(data)
        received = b""
        while part := connection.recv(65536):
            received += part
        return received
