"""What keeps a container from running, or made it end."""

import re
from collections.abc import Mapping
from typing import Any

from gmq_operator.status.condition import quoted
from gmq_operator.status.trouble import Pod, Trouble, latest

PULL_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable"}
)
PULL_WARNINGS = frozenset({"Failed", "InspectFailed", "ErrImageNeverPull"})
START_REASONS = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError", "PostStartHookError"}
)
ENDED_AT_START = frozenset({"StartError", "ContainerCannotRun"})
KILLED = frozenset({137, 143})
"""Exit codes of a process that was made to end, as by the kubelet after a probe failed; another one ended by itself, and then failed it."""
VOLUME_WARNINGS = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume"})
MISSING_SECRET = re.compile(r'secret "(?P<name>[^"]+)" not found')
MISSING_KEY = re.compile(r"references non-existent secret key: (?P<key>\S+)|couldn't find key (?P<variable>\S+) in Secret")

Container = Mapping[str, Any]
"""The status of one container."""


def trouble_of(container: Container, pod: Pod, *, may_end: bool) -> Trouble | None:
    """Why a container does not run; None when it does, or when it `may_end` and has ended well."""
    state = container.get("state", {})
    if (waiting := state.get("waiting")) is not None:
        return _waiting(container, waiting, pod)
    if (ended := state.get("terminated")) is not None:
        return None if may_end and ended.get("exitCode") == 0 else _ended(container, ended, pod)
    last = container.get("lastState", {}).get("terminated")
    if last is not None and not container.get("started", True):
        return _ended(container, last, pod)
    return None


def _waiting(container: Container, waiting: Mapping[str, Any], pod: Pod) -> Trouble:
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in PULL_REASONS:
        cause = pod.warning(PULL_WARNINGS, "image") or message or reason
        return Trouble(
            "ImagePullFailed",
            f"Pod {pod.name} cannot pull the image {container.get('image')}: {quoted(cause)} "
            "Check spec.image, and spec.imagePullSecrets where the registry asks who you are.",
        )
    if reason in START_REASONS:
        return _of_secret(message, pod) or _not_started(container, message or reason, pod)
    if (last := container.get("lastState", {}).get("terminated")) is not None:
        return _ended(container, last, pod)
    if cause := _volume_warning(pod):
        return _of_secret(cause, pod) or Trouble("VolumeNotMounted", f"Pod {pod.name} waits for its volume: {quoted(cause)}")
    if cause := pod.warning({"FailedCreatePodSandBox"}):
        return Trouble("PodNotStarted", f"Node {pod.node} cannot start pod {pod.name}: {quoted(cause)}")
    return Trouble("Starting", f"Pod {pod.name} is being started.", passing=True)


def _ended(container: Container, ended: Mapping[str, Any], pod: Pod) -> Trouble:
    """A container that ended, and is started again and again."""
    name, restarts, said = container.get("name"), container.get("restartCount", 0), quoted(ended.get("message", ""))
    if ended.get("reason") in ENDED_AT_START:
        return _not_started(container, said, pod)
    if ended.get("reason") == "OOMKilled":
        return Trouble(
            "OutOfMemory",
            f"Container {name} of pod {pod.name} used more memory than its limit and was killed; restarts: {restarts}. "
            "Raise spec.pod.resources.limits.memory, or lower what is kept: see spec.limits.",
        )
    told = [f"Container {name} of pod {pod.name} ended with exit code {ended.get('exitCode')}; restarts: {restarts}."]
    probe = pod.warning({"Unhealthy"})
    if ended.get("exitCode") in KILLED and probe.startswith(("Startup", "Liveness")):
        told.append(quoted(probe, 300))
    told.append(f"It said: {said}" if said else f"See `kubectl logs -n {pod.namespace} {pod.name} -c {name} --previous`.")
    return Trouble("Crashing", " ".join(told))


def _not_started(container: Container, cause: str, pod: Pod) -> Trouble:
    return Trouble("ContainerNotStarted", f"Container {container.get('name')} of pod {pod.name} cannot be started: {quoted(cause)}")


def _volume_warning(pod: Pod) -> str:
    """What keeps volumes from a pod. A mount that failed once only came too early; that others have the volume is said once."""
    lasting = [event for event in pod.warnings if event.get("reason") != "FailedMount" or event.get("count") != 1]
    return latest(lasting, VOLUME_WARNINGS, "MountVolume") or latest(lasting, VOLUME_WARNINGS)


def _of_secret(said: str, pod: Pod) -> Trouble | None:
    """What was said, where it is of a Secret."""
    if (found := MISSING_SECRET.search(said)) is not None:
        return Trouble(
            "SecretMissing",
            f"Pod {pod.name} waits for the Secret {found['name']}, which is not there. "
            "Create it; the pod then starts by itself within two minutes.",
        )
    if (found := MISSING_KEY.search(said)) is not None:
        key = found["key"] or found["variable"]
        return Trouble("SecretIncomplete", f"Pod {pod.name} waits for a Secret to have the key {key}: {quoted(said)}")
    return None
