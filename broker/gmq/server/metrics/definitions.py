"""Every metric of the broker, once. docs/metrics.md, the dashboard and the alerts may name no others."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

REST: Final = ".."
"""The value of the label `queue` that stands for all queues without one of their own: no queue can have this name."""
OK: Final = "ok"
"""The value of the label `result` of requests that were done."""
STATES: Final = ("ready", "delayed", "leased")
OPERATIONS: Final = {
    "P": "publish", "S": "take", "A": "acknowledge", "N": "put_back", "E": "extend", "L": "length", "Q": "list", "I": "inspect",
    "K": "peek", "M": "move", "C": "clear", "D": "delete", "Y": "set_policy", "H": "hello", "": "invalid",
}  # fmt: skip
"""Values of the label `operation`, by the letter on the wire; the last for what could not be read."""
TRANSPORTS: Final = ("tcp", "http")


class Definition(Struct, frozen=True):
    """A metric: its name as the format's TYPE lines for OpenMetrics have it, so without a counter's `_total` or an info's `_info`."""

    name: str
    kind: Literal["counter", "gauge", "histogram", "info"]
    help: str
    labels: tuple[str, ...] = ()

    @property
    def series(self) -> str:
        """The name that queries use; for a histogram without its endings."""
        return self.name + {"counter": "_total", "info": "_info"}.get(self.kind, "")


def _queue_counter(name: str, text: str) -> Definition:
    return Definition(f"gmq_messages_{name}", "counter", text, ("queue",))


QUEUE_COUNTERS: Final = {
    "published": _queue_counter("published", "Messages that were published."),
    "delivered": _queue_counter("delivered", "Messages that were handed out, each time counted."),
    "acknowledged": _queue_counter("acknowledged", "Leased messages that were acknowledged."),
    "expired": _queue_counter("expired", "Messages that were dropped because their time to live was over."),
    "dead_lettered": _queue_counter("dead_lettered", "Messages that went to the dead-letter queue after too many deliveries."),
    "dropped": _queue_counter("dropped", "Messages that were dropped after too many deliveries, for want of a dead-letter queue."),
}
"""By the member of `Totals` that they show."""
QUEUE_MESSAGES: Final = Definition("gmq_queue_messages", "gauge", "Messages in the queue, by state.", ("queue", "state"))
QUEUE_BYTES: Final = Definition("gmq_queue_bytes", "gauge", "Bytes of the messages in the queue: payloads and headers.", ("queue",))
QUEUE_AGE: Final = Definition(
    "gmq_queue_oldest_message_age_seconds", "gauge", "Age of the oldest message that is ready or leased; 0 without one.", ("queue",)
)

QUEUES: Final = Definition("gmq_queues", "gauge", "Queues.")
QUEUES_LIMIT: Final = Definition("gmq_queues_limit", "gauge", "Queues that there may be.")
MEMORY: Final = Definition("gmq_memory_bytes", "gauge", "Memory that the messages take, with what keeping them costs, about.")
MEMORY_LIMIT: Final = Definition("gmq_memory_limit_bytes", "gauge", "Memory that the messages may take.")
CONNECTIONS: Final = Definition("gmq_connections", "gauge", "Connections of clients.", ("transport",))
CONNECTIONS_LIMIT: Final = Definition("gmq_connections_limit", "gauge", "Connections that there may be, of TCP and HTTP together.")
REFUSED: Final = Definition(
    "gmq_connections_refused", "counter", "Connections that were turned away, by the limit that was reached.", ("transport", "reason")
)
CLOSED: Final = Definition(
    "gmq_connections_closed", "counter", "Connections that were closed for what their clients did or did not do.", ("transport", "reason")
)
BUFFERED: Final = Definition("gmq_buffered_bytes", "gauge", "Bytes that wait in connections, of those that hold many.")
BUFFERED_LIMIT: Final = Definition("gmq_buffered_limit_bytes", "gauge", "Bytes that may wait in connections.")
CONSUMERS: Final = Definition("gmq_waiting_consumers", "gauge", "Takes that wait for a message.")
CONSUMERS_LIMIT: Final = Definition("gmq_waiting_consumers_limit", "gauge", "Takes that may wait for a message.")
LIMIT_REFUSALS: Final = Definition(
    "gmq_limit_refusals", "counter", "Requests that were refused, by the limit that was reached.", ("transport", "limit")
)
REQUESTS: Final = Definition(
    "gmq_requests", "counter", "Requests, by how they ended: ok, or the code of the error.", ("operation", "transport", "result")
)
DURATION: Final = Definition(
    "gmq_request_duration_seconds", "histogram",
    "Time from when the broker began with a request to when its reply left, without the wait of a take for a message.",
    ("operation", "transport"),
)  # fmt: skip
AUTHENTICATION_FAILURES: Final = Definition("gmq_authentication_failures", "counter", "Attempts to authenticate that failed.")
READY: Final = Definition("gmq_ready", "gauge", "Whether the broker can serve, as /readyz has it: 1 or 0.")
STORAGE_UP: Final = Definition("gmq_storage_up", "gauge", "Whether the storage can serve: 1 or 0.", ("storage",))
COMMIT_DURATION: Final = Definition(
    "gmq_storage_commit_duration_seconds", "histogram", "Time to make changes durable: write and sync, or a transaction.", ("storage",)
)
COMMIT_SIZE: Final = Definition(
    "gmq_storage_commit_batch_size", "histogram", "Changes that one commit made durable: records of the journal, or requests.", ("storage",)
)
WRITTEN: Final = Definition("gmq_storage_written_bytes", "counter", "Bytes written to the journal.", ("storage",))
ERRORS: Final = Definition("gmq_storage_errors", "counter", "Reads, writes and commits that failed.", ("storage",))
DAMAGED: Final = Definition("gmq_storage_damaged", "counter", "Places on the disk that were found damaged.", ("storage",))
TORN: Final = Definition("gmq_storage_torn", "counter", "Incomplete ends of commits that were cut when the storage was read.", ("storage",))
LAG: Final = Definition("gmq_event_loop_lag_seconds", "histogram", "How late the event loop was for a timer that rings every second.")
BUILD: Final = Definition("gmq_build", "info", "Which broker this is.", ("version", "storage", "python"))

QUEUE_METRICS: Final = (*QUEUE_COUNTERS.values(), QUEUE_MESSAGES, QUEUE_BYTES, QUEUE_AGE)
BROKER_METRICS: Final = (
    BUILD, READY, QUEUES, QUEUES_LIMIT, MEMORY, MEMORY_LIMIT, CONNECTIONS, CONNECTIONS_LIMIT, REFUSED, CLOSED, BUFFERED, BUFFERED_LIMIT,
    CONSUMERS, CONSUMERS_LIMIT, LIMIT_REFUSALS,
    AUTHENTICATION_FAILURES, REQUESTS, DURATION, STORAGE_UP, COMMIT_DURATION, COMMIT_SIZE, WRITTEN, ERRORS, DAMAGED, TORN, LAG,
)  # fmt: skip
METRICS: Final = (*QUEUE_METRICS, *BROKER_METRICS)
