"""StorageReady: where messages are kept can be used."""

from collections.abc import Mapping
from typing import Any

from gmq_operator.observed import CLAIM, Object
from gmq_operator.quantity import parse_quantity
from gmq_operator.spec import FilesystemStorage, MysqlStorage
from gmq_operator.status.condition import Condition, quoted
from gmq_operator.status.rollout import the_child
from gmq_operator.status.trouble import Trouble, about, latest
from gmq_operator.status.view import View, listed

RESIZING = frozenset({"Resizing", "FileSystemResizePending"})
CLAIM_TROUBLES = frozenset({"Unschedulable", "VolumeNotMounted", "NotServing", "Starting"})
"""What pods have when their storage is not ready."""
NOT_AS_ASKED = frozenset({"ShrinkRefused", "ExpansionRefused", "ExpansionFailed", "ClaimChangeRefused", "ClaimRefused"})
"""Reasons of a claim that may be used as it is, and is not what the spec asks for."""


def condition(view: View) -> Condition:
    """By the type of storage."""
    storage = view.server.spec.storage
    if storage.type == "memory":
        return _is("Memory", "Messages are in memory alone: they are lost when the broker stops.")
    if storage.type == "mysql" and storage.mysql is not None:
        return _database(view, storage.mysql)
    return _claim(view, storage.filesystem or FilesystemStorage())


def explains(storage: Condition, trouble: Trouble | None) -> bool:
    """Whether storage that is not ready is why pods are not: a resize that was refused hinders none, nor does it pull an image."""
    return storage.reason not in NOT_AS_ASKED and (trouble is None or trouble.reason in CLAIM_TROUBLES)


def _database(view: View, mysql: MysqlStorage) -> Condition:
    where = f"the database {mysql.database} on {mysql.host}:{mysql.port}"
    if view.rollout is not None and view.rollout.ready:
        return _is("DatabaseReached", f"A broker serves from {where}.")
    if view.trouble is not None and view.trouble.reason == "NotServing":
        return _not(
            "DatabaseNotReached",
            f"{view.trouble.message} Most likely it cannot use {where}: check that the server runs and is reached from the cluster, "
            f"and the user and password in the Secret {mysql.credentials_secret_ref.name}.",
        )
    return Condition("StorageReady", "Unknown", "NoBrokerRuns", f"No broker runs that could say whether {where} can be reached.")


def _claim(view: View, asked: FilesystemStorage) -> Condition:
    refused = listed(view.refused(CLAIM))
    claim = the_child(view.observed, CLAIM)
    if claim is None:
        if refused:
            return _not("ClaimNotCreated", f"The API server refused the claim. {refused}")
        return _not("NoClaim", "The claim is not there yet.")
    name, status = claim["metadata"]["name"], claim.get("status", {})
    if "deletionTimestamp" in claim["metadata"]:
        if status.get("phase") != "Bound":
            return _not("ClaimBeingDeleted", f"The claim {name} is being deleted, and held nothing. Another is made when it is gone.")
        return _not(
            "ClaimBeingDeleted",
            f"Somebody deleted the claim {name}. It goes, and with it the messages, once no pod uses it, so the operator restarts none. "
            "Keep the pod, and copy what is needed; or set spec.replicas to 0 to let the claim go. The volume survives only where its "
            "persistentVolumeReclaimPolicy is Retain.",
        )
    if status.get("phase") == "Lost":
        return _not("VolumeLost", f"The volume of the claim {name} is gone: {claim.get('spec', {}).get('volumeName', 'unknown')}.")
    if status.get("phase") != "Bound":
        return _unbound(view, asked, claim)
    return _bound(
        asked,
        claim,
        refused,
        latest(about("PersistentVolumeClaim", name, view.observed.warnings), {"VolumeResizeFailed", "FileSystemResizeFailed"}),
    )


