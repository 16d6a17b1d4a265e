"""The yardstick for HTTP: aiohttp on the broker's own event loop with one handler, which answers 201 and does nothing else."""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiohttp import web


async def created(_: web.Request) -> web.Response:
    return web.Response(status=201)


async def serve(port: int) -> None:
    """Serve on this port of the loopback interface until the process is ended."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", created)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
