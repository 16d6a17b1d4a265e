"""What values.yaml says about each value, told again where people look for it: in the chart's README.md, and in values.schema.json.

The comment right above a key describes it. A mapping with commented keys is a section; any other mapping, list or scalar is one value.

    python charts/reference.py           write both
    python charts/reference.py --check   exit 1 if one of them is not as it would be written
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CHART = Path(__file__).parent / "gmq"
VALUES = CHART / "values.yaml"
SCHEMA = CHART / "values.schema.json"
README = CHART / "README.md"
BEGIN = "<!-- The values, made from values.yaml by `make generate`. -->"
END = "<!-- The end of the values. -->"

KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z0-9_.-]+):(?:\s|$)")
COMMENT = re.compile(r"^(?P<indent> *)# ?(?P<text>.*)$")


class Entry(NamedTuple):
    """A value, or a section of values."""

    path: tuple[str, ...]
    text: str
    is_section: bool
    default: Any

    @property
    def name(self) -> str:
        return ".".join(self.path)


def comments(source: str) -> dict[tuple[str, ...], str]:
    """The comment above each key, by the key's path; in one line."""
    found: dict[tuple[str, ...], str] = {}
    path: list[tuple[int, str]] = []
    pending: list[str] = []
    for line in source.splitlines():
        if comment := COMMENT.match(line):
            pending.append(comment["text"])
        elif key := KEY.match(line):
            indent = len(key["indent"])
            path = [step for step in path if step[0] < indent] + [(indent, key["key"])]
            if pending:
                found[tuple(name for _, name in path)] = " ".join(pending)
            pending = []
        else:
            pending = []
    return found


def entries(values: Mapping[str, Any], texts: Mapping[tuple[str, ...], str], above: tuple[str, ...] = ()) -> Iterator[Entry]:
    """Every section and value, in the order of the file.

    Raises:
        LookupError: a value has no comment.
    """
    for key, default in values.items():
        path = (*above, key)
        is_section = isinstance(default, dict) and any((*path, child) in texts for child in default)
        if not is_section and path not in texts:
            raise LookupError(f"{VALUES.name}: {'.'.join(path)} has no comment that describes it")
        yield Entry(path, texts.get(path, ""), is_section, default)
        if is_section:
            yield from entries(default, texts, path)


def read_entries() -> list[Entry]:
    source = VALUES.read_text()
    return list(entries(yaml.safe_load(source), comments(source)))


def table(all_entries: list[Entry]) -> str:
    lines = ["| value | default | |", "|---|---|---|"]
    for entry in all_entries:
        text = entry.text.replace("|", "\\|")
        if entry.is_section:
            lines.append(f"| **{entry.name}** | | {text} |")
        else:
            lines.append(f"| `{entry.name}` | `{json.dumps(entry.default)}` | {text} |")
    return "\n".join(lines)


def readme(old: str, all_entries: list[Entry]) -> str:
    """The README with the table in the place of the old one."""
    before, _, rest = old.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table(all_entries)}\n\n{END}{after}"


def schema(old: str, all_entries: list[Entry]) -> str:
    """The schema with the descriptions of the values.

    Raises:
        LookupError: a value is not in the schema.
    """
    document = json.loads(old)
    for entry in all_entries:
        node = document
        for step in entry.path:
            node = resolve(document, node).get("properties", {}).get(step)
            if node is None:
                raise LookupError(f"{SCHEMA.name} does not have {entry.name}")
        node.pop("description", None)
        if entry.text:
            node["description"] = entry.text
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def resolve(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """The definition that a node refers to, or the node itself."""
    if "$ref" not in node:
        return node
    definition: dict[str, Any] = document["definitions"][node["$ref"].rsplit("/", 1)[1]]
    return definition


def main() -> int:
    all_entries = read_entries()
    wanted = {README: readme(README.read_text(), all_entries), SCHEMA: schema(SCHEMA.read_text(), all_entries)}
    stale = [path for path, text in wanted.items() if path.read_text() != text]
    if sys.argv[1:] == ["--check"]:
        for path in stale:
            print(f"{path} is not what values.yaml says: make generate", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
