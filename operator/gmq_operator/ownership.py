"""Whose an object is that bears the name of a child."""

from collections.abc import Mapping

from gmq_operator.observed import Kind, Object
from gmq_operator.resources import MANAGED_BY, MANAGER, is_ours
from gmq_operator.resources.labels import INSTANCE
from gmq_operator.spec import GROUP, KIND, GmqServer


class PredecessorError(Exception):
    """The object goes with a GmqServer of the same name that was deleted: it is waited for, and its end is an event."""


def of_this_one(body: Object, children: Mapping[tuple[Kind, str], Object]) -> dict[tuple[Kind, str], Object]:
    """The children of a GmqServer without what is left of another one that had its name: what that does says nothing of this one.

    What the operator did not apply is no child either, whatever its labels: `kubectl expose` makes a Service with those of the Deployment.
    """
    uid = body["metadata"]["uid"]
    return {place: child for place, child in children.items() if _controllers(child) <= {uid} and _applied(child)}


def _controllers(live: Object) -> set[str]:
    return {owner["uid"] for owner in live["metadata"].get("ownerReferences") or () if owner.get("controller")}


def _applied(live: Object) -> bool:
    entries = live["metadata"].get("managedFields") or ()
    return any(entry.get("manager") == MANAGER and entry.get("operation") == "Apply" for entry in entries)


def foreign(server: GmqServer, live: Object) -> str | None:
    """Why the operator must leave an object alone; None where it is the server's, or may become its.

    Raises:
        PredecessorError: it is about to go.
    """
    if is_ours(server, live):
        return None
    metadata = live["metadata"]
    for owner in metadata.get("ownerReferences") or ():
        if not owner.get("controller"):
            continue
        if (owner.get("kind"), owner.get("name")) == (KIND, server.name) and str(owner.get("apiVersion", "")).startswith(f"{GROUP}/"):
            raise PredecessorError
        return f"It belongs to the {owner.get('kind')} {owner.get('name')}, and is left as it is. Rename one of the two."
    labels = metadata.get("labels") or {}
    if labels.get(MANAGED_BY) == MANAGER and labels.get(INSTANCE) == server.name:
        return None  # a claim that was kept, or what lost its owner when that was deleted with --cascade=orphan
    if _applied(live):
        return None  # the same, and somebody took its labels away
    return "It was there before, was not made by this operator, and is left as it is. Delete or rename it, or rename the GmqServer."
