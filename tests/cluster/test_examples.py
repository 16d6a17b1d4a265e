"""Each example of the documentation works as it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from certificates import Authority
from cluster.installation import ROOT
from cluster.kubectl import Kubectl, Object
from cluster.servers import condition, ready, wait_until

EXAMPLES = sorted(path for path in (ROOT / "docs" / "examples").glob("*") if path.is_dir())
NEED: dict[str, str] = {"mysql": "a database"}
"""Examples that wait for something that the test does not give them: they are applied, and their status says what is missing."""


def documents(folder: Path) -> list[dict[str, Any]]:
    return [body for file in sorted(folder.glob("*.yaml")) for body in yaml.safe_load_all(file.read_text()) if body]


def certified(bodies: list[dict[str, Any]], folder: Path) -> list[Object]:
    """The Secrets that cert-manager makes of the example's Certificates: one authority of its own, and what that signs."""
    authority = Authority(folder)
    made = []
    for body in bodies:
        if body["kind"] == "Certificate":
            spec = body["spec"]
            certificate, key = authority.sign(spec.get("commonName") or spec["dnsNames"][0])
            if spec.get("isCA"):
                certificate = authority.file
            data = {"ca.crt": authority.file.read_text(), "tls.crt": certificate.read_text(), "tls.key": key.read_text()}
            made.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": spec["secretName"]}, "stringData": data})
    return made


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda path: path.name)
def test_an_example_works_as_it_is_written(kubectl: Kubectl, folder: Path, tmp_path: Path) -> None:
    known = set(kubectl("api-versions").split())
    bodies = documents(folder)
    usable = [body for body in bodies if body["apiVersion"] in known]
    assert usable, f"this cluster serves nothing of {folder.name}"
    if "cert-manager.io/v1" not in known:
        usable = [*certified(bodies, tmp_path), *usable]
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
