"""The pods of a GmqServer: which of their troubles a person should know."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from gmq_operator.observed import Object, Observed
from gmq_operator.status import containers
from gmq_operator.status.condition import quoted
from gmq_operator.status.rollout import storage_in_use
from gmq_operator.status.trouble import RANK, Pod, Trouble, pod_of

SLOW_STOP = timedelta(seconds=30)
"""How long after the end of its grace period a pod may still be there: longer, and its node does not answer."""

TIME_TO_START = timedelta(seconds=30)
"""How long a broker may run without being ready until somebody should know. The broker needs a second where its journal is short."""

TIME_TO_FAIL = timedelta(seconds=4)
"""What is sooner no longer ready after the start of a container lost it with the container before: the probes take longer to find out."""


def worst(observed: Observed, now: datetime) -> Trouble | None:
    """The trouble that most needs a person, of all pods; None when no pod has any."""
    troubles = [trouble for pod in observed.pods if (trouble := _trouble_of(pod, observed, now)) is not None]
    return min(troubles, key=lambda trouble: RANK.index(trouble.reason), default=None)


def _trouble_of(seen: Object, observed: Observed, now: datetime) -> Trouble | None:
    """Why this pod does not serve; None when it does, or has ended in good order."""
    pod = pod_of(seen, observed.warnings)
    if (stops := seen["metadata"].get("deletionTimestamp")) is not None:
        return _stopping(pod, stops, observed, now)
    phase = pod.status.get("phase", "Pending")
    if phase == "Failed":
        text = f"{pod.status.get('reason', 'It failed')}: {pod.status.get('message', 'no message')}"
        return Trouble("PodEnded", f"Pod {pod.name} was ended by its node. {quoted(text)}")
    if phase == "Succeeded" or pod.condition("Ready").get("status") == "True":
        return None
    return _in_container(pod) or _not_ready(pod, observed, now)


def _stopping(pod: Pod, stops: str, observed: Observed, now: datetime) -> Trouble:
    if now - datetime.fromisoformat(stops) <= SLOW_STOP:
        return Trouble("Stopping", f"Pod {pod.name} finishes what is under way and stops, by {stops} at the latest.", passing=True)
    alone = "Until it has, no other may use its volume. " if storage_in_use(observed) == "filesystem" else ""
    return Trouble(
        "PodStuckStopping",
        f"Pod {pod.name} should have stopped by {stops}. {alone}"
        f"See its node: `kubectl describe node {pod.node}`. "
        f"Only if that machine is certainly off: `kubectl delete pod -n {pod.namespace} {pod.name} --force --grace-period=0`.",
    )


def _in_container(pod: Pod) -> Trouble | None:
    """The first trouble of a container, those that prepare the pod before the others."""
    for container in pod.status.get("initContainerStatuses") or ():
        if (trouble := containers.trouble_of(container, pod, may_end=True)) is not None:
            return trouble
    for container in pod.containers:
        if (trouble := containers.trouble_of(container, pod, may_end=False)) is not None:
            return trouble
    return None


def _not_ready(pod: Pod, observed: Observed, now: datetime) -> Trouble:
    """A pod without a container in trouble, and yet not ready."""
    scheduled = pod.condition("PodScheduled")
    if scheduled.get("reason") in {"Unschedulable", "SchedulingGated"}:
        return Trouble("Unschedulable", f"No node takes pod {pod.name}: {quoted(scheduled.get('message', 'no message'))}")
    if not pod.containers:
        return Trouble("Starting", f"Pod {pod.name} waits for its node.", passing=True)
    if (gates := pod.condition("Ready")).get("reason") == "ReadinessGatesNotReady":
        return Trouble(
            "NotServing", f"The broker in pod {pod.name} is ready, and what has to agree is not: {quoted(gates.get('message', ''))}"
        )
    if all(container.get("ready") for container in pod.containers):
        return Trouble(
            "NodeLost", f"Pod {pod.name} runs on node {pod.node}, which does not answer. See `kubectl describe node {pod.node}`."
        )
    if storage_in_use(observed) == "filesystem" and any("deletionTimestamp" in other["metadata"] for other in observed.pods):
        return Trouble(
            "WaitingForOldPod", f"The broker in pod {pod.name} waits until the one before it lets go of the storage.", passing=True
        )
    if any(_starts(container, pod, now) for container in pod.containers):
        return Trouble("Starting", f"The broker in pod {pod.name} starts.", passing=True)
    said = quoted(pod.warning({"Unhealthy"}, "Readiness"), 300)
    likely = "It may be reading a long journal, or its volume is full or fails." if storage_in_use(observed) == "filesystem" else ""
    cause = f"Why is in its log: `kubectl logs -n {pod.namespace} {pod.name}`."
    return Trouble("NotServing", " ".join(filter(None, (f"The broker in pod {pod.name} runs, and is not ready.", said, likely, cause))))


def _starts(container: Mapping[str, Any], pod: Pod, now: datetime) -> bool:
    """Whether a container has not run for long, and was not ready since it runs."""
    started = container.get("state", {}).get("running", {}).get("startedAt")
    if started is None or not container.get("started", True):
        return True
    since = datetime.fromisoformat(started)
    unready = datetime.fromisoformat(pod.condition("Ready").get("lastTransitionTime", started))
    return now - since < TIME_TO_START and unready - since < TIME_TO_FAIL
