"""Errors as problem details (RFC 9457), with the codes that the wire protocol has."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from aiohttp import hdrs, web
from msgspec import UNSET, Struct, UnsetType
from multidict import istr

from gmq.message import GmqError

log = structlog.get_logger()

CONTENT_TYPE = "application/problem+json"
STATUS = {
    "bad_request": HTTPStatus.BAD_REQUEST,
    "unauthorized": HTTPStatus.UNAUTHORIZED,
    "forbidden": HTTPStatus.FORBIDDEN,
    "not_found": HTTPStatus.NOT_FOUND,
    "key_conflict": HTTPStatus.CONFLICT,
    "stale_receipt": HTTPStatus.CONFLICT,
    "too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "queue_full": HTTPStatus.TOO_MANY_REQUESTS,
    "limit": HTTPStatus.TOO_MANY_REQUESTS,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "unknown": HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""The status of each code of docs/protocol.md."""
COMMON_HEADERS = (("Server", "gmq"), ("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store"))
CODE: Final = web.ResponseKey("code", str)
"""The code of an error, for who counts them."""
LIMIT: Final = web.ResponseKey("limit", str)
"""The limit that a request came up against, a `LimitName`."""
SEC_FETCH_MODE = istr("Sec-Fetch-Mode")
CHALLENGE = 'Basic realm="gmq", charset="UTF-8"'
RETRY_AFTER = "1"
"""Seconds after which a request that could not be served now is worth another try."""

_encode = msgspec.json.Encoder().encode


class Problem(Struct):
    """What went wrong with a request. `code` is the word for programs, `detail` the sentence for people.

    `field` is what of the request is wrong, `stale` lists receipts that were not settled. Of a stream, `line` is the one that is wrong, and
    `stored` counts the messages before it that were stored.
    """

    title: str
    status: int
    code: str
    detail: str
    type: str = "about:blank"
    field: str | UnsetType = UNSET
    stale: list[str] | UnsetType = UNSET
    line: int | UnsetType = UNSET
    stored: int | UnsetType = UNSET


def problem_response(code: str, detail: str, status: int | None = None, **members: Any) -> web.Response:
    """The reply that says so, with further members of Problem."""
    number = STATUS[code] if status is None else HTTPStatus(status)
    problem = Problem(number.phrase, number.value, code, detail, **members)
    response = web.Response(body=_encode(problem), status=number, content_type=CONTENT_TYPE)
    response[CODE] = code
    if number in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        response.headers["Retry-After"] = RETRY_AFTER
    return response


def problem_body(error: GmqError) -> bytes:
    """The body that says that there is no room for a connection."""
    number = HTTPStatus.SERVICE_UNAVAILABLE
    return _encode(Problem(number.phrase, number.value, error.code, error.text))


def refusal(error: GmqError, **members: Any) -> web.Response:
    """The reply to what the broker refused, with further members of Problem."""
    if error.field is not None:
        members["field"] = error.field
    if error.stale is not None:
        members["stale"] = list(error.stale)
    response = problem_response(error.code, error.text, **members)
    if error.limit is not None:
        response[LIMIT] = error.limit
    return response


def challenge(request: web.Request, response: web.Response) -> None:
    """Ask for credentials; a script on a page gets its answer without a dialog."""
    if request.headers.get(SEC_FETCH_MODE, "navigate") == "navigate":
        response.headers[hdrs.WWW_AUTHENTICATE] = CHALLENGE


def answer(request: web.Request, error: Exception) -> web.StreamResponse:
    """The reply to a request that failed, whatever with: the framework's own errors are problem details too."""
    if isinstance(error, GmqError):
        response = refusal(error)
        if error.code == "unauthorized":
            challenge(request, response)
        return response
    if isinstance(error, web.HTTPException):
        return _of_framework(request, error)
    log.error("request failed", method=request.method, path=request.path, exc_info=error)
    return failed()


def failed() -> web.Response:
    """The reply where it is not known what became of the request."""
    return problem_response("unknown", "the request failed in the broker, and its outcome is not known; its log tells more")


def _of_framework(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    if error.status < HTTPStatus.BAD_REQUEST:
        raise error
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        response = problem_response("bad_request", f"{request.method} is not for {request.path}; it may be {allowed}", error.status)
        response.headers["Allow"] = allowed
        return response
    if isinstance(error, web.HTTPNotFound):
        return problem_response("not_found", f"there is nothing at {request.path}; /docs tells what there is", error.status)
    code = "too_large" if isinstance(error, web.HTTPRequestEntityTooLarge) else "bad_request"
    response = problem_response(code, error.text or error.reason, error.status)
    if hdrs.ACCEPT_ENCODING in error.headers:
        response.headers[hdrs.ACCEPT_ENCODING] = error.headers[hdrs.ACCEPT_ENCODING]
    return response
