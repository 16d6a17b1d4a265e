"""A GmqServer's world in memory: the cluster, the cache that its watch feeds, and the reconciliation of one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fakecluster import NAMESPACE, FakeCluster

from gmq_operator.cache import SERVER, Cache, Key
from gmq_operator.metrics import Metrics
from gmq_operator.observed import CHILDREN, Context
from gmq_operator.reconcile import Reconciler
from gmq_operator.reports import EVENT

MEMORY = {"type": "memory"}
FILESYSTEM = {"type": "filesystem", "filesystem": {"size": "1Gi"}}
MYSQL = {"type": "mysql", "mysql": {"host": "db", "credentialsSecretRef": {"name": "db"}}}
OLD, NEW = "gmq:1", "gmq:2"


class World:
    """`seconds` is the reconciler's clock."""

    def __init__(self, cluster: FakeCluster | None = None, image: str = OLD) -> None:
        self.cluster = cluster or FakeCluster()
        self.cache = Cache()
        self.metrics = Metrics()
        self.seconds = 1000.0
        self.woken: list[Key] = []
        self.cluster.sink = self.tell
        for kind, _, name in list(self.cluster.objects):
            if kind in self.cluster.kinds:
                self.cache.put(kind, self.cluster.one(kind, name))
        context = Context(image=image, served=frozenset(self.cluster.kinds.intersection(CHILDREN)))
        self.reconciler = Reconciler(self.cluster, self.cache, context, self.metrics, self.woken.append, lambda: self.seconds)

    def tell(self, kind: Any, change: str, item: Any) -> None:
        if change == "DELETED":
            self.cache.drop(kind, item)
        else:
            self.cache.put(kind, item)

    def user_applies(self, name: str, **spec: Any) -> None:
        self.cluster.user_applies(name, {"storage": MEMORY, **spec})

    async def reconcile(self, name: str) -> float | None:
        return await self.reconciler(Key(NAMESPACE, name))

    async def settle(self, name: str) -> float | None:
        """Reconcile until nothing changes any more, as events would have it."""
        for _ in range(10):
            before = self.cluster.version
            again = await self.reconcile(name)
            if self.cluster.version == before:
                return again
        raise AssertionError(f"the reconciliation of {name} does not come to rest: {self.cluster.changes()[-10:]}")

    def status(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.cluster.one(SERVER, name).get("status", {})
        return found

    def condition(self, name: str, of: str) -> tuple[str, str, str]:
        """Status, reason and message."""
        for condition in self.status(name).get("conditions", ()):
            if condition["type"] == of:
                return condition["status"], condition["reason"], condition["message"]
        raise AssertionError(f"{name} has no condition {of}: {self.status(name)}")

    def told(self) -> list[tuple[str, str]]:
        """Type and reason of every Event about GmqServers."""
        return [
            (item["type"], item["reason"])
            for (kind, _, _), item in self.cluster.objects.items()
            if kind == EVENT and item["involvedObject"]["kind"] == SERVER.kind
        ]


def play(scenario: Callable[[World], Awaitable[None]]) -> None:
    asyncio.run(_play(scenario))


async def _play(scenario: Callable[[World], Awaitable[None]]) -> None:
    await scenario(World())
