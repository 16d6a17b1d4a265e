"""Makes docs/gmqserver.md from the fields' own definitions: `python -m gmq_operator.docs [--check] FILE`."""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct, inspect

from gmq.docs import keep, table_row, table_rows
from gmq.document import Setting, settings_of, struct_of
from gmq_operator.brokerconfig import OWNED, OWNED_VARIABLES
from gmq_operator.fields import GROUP, KIND, LONGEST_NAME, VERSION, Reference, Spec
from gmq_operator.rules import RULES
from gmq_operator.statusschema import STATUS

EXAMPLE = f"""\
apiVersion: {GROUP}/{VERSION}
kind: {KIND}
metadata:
  name: orders
spec:
  storage:
    type: filesystem
    filesystem: {{size: 50Gi, storageClassName: fast}}
  tls:
    secretRef: {{name: orders-tls}}
  limits: {{messageSize: 256Ki, queueMessages: 100000}}
  policies:
    - {{name: orders, pattern: "orders.*", maxDeliveries: 5, deadLetter: orders.dead, lease: 60}}
    - {{name: default, pattern: "*", ttl: 86400, expires: 604800}}
  config:
    network: {{idle_timeout: 3600}}
  pod:
    resources:
      requests: {{cpu: 500m, memory: 1Gi}}
      limits: {{memory: 1Gi}}
"""

EXAMPLE_PROBLEM = "spec.replicas is 3; it must be 0 or 1 with the storage filesystem: only one broker may use a volume"

_INTRODUCTION = f"""\
# {KIND}

<!-- Made by `make generate` from the definitions in operator/gmq_operator/fields.py: change those, not this page. -->

A {KIND} is a broker that the operator runs, or several that share a database. Only `spec.storage.type` is required: everything else may be
left out, and null means the same as leaving it out. `kubectl explain gmqserver.spec` shows what this page says.

The name has lower-case letters, digits and hyphens, begins with a letter, and has up to {LONGEST_NAME} characters: it is the name of the
Service that clients connect to.

```yaml
{EXAMPLE}```

    kubectl get gmq
    kubectl describe gmq orders
    kubectl wait --for=condition=Ready gmq/orders
    kubectl scale gmq/orders --replicas=0

Every edit takes effect, or is refused with a reason. The API server refuses what breaks the schema, and from Kubernetes 1.25 on what breaks
the rules between fields. What it cannot know the operator tells: the conditions `SpecValid` and `Ready` become false, with a message that
names every field that is wrong, what was found and what is allowed; the broker goes on as it did before.

    {EXAMPLE_PROBLEM}

A reference to a Secret is an object with its `name`; the Secret is in the namespace of the {KIND},
and which keys it must have is told below.

Quantities are Kubernetes' own: a number, or one with a suffix such as `Ki`, `Mi`, `Gi` (powers of 1024) or `k`, `M`, `G` (powers of 1000).
"""

_HEAD = ["| field | type | default | range | meaning |", "|---|---|---|---|---|"]


def render() -> str:
    """The page, as Markdown."""
    members = settings_of(Spec)
    plain = [member for member in members if _section_of(member) is None]
    scalars = ["## Spec", "", *_HEAD, *(table_row("spec", member) for member in plain), ""]
    sections = [_section(member, kind) for member in members if (kind := _section_of(member)) is not None]
    return "\n".join([_INTRODUCTION, *scalars, *sections, _rules(), _config(), _status()])


def _section_of(member: Setting) -> type[Struct] | None:
    """The struct of a member that has a section of its own."""
    if member.name == "policies" and isinstance(member.type, inspect.VarTupleType):
        return struct_of(member.type.item_type)
    return struct_of(member.type)


def _section(member: Setting, kind: type[Struct]) -> str:
    is_list = struct_of(member.type) is None
    path = f"spec.{member.key}"
    shape = " A list of objects:" if is_list else ""
    table = table_rows(f"{path}[]" if is_list else path, kind, [Reference])
    return "\n".join([f"### `{path}`", "", f"{kind.__doc__}{shape}", "", *_HEAD, *table, ""])


def _rules() -> str:
    lines = [f"- `{path}`: {rule.message}." for path, rules in RULES.items() for rule in rules]
    return "\n".join(["## Rules between fields", "", *lines, ""])


def _config() -> str:
    """What may not be in `spec.config`, and what to do instead."""
    rows = [f"| `{name}` | {instead} |" for name, instead in OWNED.items()]
    variables = ", ".join(f"`{name}`" for name in OWNED_VARIABLES)
    text = (
        "`spec.config` takes every other setting of the [broker's configuration](configuration.md). In `spec.pod.env` the variables "
        f"{variables} are refused in the same way."
    )
    return "\n".join(["## What may not be in `spec.config`", "", text, "", "| setting | |", "|---|---|", *rows, ""])


def _status() -> str:
    rows = [f"| `{path}` | {schema['type']} | {schema['description']} |" for path, schema in _leaves("status", STATUS)]
    return "\n".join(["## Status", "", STATUS["description"], "", "| field | type | meaning |", "|---|---|---|", *rows, ""])


def _leaves(path: str, schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The fields below a schema, each before its own."""
    for name, member in schema.get("properties", {}).items():
        where = f"{path}.{name}"
        yield where, member
        yield from _leaves(f"{where}[]" if "items" in member else where, member.get("items", member))


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or check the one that is there; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m gmq_operator.docs", description="Makes docs/gmqserver.md from the fields' definitions."
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the page")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when the page is not what would be written")
    options = parser.parse_args(arguments)
    stale = "is not what the fields' definitions say: run `make generate`"
    return 0 if keep(options.file, render(), check=options.check, stale=stale) else 1


if __name__ == "__main__":
    sys.exit(main())
