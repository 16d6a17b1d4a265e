"""Makes the CustomResourceDefinition from the fields' own definitions: `python -m gmq_operator.crd [--check] FOLDER`.

Two files come of it: `crd.yaml`, and `crd-without-cel.yaml` for clusters below Kubernetes 1.25, which know no rules in CEL. There the same
rules, those of spec.py, are told by the condition SpecValid.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from msgspec import NODEFAULT, Struct, inspect

from gmq.docs import keep
from gmq.document import unwrapped
from gmq_operator.fields import GROUP, KIND, LONGEST_NAME, PLURAL, VERSION, Spec
from gmq_operator.names import SERVICE_NAME
from gmq_operator.quantity import LONGEST as LONGEST_QUANTITY
from gmq_operator.quantity import PATTERN as QUANTITY
from gmq_operator.rules import RULES
from gmq_operator.statusschema import STATUS

SHORT_NAME = "gmq"

Schema = dict[str, Any]

FILES = {"crd.yaml": True, "crd-without-cel.yaml": False}
"""The files' names, and whether they have rules in CEL."""

_HEAD = "# Made by `make generate` from the definitions in operator/gmq_operator/fields.py: change those, not this file.\n"


def definition(*, cel: bool = True) -> Schema:
    """The CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": [SHORT_NAME],
                "categories": ["all"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema(cel=cel)},
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.replicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "additionalPrinterColumns": _COLUMNS,
                }
            ],
        },
    }


_COLUMNS = [
    {"name": "Storage", "type": "string", "jsonPath": ".spec.storage.type", "description": "Where messages are kept."},
    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "description": "Brokers asked for."},
    {
        "name": "Ready",
        "type": "string",
        "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
        "description": "Whether clients are served as asked.",
    },
    {"name": "Reason", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].reason', "description": "Why, or why not."},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {
        "name": "Message",
        "type": "string",
        "priority": 1,
        "jsonPath": '.status.conditions[?(@.type=="Ready")].message',
        "description": "The reason in a sentence.",
    },
]


def schema(*, cel: bool = True) -> Schema:
    """The schema of a GmqServer."""
    name = {"type": "string", "minLength": 1, "maxLength": LONGEST_NAME, "pattern": _pattern(SERVICE_NAME)}
    whole = {
        "type": "object",
        "description": "A GMQ message broker, or several that share a database.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "The version of this schema."},
            "kind": {"type": "string", "description": "The kind of this object."},
            "metadata": {"type": "object", "properties": {"name": name}},
            "spec": {"description": Spec.__doc__, **_struct(Spec)},
            "status": STATUS,
        },
    }
    if cel:
        for path, rules in RULES.items():
            _at(whole, path)["x-kubernetes-validations"] = [{"rule": rule.cel, "message": rule.message} for rule in rules]
    return whole


def _at(whole: Schema, path: str) -> Schema:
    """The schema of the field with this path, such as `spec.storage`; `[]` stands for a list's items."""
    found = whole
    for part in path.split("."):
        found = found["properties"][part.removesuffix("[]")]
        if part.endswith("[]"):
            found = found["items"]
    return found


def _struct(kind: type[Struct]) -> Schema:
    info = inspect.type_info(kind)
    if not isinstance(info, inspect.StructType):
        raise TypeError(f"{kind} is not a struct")
    required = [member.encode_name for member in info.fields if member.required]
    properties = {member.encode_name: _member(member) for member in info.fields}
    return {"type": "object", **({"required": required} if required else {}), **({"properties": properties} if properties else {})}


