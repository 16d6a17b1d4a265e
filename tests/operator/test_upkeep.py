"""How the cache is kept true to the cluster, whatever becomes of the watch. Time is the event loop's, and costs none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fakecluster import NAMESPACE, FakeCluster
from fakewatch import FakeWatch
from looptime import run

from gmq_operator.cache import SERVER, Cache, Key
from gmq_operator.cluster import RefusedError, UnreachableError
from gmq_operator.metrics import Metrics
from gmq_operator.observed import CHILDREN, DEPLOYMENT, SERVICE_MONITOR, Kind
from gmq_operator.settings import DISCOVERY, RESYNC, Settings
from gmq_operator.upkeep import RELIST_DELAY, WELL, Upkeep

AWAY = UnreachableError("The API server cannot be reached")
SPEC = {"storage": {"type": "memory"}}


class Scene:
    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.cache = Cache()
        self.metrics = Metrics()
        self.changed: list[str] = []
        self.serving: list[frozenset[Kind]] = []
        self.watches: list[FakeWatch] = []
        self.upkeep = Upkeep(
            Settings(image="gmq"),
            self.cluster,
            self.cache,
            self.metrics,
            changed=lambda key: self.changed.append(key.name),
            serving=self.serving.append,
            watch=self.watch,
        )

    def watch(self, _: Settings, kinds: frozenset[Kind], sink: Callable[..., None], asked: Callable[[Kind], None]) -> Any:
        self.watches.append(FakeWatch(kinds, sink, asked))
        return self.watches[-1]

    @property
    def now_watching(self) -> FakeWatch:
        running = [watch for watch in self.watches if watch.running]
        assert len(running) == 1, f"{len(running)} watches run"
        return running[0]


def play(scenario: Callable[[Scene], Awaitable[None]], prepare: Callable[[Scene], None] = lambda _: None) -> None:
    async def all_of_it() -> None:
        scene = Scene()
        prepare(scene)
        task = asyncio.create_task(scene.upkeep.run())
        try:
            await scenario(scene)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert not [watch for watch in scene.watches if watch.running], "a watch is left behind"

    run(all_of_it)


def test_everything_is_listed_before_anything_is_reconciled() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.upkeep.synced.wait()
        assert scene.cache.server(Key(NAMESPACE, "orders"))
        assert "orders" in scene.changed
        assert scene.serving == [frozenset(CHILDREN)]
        await asyncio.sleep(1)
        assert SERVER in scene.now_watching.kinds

    play(scenario, lambda scene: scene.cluster.user_applies("orders", SPEC))


def test_the_start_waits_for_a_cluster_that_is_away() -> None:
    def prepare(scene: Scene) -> None:
        scene.cluster.fail("discover", AWAY, times=3)
        scene.cluster.fail("list", AWAY, times=3)

    async def scenario(scene: Scene) -> None:
        await asyncio.sleep(2)
        assert not scene.upkeep.synced.is_set()
        await asyncio.wait_for(scene.upkeep.synced.wait(), 120)

    play(scenario, prepare)


def test_the_start_waits_for_the_definition_of_gmqservers() -> None:
    async def scenario(scene: Scene) -> None:
        await asyncio.sleep(300)
        assert not scene.upkeep.synced.is_set()
        scene.cluster.kinds.add(SERVER)
        await asyncio.wait_for(scene.upkeep.synced.wait(), 60)

    play(scenario, lambda scene: scene.cluster.kinds.discard(SERVER))


def test_what_the_watch_tells_is_taken_up() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.upkeep.synced.wait()
        await asyncio.sleep(1)
        scene.cluster.sink = scene.now_watching.sink
        scene.changed.clear()
        scene.cluster.user_applies("orders", SPEC)
        assert scene.changed == ["orders"]
        scene.cluster.remove(SERVER, "orders")
        assert scene.changed == ["orders", "orders"]
        assert not scene.cache.servers()

    play(scenario)


def test_what_no_watch_told_is_found_by_the_next_look() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.upkeep.synced.wait()
        await asyncio.sleep(RELIST_DELAY + 1)
        scene.cluster.user_applies("orders", SPEC)
        await asyncio.sleep(RESYNC + 1)
        assert "orders" in scene.changed
        scene.cluster.remove(SERVER, "orders")
        await asyncio.sleep(RESYNC + 1)
        assert not scene.cache.servers()

    play(scenario)


def test_everything_is_reconciled_now_and_then_and_costs_a_few_lists() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.upkeep.synced.wait()
        await asyncio.sleep(RELIST_DELAY + 1)
        scene.changed.clear()
        scene.cluster.requests.clear()
        await asyncio.sleep(6 * RESYNC)
        assert scene.changed.count("orders") == 6
        assert len(scene.cluster.requests) / (6 * RESYNC) < 0.1

    play(scenario, lambda scene: scene.cluster.user_applies("orders", SPEC))


def test_a_watch_that_ends_is_begun_anew_and_everything_is_looked_at() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.upkeep.synced.wait()
        await asyncio.sleep(WELL + 1)
        assert scene.upkeep.watch_lost_at is None
        scene.now_watching.fail(RuntimeError("it broke"))
        scene.cluster.user_applies("orders", SPEC)
        await asyncio.sleep(5)
        assert len(scene.watches) == 2
        assert "orders" in scene.changed
        assert scene.upkeep.watch_lost_at is not None, "a watch is taken for a good one before it has lasted"
        await asyncio.sleep(WELL)
        assert scene.upkeep.watch_lost_at is None
        for _ in range(5):
            scene.now_watching.fail(None)
            await asyncio.sleep(WELL - 1)
        assert scene.upkeep.watch_lost_at is not None
        assert scene.metrics.watch_restarts._value.get() == 6

    play(scenario)


def test_a_kind_that_is_installed_later_is_watched_and_everything_is_reconciled() -> None:
    def prepare(scene: Scene) -> None:
        scene.cluster.kinds.discard(SERVICE_MONITOR)
        scene.cluster.user_applies("orders", SPEC)

    async def scenario(scene: Scene) -> None:
        await scene.upkeep.synced.wait()
        await asyncio.sleep(1)
        assert SERVICE_MONITOR not in scene.now_watching.kinds
        assert SERVICE_MONITOR not in scene.serving[-1]
        scene.changed.clear()
        scene.cluster.kinds.add(SERVICE_MONITOR)
        await asyncio.sleep(DISCOVERY + 1)
        assert SERVICE_MONITOR in scene.serving[-1]
        assert SERVICE_MONITOR in scene.now_watching.kinds
        assert "orders" in scene.changed
        scene.cluster.kinds.discard(SERVICE_MONITOR)
        await asyncio.sleep(RESYNC + 1)
        assert SERVICE_MONITOR not in scene.now_watching.kinds

    play(scenario, prepare)


def test_a_kind_whose_watch_began_anew_is_listed_for_what_was_deleted_in_between() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.upkeep.synced.wait()
        await asyncio.sleep(RELIST_DELAY + 1)
        scene.cluster.remove(SERVER, "orders")
        scene.cluster.requests.clear()
        for _ in range(10):
            scene.now_watching.asked(SERVER)
        await asyncio.sleep(RELIST_DELAY + 1)
        assert not scene.cache.servers()
        assert scene.cluster.requests == [("list", "GmqServer", "")]

    play(scenario, lambda scene: scene.cluster.user_applies("orders", SPEC))


def test_what_is_deleted_while_the_watch_begins_is_found_at_once() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.upkeep.synced.wait()
        scene.cluster.remove(SERVER, "orders")  # after the first list, and before that of kopf, which tells only of what is there
        await asyncio.sleep(RELIST_DELAY + 1)
        assert not scene.cache.servers()

    play(scenario, lambda scene: scene.cluster.user_applies("orders", SPEC))


def test_failures_while_it_runs_end_nothing() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.upkeep.synced.wait()
        scene.cluster.fail("list", AWAY, times=5)
        scene.cluster.fail("discover", RefusedError(403, "Forbidden", "no"), times=5)
        await asyncio.sleep(3 * RESYNC)
        scene.cluster.user_applies("orders", SPEC)
        await asyncio.sleep(2 * RESYNC)
        assert scene.cache.servers()
        assert scene.now_watching

    play(scenario)


def test_a_kind_is_forgotten_with_what_the_cluster_had_of_it() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.upkeep.synced.wait()
        assert scene.cache.children(Key(NAMESPACE, "orders"))
        scene.cluster.kinds.discard(DEPLOYMENT)
        await asyncio.sleep(RESYNC + 1)
        assert not scene.cache.children(Key(NAMESPACE, "orders"))

    def prepare(scene: Scene) -> None:
        labels = {"app.kubernetes.io/managed-by": "gmq-operator", "app.kubernetes.io/instance": "orders"}
        item = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "orders", "namespace": NAMESPACE, "labels": labels}}
        scene.cluster.put(DEPLOYMENT, item)

    play(scenario, prepare)
