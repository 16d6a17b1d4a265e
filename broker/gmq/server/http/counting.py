"""Counts requests under `/v1`, and how long their replies took."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from typing import Final

from aiohttp import web

from gmq.server.counts import Counts
from gmq.server.http.problem import CODE, LIMIT

PREFIX: Final = "/v1/"
RESUMED: Final = web.RequestKey("resumed", float)
"""When what a request waited for had come, by `time.perf_counter`: a take that waits for a message sets it, as its wait is no delay."""
OF_QUEUE: Final = {
    ("PUT", ""): "Y", ("GET", ""): "I", ("DELETE", ""): "D",
    ("PUT", "policy"): "Y", ("GET", "policy"): "I",
    ("POST", "messages"): "P", ("GET", "messages"): "K", ("DELETE", "messages"): "C",
    ("POST", "take"): "S", ("POST", "move"): "M",
}  # fmt: skip
"""Operations on a queue by the method and what stands behind its name."""
OTHERS: Final = {
    ("GET", "queues"): "Q", ("POST", "take"): "S", ("POST", "acknowledge"): "A", ("POST", "put-back"): "N", ("POST", "extend"): "E",
}  # fmt: skip
"""Operations by the method and the path."""


def count(counts: Counts, request: web.Request, response: web.StreamResponse, begun: float) -> None:
    """Count a request that was begun with at `begun` and whose reply leaves now. Those whose client is gone before are not counted.

    A limit that was reached counts whatever the path is.
    """
    path = request.rel_url.raw_path
    refused = response.status >= HTTPStatus.BAD_REQUEST
    if refused and (limit := response.get(LIMIT)) is not None:
        counts.limits[limit] += 1
    if not path.startswith(PREFIX):
        return
    operation = operation_of(request.method, path)
    counts.requests[operation] += 1
    if refused:
        code = response.get(CODE)
        if code is not None:
            counts.refusals[operation, code] += 1
    counts.answered(operation, request.get(RESUMED, begun) if operation == "S" else begun, 1)


@lru_cache(maxsize=1024)
def operation_of(method: str, raw_path: str) -> str:
    """The operation's letter on the wire; "" for what is none. `raw_path` begins with PREFIX, and its names are percent-encoded."""
    method = "GET" if method == "HEAD" else method
    first, *rest = raw_path.partition("?")[0].removeprefix(PREFIX).rstrip("/").split("/")
    if first == "queues" and len(rest) in {1, 2}:
        return OF_QUEUE.get((method, "" if len(rest) == 1 else rest[1]), "")
    return OTHERS.get((method, first), "") if not rest else ""
