"""A condition: one thing that a GmqServer is or is not, with the reason."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

Status = Literal["True", "False", "Unknown"]

LONGEST = 1024
"""Characters of a message: enough for what a kubelet or an admission webhook says, and the note of an Event may be no longer."""


class Condition(Struct, frozen=True):
    """The reason is a word for programs, the message a sentence for the person who reads `kubectl describe`."""

    type: str
    status: Status
    reason: str
    message: str


def short(text: str, longest: int = LONGEST) -> str:
    """The text in one paragraph, cut where it is too long."""
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 4].rstrip() + " ..."


def quoted(text: str, longest: int = 500) -> str:
    """What somebody else said, as a sentence within a message."""
    text = short(text, longest)
    return text if text.endswith((".", "...", "!", "?")) or not text else f"{text}."


def render(conditions: Sequence[Condition], generation: int, old: Sequence[Mapping[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """The conditions as they are written; the time of the last transition stays where the status did not change."""
    before = {condition.get("type"): condition for condition in old}
    return [_rendered(condition, generation, before.get(condition.type, {}), now) for condition in conditions]


def _rendered(condition: Condition, generation: int, before: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    same = before.get("status") == condition.status and "lastTransitionTime" in before
    return {
        "type": condition.type,
        "status": condition.status,
        "observedGeneration": generation,
        "reason": condition.reason,
        "message": short(condition.message),
        "lastTransitionTime": before["lastTransitionTime"] if same else now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
