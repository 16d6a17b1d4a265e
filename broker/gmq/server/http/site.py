"""The HTTP listeners: the main one, and the one for probes and scrapers."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from typing import Any, Literal

from aiohttp import web

from gmq.server.http import api, console, health, login, openapi, reference
from gmq.server.http.connection import MAX_LINE, Connection
from gmq.server.http.framework import FrameworkLog
from gmq.server.http.front import front
from gmq.server.http.guard import Guard
from gmq.server.http.sessions import Sessions
from gmq.server.hub import Hub
from gmq.server.metrics import exposition

MAX_HEADERS = 64
"""Headers of a request: browsers behind several proxies send half as many."""
IDLE = 3630.0
"""Seconds after which a connection is closed on which no request came, where the configuration does not say: more than proxies wait."""


def main_site(hub: Hub, hosts: Sequence[str]) -> web.Application:
    """Everything that is served over HTTP; `hosts` are further names of this broker, see `Guard`."""
    sessions = Sessions()
    app = web.Application(middlewares=[front(Guard(hub, hosts, sessions), hub.http_counts)])
    health.add_routes(app, hub)
    exposition.add_routes(app, hub)
    api.add_routes(app, hub)
    openapi.add_routes(app, hub)
    reference.add_routes(app, hub)
    console.add_routes(app, hub, sessions)
    login.add_routes(app, hub, sessions)
    return app


def ops_site(hub: Hub) -> web.Application:
    """What probes and scrapers read, for whoever reaches it."""
    app = web.Application(middlewares=[front()])
    health.add_routes(app, hub)
    exposition.add_routes(app, hub)
    return app


class Site:
    """One application on its sockets. When it stops, requests that are under way have `grace` seconds to be answered."""

    def __init__(
        self, hub: Hub, app: web.Application, sockets: Sequence[socket.socket], grace: float, tls: ssl.SSLContext | None = None, *,
        name: Literal["http", "ops"] = "http",
    ) -> None:  # fmt: skip
        self._hub = hub
        self._name = name
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=grace)
        self._options: dict[str, Any] = {
            "logger": FrameworkLog(),
            "access_log": None,
            "max_line_size": MAX_LINE,
            "max_field_size": MAX_LINE,
            "max_headers": MAX_HEADERS,
            "auto_decompress": False,
            "keepalive_timeout": IDLE if hub.idle_timeout is None else hub.idle_timeout,
        }
        self._sockets = sockets
        self._tls = tls
        self._servers: list[asyncio.Server] = []

    async def start(self, backlog: int) -> None:
        """Accept connections."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        handshake = None if self._tls is None else self._hub.request_timeout
        for one in self._sockets:
            self._servers.append(
                await loop.create_server(self._connection, sock=one, backlog=backlog, ssl=self._tls, ssl_handshake_timeout=handshake)
            )

    def _connection(self) -> web.RequestHandler:
        return Connection(self._hub, self._name, self._runner.server, loop=asyncio.get_running_loop(), **self._options)

    @property
    def connections(self) -> int:
        """Connections that are open."""
        server = self._runner.server
        return 0 if server is None else len(server.connections)

    async def stop(self) -> None:
        """Accept no more, let requests that are under way be answered, and close."""
        for server in self._servers:
            server.close()
        await self._runner.cleanup()
