"""All metrics as the text that Prometheus reads, at `/metrics`."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator

from aiohttp import web
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder, gzip_accepted

from gmq.server.http.doorway import check_sees_all
from gmq.server.hub import Hub
from gmq.server.metrics.collector import BrokerCollector
from gmq.server.metrics.lag import Lag
from gmq.server.metrics.queues import write_queues
from gmq.server.metrics.roster import Roster

OPENMETRICS = "application/openmetrics-text"
LEVEL = 1
"""How hard gzip tries: the text shrinks to a tenth with the least."""


class Exposition:
    """The metrics of one broker. Scrapes go one after the other, each in slices between which other requests are served."""

    def __init__(self, hub: Hub) -> None:
        self.lag = Lag()
        self._storage = hub.broker.storage
        self._roster = Roster(hub.metrics_queues)
        self._collector = BrokerCollector(hub, self.lag)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self._collector)
        for kind in (ProcessCollector, PlatformCollector, GCCollector):
            kind(registry=self._registry)
        self._lock = asyncio.Lock()

    async def text(self, accept: str) -> tuple[list[bytes], str]:
        """The metrics in pieces, in the format that an Accept header asks for, and its media type."""
        encode, content_type = choose_encoder(accept)
        async with self._lock:
            blocks, self._collector.queues = await write_queues(
                self._storage, self._roster, openmetrics=content_type.startswith(OPENMETRICS)
            )
            return [*blocks, encode(self._registry)], content_type

    async def scrape(self, request: web.Request) -> web.Response:
        """Answer a scrape."""
        check_sees_all(request, "/metrics")
        blocks, content_type = await self.text(",".join(request.headers.getall("Accept", [])))
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if gzip_accepted(request.headers.get("Accept-Encoding", "")):
            headers["Content-Encoding"] = "gzip"
            return web.Response(body=await asyncio.to_thread(compressed, blocks), headers=headers)
        return web.Response(body=b"".join(blocks), headers=headers)


def compressed(blocks: list[bytes]) -> bytes:
    return gzip.compress(b"".join(blocks), LEVEL, mtime=0)


def add_routes(app: web.Application, hub: Hub) -> None:
    """`/metrics`. The applications of one broker share its counters."""
    exposition = hub.metrics
    if exposition is None:
        exposition = hub.metrics = Exposition(hub)
    lag = exposition.lag

    async def watch(_: web.Application) -> AsyncIterator[None]:
        lag.start()
        yield
        lag.stop()

    app.cleanup_ctx.append(watch)
    app.router.add_get("/metrics", exposition.scrape)
