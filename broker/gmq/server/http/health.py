"""Whether the process lives, and whether it can serve."""

from __future__ import annotations

from aiohttp import web

from gmq.server.hub import Hub


def add_routes(app: web.Application, hub: Hub) -> None:
    """`/healthz` and `/readyz`."""

    async def alive(_: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def ready(_: web.Request) -> web.Response:
        reasons = hub.unready()
        if not reasons:
            return web.json_response({"status": "ready"})
        return web.json_response({"status": "unready", "reasons": reasons}, status=503)

    app.router.add_get("/healthz", alive)
    app.router.add_get("/readyz", ready)
