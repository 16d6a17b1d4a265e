"""What the connections of one broker share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gmq.auth import Authenticator
from gmq.broker import Broker
from gmq.message import NEVER
from gmq.server.batch import Batch
from gmq.server.counts import Counts
from gmq.server.limits import MOST_PROBES, Admission, Buffers
from gmq.server.turns import Turns
from gmq.settings import DEFAULTS

if TYPE_CHECKING:  # they know each other
    from gmq.server.http.site import Site
    from gmq.server.metrics.exposition import Exposition
    from gmq.server.tcp import Connection


class Hub:
    """What the connections of one broker share.

    Timeouts are in seconds, those that are None never come; up to `metrics_queues` have metrics of their own.
    """

    def __init__(
        self, broker: Broker, authenticator: Authenticator, *, line_limit: int, request_timeout: float, max_connections: int,
        connections_per_address: int | None = None, buffered: int = NEVER, write_timeout: float | None = None,
        idle_timeout: float | None = None, metrics_queues: int = DEFAULTS.queues,
    ) -> None:  # fmt: skip
        self.broker = broker
        self.authenticator = authenticator
        self.counts = Counts()  # of TCP
        self.http_counts = Counts()
        self.line_limit = line_limit
        self.request_timeout = request_timeout
        self.write_timeout = write_timeout
        self.idle_timeout = idle_timeout
        self.admission = Admission(max_connections, connections_per_address)
        self.probes = Admission(MOST_PROBES, None)
        self.buffers = Buffers(buffered)
        self.batching = broker.storage.immediate
        self.connections: set[Connection] = set()
        self.batch = Batch(broker, self.counts, guarded=authenticator.required)
        self.turns = Turns()
        self.opened = False  # whether the storage is
        self.http: Site | None = None  # the main listener for HTTP
        self.metrics_queues = metrics_queues
        self.metrics: Exposition | None = None  # there when a listener serves it
        self._empty = asyncio.Event()

    def unready(self) -> list[str]:
        """Why the broker cannot serve now, in words; nothing when it can."""
        problem = self.broker.storage.problem
        reasons = [] if problem is None else [problem]
        if not self.opened and problem is None:
            reasons.append("the storage is being opened")
        if self.broker.draining:
            reasons.append("the broker is draining: it stops")
        return reasons

    def expel(self) -> None:
        """End the connections of users that are none any more: what was received is answered."""
        for connection in list(self.connections):
            if connection.revoked:
                connection.finish()

    def leave(self, connection: Connection) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        if not self.connections:
            self._empty.set()

    async def emptied(self) -> None:
        """Return when there are no connections."""
        while self.connections:
            self._empty.clear()
            await self._empty.wait()
