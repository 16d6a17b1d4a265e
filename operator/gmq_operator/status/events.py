"""Events: what happened to a GmqServer, told once, when it happens."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

ORDER = ("SpecValid", "Paused", "StorageReady", "Ready", "Progressing")
"""Causes before their effects: where one reason shows in several conditions, the first tells it."""

QUIET = frozenset({"NoDeployment", "NoClaim", "NoBrokerRuns", "ClaimPending", "NotPaused", "SpecInvalid", "Stopping"})
"""Reasons that tell nothing that another Event, or the next one, does not tell better."""

PASSING = frozenset({"Creating", "RollingOut", "ScalingDown", "Starting", "Stopping", "WaitingForOldPod"})
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
        event = _event(condition)
        told.setdefault(event.reason, event)
    return list(told.values())


def _happened(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> bool:
    reason = str(after["reason"])
    if before is None:
        return reason not in QUIET and (after["type"], reason) not in USUAL
    if before["reason"] == reason and before["status"] == after["status"]:
        return reason == "Invalid" and str(before["message"]) != str(after["message"])
    return reason not in QUIET or (after["type"], reason) == ("Paused", "NotPaused")


def _event(condition: Mapping[str, Any]) -> Event:
    """Good is True for every condition but two: to be paused is neither, and to have arrived is False."""
    reason, status = condition["reason"], condition["status"]
    good = status == "True" or reason in PASSING | {"NotPaused", "Paused", "Complete", "KindNotServed"}
    return Event("Normal" if good else "Warning", reason, condition["message"])
