"""What the operator counts. docs/metrics.md has every metric."""

import time
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

import gmq

disable_created_metrics()  # type: ignore[no-untyped-call]  # the package has no types there; nobody reads a time for each counter

RESULTS: Final = ("ok", "invalid", "paused", "refused", "deleted", "error")
"""How a reconciliation may end; `refused`: the API server did not take all of the children."""


class Metrics:
    """The metrics of one operator. Gauges that tell a state are set when somebody asks."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        for kind in (ProcessCollector, PlatformCollector, GCCollector):
            kind(registry=registry)
        self.build = Info("gmq_operator_build", "Which operator this is.", registry=registry)
        self.build.info({"version": gmq.__version__})
        self.reconciles = Counter(
            "gmq_operator_reconciles", "Times that a GmqServer was reconciled, by how it ended.", ["result"], registry=registry
        )
        for result in RESULTS:
            self.reconciles.labels(result)
        self.duration = Histogram(
            "gmq_operator_reconcile_duration_seconds",
            "Time to reconcile a GmqServer once.",
            registry=registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
        )
        self.last_reconcile = Gauge(
            "gmq_operator_last_reconcile_timestamp_seconds", "Time at which a GmqServer was last reconciled without an error.",
            registry=registry,
        )  # fmt: skip
        self.queue = Gauge("gmq_operator_queue_keys", "GmqServers that wait to be reconciled, or are being reconciled.", registry=registry)
        self.queue_age = Gauge(
            "gmq_operator_queue_oldest_age_seconds",
            "Age of the oldest wait of a GmqServer to be reconciled; 0 without one.",
            registry=registry,
        )
        self.failing = Gauge("gmq_operator_failing_servers", "GmqServers whose last reconciliation ended with an error.", registry=registry)
        self.servers = Gauge("gmq_operator_gmqservers", "GmqServers, by the condition Ready.", ["ready"], registry=registry)
        self.api_requests = Counter(
            "gmq_operator_api_requests",
            "Requests to the API server, watches aside, by what was asked for and the answer: ok, a status of HTTP, or unreachable.",
            ["verb", "result"],
            registry=registry,
        )
        self.watch_up = Gauge("gmq_operator_watch_up", "Whether the operator is told of changes in the cluster: 1 or 0.", registry=registry)
        self.watch_restarts = Counter(
            "gmq_operator_watch_restarts", "Times that the watch of the cluster was begun anew.", registry=registry
        )

    def reconciled(self, result: str, seconds: float) -> None:
        """Count a reconciliation that ended."""
        self.reconciles.labels(result).inc()
        self.duration.observe(seconds)
        if result != "error":
            self.last_reconcile.set(time.time())
