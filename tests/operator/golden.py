"""GmqServers in `servers/`, and the children that they are to have in `golden/`.

After a change that is meant, `GMQ_GOLDEN=write` writes the golden manifests anew: then read what changed. A change to a pod's template
restarts every broker when the operator is upgraded.
"""

from pathlib import Path
from typing import Any

import yaml

from gmq_operator.observed import Context
from gmq_operator.resources import Child, default_user, desired
from gmq_operator.spec import GmqServer, parse

FOLDER = Path(__file__).parent
CASES = sorted(path.stem for path in (FOLDER / "servers").glob("*.yaml"))
CONTEXT = Context(image="registry.example.com/gmq:0.1.0")
PASSWORD = "a password, of /any: kind@"


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as such, and everything where it is used."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def dump(documents: list[Child]) -> str:
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=140)


def server(spec: dict[str, Any], name: str = "orders") -> GmqServer:
    metadata = {"name": name, "namespace": "shop", "uid": "7d1c9a52-2f0e-4c50-9d2b-0b9f4e1f8a11", "generation": 1}
    return parse({"metadata": metadata, "spec": spec})


def spec_of(case: str) -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load((FOLDER / "servers" / f"{case}.yaml").read_text())
    return spec


def children(case: str) -> list[Child]:
    """All children of a case, the generated user first where there is one."""
    one = server(spec_of(case))
    user = [default_user(one, PASSWORD)] if one.spec.auth.mode == "Generated" else []
    return user + desired(one, CONTEXT)


def golden(case: str) -> Path:
    return FOLDER / "golden" / f"{case}.yaml"
