"""Keeps the cache true to the cluster: lists everything at the start and now and then, and keeps the watch running in between."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from gmq_operator.cache import SERVER, Cache, Key
from gmq_operator.cluster import Cluster, ClusterError
from gmq_operator.handlers import MakeWatch, Watch
from gmq_operator.metrics import Metrics
from gmq_operator.observed import CHILDREN, POD, Kind, Object
from gmq_operator.resources import MANAGED_BY, MANAGER
from gmq_operator.settings import DISCOVERY, FIRST_RETRY, LONGEST_RETRY, RESYNC, Settings

log = structlog.get_logger()

WATCHED: Final = (SERVER, *CHILDREN, POD)
SELECTOR: Final = f"{MANAGED_BY}={MANAGER}"
RELIST_DELAY: Final = 1.0
"""Seconds from when the watch of a kind began anew to a list of it: what was deleted before is told by nothing else."""
WELL: Final = 60.0
"""Seconds that a watch has to last to be taken for a good one."""
NEWEST: Final = str(2**63)


class Upkeep:
    """`changed` is called with each GmqServer that something happened to, `serving` with the kinds of children that the cluster has."""

    def __init__(
        self,
        settings: Settings,
        cluster: Cluster,
        cache: Cache,
        metrics: Metrics,
        *,
        changed: Callable[[Key], None],
        serving: Callable[[frozenset[Kind]], None],
        watch: MakeWatch = Watch,
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._cache = cache
        self._metrics = metrics
        self._changed = changed
        self._serving = serving
        self._make_watch = watch
        self._served: frozenset[Kind] = frozenset()
        self._renew = asyncio.Event()
        """The watch is to begin anew, as the cluster serves other kinds now."""
        self._relist: dict[Kind, asyncio.TimerHandle] = {}
        self._to_list: asyncio.Queue[Kind] = asyncio.Queue()
        """Kinds whose watches began anew."""
        self.synced = asyncio.Event()
        """Set once everything was listed: only then is it known what is missing."""
        self.reached_at = float("-inf")
        """When the API server last answered."""
        self.watch_lost_at: float | None = None
        """Since when the watch is not there, or does not stay; None while it is well."""

    async def run(self) -> None:
        """Go on until cancelled."""
        await self._refresh_until_done()
        self.synced.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_watching(), name="watch")
            group.create_task(self._keep_refreshing(), name="resync")
            group.create_task(self._keep_discovering(), name="discovery")
            group.create_task(self._keep_listing(), name="lists")

    async def _refresh_until_done(self) -> None:
        delay = FIRST_RETRY
        while True:
            try:
                await self._refresh()
            except ClusterError as error:
                log.warning("the cluster cannot be looked at", reason=str(error), again_after=delay)
            else:
                return
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_RETRY)

    async def _refresh(self) -> None:
        """Look at everything, and have every GmqServer reconciled."""
        served = await self._cluster.served(WATCHED)
        if SERVER not in served:
            raise ClusterError(f"It does not know {SERVER.plural}.{SERVER.group}: the CustomResourceDefinition is not installed")
        self._take_up(served)
        for kind in WATCHED:
            if kind in served:
                await self._list(kind)
            else:
                for scope in self._settings.scopes:
                    self._cache.replace(kind, scope, (), NEWEST)
        self.reached_at = _now()
        for key in self._cache.servers():
            self._changed(key)

    def _take_up(self, served: frozenset[Kind]) -> None:
        if served == self._served:
            return
        missing = [f"{kind.plural}.{kind.group}/{kind.version}" for kind in WATCHED if kind not in served]
        log.info("the cluster serves", kinds=sorted(kind.kind for kind in served), missing=missing)
        self._served = served
        self._serving(served & frozenset(CHILDREN))
        self._renew.set()

    async def _list(self, kind: Kind) -> None:
        labels = "" if kind == SERVER else SELECTOR
        for scope in self._settings.scopes:
            items, version = await self._cluster.list(kind, scope, labels=labels)
            for key in self._cache.replace(kind, scope, items, version):
                self._changed(key)

    async def _keep_refreshing(self) -> None:
        while True:
            await asyncio.sleep(RESYNC)
            await self._refresh_until_done()

    async def _keep_discovering(self) -> None:
        """Find kinds that are installed later, such as the ServiceMonitor."""
        while True:
            await asyncio.sleep(DISCOVERY)
            missing = [kind for kind in WATCHED if kind not in self._served]
            try:
                found = await self._cluster.served(missing or [SERVER])
            except ClusterError as error:
                log.warning("the cluster cannot be asked what it serves", reason=str(error), again_after=DISCOVERY)
                continue
            self.reached_at = _now()
            if found.intersection(missing):
                await self._refresh_until_done()

    async def _keep_listing(self) -> None:
        """List the kinds whose watches began anew, after kopf did so."""
        while True:
            kind = await self._to_list.get()
            try:
                await self._list(kind)
            except ClusterError as error:
                log.warning("a kind cannot be listed", kind=kind.kind, reason=str(error), again_after=LONGEST_RETRY)
                self._list_later(kind, LONGEST_RETRY)

    def _list_later(self, kind: Kind, delay: float = RELIST_DELAY) -> None:
        if kind in self._relist:
            self._relist[kind].cancel()
        self._relist[kind] = asyncio.get_running_loop().call_later(delay, self._list_now, kind)

    def _list_now(self, kind: Kind) -> None:
        del self._relist[kind]
        self._to_list.put_nowait(kind)

    async def _keep_watching(self) -> None:
        delay = FIRST_RETRY
        while True:
            self._renew.clear()
            begun = _now()
            error = await self._watch()
            if error is None:
                continue  # for other kinds
            if _now() - begun > WELL:
                delay = FIRST_RETRY
            self.watch_lost_at = self.watch_lost_at or _now()
            self._metrics.watch_restarts.inc()
            log.warning("the watch ended; it is begun anew", reason=str(error) or type(error).__name__, again_after=delay)
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_RETRY)
            await self._refresh_until_done()  # what happened meanwhile was told to nobody

    async def _watch(self) -> BaseException | None:
        """Watch until that fails, or should be begun anew; what failed."""
        watch = self._make_watch(self._settings, self._served, self._event, self._list_later)
        well = asyncio.get_running_loop().call_later(WELL, self._is_well)
        ended, renew = asyncio.create_task(watch.ended()), asyncio.create_task(self._renew.wait())
        watch.start()
        self._metrics.watch_up.set(1)
        try:
            await asyncio.wait([ended, renew], return_when=asyncio.FIRST_COMPLETED)
            return (ended.result() or RuntimeError("kopf stopped by itself")) if ended.done() else None
        finally:
            self._metrics.watch_up.set(0)
            well.cancel()
            ended.cancel()
            renew.cancel()
            await watch.stop()

    def _is_well(self) -> None:
        self.watch_lost_at = None

    def _event(self, kind: Kind, change: str | None, item: Object) -> None:
        """Take up what the watch tells."""
        keys = self._cache.drop(kind, item) if change == "DELETED" else self._cache.put(kind, item)
        for key in keys:
            self._changed(key)


def _now() -> float:
    return asyncio.get_running_loop().time()
