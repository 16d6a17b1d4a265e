"""What every request passes on its way in, and every reply on its way out."""

from __future__ import annotations

from time import perf_counter

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gmq.server.counts import Counts
from gmq.server.http.counting import count
from gmq.server.http.guard import Guard
from gmq.server.http.problem import COMMON_HEADERS, answer


def front(guard: Guard | None = None, counts: Counts | None = None) -> Middleware:
    """The only layer around the handlers, as each takes its time of every request.

    The guard looks at the request, errors become problem details, all replies get the headers that they have in common, and the request
    is counted.
    """

    @web.middleware
    async def serve(request: web.Request, handler: Handler) -> web.StreamResponse:
        begun = perf_counter()
        try:
            refused = None if guard is None else guard.refused(request)
            if refused is not None and not isinstance(refused, web.Response):
                refused = await refused
            response = await handler(request) if refused is None else refused
        except Exception as error:  # noqa: BLE001  # whatever it is, the client is told, and the log
            response = answer(request, error)
        if not response.prepared:
            for name, value in COMMON_HEADERS:
                response.headers.setdefault(name, value)
        if counts is not None:
            count(counts, request, response, begun)
        return response

    return serve
