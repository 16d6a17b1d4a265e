"""The port for probes and scrapers: whether reconciling goes on, whether it has begun, and what was counted."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gmq_operator.metrics import Metrics

Problems = Callable[[], Sequence[str]]
"""What is wrong now, in sentences; nothing when all is well."""

HEADERS: Final = {"Cache-Control": "no-store"}


class Health:
    """Serves `/healthz`, `/readyz` and `/metrics`. `refresh` is called before the metrics are read."""

    def __init__(self, metrics: Metrics, *, stalled: Problems, unready: Problems, refresh: Callable[[], None]) -> None:
        self._metrics = metrics
        self._refresh = refresh
        app = web.Application()
        app.router.add_get("/healthz", _probe(stalled, "alive", "stalled"))
        app.router.add_get("/readyz", _probe(unready, "ready", "unready"))
        app.router.add_get("/metrics", self._exposition)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; the address. Port 0 takes one that is free.

        Raises:
            OSError: the address cannot be had.
        """
        await self._runner.setup()
        site = web.TCPSite(self._runner, host or None, port)
        await site.start()
        address = self._runner.addresses[0]
        return str(address[0]), int(address[1])

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _exposition(self, _: web.Request) -> web.Response:
        self._refresh()
        return web.Response(body=generate_latest(self._metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST, **HEADERS})


def _probe(problems: Problems, well: str, ill: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_: web.Request) -> web.StreamResponse:
        reasons = list(problems())
        if not reasons:
            return web.json_response({"status": well}, headers=HEADERS)
        return web.json_response({"status": ill, "reasons": reasons}, status=503, headers=HEADERS)

    return answer
