"""A partial PodSpec merged into another, as `kubectl patch --type=strategic` does it, or a little better."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

Object = Mapping[str, Any]


class Merging(Struct, frozen=True):
    """How a list is merged: items with the same `key` are one, and `inner` are the lists in them.

    Items of a list of `one_of` have a name and one thing more, such as the source of a volume or the value of a variable.
    """

    key: str
    inner: Mapping[str, "Merging"] = {}
    one_of: bool = False


_CONTAINER = {
    "env": Merging("name", one_of=True),
    "ports": Merging("containerPort"),
    "volumeMounts": Merging("mountPath"),
    "volumeDevices": Merging("devicePath"),
}
POD_SPEC: Mapping[str, Merging] = {
    "containers": Merging("name", _CONTAINER),
    "initContainers": Merging("name", _CONTAINER),
    "ephemeralContainers": Merging("name", _CONTAINER),
    "hostAliases": Merging("ip"),
    "imagePullSecrets": Merging("name"),
    "resourceClaims": Merging("name", one_of=True),
    "schedulingGates": Merging("name"),
    "topologySpreadConstraints": Merging("topologyKey"),
    "volumes": Merging("name", one_of=True),
}
"""The lists of a PodSpec that Kubernetes merges (`patchMergeKey` of its types). Others, such as tolerations, are replaced."""

HANDLERS = frozenset(("exec", "grpc", "httpGet", "sleep", "tcpSocket"))
"""What a probe or a hook does, which is one of these."""

PATCH = "$patch"
RETAIN_KEYS = "$retainKeys"
ORDER = "$setElementOrder/"


def merge_pod_spec(spec: Object, override: Object) -> dict[str, Any]:
    """The PodSpec `spec` with what `override` says in its place.

    `$patch: delete` takes an item of a list away, `$patch: replace` everything in an object or list, a null a field. In one thing it goes
    further than `kubectl patch`: what can be one thing only, such as a probe, a volume or a variable's value, becomes the new one.
    """
    return _merge(spec, override, POD_SPEC)


def _merge(base: Object, patch: Object, lists: Mapping[str, Merging]) -> dict[str, Any]:
    if patch.get(PATCH) == "replace":
        return {key: value for key, value in patch.items() if key != PATCH}
    if patch.get(PATCH) == "delete":
        return {}
    kept = patch.get(RETAIN_KEYS)
    given_up = HANDLERS if HANDLERS & patch.keys() else frozenset()
    result = {key: value for key, value in base.items() if (kept is None or key in kept) and (key not in given_up or key in patch)}
    for key, value in patch.items():
        if key in {PATCH, RETAIN_KEYS} or key.startswith(ORDER):
            continue
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            below = result.get(key)
            result[key] = _merge(below if isinstance(below, Mapping) else {}, value, {})
        elif key in lists and isinstance(value, Sequence) and not isinstance(value, str):
            below = result.get(key)
            result[key] = _merge_list(below if isinstance(below, Sequence) else [], value, lists[key])
        else:
            result[key] = value
    return result


def _merge_list(base: Sequence[Any], patch: Sequence[Any], merging: Merging) -> list[Any]:
    """Items that are there stay in their places, new ones follow. What is no item of such a list stays for the API server to refuse."""
    result = [] if {PATCH: "replace"} in patch else list(base)
    for item in patch:
        if not isinstance(item, Mapping):
            result.append(item)
            continue
        if item == {PATCH: "replace"}:
            continue
        name = item.get(merging.key)
        at = next((at for at, other in enumerate(result) if isinstance(other, Mapping) and other.get(merging.key) == name), None)
        if item.get(PATCH) == "delete":
            result = [other for place, other in enumerate(result) if place != at]
        elif at is None or name is None:
            result.append(_merge({}, item, merging.inner))
        else:
            below = _kept(result[at], item) if merging.one_of else result[at]
            result[at] = _merge(below, item, merging.inner)
    return result


def _kept(base: Object, patch: Object) -> Object:
    """What stays of an item that is one thing or another, such as a volume: with another source nothing of the first one."""
    return {key: value for key, value in base.items() if key == "name" or key in patch}
