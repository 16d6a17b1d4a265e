"""What the cluster has of every GmqServer, as the watch and the operator's own writes tell it. Nothing here asks the API server."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from gmq_operator.observed import POD, Kind, Object
from gmq_operator.resources import MANAGER
from gmq_operator.resources.labels import INSTANCE
from gmq_operator.spec import GROUP, KIND, PLURAL, VERSION

SERVER: Final = Kind(GROUP, VERSION, KIND, PLURAL)

REMEMBERED_DELETIONS: Final = 1000
"""A write whose answer comes after the news of a deletion must not bring the object back: only a write that is under way can do so."""


class Key(NamedTuple):
    """A GmqServer."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class _Place(NamedTuple):
    kind: Kind
    namespace: str
    name: str


def owner_of(kind: Kind, item: Object) -> Key | None:
    """The GmqServer that an object belongs to: itself, the owner, or for what has none the one that its label names."""
    metadata = item["metadata"]
    if kind == SERVER:
        return Key(metadata["namespace"], metadata["name"])
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("controller") and owner.get("kind") == KIND and str(owner.get("apiVersion", "")).startswith(f"{GROUP}/"):
            return Key(metadata["namespace"], owner["name"])
    instance = (metadata.get("labels") or {}).get(INSTANCE)
    return Key(metadata["namespace"], instance) if instance else None


def version_of(item: Object) -> int:
    """The resource version, which is a number that grows with each change in the cluster."""
    return _number(item["metadata"].get("resourceVersion", ""))


def _number(version: str) -> int:
    return int(version) if version.isdecimal() else 0


def slim(kind: Kind, item: Object) -> Object:
    """The object without what nothing here looks at: who else manages its fields may be most of it."""
    metadata = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    if kind != POD:
        ours = [entry for entry in item["metadata"].get("managedFields") or () if entry.get("manager") == MANAGER]
        metadata["managedFields"] = ours
    return {**item, "metadata": metadata}


class Cache:
    """Objects by the GmqServer that they belong to. Of two versions of an object the newer one wins, wherever it comes from."""

    def __init__(self) -> None:
        self._objects: dict[_Place, Object] = {}
        self._places: dict[Key, set[_Place]] = {}
        self._deleted: OrderedDict[_Place, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._objects)

    def servers(self) -> list[Key]:
        """Every GmqServer."""
        return [Key(place.namespace, place.name) for place in self._objects if place.kind == SERVER]

    def server(self, key: Key) -> Object | None:
        """The GmqServer itself."""
        return self._objects.get(_Place(SERVER, *key))

    def children(self, key: Key) -> dict[tuple[Kind, str], Object]:
        """By kind and name; pods are none."""
        return {(place.kind, place.name): item for place, item in self._of(key) if place.kind not in {SERVER, POD}}

    def pods(self, key: Key) -> list[Object]:
        """Of the server, in the order of their names."""
        return [item for place, item in sorted(self._of(key), key=lambda one: one[0].name) if place.kind == POD]

    def put(self, kind: Kind, item: Object) -> set[Key]:
        """An object as it is now; the GmqServers that this changes something for."""
        place = _place(kind, item)
        known = self._objects.get(place)
        version = version_of(item)
        if version <= self._deleted.get(place, -1) or (known is not None and version <= version_of(known)):
            return set()
        changed = self._remove(place) if known is not None else set()
        key = owner_of(kind, item)
        if key is None:
            return changed
        self._objects[place] = slim(kind, item)
        self._places.setdefault(key, set()).add(place)
        return changed | {key}

    def drop(self, kind: Kind, item: Object) -> set[Key]:
        """An object is gone, or no longer selected; `item` is how it was last. The GmqServers that this changes something for."""
        place = _place(kind, item)
        known = self._objects.get(place)
        version = version_of(item)
        if known is not None and version < version_of(known):
            return set()  # there is a new one by now
        self._deleted[place] = max(version, self._deleted.pop(place, 0))
        while len(self._deleted) > REMEMBERED_DELETIONS:
            self._deleted.popitem(last=False)
        return self._remove(place)

    def replace(self, kind: Kind, namespace: str | None, items: Iterable[Object], version: str) -> set[Key]:
        """All objects of a kind as a list of that version has them; the GmqServers that this changes something for."""
        changed: set[Key] = set()
        listed: set[_Place] = set()
        for item in items:
            listed.add(_place(kind, item))
            changed |= self.put(kind, item)
        gone = [
            place
            for place, item in self._objects.items()
            if place.kind == kind and namespace in {None, place.namespace} and place not in listed and version_of(item) <= _number(version)
        ]
        for place in gone:
            changed |= self._remove(place)
        return changed

    def _of(self, key: Key) -> Iterator[tuple[_Place, Object]]:
        return ((place, self._objects[place]) for place in self._places.get(key, ()))

    def _remove(self, place: _Place) -> set[Key]:
        item = self._objects.pop(place, None)
        if item is None:
            return set()
        key = owner_of(place.kind, item)
        if key is None:
            return set()
        places = self._places[key]
        places.discard(place)
        if not places:
            del self._places[key]
        return {key}


def _place(kind: Kind, item: Object) -> _Place:
    return _Place(kind, item["metadata"]["namespace"], item["metadata"]["name"])
