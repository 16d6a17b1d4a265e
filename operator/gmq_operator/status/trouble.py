"""What keeps a pod from serving, as a word and a sentence."""

from collections.abc import Mapping, Sequence, Set
from typing import Any

from msgspec import Struct

from gmq_operator.observed import Object


class Trouble(Struct, frozen=True):
    """Why a pod does not serve. `passing` is what every pod goes through on its way, and needs nobody."""

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
    "NodeLost",
    "PodStuckStopping",
    "VolumeNotMounted",
    "Unschedulable",
    "PodNotStarted",
    "NotServing",
    "WaitingForOldPod",
    "Starting",
    "Stopping",
    "PodEnded",
)
"""Every reason, the one that most needs a person first."""


class Pod(Struct, frozen=True):
    """A pod beside the warnings about it, the latest last."""

    name: str
    namespace: str
    node: str
    status: Mapping[str, Any]
    warnings: Sequence[Object]

    @property
    def containers(self) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self.status.get("containerStatuses") or ()
        return found

    def condition(self, of: str) -> Mapping[str, Any]:
        """A condition of the pod by its type, empty when it has none."""
        return next((condition for condition in self.status.get("conditions") or () if condition.get("type") == of), {})

    def warning(self, reasons: Set[str], text: str = "") -> str:
        """The latest warning with one of the reasons and with the text in it."""
        return latest(self.warnings, reasons, text)


def pod_of(pod: Object, warnings: Sequence[Object]) -> Pod:
    """Read a pod, and find what of the warnings is about it."""
    metadata = pod["metadata"]
    return Pod(
        name=metadata["name"],
        namespace=metadata["namespace"],
        node=pod.get("spec", {}).get("nodeName", "unknown"),
        status=pod.get("status", {}),
        warnings=about("Pod", metadata["name"], warnings),
    )


def about(kind: str, name: str, warnings: Sequence[Object]) -> list[Object]:
    """The warnings about one object, in whichever of the two forms that Events have."""
    named = ((event, event.get("regarding") or event.get("involvedObject") or {}) for event in warnings)
    return [event for event, regarding in named if regarding.get("kind") == kind and regarding.get("name") == name]


def latest(warnings: Sequence[Object], reasons: Set[str], text: str = "") -> str:
    """What the latest warning with one of the reasons and with the text in it says; empty when there is none."""
    for event in reversed(warnings):
        message = str(event.get("note") or event.get("message") or "")
        if event.get("reason") in reasons and text in message:
            return message
    return ""
