"""What keeps a pod from serving, in words."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from gmq_operator.observed import Object, Observed
from gmq_operator.status.condition import quoted

SLOW_STOP = timedelta(seconds=30)
"""How long after the end of its grace period a pod may still be there: longer, and its node does not answer."""

PULL_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable"}
)
NOT_STARTED_REASONS = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError", "PostStartHookError"}
)
VOLUME_WARNINGS = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume"})
MISSING_SECRET = re.compile(r'secret "(?P<name>[^"]+)" not found')
MISSING_KEY = re.compile(r"references non-existent secret key: (?P<key>\S+)")


class Trouble(Struct, frozen=True):
    """Why a pod does not serve. `passing` is what every pod goes through on its way."""

    reason: str
    message: str
    passing: bool = False


RANK = (
    "ImagePullFailed",
    "SecretMissing",
    "SecretIncomplete",
    "OutOfMemory",
    "Crashing",
    "ContainerNotStarted",
    "VolumeNotMounted",
    "Unschedulable",
    "NodeLost",
    "PodStuckStopping",
    "PodNotStarted",
    "NotServing",
    "WaitingForOldPod",
    "Starting",
    "Stopping",
    "PodEvicted",
)
"""Every reason, the one that most needs a person first."""


def worst(observed: Observed, now: datetime) -> Trouble | None:
    """The trouble that most needs a person, of all pods; None when no pod has any."""
    troubles = [trouble for pod in observed.pods if (trouble := trouble_of(pod, observed, now)) is not None]
    return min(troubles, key=lambda trouble: RANK.index(trouble.reason), default=None)


def trouble_of(pod: Object, observed: Observed, now: datetime) -> Trouble | None:
    """Why this pod does not serve; None when it does, or has ended in good order."""
    name = pod["metadata"]["name"]
    if "deletionTimestamp" in pod["metadata"]:
        return _stopping(pod, now)
    status = pod.get("status", {})
    phase = status.get("phase", "Pending")
    if phase == "Failed":
        text = f"{status.get('reason', 'It failed')}: {status.get('message', 'no message')}"
        return Trouble("PodEvicted", f"Pod {name} was ended by its node. {quoted(text, 400)}")
    if phase == "Succeeded":
        return None
    warnings = _warnings_of(name, observed.warnings)
    containers = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    for container in containers:
        if (trouble := _container(name, container, warnings)) is not None:
            return trouble
    conditions = {condition["type"]: condition for condition in status.get("conditions", ())}
    if conditions.get("Ready", {}).get("status") == "True":
        return None
    if not containers or conditions.get("PodScheduled", {}).get("status") == "False":
        return _unscheduled(name, conditions.get("PodScheduled", {}))
    if all(container.get("ready") for container in status.get("containerStatuses", ())):
        node = pod.get("spec", {}).get("nodeName", "unknown")
        return Trouble("NodeLost", f"Pod {name} runs on node {node}, which does not answer. Look at: kubectl describe node {node}")
    return _not_serving(pod, warnings, observed)


def _stopping(pod: Object, now: datetime) -> Trouble:
    name, node = pod["metadata"]["name"], pod.get("spec", {}).get("nodeName", "unknown")
    if now - datetime.fromisoformat(pod["metadata"]["deletionTimestamp"]) > SLOW_STOP:
        return Trouble(
            "PodStuckStopping",
            f"Pod {name} should have stopped by {pod['metadata']['deletionTimestamp']}, and no other may start before it has. "
            f"Look at its node: kubectl describe node {node}. "
            f"Only if that machine is certainly off: kubectl delete pod {name} --force --grace-period=0",
        )
    return Trouble("Stopping", f"Pod {name} finishes what is under way and stops; the next one starts after it.", passing=True)


def _unscheduled(name: str, condition: Mapping[str, Any]) -> Trouble:
    if condition.get("reason") in {"Unschedulable", "SchedulingGated"}:
        return Trouble("Unschedulable", f"No node takes pod {name}: {quoted(condition.get('message', 'no message'), 600)}")
    return Trouble("Starting", f"Pod {name} waits for a node.", passing=True)


def _container(pod: str, container: Mapping[str, Any], warnings: Sequence[Object]) -> Trouble | None:
    """What keeps a container from running, or made it end."""
    state = container.get("state", {})
    if (waiting := state.get("waiting")) is not None:
        return _waiting(pod, container, waiting, warnings)
    if (ended := state.get("terminated")) is not None:
        return None if ended.get("exitCode") == 0 else _ended(pod, container, ended)
    last = container.get("lastState", {}).get("terminated")
    if last is not None and not container.get("started", True):
        return _ended(pod, container, last, latest(warnings, {"Unhealthy"}))
    return None


def _waiting(pod: str, container: Mapping[str, Any], waiting: Mapping[str, Any], warnings: Sequence[Object]) -> Trouble:
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in PULL_REASONS:
        cause = latest(warnings, {"Failed", "InspectFailed", "ErrImageNeverPull"}, "image") or message or reason
        return Trouble(
            "ImagePullFailed",
            f"Pod {pod} cannot have the image {container.get('image')}: {quoted(cause, 500)} "
            "Check spec.image, and spec.imagePullSecrets where the registry asks who you are.",
        )
    if reason in NOT_STARTED_REASONS:
        if (found := MISSING_SECRET.search(message)) is not None:
            return _secret_missing(pod, found["name"])
        return Trouble("ContainerNotStarted", f"The container of pod {pod} cannot be started: {quoted(message or reason, 600)}")
    last = container.get("lastState", {}).get("terminated")
    if last is not None:
        return _ended(pod, container, last)
    if (cause := latest(warnings, VOLUME_WARNINGS, "MountVolume")) or (cause := latest(warnings, VOLUME_WARNINGS)):
        if (found := MISSING_SECRET.search(cause)) is not None:
            return _secret_missing(pod, found["name"])
        if (found := MISSING_KEY.search(cause)) is not None:
            return Trouble(
                "SecretIncomplete", f"Pod {pod} waits for the key {found['key']} in a Secret that lacks it: {quoted(cause, 400)}"
            )
        return Trouble("VolumeNotMounted", f"Pod {pod} waits for its volume: {quoted(cause, 600)}")
    if cause := latest(warnings, {"FailedCreatePodSandBox"}):
        return Trouble("PodNotStarted", f"The node cannot start pod {pod}: {quoted(cause, 600)}")
    return Trouble("Starting", f"Pod {pod} is being started.", passing=True)


def _secret_missing(pod: str, name: str) -> Trouble:
    return Trouble("SecretMissing", f"Pod {pod} waits for the Secret {name}, which is not there. Create it; the pod then starts by itself.")


def _ended(pod: str, container: Mapping[str, Any], ended: Mapping[str, Any], probe: str = "") -> Trouble:
    """A container that ended, and is started again and again."""
    times = f"after {container.get('restartCount', 0)} restarts"
    if ended.get("reason") == "OOMKilled":
        return Trouble(
            "OutOfMemory",
            f"The broker in pod {pod} used more memory than its limit and was killed, {times}. Raise spec.pod.resources.limits.memory, "
            "or lower what is kept: see spec.limits.",
        )
    if ended.get("reason") in NOT_STARTED_REASONS | {"StartError", "ContainerCannotRun"}:
        return Trouble("ContainerNotStarted", f"The container of pod {pod} cannot be started: {quoted(ended.get('message', ''), 600)}")
    said = quoted(ended.get("message", ""), 600)
    told = f"It said: {said}" if said else f"Look at: kubectl logs {pod} --previous"
    if probe.startswith("Startup"):
        told = f"{quoted(probe, 300)} {told}"
    return Trouble("Crashing", f"The broker in pod {pod} ended with exit code {ended.get('exitCode')}, {times}. {told}")


def _not_serving(pod: Object, warnings: Sequence[Object], observed: Observed) -> Trouble:
    """The broker runs, and says that it cannot serve."""
    name = pod["metadata"]["name"]
    if any(not container.get("started", True) for container in pod["status"].get("containerStatuses", ())):
        return Trouble("Starting", f"The broker in pod {name} starts; a long journal takes a while to read.", passing=True)
    if any("deletionTimestamp" in other["metadata"] for other in observed.pods):
        return Trouble(
            "WaitingForOldPod", f"The broker in pod {name} waits until the one before it has let go of the storage.", passing=True
        )
    cause = latest(warnings, {"Unhealthy"}, "Readiness")
    return Trouble("NotServing", f"The broker in pod {name} runs, and says that it cannot serve. {quoted(cause, 300)}".rstrip())


def _warnings_of(name: str, warnings: Sequence[Object]) -> list[Object]:
    return [event for event in warnings if _regarding(event).get("name") == name]


def _regarding(event: Object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = event.get("regarding") or event.get("involvedObject") or {}
    return found


def latest(warnings: Sequence[Object], reasons: frozenset[str] | set[str], text: str = "") -> str:
    """The message of the latest warning with one of the reasons and with the text in it; empty when there is none."""
    for event in reversed(warnings):
        message = str(event.get("note") or event.get("message") or "")
        if event.get("reason") in reasons and text in message:
            return message
    return ""
