"""Whether a child has to be applied: what the operator owns, against what it wants.

The API server keeps a list of the fields that each manager owns, in `metadata.managedFields`. A child is as it is wanted if the operator
owns those fields that it wants and no others, and if they have the values that it wants. What others own does not matter, nor what the
server adds.
"""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from gmq_operator.observed import Object
from gmq_operator.quantity import parse_quantity
from gmq_operator.resources.labels import MANAGER

Owned = Mapping[str, Any]
"""Fields of `fieldsV1`: `f:` a field, `k:` an item of a list by its keys, `v:` one by its value, `.` the thing itself. Where nothing is
inside, the whole is owned."""

_IDENTITY = ("apiVersion", "kind", "metadata.name", "metadata.namespace")
"""What says which object it is belongs to nobody."""
_PROTOCOL = "TCP"
"""The one key of an item that the API server fills in."""
_QUANTITIES = frozenset(("requests", "limits", "overhead", "sizeLimit", "divisor"))
"""Fields whose values, or the values in them, are quantities, which the API server writes in its own way: 1024Mi as 1Gi."""


def differs(desired: Object, live: Object) -> bool:
    """Whether to apply `desired` over `live`, which must have its `managedFields`."""
    owned = _owned(desired, live)
    return owned is None or _object_differs(_without_identity(desired), live, owned)


def _owned(desired: Object, live: Object) -> Owned | None:
    """The fields that the operator applied; None where it never did so with this version of the kind."""
    for entry in live.get("metadata", {}).get("managedFields") or ():
        ours = entry.get("manager") == MANAGER and entry.get("operation") == "Apply" and not entry.get("subresource")
        if ours and entry.get("apiVersion") == desired["apiVersion"]:
            fields: Owned = entry.get("fieldsV1", {})
            return fields
    return None


def _without_identity(desired: Object) -> Object:
    metadata = {key: value for key, value in desired["metadata"].items() if f"metadata.{key}" not in _IDENTITY}
    return {**{key: value for key, value in desired.items() if key not in _IDENTITY}, "metadata": metadata}


def _differs(desired: Any, live: Any, owned: Owned, name: str) -> bool:
    """`name` is that of the field which has the value, or of the object which has the field, where that says what the value is."""
    if not any(key != "." for key in owned):
        return not _equal(desired, live, name)
    if isinstance(desired, Mapping):
        return not isinstance(live, Mapping) or _object_differs(desired, live, owned, name)
    if isinstance(desired, Sequence) and not isinstance(desired, str):
        return not isinstance(live, Sequence) or _list_differs(desired, live, owned)
    return True


def _object_differs(desired: Object, live: Object, owned: Owned, name: str = "") -> bool:
    fields = {key.removeprefix("f:"): value for key, value in owned.items() if key.startswith("f:")}
    if fields.keys() != desired.keys():
        return True
    # What is owned and is not there was left out by the API server, as it does with a value that says nothing: nobody took it away, or
    # it would no longer be owned.
    return any(key in live and _differs(desired[key], live[key], fields[key], _what(name, key)) for key in fields)


def _list_differs(desired: Sequence[Any], live: Sequence[Any], owned: Owned) -> bool:
    items = {key: inner for key, inner in owned.items() if key != "."}
    if len(items) != len(desired):
        return True
    return any(_item_differs(desired, live, key, inner) for key, inner in items.items())


def _item_differs(desired: Sequence[Any], live: Sequence[Any], key: str, owned: Owned) -> bool:
    keys = json.loads(key[2:])
    if key.startswith("v:"):
        return keys not in desired or keys not in live
    wanted, there = _item(desired, keys), _item(live, keys)
    return wanted is None or there is None or _object_differs(wanted, there, owned)


def _item(items: Sequence[Any], keys: Object) -> Object | None:
    for item in items:
        if isinstance(item, Mapping) and all(item.get(name, _PROTOCOL if name == "protocol" else None) == keys[name] for name in keys):
            return item
    return None


def _equal(desired: Any, live: Any, name: str) -> bool:
    """Whether a value is as it is wanted; objects may have more than that, which the API server filled in."""
    if isinstance(desired, Mapping):
        return isinstance(live, Mapping) and all(
            _equal(value, live[key], _what(name, key)) if key in live else not value for key, value in desired.items()
        )
    if isinstance(desired, Sequence) and not isinstance(desired, str):
        return (
            isinstance(live, Sequence)
            and len(desired) == len(live)
            and all(_equal(one, other, name) for one, other in zip(desired, live, strict=True))
        )
    if name in _QUANTITIES:
        return _quantity(desired) == _quantity(live)
    return bool(desired == live)


def _what(name: str, key: str) -> str:
    return name if name in _QUANTITIES else key


def _quantity(value: Any) -> Decimal | str:
    """The number, or what the API server will not take for one."""
    try:
        return parse_quantity(value)
    except ValueError:
        return str(value)
