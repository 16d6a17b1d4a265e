"""What an API server says of a GmqServer: its defaults, the schema, the lists' types, and from Kubernetes 1.25 on the rules in CEL.

tests/cluster/test_definition.py compares it with a real one.

The schema's dialect is OpenAPI 3.0, in which `exclusiveMinimum` is a boolean as in JSON Schema's draft 4.
"""

import copy
import functools
import json
from collections.abc import Iterator
from typing import Any

from cel_expr_python import cel as google
from jsonschema import Draft4Validator

from gmq_operator import crd

Schema = dict[str, Any]


def refusals(body: dict[str, Any], old: dict[str, Any] | None = None, *, cel: bool = True) -> list[str]:
    """Why the object would be refused, as a change of `old` where that is there; empty where it would be accepted.

    Without `cel` it is what an older one says.
    """
    schema = _schema(cel)
    after = _defaulted(body, schema)
    before = None if old is None else _defaulted(old, schema)
    found = [f"{error.json_path}: {error.message}" for error in Draft4Validator(schema).iter_errors(after)]
    found += _lists(after, schema, "")
    return found or list(_broken_rules(after, before, schema, ""))


@functools.cache
def _schema(cel: bool) -> Schema:  # noqa: FBT001  # the cache is by position
    """In Python `$` also matches before a newline at the end, in an API server it does not."""
    schema: Schema = json.loads(json.dumps(crd.schema(cel=cel)), object_hook=_ended)
    return schema


def _ended(schema: Schema) -> Schema:
    return {**schema, "pattern": schema["pattern"].removesuffix("$") + r"\Z"} if isinstance(schema.get("pattern"), str) else schema


def _defaulted(value: Any, schema: Schema) -> Any:
    value = copy.deepcopy(value)
    _fill(value, schema)
    return value


def _fill(value: Any, schema: Schema) -> None:
    if isinstance(value, dict):
        for name, member in schema.get("properties", {}).items():
            if name not in value and "default" in member:
                value[name] = member["default"]
            _fill(value.get(name), member)
    elif isinstance(value, list):
        for item in value:
            _fill(item, schema.get("items", {}))


def _lists(value: Any, schema: Schema, path: str) -> Iterator[str]:
    """Items that are there twice, in a set or a map."""
    if isinstance(value, list):
        keys = schema.get("x-kubernetes-list-map-keys")
        if schema.get("x-kubernetes-list-type") in {"set", "map"}:
            names = [tuple(item.get(key) for key in keys) if keys and isinstance(item, dict) else item for item in value]
            if any(name in names[:at] for at, name in enumerate(names)):
                yield f"{path}: an item is there twice"
        for item in value:
            yield from _lists(item, schema["items"], path)
    elif isinstance(value, dict):
        for name, member in schema.get("properties", {}).items():
            yield from _lists(value.get(name), member, f"{path}.{name}")


def _broken_rules(value: Any, old: Any, schema: Schema, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        return
    for rule in schema.get("x-kubernetes-validations", ()):
        changes = "oldSelf" in rule["rule"]
        if (old is not None or not changes) and not holds(rule["rule"], value, old if changes else {}):
            yield f"{path}: {rule['message']}"
    for name, member in schema.get("properties", {}).items():
        if name in value:
            yield from _broken_rules(value[name], old.get(name) if isinstance(old, dict) else None, member, f"{path}.{name}")


def holds(rule: str, value: Any, old: Any) -> bool:
    result = _compiled(rule).eval(data={"self": value, "oldSelf": old}).value()
    assert isinstance(result, bool), f"{rule} is not a boolean: {result}"
    return result


@functools.cache
def _compiled(rule: str) -> Any:
    return google.NewEnv(variables={"self": google.Type.DYN, "oldSelf": google.Type.DYN}).compile(rule)
