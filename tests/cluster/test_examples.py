"""Each example of the documentation works as it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.installation import ROOT
from cluster.kubectl import Kubectl
from cluster.servers import condition, ready, wait_until

EXAMPLES = sorted(path for path in (ROOT / "docs" / "examples").glob("*") if path.is_dir())
NEED: dict[str, str] = {"mysql": "a database"}
"""Examples that wait for something that the test does not give them: they are applied, and their status says what is missing."""


def documents(folder: Path) -> list[dict[str, Any]]:
    return [body for file in sorted(folder.glob("*.yaml")) for body in yaml.safe_load_all(file.read_text()) if body]


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda path: path.name)
def test_an_example_works_as_it_is_written(kubectl: Kubectl, folder: Path) -> None:
    known = set(kubectl("api-versions").split())
    bodies = documents(folder)
    usable = [body for body in bodies if body["apiVersion"] in known]
    assert usable, f"this cluster serves nothing of {folder.name}"
    kubectl.apply(*usable)
    for body in usable:
        if body["kind"] != "GmqServer":
            continue
        name = body["metadata"]["name"]
        if folder.name in NEED:
            told = wait_until(kubectl, name, "Ready", "False")
            assert condition(told, "SpecValid")["status"] == "True", told["status"]
        else:
            ready(kubectl, name)
