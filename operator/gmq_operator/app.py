"""The life of the operator's process: start, reconcile, stop."""

import asyncio
import os
import signal
from contextlib import suppress

import structlog

import gmq
from gmq_operator.cache import Cache, Key
from gmq_operator.cluster import Cluster, ClusterError, KubernetesCluster, connect
from gmq_operator.handlers import MakeWatch, Watch
from gmq_operator.health import Health
from gmq_operator.metrics import Metrics
from gmq_operator.observed import Context, Kind
from gmq_operator.reconcile import Reconciler, UnfinishedError
from gmq_operator.settings import STALLED, STOPPING, WORKERS, Settings
from gmq_operator.upkeep import Upkeep
from gmq_operator.workqueue import WorkQueue

log = structlog.get_logger()

READY = ("True", "False", "Unknown")
"""What the condition Ready may be."""


class Operator:
    """The parts of the operator, joined."""

    def __init__(self, settings: Settings, cluster: Cluster, metrics: Metrics, watch: MakeWatch = Watch) -> None:
        self._settings = settings
        self._metrics = metrics
        self._cache = Cache()
        self._queue: WorkQueue[Key] = WorkQueue(self._work, self._failed, workers=WORKERS)
        self._reconcile = Reconciler(cluster, self._cache, Context(image=settings.image), metrics, self._queue.add)
        self._upkeep = Upkeep(settings, cluster, self._cache, metrics, changed=self._queue.add, serving=self._serving, watch=watch)
        self._health = Health(metrics, stalled=self.stalled, unready=self.unready, refresh=self.refresh)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set.

        Raises:
            OSError: the port for probes and scrapers cannot be had.
        """
        host, port = await self._health.start(self._settings.host, self._settings.port)
        log.info(
            "started", version=gmq.__version__, namespaces=self._settings.namespaces or "all", address=f"{host}:{port}",
            image=self._settings.image, pid=os.getpid(),
        )  # fmt: skip
        upkeep = asyncio.create_task(self._upkeep.run(), name="upkeep")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        begin = asyncio.create_task(self._begin(), name="begin")
        try:
            await asyncio.wait([upkeep, stopping], return_when=asyncio.FIRST_COMPLETED)
            if upkeep.done():
                upkeep.result()  # it never ends but by an error that nobody foresaw
        finally:
            log.info("stopping")
            for task in (begin, stopping, upkeep):
                task.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(STOPPING):
                    await asyncio.gather(self._queue.stop(), self._health.stop(), upkeep, return_exceptions=True)
        log.info("stopped")

    def stalled(self) -> list[str]:
        """Why the process should be restarted."""
        now = asyncio.get_running_loop().time()
        reasons = []
        if (wait := self._queue.longest_wait()) > STALLED:
            reasons.append(f"a GmqServer waits {wait:.0f} s to be reconciled")
        if (run := self._queue.longest_run()) > STALLED:
            reasons.append(f"a GmqServer is being reconciled for {run:.0f} s")
        lost, reached = self._upkeep.watch_lost_at, now - self._upkeep.reached_at < STALLED
        if lost is not None and now - lost > STALLED and reached:
            reasons.append(f"the watch does not stay, for {now - lost:.0f} s, and the API server answers")
        return reasons

    def unready(self) -> list[str]:
        """Why the operator does not reconcile."""
        if not self._upkeep.synced.is_set():
            return ["the cluster was not looked at yet"]
        if self._upkeep.watch_lost_at is not None:
            return ["the cluster is not watched"]
        return []

    async def _begin(self) -> None:
        await self._upkeep.synced.wait()
        self._queue.start()

    async def _work(self, key: Key) -> float | None:
        return await self._reconcile(key)

    def _serving(self, kinds: frozenset[Kind]) -> None:
        self._reconcile.context = Context(image=self._settings.image, served=kinds)

    def _failed(self, key: Key, error: Exception, failures: int, again: float) -> None:
        expected = isinstance(error, UnfinishedError | ClusterError)
        log.log(
            *(30, "not reconciled") if expected else (40, "reconciling failed"),
            key=str(key), reason=str(error) or type(error).__name__, failures=failures, again_after=round(again, 1),
            exc_info=None if expected else error,
        )  # fmt: skip

    def refresh(self) -> None:
        """Set the metrics that tell a state."""
        metrics = self._metrics
        metrics.queue.set(self._queue.depth)
        metrics.queue_age.set(self._queue.longest_wait())
        metrics.failing.set(self._queue.failing)
        counts = dict.fromkeys(READY, 0)
        for key in self._cache.servers():
            counts[self._readiness(key)] += 1
        for ready, count in counts.items():
            metrics.servers.labels(ready).set(count)

    def _readiness(self, key: Key) -> str:
        body = self._cache.server(key) or {}
        for condition in (body.get("status") or {}).get("conditions") or ():
            if condition.get("type") == "Ready" and condition.get("status") in READY:
                return str(condition["status"])
        return "Unknown"


async def serve(settings: Settings) -> None:
    """Run the operator until SIGTERM or SIGINT.

    Raises:
        ClusterError: nothing says where the cluster is.
        OSError: the port for probes and scrapers cannot be had.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics = Metrics()
    cluster = KubernetesCluster(connect(), metrics)
    try:
        await Operator(settings, cluster, metrics).run(stop)
    finally:
        cluster.close()
