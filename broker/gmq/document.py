"""A JSON document read into structs, with all its problems found at once.

It knows JSON and msgspec's structs, and nothing of what the settings mean. A member that is null counts as left out. Members may be
renamed: errors speak of the name that the document uses.
"""

import json
import re
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from typing import Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Struct, inspect
from msgspec.structs import fields

from gmq.validate import quote

S = TypeVar("S", bound=Struct)

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_READ_DIGITS = 400
_WRITTEN_DIGITS = 30
_SHOWN_ITEMS = 3
_TYPES = {str: "a string", int: "a number", float: "a number", bool: "a boolean", list: "a list", type(None): "null"}


class DocumentError(Exception):
    """The text is not JSON. The message says where (line and column, from 1) and what was expected."""


class Object(dict[str, object]):
    """A JSON object that remembers which of its keys were there more than once."""

    def __init__(self, pairs: Sequence[tuple[str, object]]) -> None:
        super().__init__(pairs)
        keys = [key for key, _ in pairs]
        self.repeated = [key for key in self if keys.count(key) > 1] if len(keys) > len(self) else []


class Setting(Struct, frozen=True, kw_only=True):
    """A member of a struct, with all that its annotation says.

    `key` is its name in the document. `kind` names the type and `range` the values for people; `allowed` is both, as it goes into an
    error text.
    """

    name: str
    key: str
    annotation: object
    type: inspect.Type
    required: bool
    default: str
    description: str
    examples: Sequence[object]
    kind: str
    range: str
    allowed: str
    unit: str
    secret: bool


class Reading:
    """One pass over a document: what it sets, and what is wrong with it.

    `given` has the path (such as `limits.queues` or `policies[0].ttl`) of every member that the document sets to something other than null.
    """

    def __init__(self) -> None:
        self.given: set[str] = set()
        self.problems: list[str] = []
        self._wrong: set[str] = set()

    def problem(self, path: str, text: str) -> None:
        """Note what is wrong; `text` goes on after the path."""
        self._wrong.add(path)
        self.problems.append(f"{path or 'the document'} {text}")

    def sound(self, *parents: str) -> bool:
        """Whether nothing was wrong so far with these paths and with what is below them."""
        return not any(path == parent or path.startswith((f"{parent}.", f"{parent}[")) for path in self._wrong for parent in parents)

    def struct(self, kind: type[S], value: object, path: str = "") -> S | None:
        """The value as a struct, with the default for what is missing or wrong; None where a required member is."""
        settings = settings_of(kind)
        if isinstance(value, dict):
            self._check_keys(value, settings, path)
        else:
            secret = any(setting.secret for setting in settings)
            self.problem(path, f"is {found(value, secret=secret)}; it must be an object with any of the keys {_names(settings)}")
            value = {}
        members: dict[str, object] = {}
        for setting in settings:
            member, where = value.get(setting.key), _join(path, setting.key)
            if member is not None:
                self.given.add(where)
                result = self._member(setting, member, where)
                if result is not NODEFAULT:
                    members[setting.name] = result
            elif setting.required and self.sound(path):
                self.problem(where, f"is missing; it must be {setting.allowed}")
        complete = all(setting.name in members for setting in settings if setting.required)
        return kind(**members) if complete else None

    def _check_keys(self, value: dict[str, object], settings: Sequence[Setting], path: str) -> None:
        known = [setting.key for setting in settings]
        for key in value.repeated if isinstance(value, Object) else ():
            self.problem(_join(path, key), "is there more than once; keep one of them")
        for key in value:
            if key not in known:
                near = get_close_matches(key.lower(), [name.lower() for name in known], 1)
                hint = f" (did you mean {next(name for name in known if name.lower() == near[0])}?)" if near else ""
                self.problem(_join(path, key), f"is not a setting{hint}; {path or 'the document'} may have the keys {_names(settings)}")

    def _member(self, setting: Setting, value: object, path: str) -> object:
        """The member's value, or NODEFAULT where it is wrong."""
        if kind := struct_of(setting.type):
            read = self.struct(kind, value, path)
            return NODEFAULT if read is None else read
        if isinstance(setting.type, inspect.VarTupleType) and isinstance(setting.type.item_type, inspect.StructType):
            if isinstance(value, list):
                cls = setting.type.item_type.cls
                items = [self.struct(cls, item, f"{path}[{index}]") for index, item in enumerate(value)]
                return tuple(item for item in items if item is not None)
        elif not isinstance(value, str) or is_unicode(value):
            try:
                return msgspec.convert(value, setting.annotation)
            except msgspec.ValidationError:
                pass  # said below, in words for people
        self.problem(path, f"is {found(value, secret=setting.secret)}; it must be {setting.allowed}")
        return NODEFAULT


