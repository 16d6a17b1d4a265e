"""One connection over HTTP, as aiohttp has it, within the limits that TCP has too."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from http import HTTPStatus
from typing import Any, Final, Literal, cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from gmq.message import GmqError
from gmq.server.http.problem import COMMON_HEADERS, RETRY_AFTER, failed, problem_body, problem_response
from gmq.server.hub import Hub
from gmq.server.limits import SLACK
from gmq.server.patience import SlowReader

log = structlog.get_logger()

MAX_LINE: Final = 16 << 10
"""Bytes of a request line, and of one header: a queue's name may have 255 bytes, each of which may be percent-encoded."""
LINGER: Final = 1.0
"""Seconds for which one that is turned away is still read from, so that no reset destroys what it is told."""


class Connection(web.RequestHandler):
    """One client. It is turned away where there are too many, and let go where it takes too long.

    A request line and its headers have to be complete within the time for a request, from the first byte or, at the beginning, from the
    start; bodies have their own.
    """

    __slots__ = (
        "_admission",
        "_body",
        "_head_at",
        "_head_of",
        "_hub",
        "_lingers",
        "_listener",
        "_refused",
        "_slow_reader",
        "_source",
        "_timer",
        "_wire",
    )

    def __init__(self, hub: Hub, listener: Literal["http", "ops"], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._hub = hub
        self._listener = listener
        self._admission = hub.admission if listener == "http" else hub.probes
        self._source: str | None = None  # under what it was let in
        self._refused = False
        self._lingers = False
        self._wire: asyncio.Transport | None = None
        self._slow_reader: SlowReader | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._head_of = -1  # how many requests came before the last one whose head was not complete at once
        self._head_at = 0.0  # when it began
        self._body = 0  # bytes of the request under way that are kept outside of aiohttp

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        hub = self._hub
        self._wire = wire = cast("asyncio.Transport", transport)  # asyncio promises no more, and gives one
        try:
            self._source = self._admission.enter(self._listener, transport.get_extra_info("peername"))
        except GmqError as error:
            self._turn_away(wire, error)
            return
        if hub.write_timeout is not None:
            self._slow_reader = SlowReader(wire, hub.write_timeout, self.let_go)
        super().connection_made(transport)
        self._watch_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._source is not None:
            self._admission.leave(self._source)
            self._hub.buffers.weigh(self, 0)
            self._source = None
        if self._slow_reader is not None:
            self._slow_reader.stop()
        if self._lingers:
            self._admission.lingering -= 1
            self._lingers = False
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        super().data_received(data)
        if not self._request_in_progress and not self._messages and self._head_of != self._request_count:
            self._watch_head()  # something came, and no request of it yet

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The reply to what aiohttp could not read or serve: none of what the client sent, and not what reads it here."""
        super().handle_error(request, status, exc, message)  # it tells the log, and raises where a reply has begun
        response = unreadable(exc) if status == HTTPStatus.BAD_REQUEST else failed()
        response.headers.extend(COMMON_HEADERS)
        response.force_close()
        return response

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        if isinstance(resp, web.HTTPException):  # aiohttp's own, of what it refused before anybody was asked
            resp = unserved(resp)
        return super().finish_response(request, resp, start_time)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._slow_reader is not None:
            self._slow_reader.start()
        self._weigh()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._slow_reader is not None:
            self._slow_reader.stop()
        self._weigh()

    def keep(self, size: int) -> None:
        """So many bytes of the request under way are kept until it is complete; 0 when they are not any more."""
        before, self._body = self._body, size
        if size > SLACK or before > SLACK:
            self._weigh()

    def _weigh(self) -> None:
        if self._source is not None and self._wire is not None:
            waiting = self._wire.get_write_buffer_size() if self.writing_paused else 0
            self._hub.buffers.weigh(self, self._body + waiting)

    def let_go(self, reason: str) -> None:
        """Close at once, and count the reason: the limit that the client came up against."""
        wire = self._wire
        if wire is not None and not wire.is_closing():
            self._admission.closed[self._listener, reason] += 1
            log.info("connection closed", peer=str(wire.get_extra_info("peername")), reason=reason, transport=self._listener)
            wire.abort()

    def _watch_head(self) -> None:
        """A request may have begun: see to it that its head is complete in time."""
        self._head_of, self._head_at = self._request_count, self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._hub.request_timeout, self._check_head)

    def _check_head(self) -> None:
        self._timer = None
        if self._request_count != self._head_of or self._waiter is None:
            return
        left = self._head_at + self._hub.request_timeout - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._check_head)
        else:
            self.let_go("request_timeout")

    def _turn_away(self, wire: asyncio.Transport, error: GmqError) -> None:
        """Say why this client is not served, unless too many are being told already."""
        self._refused = True
        if not self._admission.may_linger():
            wire.abort()
            return
        self._lingers = True
        self._admission.lingering += 1
        body = problem_body(error)
        head = (
            "HTTP/1.1 503 Service Unavailable\r\nServer: gmq\r\nContent-Type: application/problem+json\r\n"
            f"Content-Length: {len(body)}\r\nRetry-After: {RETRY_AFTER}\r\nConnection: close\r\n\r\n"
        )
        wire.write(head.encode() + body)
        if wire.can_write_eof():
            wire.write_eof()
        self._timer = self._loop.call_later(LINGER, wire.abort)


def unserved(error: web.HTTPException) -> web.Response:
    """The reply to a request that was refused before it was looked at: an Expect is the one thing that is."""
    about = "; Expect may be 100-continue, and nothing else" if error.status == HTTPStatus.EXPECTATION_FAILED else ""
    response = problem_response("bad_request", f"this is not served{about}", error.status)
    response.headers.extend(COMMON_HEADERS)
    return response


def unreadable(error: BaseException | None) -> web.Response:
    """The reply to what is no request."""
    if isinstance(error, LineTooLong):
        return problem_response(
            "bad_request", f"the request's line or one of its headers is longer than the {MAX_LINE} bytes that it may have"
        )
    return problem_response("bad_request", "this is not a request of HTTP/1.1 as RFC 9112 has it; the connection is closed")
