"""What children have in common: their kind, their name and whose they are."""

from collections.abc import Mapping
from typing import Any

from gmq_operator.observed import Kind, Object
from gmq_operator.resources.labels import INSTANCE, MANAGED_BY, MANAGER, labels
from gmq_operator.spec import GROUP, KIND, VERSION, GmqServer

Child = dict[str, Any]
"""A Kubernetes object, with those fields alone that the operator decides."""


def reference(server: GmqServer) -> dict[str, Any]:
    """Without blockOwnerDeletion, which the operator would need more rights for, and which would hold a deletion up."""
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "name": server.name, "uid": server.uid, "controller": True}


def child(
    server: GmqServer,
    kind: Kind,
    name: str,
    *,
    component: str = "broker",
    more: Mapping[str, str] | None = None,
    owned: bool = True,
) -> Child:
    """The head of a child; `more` are further labels. One that is owned goes when the server goes."""
    metadata: dict[str, Any] = {"name": name, "namespace": server.namespace, "labels": {**labels(server, component), **(more or {})}}
    if owned:
        metadata["ownerReferences"] = [reference(server)]
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}


def is_ours(server: GmqServer, live: Object) -> bool:
    """Whether an object is the server's; one that bears a child's name by chance is not, and must not be taken over."""
    metadata = live.get("metadata", {})
    controllers = [owner.get("uid") for owner in metadata.get("ownerReferences") or () if owner.get("controller")]
    if controllers:
        return controllers == [server.uid]
    found = metadata.get("labels") or {}
    return found.get(MANAGED_BY) == MANAGER and found.get(INSTANCE) == server.name  # a claim that outlives its servers
