"""Events: those about pods in trouble are read, those about a GmqServer are written."""

import secrets
import socket
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from gmq_operator.cluster import Cluster, RefusedError
from gmq_operator.observed import CLAIM, POD, Kind, Object
from gmq_operator.resources import MANAGER
from gmq_operator.status import Event
from gmq_operator.troubles import ready

log = structlog.get_logger()

EVENT: Final = Kind("", "v1", "Event", "events")
"""The core kind: the Events of kubelets and schedulers are found by it in every cluster, whichever kind they were written as."""
MOST_PODS: Final = 3
"""Pods in trouble whose Events are looked at: those of a server mostly have the same."""


async def warnings_of(cluster: Cluster, pods: Sequence[Object], children: Mapping[tuple[Kind, str], Object]) -> list[Object]:
    """The Events of type Warning about pods that are not ready, and a claim that is not bound; the latest last."""
    about = [(POD, pod) for pod in pods if not ready(pod)][:MOST_PODS]
    for (kind, _), child in children.items():
        status = child.get("status") or {}
        if kind == CLAIM and (status.get("phase") != "Bound" or status.get("conditions")):
            about.append((CLAIM, child))
    found: list[Object] = []
    for kind, item in about:
        metadata = item["metadata"]
        fields = f"type=Warning,involvedObject.kind={kind.kind},involvedObject.name={metadata['name']},involvedObject.uid={metadata['uid']}"
        try:
            found += (await cluster.list(EVENT, metadata["namespace"], fields=fields)).items
        except RefusedError as error:
            log.warning("Events cannot be listed", namespace=metadata["namespace"], reason=str(error))
    return sorted(found, key=_when)


def _when(event: Object) -> str:
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"]
    )


async def post_events(cluster: Cluster, body: Object, events: Iterable[Event]) -> None:
    """Write Events about a GmqServer."""
    for event in events:
        await cluster.create(EVENT, rendered(body, event, datetime.now(UTC)))


def rendered(body: Object, event: Event, now: datetime) -> dict[str, Any]:
    """The Event as the API server takes it."""
    metadata = body["metadata"]
    when = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"name": f"{metadata['name'][:200]}.{secrets.token_hex(8)}", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": body["apiVersion"],
            "kind": body["kind"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
        "type": event.type,
        "reason": event.reason,
        "message": event.note,
        "firstTimestamp": when,
        "lastTimestamp": when,
        "count": 1,
        "source": {"component": MANAGER},
        "reportingComponent": MANAGER,
        "reportingInstance": socket.gethostname(),
    }
