"""Taking over HTTP: one message as a raw body, or any number as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web
from multidict import CIMultiDict

from gmq import plain
from gmq.broker import Waiter
from gmq.message import MAX_QUEUES_OF_A_TAKE, Message, Taken, refuse
from gmq.server.http import replies
from gmq.server.http.doorway import broker_for
from gmq.server.http.incoming import JSON, json_body, query_of, queue_of
from gmq.server.http.outcomes import taken
from gmq.server.http.problem import COMMON_HEADERS
from gmq.server.http.publishing import header_text
from gmq.server.http.requests import TakeBody, TakeQuery
from gmq.server.hub import Hub
from gmq.storage.base import Outcome
from gmq.validate import quote

RAW = "application/octet-stream"
BODY_LIMIT = 1 << 20
"""Bytes of a body with names or receipts: far more than the most of them have."""

_RAW_HEADERS = CIMultiDict((("Content-Type", RAW), *COMMON_HEADERS))


class Taking:
    """Takes, for one broker."""

    def __init__(self, hub: Hub) -> None:
        self._broker = hub.broker
        self._timeout = hub.request_timeout

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Take from the queue that the path names."""
        return await self._take(request, [queue_of(request)], query_of(request, TakeQuery))

    async def take_first(self, request: web.Request) -> web.StreamResponse:
        """Take from the first of several queues that has anything."""
        body = await json_body(request, TakeBody, BODY_LIMIT, self._timeout)
        if not body.queues:
            refuse(f"queues is empty; it may have 1 to {MAX_QUEUES_OF_A_TAKE} names", "queues")
        return await self._take(request, body.queues, body)

    async def _take(self, request: web.Request, queues: Sequence[str], asked: TakeQuery | TakeBody) -> web.StreamResponse:
        count = 1 if asked.count is None else asked.count
        raw = wants_raw(request, several=count > 1)
        outcome: Outcome[Taken] | Waiter
        if asked.wait is None:
            outcome = broker_for(request, self._broker).take(queues, count, asked.lease)
        else:
            outcome = broker_for(request, self._broker).subscribe(queues, count, asked.lease, asked.wait)
        result = await taken(self._broker, request, outcome)
        return raw_reply(result) if raw else json_reply(result)


def json_reply(result: Taken) -> web.Response:
    """Messages as JSON."""
    messages = plain.delivered(result.queue, result.messages(), result.receipts)
    return replies.reply(replies.Messages(len(messages), messages))


def raw_reply(result: Taken) -> web.Response:
    """One message as it is, and what is known of it in header fields; 204 where there is none."""
    if not result.entries:
        return web.Response(status=204)
    (message,) = result.messages()
    headers = CIMultiDict(_RAW_HEADERS)
    receipt = None if result.receipts is None else result.receipts[0]
    headers.extend(fields_of(result.queue, message, receipt))
    return web.Response(body=message.payload, headers=headers)


def fields_of(queue: str, message: Message, receipt: str | None) -> list[tuple[str, str]]:
    """What is known of a message, as header fields."""
    fields = [
        ("Gmq-Queue", header_text(queue)),
        ("Gmq-Id", str(message.id)),
        ("Gmq-Deliveries", str(message.deliveries)),
        ("Gmq-Priority", str(message.priority)),
        ("Gmq-Published", str(message.published / 1000)),
    ]
    if receipt is not None:
        fields.append(("Gmq-Receipt", receipt))
    if message.dead is not None:
        dead = message.dead
        fields += [
            ("Gmq-Dead-Queue", header_text(dead.queue)),
            ("Gmq-Dead-Id", str(dead.id)),
            ("Gmq-Dead-Reason", header_text(dead.reason)),
            ("Gmq-Dead-Deliveries", str(dead.deliveries)),
            ("Gmq-Dead-At", str(dead.at)),
        ]
    for name, value in (message.headers or {}).items():
        fields.append((f"Gmq-Header-{field_name(name)}", header_text(value)))
    return fields


def field_name(name: str) -> str:
    """A message header's name as part of a field's name, which has fewer characters."""
    return "".join(chr(byte) if byte in _TOKEN else f"%{byte:02X}" for byte in name.encode())


_TOKEN = frozenset(b"!#$&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


def wants_raw(request: web.Request, *, several: bool) -> bool:
    """Whether the reply is to be the message as it is: where there may be several, or the client names JSON, it is JSON.

    Raises:
        web.HTTPNotAcceptable: it accepts neither.
    """
    accept = request.headers.get("Accept")
    if accept is None or accept == "*/*":
        return not several
    accepted = qualities(",".join(request.headers.getall("Accept")))
    any_kind = accepted.get("application/*", accepted.get("*/*", 0.0))
    as_json, raw = accepted.get(JSON, any_kind), accepted.get(RAW, any_kind)
    if several:
        raw = 0.0
    if not as_json and not raw:
        raise web.HTTPNotAcceptable(text=f"the reply is {JSON}, or {RAW} for one message; Accept has {quote(accept)}")
    return raw > as_json or (raw == as_json and JSON not in accepted)


def qualities(accept: str) -> dict[str, float]:
    """The media ranges of an Accept header, in small letters, and how much each is wanted: 0 to 1."""
    found: dict[str, float] = {}
    for part in accept.split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip().lower() == "q":
                try:
                    quality = min(max(float(value), 0.0), 1.0)
                except ValueError:
                    quality = 0.0
        if kind:
            found[kind.lower()] = quality
    return found
