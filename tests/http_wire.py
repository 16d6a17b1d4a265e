"""The requests of the wire, sent over HTTP: what tests drive over one they can drive over the other."""

from __future__ import annotations

import http.client
import json
import select
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlencode

from wire import Reply, Wire, b64, unb64

JSON = "application/json"


class Request(NamedTuple):
    """A request over HTTP."""

    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012  # never changed


class Response(NamedTuple):
    """And its reply."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which has to be JSON."""
        return json.loads(self.body) if self.body else {}


class Connection:
    """One connection that stays open."""

    def __init__(self, address: str, timeout: float) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.socket.makefile("rb")
        self._address = address
        self.waiting: deque[tuple[str, str | None, dict[str, Any]]] = deque()  # requests whose replies were not read
        self._send([Request("GET", "/v1")])  # from here on it is served as fast as any other
        assert self.read().status == 200

    def send(self, requests: list[tuple[str, str | None, dict[str, Any]]]) -> None:
        """Send requests of the wire."""
        self.waiting.extend(requests)
        self._send([translated(*request) for request in requests])

    def _send(self, requests: list[Request]) -> None:
        data = b""
        for request in requests:
            headers = {"Host": self._address, "Content-Length": str(len(request.body)), **request.headers}
            lines = [f"{request.method} {request.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
            data += "\r\n".join(lines).encode() + b"\r\n\r\n" + request.body
        self.socket.sendall(data)

    def read(self) -> Response:
        """The next reply."""
        line = self._file.readline()
        assert line.startswith(b"HTTP/1.1 "), f"the connection ended in the place of a reply: {line!r}"
        headers = http.client.parse_headers(self._file)
        return Response(int(line.split()[1]), headers, self._file.read(int(headers.get("Content-Length", 0))))

    def close(self) -> None:
        self._file.close()
        self.socket.close()


class HttpWire(Wire):
    """Connections over HTTP that look like one of the wire: requests with a tag have a connection of their own."""

    def __init__(self, address: str, *, timeout: float = 20.0) -> None:
        self._timeout = timeout
        self._plain, self._tagged = Connection(address, timeout), Connection(address, timeout)

    def send(self, operation: str, queue: str | None = None, **fields: Any) -> None:
        connection = self._tagged if "tag" in fields and not self._tagged.waiting else self._plain
        connection.send([(operation, queue, fields)])

    def send_together(self, *requests: tuple[str, str, dict[str, Any]]) -> None:
        self._plain.send(list(requests))

    def read(self) -> Reply:
        asked = [one for one in (self._plain, self._tagged) if one.waiting]
        assert asked, "nothing was asked that could be answered"
        # What stands in a connection's buffer is not seen here; but then it is the only one, or its next reply was waited for already.
        ready = asked if len(asked) == 1 else select.select([one.socket for one in asked], [], [], self._timeout)[0]
        connection = next(one for one in asked if one is ready[0] or one.socket is ready[0])
        operation, queue, fields = connection.waiting.popleft()
        reply = told(operation, queue, fields, connection.read())
        return {**reply, "tag": fields["tag"]} if "tag" in fields else reply

    def close(self) -> None:
        self._plain.close()
        self._tagged.close()


# From the wire's requests to HTTP


def translated(operation: str, queue: str | None, fields: dict[str, Any]) -> Request:
    """The request over HTTP that means the same."""
    path = "/v1/queues" if queue is None else f"/v1/queues/{quote(queue, safe='')}"
    rest = {name: value for name, value in fields.items() if name != "tag"}
    if operation in _TRANSLATIONS:
        return _TRANSLATIONS[operation](path, rest)
    method, end = _PLAIN[operation]
    return Request(method, path + end, *_json(rest) if rest else (b"", {}))


_PLAIN = {
    "I": ("GET", ""), "L": ("GET", ""), "C": ("DELETE", "/messages"), "D": ("DELETE", ""), "M": ("POST", "/move"),
}  # fmt: skip


def _json(value: object) -> tuple[bytes, dict[str, str]]:
    return json.dumps(value).encode(), {"Content-Type": JSON}


def _query(fields: dict[str, Any]) -> str:
    text = {name: json.dumps(value) for name, value in fields.items()}
    return f"?{urlencode(text)}" if text else ""


def _publish(path: str, fields: dict[str, Any]) -> Request:
    if "payloads" in fields:
        payloads, keys = fields.pop("payloads"), fields.pop("keys", None)
        messages = [{"payload": payload} for payload in payloads]
        if keys is not None:
            messages = [{**message, "key": key} for message, key in zip(messages, keys, strict=True)]
        return Request("POST", f"{path}/messages", *_json({"messages": messages, **fields}))
    payload = unb64(fields.pop("payload"))
    headers = {f"Gmq-Header-{name}": quote(value, safe="/:") for name, value in fields.pop("headers", {}).items()}
    if "key" in fields:
        headers["Idempotency-Key"] = quote(fields.pop("key"), safe="/:")
    return Request("POST", f"{path}/messages{_query(fields)}", payload, headers)


def _take(path: str, fields: dict[str, Any]) -> Request:
    headers = {"Accept": JSON} if {"count", "lease"} & set(fields) else {}
    if "queues" in fields:
        body, kind = _json(fields)
        return Request("POST", "/v1/take", body, headers | kind)
    return Request("POST", f"{path}/take{_query(fields)}", b"", headers)


_TRANSLATIONS: dict[str, Callable[[str, dict[str, Any]], Request]] = {
    "P": _publish,
    "S": _take,
    "K": lambda path, fields: Request("GET", f"{path}/messages{_query(fields)}"),
    "Q": lambda path, fields: Request("GET", f"{path}?limit=1000"),
    "Y": lambda path, fields: Request("PUT", f"{path}/policy", *_json(fields["policy"])),
    "A": lambda _, fields: Request("POST", "/v1/acknowledge", *_json(fields)),
    "N": lambda _, fields: Request("POST", "/v1/put-back", *_json(fields)),
    "E": lambda _, fields: Request("POST", "/v1/extend", *_json(fields)),
}


# And from its replies to the wire's


def told(operation: str, queue: str | None, fields: dict[str, Any], response: Response) -> Reply:
    """The reply of the wire that means the same."""
    reply: Reply = {"operation": operation, "queue": queue or "", "payload": "", "confirmation": "Y", "error": None}
    if response.status == 404 and operation == "L":
        return {**reply, "payload": "0"}
    if response.status >= 400:
        assert response.headers["Content-Type"] == "application/problem+json", f"an error without its description: {response}"
        problem = response.json
        assert problem["status"] == response.status
        reply |= {"confirmation": "N", "error": problem["detail"], "code": problem["code"]}
        return reply | {"count": 0, "stale": problem["stale"]} if "stale" in problem else reply
    if operation == "L":
        return {**reply, "payload": str(response.json["ready"])}
    if operation == "Y":
        return {**reply, "policy": response.json}
    if operation == "Q":
        assert response.json["next"] is None, "there are more queues than one page has"
    if operation == "S" and not {"count", "lease"} & set(fields):
        if response.status == 204:
            return {**reply, "count": 0}
        return {**reply, "queue": unquote(response.headers["Gmq-Queue"], errors="strict"), "payload": b64(response.body), "count": 1}
    return {**reply, **response.json}
