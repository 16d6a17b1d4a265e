"""Events: what happened to a GmqServer, told once, when it happens."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

ORDER = ("SpecValid", "Paused", "StorageReady", "Ready", "Progressing")
"""Causes before their effects: where one reason shows in several conditions, the first tells it."""

QUIET = frozenset({"NoDeployment", "NoClaim", "NoBrokerRuns", "ClaimPending", "NotPaused", "SpecInvalid", "Stopping"})
"""Reasons that tell nothing that another Event, or the next one, does not tell better."""

PASSING = frozenset({"Creating", "RollingOut", "Starting", "Stopping", "Waiting", "WaitingForOldPod"})
"""What is on its way and needs nobody."""

USUAL = frozenset({("SpecValid", "Valid"), ("Paused", "NotPaused"), ("StorageReady", "Memory")})
"""How a server begins: told only when it was otherwise before."""


class Event(NamedTuple):
    """One Event about the GmqServer. The note is no longer than 1024 characters."""

    type: Literal["Normal", "Warning"]
    reason: str
    note: str


def events(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Event]:
    """What happened between two statuses; nothing when only numbers or wordings differ."""
    before = {condition["type"]: condition for condition in old.get("conditions") or ()}
    after = {condition["type"]: condition for condition in new.get("conditions") or ()}
    told: dict[str, Event] = {}
    for name in ORDER:
        condition = after.get(name)
        if condition is None or not _happened(before.get(name), condition):
            continue
        if name == "Progressing" and _follows(condition, after):
            continue
        event = _event(condition)
        told.setdefault(event.reason, event)
    return list(told.values())


def _happened(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> bool:
    name, reason = after["type"], str(after["reason"])
    if name == "Ready" and reason in PASSING:
        return False  # Progressing tells
    if before is None:
        return reason not in QUIET and (name, reason) not in USUAL
    if before["reason"] == reason and before["status"] == after["status"]:
        return reason == "Invalid" and str(before["message"]) != str(after["message"])
    if before["reason"] == "SpecInvalid" and name != "Ready" and _good(after):
        return False  # it was not looked at before, so nothing became good
    return reason not in QUIET or (name, reason) == ("Paused", "NotPaused")


def _follows(condition: Mapping[str, Any], after: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether another condition has told the reason, when it was new."""
    reason = condition["reason"]
    return reason not in PASSING and any(other["reason"] == reason for other in after.values() if other is not condition)


def _event(condition: Mapping[str, Any]) -> Event:
    return Event("Normal" if _good(condition) else "Warning", condition["reason"], condition["message"])


def _good(condition: Mapping[str, Any]) -> bool:
    """Whether nobody has to look. To be paused is neither good nor bad, and to have arrived is False."""
    reason, status = condition["reason"], condition["status"]
    if reason in PASSING or condition["type"] == "Paused":
        return True
    if condition["type"] == "Progressing":
        return reason in {"Complete", "KindNotServed", "Paused"}
    return bool(status == "True")
