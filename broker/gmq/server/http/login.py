"""Logging in to the console, and out again."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from gmq.server.http.console import FOLDER, StaticFile
from gmq.server.http.doorway import GATE
from gmq.server.http.guard import COOKIE, LOGIN, unauthorized
from gmq.server.http.incoming import json_body
from gmq.server.http.sessions import LASTS, Sessions
from gmq.server.hub import Hub

BODY_LIMIT: Final = 16 << 10
_encode = msgspec.json.Encoder().encode


class LoginBody(Struct, forbid_unknown_fields=True):
    """Who wants to log in."""

    user: Annotated[str, Meta(max_length=1024)]
    password: Annotated[str, Meta(max_length=4096)]


class Session(Struct):
    """Whose session it is; None where nobody has to log in, or the request has its own credentials."""

    user: str | None


class Login:
    """The page, and what it asks for."""

    def __init__(self, hub: Hub, sessions: Sessions) -> None:
        self._authenticator = hub.authenticator
        self._timeout = hub.request_timeout
        self._sessions = sessions
        self._page = StaticFile(FOLDER / "login.html")

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The page, where somebody may have to log in."""
        if not self._authenticator.required:
            return web.Response(status=303, headers={"Location": "."})
        return await self._page.serve(request)

    async def begin(self, request: web.Request) -> web.StreamResponse:
        """Log in: the reply has the session's secret in a cookie that no script can read and no other site's page can send."""
        body = await json_body(request, LoginBody, BODY_LIMIT, self._timeout)
        access = self._authenticator.at_once(body.user, body.password)
        if access is None:
            access = await self._authenticator.check(body.user, body.password, request.remote or "")
        if access is None:
            return unauthorized(request)
        response = web.Response(status=204)
        response.set_cookie(
            COOKIE, self._sessions.begin(access), max_age=int(LASTS), httponly=True, samesite="Strict", secure=request.secure, path="/"
        )
        return response

    async def end(self, request: web.Request) -> web.StreamResponse:
        """Log out."""
        self._sessions.end(request.cookies.get(COOKIE, ""))
        response = web.Response(status=204)
        response.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict", secure=request.secure)
        return response

    async def session(self, request: web.Request) -> web.StreamResponse:
        """Whose session this is."""
        gate = request.get(GATE) if COOKIE in request.cookies else None
        return web.Response(body=_encode(Session(None if gate is None else gate.access.name)), content_type="application/json")


def add_routes(app: web.Application, hub: Hub, sessions: Sessions) -> None:
    """`/login`, `/logout` and `/session`."""
    login = Login(hub, sessions)
    app.router.add_get(LOGIN, login.page)
    app.router.add_post(LOGIN, login.begin)
    app.router.add_post("/logout", login.end)
    app.router.add_get("/session", login.session)