def _unbound(view: View, asked: FilesystemStorage, claim: Object) -> Condition:
    """A claim that has no volume."""
    name, wanted = claim["metadata"]["name"], claim.get("spec", {}).get("storageClassName")
    anew = f"delete the claim, which holds nothing yet: `kubectl delete pvc -n {claim['metadata']['namespace']} {name}`."
    if fixed := _fixed(asked, claim):
        return _not("ClaimOutdated", f"The spec asks for another {fixed} than the claim {name} was made with. To have it made anew, {anew}")
    warnings = about("PersistentVolumeClaim", name, view.observed.warnings)
    cause = latest(warnings, {"ProvisioningFailed", "FailedBinding", "ClaimMisbound", "FailedScheduling"})
    if wanted and "storageclass" in cause.lower() and "not found" in cause:
        return _not(
            "StorageClassMissing",
            f"The claim {name} asks for the storage class {wanted}, which this cluster does not have: see `kubectl get storageclass`. "
            f"Set another storageClassName, then {anew}",
        )
    if cause:
        return _not("ProvisioningFailed", f"No volume could be made for the claim {name}: {quoted(cause)}")
    if not wanted:
        return _not(
            "NoStorageClass",
            f"The claim {name} names no storage class and the cluster has no default one: it waits for a volume made by hand. "
            f"Or set spec.storage.filesystem.storageClassName to one of `kubectl get storageclass`, then {anew}",
        )
    return _not("ClaimPending", f"The claim {name} waits for its volume. Storage class {wanted} may wait for the first pod.")


def _bound(asked: FilesystemStorage, claim: Object, refused: str, failed: str) -> Condition:
    """A claim that has its volume: whether it is what the spec asks for."""
    name, spec = claim["metadata"]["name"], claim.get("spec", {})
    requested = spec.get("resources", {}).get("requests", {}).get("storage", "0")
    capacity = claim.get("status", {}).get("capacity", {}).get("storage", requested)
    if parse_quantity(asked.size) < parse_quantity(requested):
        return _not(
            "ShrinkRefused",
            f"spec.storage.filesystem.size is {asked.size}, and the claim {name} has {requested}: claims only grow. "
            f"It is used as it is; set size to {requested} or more.",
        )
    if fixed := _fixed(asked, claim):
        return _not(
            "ClaimChangeRefused",
            f"The spec asks for another {fixed} than the claim {name} has, which cannot be changed. It is used as it is.",
        )
    if refused and parse_quantity(asked.size) > parse_quantity(requested):
        return _not("ExpansionRefused", f"The claim {name} keeps its {requested}; {asked.size} was refused. {refused}")
    if refused:
        return _not("ClaimRefused", f"The claim {name} is used as it is. {refused}")
    if failed and parse_quantity(capacity) < parse_quantity(requested):
        return _not("ExpansionFailed", f"The volume of claim {name} keeps its {capacity}; growing to {requested} failed: {quoted(failed)}")
    if parse_quantity(capacity) < parse_quantity(requested) or parse_quantity(asked.size) > parse_quantity(requested):
        return _is("Expanding", f"The volume of claim {name} grows from {capacity} to {asked.size}.{_resizing(claim.get('status', {}))}")
    return _is("Bound", f"The claim {name} has a volume of {capacity}.")


def _fixed(asked: FilesystemStorage, claim: Object) -> str:
    """What of the spec a claim has otherwise and cannot change; empty when there is nothing."""
    spec = claim.get("spec", {})
    if asked.storage_class_name not in (None, spec.get("storageClassName")):
        return f"storageClassName ({asked.storage_class_name}, not {spec.get('storageClassName') or 'none'})"
    if set(asked.access_modes) != set(spec.get("accessModes") or asked.access_modes):
        return f"accessModes ({', '.join(asked.access_modes)}, not {', '.join(spec['accessModes'])})"
    return ""


def _resizing(status: Mapping[str, Any]) -> str:
    told = [condition.get("message", "") for condition in status.get("conditions", ()) if condition.get("type") in RESIZING]
    return f" {quoted(told[-1], 300)}" if told and told[-1] else ""


def _is(reason: str, message: str) -> Condition:
    return Condition("StorageReady", "True", reason, message)


def _not(reason: str, message: str) -> Condition:
    return Condition("StorageReady", "False", reason, message)
