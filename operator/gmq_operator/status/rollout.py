"""How far the Deployment of a GmqServer is."""

from collections.abc import Mapping
from typing import Any, get_args

from msgspec import Struct

from gmq_operator.observed import CONFIG_MAP, DEPLOYMENT, Kind, Object, Observed
from gmq_operator.resources.labels import STORAGE
from gmq_operator.spec import StorageType


class Rollout(Struct, frozen=True):
    """What a Deployment says of itself. Its status may be of an older generation than its spec: then nothing in it is certain."""

    name: str
    wanted: int
    replicas: int
    updated: int
    ready: int
    available: int
    current: bool
    """The Deployment's controller has seen the Deployment as it is."""
    recreate: bool
    """Old pods stop before new ones start."""
    complete: bool
    """Every pod is made from the newest template, and was available once."""
    deadline_exceeded: str
    """What the controller says when it gave up waiting; empty while it has not."""
    failure: str
    """Why pods could not be created; empty when they could."""
    selector: str


def rollout(observed: Observed) -> Rollout | None:
    """Read the Deployment; None when there is none."""
    deployment = the_child(observed, DEPLOYMENT)
    if deployment is None or "deletionTimestamp" in deployment["metadata"]:
        return None
    metadata, spec, status = deployment["metadata"], deployment.get("spec", {}), deployment.get("status", {})
    conditions = {condition["type"]: condition for condition in status.get("conditions", ())}
    progressing = conditions.get("Progressing", {})
    failure = conditions.get("ReplicaFailure", {})
    wanted = int(spec.get("replicas", 1))
    updated, replicas = int(status.get("updatedReplicas", 0)), int(status.get("replicas", 0))
    return Rollout(
        name=metadata["name"],
        wanted=wanted,
        replicas=replicas,
        updated=updated,
        ready=int(status.get("readyReplicas", 0)),
        available=int(status.get("availableReplicas", 0)),
        current=int(status.get("observedGeneration", 0)) >= int(metadata.get("generation", 0)),
        recreate=spec.get("strategy", {}).get("type") == "Recreate",
        complete=updated == replicas == wanted and progressing.get("reason") == "NewReplicaSetAvailable",
        deadline_exceeded=progressing.get("message", "") if progressing.get("reason") == "ProgressDeadlineExceeded" else "",
        failure=failure.get("message", "") if failure.get("status") == "True" else "",
        selector=_selector(spec.get("selector", {})),
    )


def the_child(observed: Observed, kind: Kind) -> Object | None:
    """The one child of a kind of which a GmqServer has no more than one."""
    return next((child for (of, _), child in observed.children.items() if of == kind), None)


def storage_in_use(observed: Observed) -> StorageType | None:
    """The type of storage that the children were made for; None when there are none."""
    for kind in (DEPLOYMENT, CONFIG_MAP):
        child = the_child(observed, kind)
        if child is not None and (used := child["metadata"].get("labels", {}).get(STORAGE)) in get_args(StorageType):
            found: StorageType = used
            return found
    return None


def _selector(selector: Mapping[str, Any]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(selector.get("matchLabels", {}).items()))