def _member(member: inspect.Field) -> Schema:
    """A member's schema. Only scalars have a default: that of an object would be a member which nobody set."""
    meta = unwrapped(member.type)
    kind, extra = _without_none(meta.type), meta.extra or {}
    text = (meta.extra_json_schema or {}).get("description", "")
    made = _quantity(extra) if extra.get("quantity") else _type(kind)
    default = member.default
    if not text and isinstance(kind, inspect.StructType):
        text = kind.cls.__doc__ or ""
    said = extra.get("default", "")
    if not said and default is not NODEFAULT and isinstance(default, (str, int, float)):
        said = default if isinstance(default, str) else json.dumps(default)
    unit = " In seconds." if extra.get("unit") == "s" else ""
    made = {"description": f"{text}{unit}" + (f" Default: {said}." if said else ""), **made}
    if isinstance(default, (str, int, float)):
        made["default"] = default
    if extra.get("named"):
        name = {"type": "string", "minLength": 1, "maxLength": 253, "description": "The name, unique in the list."}
        made["items"] |= {"required": ["name"], "properties": {"name": name}}
        made |= _list_type(made["items"])
    if extra.get("queue"):
        made |= {"minLength": 1, "maxLength": 255, "not": {"enum": [".", ".."]}}
    return made


def _without_none(kind: inspect.Type) -> inspect.Type:
    """The type of a member that may be left out, where it is set."""
    if isinstance(kind, inspect.UnionType):
        parts = [part for part in kind.types if not isinstance(part, inspect.NoneType)]
        return parts[0] if len(parts) == 1 else kind
    return kind


def _quantity(extra: dict[str, Any]) -> Schema:
    return {
        "x-kubernetes-int-or-string": True,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "pattern": _pattern(QUANTITY),
        "maxLength": LONGEST_QUANTITY,
        **_set(minimum=extra.get("minimum"), maximum=extra.get("maximum")),
    }


def _type(kind: inspect.Type) -> Schema:
    match _without_none(unwrapped(kind).type):
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.IntType() | inspect.FloatType() as number:
            return _number(number)
        case inspect.StrType(min_length=low, max_length=high, pattern=pattern):
            return {"type": "string", **_set(minLength=low, maxLength=high, pattern=None if pattern is None else _pattern(pattern))}
        case inspect.LiteralType(values=values):
            return {"type": "string", "enum": list(values)}
        case inspect.StructType(cls=cls):
            return _struct(cls)
        case inspect.DictType(value_type=inspect.StrType()):
            return {"type": "object", "additionalProperties": {"type": "string"}}
        case inspect.DictType():
            return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        case inspect.VarTupleType(item_type=item, min_length=low, max_length=high):
            made = _type(item)
            return {"type": "array", **_list_type(made), **_set(minItems=low, maxItems=high), "items": made}
    raise TypeError(f"no schema for fields of the type {kind}")


def _number(kind: inspect.IntType | inspect.FloatType) -> Schema:
    low, high = kind.ge, kind.le
    if isinstance(kind, inspect.IntType):
        size = "int32" if high is not None and high < 1 << 31 else "int64"
        return {"type": "integer", "format": size, **_set(minimum=low, maximum=high)}
    if kind.gt is not None:
        return {"type": "number", "minimum": kind.gt, "exclusiveMinimum": True, **_set(maximum=high)}
    made = {"type": "number", **_set(minimum=low, maximum=high)}
    if low is not None and 0 < low < 1:  # API servers compare a whole number with the bound's whole part, and would take 0
        made["allOf"] = [{"minimum": 0, "exclusiveMinimum": True}]
    return made


def _list_type(items: Schema) -> Schema:
    if "name" in items.get("required", ()):
        return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    return {"x-kubernetes-list-type": "atomic" if items["type"] == "object" else "set"}


def _set(**members: object) -> Schema:
    return {name: value for name, value in members.items() if value is not None}


def _pattern(pattern: str) -> str:
    """A pattern of Python's in the words of RE2, where `$` is the end of the text alone."""
    return pattern.removesuffix(r"\Z") + "$"


def render(*, cel: bool) -> str:
    """The file, as YAML."""
    return _HEAD + yaml.safe_dump(definition(cel=cel), sort_keys=False, width=120, allow_unicode=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or check those that are there; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m gmq_operator.crd", description="Makes the CustomResourceDefinition from the fields' definitions."
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the files are")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a file is not what would be written")
    options = parser.parse_args(arguments)
    stale = "is not what the fields' definitions say: run `make generate`"
    kept = [keep(options.folder / name, render(cel=cel), check=options.check, stale=stale) for name, cel in FILES.items()]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