def decode(text: str) -> object:
    """The JSON text's value; its objects are of the class Object.

    NaN, Infinity and numbers too large for a float come as the floats of these names: whoever checks the member refuses them.

    Raises:
        DocumentError: this is not JSON.
    """
    try:
        value: object = json.loads(text, object_pairs_hook=Object, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise DocumentError(f"line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from error
    except RecursionError as error:
        raise DocumentError("objects and lists are nested too deeply") from error
    return value


def found(value: object, *, secret: bool = False) -> str:
    """A JSON value as an error text shows it: in full when it is short, its type alone when it is secret."""
    if isinstance(value, dict):
        return "an object" if value else "{}"
    if isinstance(value, list) and not secret:
        items = ["[...]" if isinstance(item, list) and item else found(item) for item in value[:_SHOWN_ITEMS]]
        return f"[{', '.join([*items, '...'] if len(value) > _SHOWN_ITEMS else items)}]"
    if secret:
        return _TYPES[type(value)]
    if isinstance(value, str):
        return quote(value)
    text = json.dumps(value)
    return text if len(text) <= _WRITTEN_DIGITS else f"{text[:_WRITTEN_DIGITS]}..."


@cache
def settings_of(kind: type[Struct]) -> tuple[Setting, ...]:
    """The members of a struct, in their order."""
    info = inspect.type_info(kind)
    if not isinstance(info, inspect.StructType):
        raise TypeError(f"{kind} is not a struct")
    annotations = {member.name: member.type for member in fields(kind)}
    return tuple(_setting(member, annotations[member.name]) for member in info.fields)


def unwrapped(kind: inspect.Type) -> inspect.Metadata:
    """The type without what annotations say of it, beside all that they say; of two that disagree, the outer one counts."""
    match kind:
        case inspect.Metadata():
            inner = unwrapped(kind.type)
            return _said(inner.type, inner, kind)
        case inspect.UnionType(types=types):
            parts = [unwrapped(part) for part in types]
            return _said(inspect.UnionType(tuple(part.type for part in parts)), *parts)
    return inspect.Metadata(kind)


def _said(kind: inspect.Type, *metas: inspect.Metadata) -> inspect.Metadata:
    """The type with what all of them say."""
    schema = {name: value for meta in metas for name, value in (meta.extra_json_schema or {}).items()}
    return inspect.Metadata(kind, schema, {name: value for meta in metas for name, value in (meta.extra or {}).items()})


def _setting(member: inspect.Field, annotation: object) -> Setting:
    meta = unwrapped(member.type)
    kind, schema, extra = meta.type, meta.extra_json_schema or {}, meta.extra or {}
    parts = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    words = [_words(part, annotation) for part in parts if not isinstance(part, inspect.NoneType)]
    unit = f" {extra['unit']}" if "unit" in extra else ""
    return Setting(
        name=member.name,
        key=member.encode_name,
        annotation=annotation,
        type=kind,
        required=member.required,
        default=extra.get("default") or _default(member.default),
        description=schema.get("description", ""),
        examples=schema.get("examples", ()),
        kind=extra.get("kind", " or ".join(word for word, _, _ in words)),
        range=extra.get("range", " or ".join(values for _, values, _ in words if values) + unit),
        allowed=extra.get("allowed", " or ".join(allowed for _, _, allowed in words) + unit),
        unit=unit.strip(),
        secret=extra.get("secret", False),
    )


def _default(value: object) -> str:
    if value is NODEFAULT or value is None or isinstance(value, Struct):
        return ""
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)


def _words(kind: inspect.Type, annotation: object) -> tuple[str, str, str]:
    """A type's name, its values, and both in a phrase that goes on after "it must be"."""
    match kind:
        case inspect.LiteralType():
            choices = _choices(annotation)
            *others, last = [json.dumps(choice) for choice in choices]
            name = "string" if isinstance(choices[0], str) else "integer"
            return name, ", ".join([*others, last]), f"{', '.join(others)} or {last}"
        case inspect.IntType() | inspect.FloatType():
            return _number_words(kind)
        case inspect.StrType(min_length=None):
            return "string", "", "a string"
        case inspect.StrType(min_length=low, max_length=high):
            return "string", f"{low} to {high} characters", f"a string of {low} to {high} characters"
        case inspect.BoolType():
            return "boolean", "", "true or false"
        case inspect.VarTupleType(item_type=item):
            return "list", "", _list_words(unwrapped(item).type, annotation)
        case inspect.DictType(value_type=inspect.StrType()):
            return "object", "", "an object whose members are strings"
        case inspect.StructType() | inspect.DictType():
            return "object", "", "an object"
    raise TypeError(f"no words for settings of the type {kind}")


def _number_words(kind: inspect.IntType | inspect.FloatType) -> tuple[str, str, str]:
    match kind:
        case inspect.IntType(ge=int(low), le=int(high)):
            return "integer", f"{low} to {high}", f"an integer from {low} to {high}"
        case inspect.FloatType(gt=None, ge=low, le=high):
            return "number", f"{low} to {high}", f"a number from {low} to {high}"
        case inspect.FloatType(gt=low, le=high):
            return "number", f"above {low}, up to {high}", f"a number above {low}, up to {high}"
    return ("integer", "", "an integer") if isinstance(kind, inspect.IntType) else ("number", "", "a number")


def _list_words(item: inspect.Type, annotation: object) -> str:
    match item:
        case inspect.StrType():
            return "a list of strings"
        case inspect.LiteralType():
            return f"a list with any of {', '.join(json.dumps(choice) for choice in _choices(annotation))}"
    return "a list of objects"


def struct_of(kind: inspect.Type) -> type[Struct] | None:
    """The struct that a type is, with or without None; None for every other type."""
    parts = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    return next((part.cls for part in parts if isinstance(part, inspect.StructType)), None)


def _choices(annotation: object) -> list[object]:
    """The values of the Literal inside an annotation, in the order in which they are written there; msgspec sorts them."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [choice for part in get_args(annotation) for choice in _choices(part)]


def _names(settings: Sequence[Setting]) -> str:
    return ", ".join(setting.key for setting in settings)


def _join(path: str, key: str) -> str:
    if not _IDENTIFIER.fullmatch(key):
        return f"{path}[{quote(key)}]"
    return f"{path}.{key}" if path else key


def is_unicode(text: str) -> bool:
    """Whether the text can be written as UTF-8: JSON's escapes can make lone surrogates, which cannot."""
    return not _SURROGATE.search(text)


def _integer(digits: str) -> float:
    # Python refuses to read integers of thousands of digits; as a float such a one is infinite, and refused with its path.
    return int(digits) if len(digits) <= _READ_DIGITS else float(digits)
