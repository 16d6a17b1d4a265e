"""The HTTP listeners: the main one, and the one for probes and scrapers."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence

from aiohttp import web

from gmq.server.http import api, console, health, login, openapi, reference
from gmq.server.http.front import front
from gmq.server.http.guard import Guard
from gmq.server.http.sessions import Sessions
from gmq.server.hub import Hub
from gmq.server.metrics import exposition

MAX_LINE = 16 << 10
"""Bytes of a request line, and of one header: a queue's name may have 255 bytes, each of which may be percent-encoded."""


def main_site(hub: Hub, hosts: Sequence[str]) -> web.Application:
    """Everything that is served over HTTP; `hosts` are further names of this broker, see `Guard`."""
    sessions = Sessions()
    app = web.Application(middlewares=[front(Guard(hub, hosts, sessions), hub.http_counts)])
    health.add_routes(app, hub)
    exposition.add_routes(app, hub)
    api.add_routes(app, hub)
    openapi.add_routes(app, hub)
    reference.add_routes(app, hub)
    console.add_routes(app, hub)
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

    def __init__(self, app: web.Application, sockets: Sequence[socket.socket], grace: float, tls: ssl.SSLContext | None = None) -> None:
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, max_line_size=MAX_LINE, max_field_size=MAX_LINE, shutdown_timeout=grace
        )
        self._sockets = sockets
        self._tls = tls

    async def start(self, backlog: int) -> None:
        """Accept connections."""
        await self._runner.setup()
        for one in self._sockets:
            await web.SockSite(self._runner, one, backlog=backlog, ssl_context=self._tls).start()

    @property
    def connections(self) -> int:
        """Connections that are open."""
        server = self._runner.server
        return 0 if server is None else len(server.connections)

    async def stop(self) -> None:
        """Accept no more, let requests that are under way be answered, and close."""
        await self._runner.cleanup()
