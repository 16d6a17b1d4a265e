"""What the broker is made of, as `make sbom` tells it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from helpers_server import environment

ROOT = Path(__file__).parents[2]
LOCKED = re.compile(r"^([a-z0-9._-]+)==(\S+)((?:[^\n]*\\\n)(?: +--hash=\S+(?: \\)?\n)+)", re.MULTILINE)


@pytest.mark.skipif(not (ROOT / ".tools/supply/.installed").exists(), reason="cyclonedx-py is not installed: `make sbom` installs it")
def test_the_bill_of_materials_names_every_locked_package_with_its_hashes(tmp_path: Path) -> None:
    bills = []
    for name in ("one.json", "two.json"):
        made = subprocess.run(
            ["make", "sbom", f"SBOM={tmp_path / name}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
            env=environment(),
        )
        assert made.returncode == 0, made.stderr
        bills.append((tmp_path / name).read_text())
    assert bills[0] == bills[1], "two bills of the same dependencies differ"
    bill = json.loads(bills[0])
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["name"] == "gmq"
    named = {
        (component["name"], component["version"]): {
            one["content"] for reference in component["externalReferences"] for one in reference.get("hashes", ())
        }
        for component in bill["components"]
    }
    text = (ROOT / "requirements/gmq.txt").read_text()
    locked = {(name, version): set(re.findall(r"--hash=sha256:([0-9a-f]{64})", hashes)) for name, version, hashes in LOCKED.findall(text)}
    assert len(locked) == len(re.findall(r"^[a-z0-9._-]+==", text, re.MULTILINE)), "this test does not understand requirements/gmq.txt"
    assert all(locked.values()), "a locked package without a hash"
    assert named == locked
