"""A cluster in memory, behind the seam that the operator has to a real one: applies with owned fields, versions, conflicts, and faults.

Lists are owned as a whole here; a real API server merges those whose items have keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from gmq_operator.cache import SERVER
from gmq_operator.cluster import ClusterError, ConflictError, Listing, RefusedError
from gmq_operator.observed import CHILDREN, DEPLOYMENT, POD, Kind, Object
from gmq_operator.resources import MANAGED_BY, MANAGER

NAMESPACE = "shop"
Sink = Callable[[Kind, str, Object], None]


@dataclass
class Fault:
    """An error that requests of a kind are answered with, so many times."""

    verb: str
    kind: Kind | None
    error: ClusterError
    times: int
    after: bool = False
    """It was done all the same, and only the answer is lost."""


class FakeCluster:
    """`sink` is told what a watch would tell; `requests` has every request as verb, kind and name."""

    def __init__(self) -> None:
        self.objects: dict[tuple[Kind, str, str], dict[str, Any]] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.faults: list[Fault] = []
        self.kinds = {SERVER, POD, *CHILDREN}
        self.version = 100
        self.sink: Sink = lambda *_: None

    # What the operator asks.

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        self._ask("get", kind, name)
        return deepcopy(self.objects.get((kind, namespace, name)))

    async def list(self, kind: Kind, namespace: str | None, *, labels: str = "", fields: str = "") -> Listing:
        self._ask("list", kind, fields)
        chosen = [
            deepcopy(item)
            for (of, where, _), item in self.objects.items()
            if of == kind and namespace in {None, where} and _labelled(item, labels) and _has(item, fields)
        ]
        return Listing(chosen, str(self.version))

    async def apply(self, kind: Kind, desired: Object, *, subresource: str = "") -> Object:
        name = desired["metadata"]["name"]
        after = self._ask(f"apply {subresource}".strip(), kind, name)
        place = (kind, desired["metadata"]["namespace"], name)
        live = self.objects.get(place)
        if live is None and subresource:
            raise RefusedError(404, "NotFound", f"{kind.plural} {name} not found")
        if live is not None and desired["metadata"].get("uid", live["metadata"]["uid"]) != live["metadata"]["uid"]:
            raise ConflictError(409, "Conflict", "the UID in the precondition does not match")
        self._write(place, _applied(live or {}, desired, subresource), live)
        if after is not None:
            raise after
        return deepcopy(self.objects[place])

    async def create(self, kind: Kind, body: Object, *, dry_run: bool = False) -> None:
        name = body["metadata"]["name"]
        after = self._ask("dry run" if dry_run else "create", kind, name)
        place = (kind, body["metadata"]["namespace"], name)
        if place in self.objects:
            raise ConflictError(409, "AlreadyExists", f"{kind.plural} {name} already exists")
        if dry_run:
            return
        self._write(place, deepcopy(dict(body)), None)
        if after is not None:
            raise after

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> None:
        self._ask("delete", kind, name)
        live = self.objects.get((kind, namespace, name))
        if live is not None:
            if live["metadata"]["uid"] != uid:
                raise ConflictError(409, "Conflict", "the UID in the precondition does not match")
            self.remove(kind, name)

    async def served(self, kinds: Sequence[Kind]) -> frozenset[Kind]:
        self._ask("discover", SERVER, "")
        return frozenset(self.kinds.intersection(kinds))

    # What others do.

    def fail(self, verb: str, error: ClusterError, *, kind: Kind | None = None, times: int = 1, after: bool = False) -> None:
        self.faults.append(Fault(verb, kind, error, times, after))

    def user_applies(self, name: str, spec: Mapping[str, Any]) -> None:
        """Somebody creates a GmqServer, or sets its spec."""
        live = self.objects.get((SERVER, NAMESPACE, name))
        new = {"apiVersion": SERVER.api_version, "kind": SERVER.kind, "metadata": {"name": name, "namespace": NAMESPACE}}
        body = {**deepcopy(live or new), "spec": deepcopy(dict(spec))}
        self._write((SERVER, NAMESPACE, name), body, live)

    def put(self, kind: Kind, item: Object) -> None:
        """Somebody else writes an object, in place of what is there."""
        place = (kind, item["metadata"]["namespace"], item["metadata"]["name"])
        self._write(place, deepcopy(dict(item)), self.objects.get(place))

    def edit(self, kind: Kind, name: str, change: Callable[[dict[str, Any]], object]) -> None:
        """Somebody edits an object by hand."""
        before = self.objects[kind, NAMESPACE, name]
        item = deepcopy(before)
        change(item)
        for entry in item["metadata"].get("managedFields", ()):
            entry["fieldsV1"] = _still_owned(entry["fieldsV1"], before, item)
        self.put(kind, item)

    def remove(self, kind: Kind, name: str) -> None:
        """Somebody deletes an object. What belongs to it stays for as long as a garbage collector would need."""
        item = self.objects.pop((kind, NAMESPACE, name))
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        self._tell(kind, "DELETED", item)

    def collect_garbage(self) -> None:
        """Delete what belongs to objects that are gone."""
        uids = {item["metadata"]["uid"] for item in self.objects.values()}
        for (kind, _, name), item in list(self.objects.items()):
            owners = item["metadata"].get("ownerReferences", ())
            if owners and not any(owner["uid"] in uids for owner in owners):
                self.remove(kind, name)

    # What tests look at.

    def one(self, kind: Kind, name: str) -> dict[str, Any]:
        return self.objects[kind, NAMESPACE, name]

    def names(self, kind: Kind) -> set[str]:
        return {name for of, _, name in self.objects if of == kind}

    def changes(self) -> list[tuple[str, str, str]]:
        """The requests that were not for reading."""
        return [request for request in self.requests if request[0] not in {"get", "list", "discover"}]

    def _ask(self, verb: str, kind: Kind, name: str) -> ClusterError | None:
        """Note a request; an error to raise after it is done, if there is to be one."""
        self.requests.append((verb, kind.kind, name))
        for fault in self.faults:
            if fault.times and verb == fault.verb and fault.kind in {None, kind}:
                fault.times -= 1
                if not fault.after:
                    raise fault.error
                return fault.error
        return None

    def _write(self, place: tuple[Kind, str, str], item: dict[str, Any], live: dict[str, Any] | None) -> None:
        if live is not None and _content(item) == _content(live):
            return
        self.version += 1
        metadata = item["metadata"]
        metadata["resourceVersion"] = str(self.version)
        if live is None:
            metadata["uid"] = f"uid-{self.version}"
            metadata["generation"] = 1
        elif item.get("spec") != live.get("spec"):
            metadata["generation"] = live["metadata"]["generation"] + 1
        self.objects[place] = item
        kind = place[0]
        if live is not None and _watched(kind, live) and not _watched(kind, item):
            self._tell(kind, "DELETED", item)
        elif _watched(kind, item):
            self._tell(kind, "ADDED" if live is None else "MODIFIED", item)

    def _tell(self, kind: Kind, change: str, item: dict[str, Any]) -> None:
        if kind in self.kinds:
            self.sink(kind, change, deepcopy(item))


def rolled_out(item: dict[str, Any]) -> None:
    """Give a Deployment the status that it has when all its pods are as it wants them."""
    replicas = item["spec"].get("replicas", 1)
    item["status"] = {
        "observedGeneration": item["metadata"]["generation"],
        **(
            {"replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas}
            if replicas
            else {}
        ),
        "conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": ""}],
    }


def deployments_of(cluster: FakeCluster) -> list[dict[str, Any]]:
    return [item for (kind, _, _), item in cluster.objects.items() if kind == DEPLOYMENT]


def _content(item: Object) -> dict[str, Any]:
    metadata = {key: value for key, value in item["metadata"].items() if key not in {"resourceVersion", "generation", "uid"}}
    return {**item, "metadata": metadata}


def _watched(kind: Kind, item: Object) -> bool:
    return kind == SERVER or _labelled(item, f"{MANAGED_BY}={MANAGER}")


def _labelled(item: Object, selector: str) -> bool:
    key, _, value = selector.partition("=")
    return not selector or item["metadata"].get("labels", {}).get(key) == value


def _has(item: Object, fields: str) -> bool:
    for field in filter(None, fields.split(",")):
        path, _, wanted = field.partition("=")
        value: Any = item
        for step in path.split("."):
            value = value.get(step, {})
        if value != wanted:
            return False
    return True


def _fields(value: Any) -> dict[str, Any]:
    return {f"f:{key}": _fields(inner) for key, inner in value.items()} if isinstance(value, Mapping) else {}


def _applied(live: dict[str, Any], desired: Object, subresource: str) -> dict[str, Any]:
    """The object after a server-side apply."""
    result = deepcopy(live)
    wanted = {
        key: deepcopy(value) for key, value in desired.items() if not subresource or key in {"apiVersion", "kind", "metadata", subresource}
    }
    fields = _fields({key: value for key, value in wanted.items() if key not in {"apiVersion", "kind"}})
    for key in ("f:name", "f:namespace", "f:uid"):
        fields["f:metadata"].pop(key, None)
    managed = result.get("metadata", {}).get("managedFields", [])
    for entry in managed:
        if entry["manager"] == MANAGER and entry.get("subresource", "") == subresource:
            _take_away(result, entry["fieldsV1"], fields)
    others = [entry for entry in managed if not (entry["manager"] == MANAGER and entry.get("subresource", "") == subresource)]
    _merge(result, wanted)
    entry = {"manager": MANAGER, "operation": "Apply", "apiVersion": desired["apiVersion"], "fieldsV1": fields}
    result["metadata"]["managedFields"] = [*others, entry | ({"subresource": subresource} if subresource else {})]
    return result


def _still_owned(owned: Mapping[str, Any], before: Any, after: Any) -> dict[str, Any]:
    """What a manager owns after somebody else's edit: no longer what was changed or taken away."""
    kept = {}
    for key, inner in owned.items():
        name = key.removeprefix("f:")
        if not isinstance(after, Mapping) or name not in after:
            continue
        if inner and isinstance(before.get(name), Mapping):
            kept[key] = _still_owned(inner, before[name], after[name])
        elif before.get(name) == after[name]:
            kept[key] = {}
    return kept


def _take_away(item: dict[str, Any], owned: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
    for key, inner in owned.items():
        name = key.removeprefix("f:")
        if name not in item:
            continue
        if key not in kept and (not inner or not isinstance(item[name], dict)):
            del item[name]
        elif isinstance(item[name], dict):
            _take_away(item[name], inner, kept.get(key, {}))
            if key not in kept and not item[name]:
                del item[name]


def _merge(item: dict[str, Any], wanted: Mapping[str, Any]) -> None:
    for key, value in wanted.items():
        if isinstance(value, Mapping) and isinstance(item.get(key), dict):
            _merge(item[key], value)
        else:
            item[key] = deepcopy(value)
