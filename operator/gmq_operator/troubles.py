"""What is under way in the cluster, as far as the reconciliation has to wait for it."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from gmq_operator.observed import CLAIM, Kind, Object


def ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(condition.get("type") == "Ready" and condition.get("status") == "True" for condition in conditions)


def pods_wait(pods: Iterable[Object]) -> bool:
    """Whether a pod is not ready."""
    return not all(map(ready, pods))


def claim_waits(children: Mapping[tuple[Kind, str], Object]) -> bool:
    """Whether a claim has no volume."""
    return any(kind == CLAIM and (child.get("status") or {}).get("phase") != "Bound" for (kind, _), child in children.items())


def claim_goes(children: Mapping[tuple[Kind, str], Object]) -> bool:
    """Whether a claim with a volume was deleted, and is only there because a pod uses it."""
    return any(
        kind == CLAIM and "deletionTimestamp" in child["metadata"] and (child.get("status") or {}).get("phase") == "Bound"
        for (kind, _), child in children.items()
    )


def runs(deployment: Object) -> bool:
    """Whether there are pods that a change would restart."""
    return bool((deployment.get("status") or {}).get("replicas"))


def rolled_out(deployment: Object) -> bool:
    """Whether every pod is of the newest template, and available."""
    status = deployment.get("status") or {}
    wanted = (deployment.get("spec") or {}).get("replicas", 1)
    seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    counts = (status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas"))
    return bool(seen) and all(count == wanted for count in counts)


def trouble_age(body: Object, now: datetime) -> float:
    """Seconds since the GmqServer became what it is, ready or not; 0 while nothing is known."""
    for condition in (body.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Ready":
            return (now - datetime.fromisoformat(condition["lastTransitionTime"])).total_seconds()
    return 0.0
