"""The operator as a whole, on a cluster in memory: many GmqServers, bad ones among them, and when it says that it is not well."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fakecluster import NAMESPACE, FakeCluster, rolled_out
from fakewatch import FakeWatch
from looptime import run

from gmq_operator.app import Operator
from gmq_operator.cache import SERVER
from gmq_operator.cluster import RefusedError
from gmq_operator.metrics import Metrics
from gmq_operator.observed import CONFIG_MAP, DEPLOYMENT, Kind
from gmq_operator.settings import DISCOVERY, STALLED, WORKERS, Settings
from gmq_operator.upkeep import WELL

SPEC = {"storage": {"type": "memory"}, "replicas": 0}
MANY = 50


class Scene:
    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.metrics = Metrics()
        self.watches: list[FakeWatch] = []
        self.operator = Operator(Settings(image="gmq:1", host="127.0.0.1", port=0), self.cluster, self.metrics, self.watch)

    def watch(self, _: Settings, kinds: frozenset[Kind], sink: Callable[..., None], asked: Callable[[Kind], None]) -> Any:
        self.watches.append(FakeWatch(kinds, sink, asked))
        self.cluster.sink = sink
        return self.watches[-1]

    def ready(self, name: str) -> str:
        conditions = self.cluster.one(SERVER, name).get("status", {}).get("conditions", ())
        return next((condition["status"] for condition in conditions if condition["type"] == "Ready"), "")


def play(scenario: Callable[[Scene], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        scene = Scene()
        stop = asyncio.Event()
        task = asyncio.create_task(scene.operator.run(stop))
        try:
            await scenario(scene)
        finally:
            stop.set()
            await task

    run(all_of_it)


def test_many_servers_are_made_and_kept_and_bad_ones_among_them_disturb_nobody() -> None:
    async def scenario(scene: Scene) -> None:
        await asyncio.sleep(1)
        for number in range(MANY):
            spec: Any = SPEC if number % 5 else {"storage": {"type": "memory"}, "replicas": 3}
            scene.cluster.user_applies(f"server-{number}", spec)
        garbage = {"apiVersion": SERVER.api_version, "kind": SERVER.kind, "metadata": {"name": "bad", "namespace": NAMESPACE}, "spec": []}
        scene.cluster.put(SERVER, garbage)
        good = {f"server-{number}" for number in range(MANY) if number % 5}
        await asyncio.sleep(5)
        assert scene.cluster.names(DEPLOYMENT) == good
        for name in good:
            scene.cluster.edit(DEPLOYMENT, name, rolled_out)
            scene.cluster.remove(CONFIG_MAP, f"{name}-config")
        await asyncio.sleep(5)
        assert {name for name in scene.cluster.names(SERVER) if scene.ready(name) == "True"} == good
        assert scene.cluster.names(CONFIG_MAP) == {f"{name}-config" for name in good}
        scene.cluster.requests.clear()
        await asyncio.sleep(3600)
        assert len(scene.cluster.requests) / 3600 < 1, "an operator with nothing to do asks the API server too much"
        assert not scene.operator.stalled()

    play(scenario)


def test_it_is_ready_when_it_has_looked_and_watches() -> None:
    async def scenario(scene: Scene) -> None:
        scene.cluster.kinds.discard(SERVER)
        await asyncio.sleep(10)
        assert scene.operator.unready()
        assert not scene.operator.stalled(), "a definition that is missing is no reason to restart"
        scene.cluster.kinds.add(SERVER)
        await asyncio.sleep(60)
        assert not scene.operator.unready()
        scene.watches[-1].fail(RuntimeError("it broke"))
        await asyncio.sleep(1)
        assert scene.operator.unready()
        await asyncio.sleep(WELL + 10)
        assert not scene.operator.unready()

    play(scenario)


def test_work_that_comes_to_no_end_is_a_reason_to_restart() -> None:
    async def scenario(scene: Scene) -> None:
        await asyncio.sleep(1)

        async def never(*_: Any, **__: Any) -> Any:
            await asyncio.sleep(1e9)

        scene.cluster.apply = never  # type: ignore[method-assign]  # an answer that never comes
        for number in range(WORKERS + 1):
            scene.cluster.user_applies(f"server-{number}", SPEC)
        await asyncio.sleep(STALLED - 10)
        assert not scene.operator.stalled()
        await asyncio.sleep(20)
        reasons = " ".join(scene.operator.stalled())
        assert "waits" in reasons
        assert "is being reconciled" in reasons

    play(scenario)


def test_a_watch_that_never_stays_is_a_reason_to_restart_but_not_while_the_cluster_is_away() -> None:
    async def scenario(scene: Scene) -> None:
        async def break_watches() -> None:
            while True:
                await asyncio.sleep(1)
                if scene.watches[-1].running:
                    scene.watches[-1].fail(RuntimeError("forbidden"))
                    scene.watches[-1].running = False

        breaking = asyncio.create_task(break_watches())
        await asyncio.sleep(STALLED + 60)
        assert any("watch" in reason for reason in scene.operator.stalled())
        scene.cluster.fail("discover", RefusedError(403, "Forbidden", "no"), times=10**6)
        await asyncio.sleep(STALLED + DISCOVERY + 60)
        assert not scene.operator.stalled()
        breaking.cancel()

    play(scenario)


def test_servers_are_counted_by_whether_they_are_ready() -> None:
    async def scenario(scene: Scene) -> None:
        await asyncio.sleep(1)
        scene.cluster.user_applies("good", SPEC)
        scene.cluster.user_applies("bad", {"storage": {"type": "memory"}, "replicas": 3})
        await asyncio.sleep(5)
        scene.cluster.edit(DEPLOYMENT, "good", rolled_out)
        await asyncio.sleep(5)
        scene.operator.refresh()
        counts = {
            sample.labels["ready"]: sample.value
            for family in scene.metrics.registry.collect()
            for sample in family.samples
            if sample.name == "gmq_operator_gmqservers"
        }
        assert counts == {"True": 1, "False": 1, "Unknown": 0}

    play(scenario)
