"""The metrics of the broker as a whole, for the client library to write."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from typing import get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

import gmq
from gmq.histogram import Histogram
from gmq.message import LIMITS
from gmq.server.counts import Counts
from gmq.server.hub import Hub
from gmq.server.limits import ENDINGS, REFUSALS, Transport
from gmq.server.metrics import definitions as metrics
from gmq.server.metrics.definitions import Definition
from gmq.server.metrics.lag import Lag


class BrokerCollector(Collector):
    """Reads what the broker counts. `queues` is the number of queues when they were last gone through."""

    def __init__(self, hub: Hub, lag: Lag) -> None:
        self.queues = 0
        self._hub = hub
        self._lag = lag
        self._transports = dict(zip(metrics.TRANSPORTS, (hub.counts, hub.http_counts), strict=True))
        self._done: dict[tuple[str, str], int] = {}  # requests by transport and operation, as they were last shown

    def collect(self) -> Iterator[Metric]:
        storage = self._hub.broker.storage
        version = {"version": gmq.__version__, "storage": storage.name, "python": platform.python_version()}
        yield InfoMetricFamily(metrics.BUILD.name, metrics.BUILD.help, version)
        yield gauge(metrics.READY, ((), not self._hub.unready()))
        yield gauge(metrics.QUEUES, ((), self.queues))
        yield gauge(metrics.QUEUES_LIMIT, ((), self._hub.broker.limits.queues))
        yield gauge(metrics.MEMORY, ((), storage.memory))
        yield gauge(metrics.MEMORY_LIMIT, ((), self._hub.broker.limits.memory))
        http = 0 if self._hub.http is None else self._hub.http.connections
        yield gauge(metrics.CONNECTIONS, (("tcp",), len(self._hub.connections)), (("http",), http))
        yield from self._limits()
        yield gauge(metrics.CONSUMERS, ((), self._hub.broker.waiting_consumers))
        yield gauge(metrics.CONSUMERS_LIMIT, ((), self._hub.broker.limits.waiting))
        counts = self._transports.items()
        yield counter(metrics.LIMIT_REFUSALS, *(((transport, limit), one.limits[limit]) for transport, one in counts for limit in LIMITS))
        yield counter(metrics.AUTHENTICATION_FAILURES, ((), self._hub.authenticator.failures))
        yield self._requests()
        yield self._durations()
        yield from self._storage()
        yield histogram(metrics.LAG, ((), self._lag.histogram))

    def _limits(self) -> Iterator[Metric]:
        hub = self._hub
        yield gauge(metrics.CONNECTIONS_LIMIT, ((), hub.admission.most))
        for definition, reasons, counters in (
            (metrics.REFUSED, REFUSALS, (hub.admission.refused, hub.probes.refused)),
            (metrics.CLOSED, ENDINGS, (hub.admission.closed, hub.probes.closed)),
        ):
            family = CounterMetricFamily(definition.name, definition.help, labels=definition.labels)
            counts = counters[0] + counters[1]
            for transport in get_args(Transport):
                for reason in reasons:
                    family.add_metric((transport, reason), counts[transport, reason])
            yield family
        yield gauge(metrics.BUFFERED, ((), hub.buffers.total))
        yield gauge(metrics.BUFFERED_LIMIT, ((), hub.buffers.limit))

    def _requests(self) -> Metric:
        family = CounterMetricFamily(metrics.REQUESTS.name, metrics.REQUESTS.help, labels=metrics.REQUESTS.labels)
        for transport, counts in self._transports.items():
            for letter, operation in metrics.OPERATIONS.items():
                if letter:
                    family.add_metric((operation, transport, metrics.OK), self._ok(transport, counts, letter))
            for (letter, code), count in sorted(counts.refusals.items()):
                family.add_metric((metrics.OPERATIONS[letter], transport, code), count)
        return family

    def _ok(self, transport: str, counts: Counts, letter: str) -> int:
        """Requests that were done. Those that are refused late, as their commit failed, were among them; a counter does not go down."""
        refused = sum(count for (operation, _), count in counts.refusals.items() if operation == letter)
        done = max(counts.requests[letter] - refused, self._done.get((transport, letter), 0))
        self._done[transport, letter] = done
        return done

    def _durations(self) -> Metric:
        found = [
            ((metrics.OPERATIONS[letter], transport), durations)
            for transport, counts in self._transports.items()
            for letter, durations in sorted(counts.durations.items())
        ]
        return histogram(metrics.DURATION, *found)

    def _storage(self) -> Iterator[Metric]:
        storage = self._hub.broker.storage
        commits, label = storage.commits, (storage.name,)
        yield gauge(metrics.STORAGE_UP, (label, storage.problem is None))
        yield histogram(metrics.COMMIT_DURATION, (label, commits.durations))
        yield histogram(metrics.COMMIT_SIZE, (label, commits.sizes))
        for definition, value in (
            (metrics.WRITTEN, commits.written),
            (metrics.ERRORS, commits.errors),
            (metrics.DAMAGED, storage.damaged),
            (metrics.TORN, storage.torn),
        ):
            yield counter(definition, (label, value))


def counter(definition: Definition, *samples: tuple[Sequence[str], float]) -> Metric:
    """A counter with its labels' values and its own."""
    family = CounterMetricFamily(definition.name, definition.help, labels=definition.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def gauge(definition: Definition, *samples: tuple[Sequence[str], float]) -> Metric:
    """A gauge with its labels' values and its own."""
    family = GaugeMetricFamily(definition.name, definition.help, labels=definition.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def histogram(definition: Definition, *samples: tuple[Sequence[str], Histogram]) -> Metric:
    """Histograms with their labels' values."""
    family = HistogramMetricFamily(definition.name, definition.help, labels=definition.labels)
    for labels, one in samples:
        so_far, buckets = 0, []
        for bound, count in zip((*one.bounds, float("inf")), one.counts, strict=True):
            so_far += count
            buckets.append((floatToGoString(bound), so_far))  # type: ignore[no-untyped-call]  # the library leaves it so
        family.add_metric(labels, buckets, one.sum)
    return family
