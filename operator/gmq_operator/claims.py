"""Claims only grow: what of a claim may be asked for once it is there."""

from typing import Any

from gmq_operator.observed import Object
from gmq_operator.quantity import parse_quantity
from gmq_operator.resources import MANAGER, Child


def grown(desired: Child, live: Object) -> Child:
    """The claim to apply over one that is there: as large as either, and in everything else of its spec as it is.

    A claim's class and access modes cannot be changed, and it cannot be made smaller; the status tells of a spec that asks for either.
    """
    have = live.get("spec", {})
    size = desired["spec"]["resources"]["requests"]["storage"]
    has = have.get("resources", {}).get("requests", {}).get("storage", "0")
    if parse_quantity(has) >= parse_quantity(size):
        size = has
    spec: dict[str, Any] = {"accessModes": have.get("accessModes", []), "resources": {"requests": {"storage": size}}}
    if have.get("storageClassName") is not None and ("storageClassName" in desired["spec"] or _named_before(live)):
        spec["storageClassName"] = have["storageClassName"]
    return {**desired, "spec": spec}


def _named_before(live: Object) -> bool:
    """Whether the operator named the class: what it no longer applies would be taken away, which is refused as a change."""
    return any(
        "f:storageClassName" in entry.get("fieldsV1", {}).get("f:spec", {})
        for entry in live["metadata"].get("managedFields") or ()
        if entry.get("manager") == MANAGER
    )
