"""The HTTP API: the operations of the broker as resources under `/v1`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import quote

from aiohttp import web
from msgspec import Struct

import gmq
from gmq import plain
from gmq.message import QueueInfo, QueuePolicy, Settled, refuse
from gmq.server.dispatch import CAPABILITIES, advertised_limits, stale_receipt
from gmq.server.http import replies
from gmq.server.http.doorway import broker_for
from gmq.server.http.incoming import json_body, query_of, queue_of
from gmq.server.http.listing import page_of
from gmq.server.http.operations import OPERATIONS
from gmq.server.http.outcomes import done
from gmq.server.http.publishing import Publishing
from gmq.server.http.requests import AcknowledgeBody, CreateBody, ExtendBody, ListQuery, MoveBody, PeekQuery, PutBackBody
from gmq.server.http.taking import BODY_LIMIT, Taking
from gmq.server.hub import Hub
from gmq.storage.base import Outcome

T = TypeVar("T")
B = TypeVar("B", bound=Struct)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """Every operation that is neither a publish nor a take; each method serves the operation of its name."""

    def __init__(self, hub: Hub) -> None:
        self._broker = hub.broker
        self._timeout = hub.request_timeout

    async def _done(self, outcome: Outcome[T]) -> T:
        return await done(self._broker, outcome)

    async def _body(self, request: web.Request, kind: type[B]) -> B:
        return await json_body(request, kind, BODY_LIMIT, self._timeout)

    async def about(self, _: web.Request) -> web.Response:
        return replies.reply(replies.About(gmq.__version__, advertised_limits(self._broker), CAPABILITIES))

    async def list_queues(self, request: web.Request) -> web.Response:
        query = query_of(request, ListQuery)
        queues = await self._done(broker_for(request, self._broker).queues())
        return replies.reply(page_of(queues, query))

    async def create_queue(self, request: web.Request) -> web.Response:
        queue = queue_of(request)
        body = await self._body(request, CreateBody)
        made = await self._done(broker_for(request, self._broker).create(queue, body.policy))
        response = replies.reply(state_of(await self._done(self._broker.info(queue))), 201 if made else 200)
        if made:
            response.headers["Location"] = f"/v1/queues/{quote(queue, safe='')}"
        return response

    async def inspect_queue(self, request: web.Request) -> web.Response:
        return replies.reply(state_of(await self._done(broker_for(request, self._broker).info(queue_of(request)))))

    async def delete_queue(self, request: web.Request) -> web.Response:
        return replies.reply(replies.Counted(await self._done(broker_for(request, self._broker).delete(queue_of(request)))))

    async def set_policy(self, request: web.Request) -> web.Response:
        queue = queue_of(request)
        policy = await self._body(request, QueuePolicy)
        return replies.reply(await self._done(broker_for(request, self._broker).set_policy(queue, policy)))

    async def peek(self, request: web.Request) -> web.Response:
        queue, query = queue_of(request), query_of(request, PeekQuery)
        found = await self._done(broker_for(request, self._broker).peek(queue, 1 if query.count is None else query.count))
        return replies.reply(replies.Messages(len(found), plain.delivered(queue, found, None)))

    async def clear(self, request: web.Request) -> web.Response:
        return replies.reply(replies.Counted(await self._done(broker_for(request, self._broker).clear(queue_of(request)))))

    async def move(self, request: web.Request) -> web.Response:
        queue = queue_of(request)
        body = await self._body(request, MoveBody)
        return replies.reply(replies.Counted(await self._done(broker_for(request, self._broker).move(queue, body.to, body.count))))

    async def acknowledge(self, request: web.Request) -> web.Response:
        body = await self._body(request, AcknowledgeBody)
        return settled(body, await self._done(broker_for(request, self._broker).acknowledge(receipts_of(body))))

    async def put_back(self, request: web.Request) -> web.Response:
        body = await self._body(request, PutBackBody)
        return settled(body, await self._done(broker_for(request, self._broker).put_back(receipts_of(body), body.delay or 0)))

    async def extend(self, request: web.Request) -> web.Response:
        body = await self._body(request, ExtendBody)
        return settled(body, await self._done(broker_for(request, self._broker).extend(receipts_of(body), body.lease)))


def state_of(info: QueueInfo) -> replies.QueueState:
    """A queue as replies have it."""
    counts = info.counts
    return replies.QueueState(
        counts.queue, counts.ready, counts.delayed, counts.leased, counts.bytes, info.oldest_age, info.policy, info.totals
    )


def receipts_of(body: AcknowledgeBody | ExtendBody) -> list[str]:
    """The receipts that a body has to have."""
    if body.receipts is not None and body.receipt is None:
        return body.receipts
    if body.receipt is None or body.receipts is not None:
        refuse("the body has either receipt or receipts")
    return [body.receipt]


def settled(body: AcknowledgeBody | ExtendBody, result: Settled) -> web.Response:
    """The reply to receipts; one that stands alone is refused where it is stale."""
    if body.receipt is not None and result.stale:
        raise stale_receipt(result.stale)
    return replies.reply(replies.SettledReceipts(result.count, result.stale))


def add_routes(app: web.Application, hub: Hub) -> None:
    """Everything under `/v1`."""
    parts = (Publishing(hub), Taking(hub), Api(hub))
    methods: dict[str, dict[str, Handler]] = {}
    for operation in OPERATIONS:
        handler: Handler = next(getattr(part, operation.id) for part in parts if hasattr(part, operation.id))
        methods.setdefault(operation.path, {})[operation.method] = handler
    for path, handlers in methods.items():
        resource = app.router.add_resource(path.replace("{queue}", "{queue:[^/]+}"))
        for method, handler in handlers.items():
            resource.add_route(method, handler)
        if "GET" in handlers:
            resource.add_route("HEAD", handlers["GET"])
        resource.add_route("OPTIONS", _options(handlers))


def _options(handlers: dict[str, Handler]) -> Handler:
    """Tells the methods of a resource."""
    allowed = ", ".join(sorted({*handlers, "OPTIONS", *(["HEAD"] if "GET" in handlers else [])}))

    async def options(_: web.Request) -> web.Response:
        return web.Response(status=204, headers={"Allow": allowed})

    return options
