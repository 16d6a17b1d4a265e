"""What GitHub runs: pinned, bounded, and made of commands that there are. `make workflows` checks more, with tools of its own."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
RELEASE_NOTES = ROOT / ".github" / "scripts" / "release-notes"

_USES = re.compile(r"^\s*(?:- )?uses: (\S+)(?:  # (.*))?$", re.MULTILINE)


def jobs(workflow: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(workflow.read_text())["jobs"]
    return found


@pytest.fixture(params=WORKFLOWS, ids=[path.name for path in WORKFLOWS])
def workflow(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_every_action_is_pinned_by_commit_and_says_its_version(workflow: Path) -> None:
    for action, comment in _USES.findall(workflow.read_text()):
        if action.startswith("./"):
            assert (ROOT / action).exists(), f"{workflow.name} uses {action}, which does not exist"
            continue
        assert re.fullmatch(r"[\w.-]+(/[\w.-]+)+@[0-9a-f]{40}", action), f"{workflow.name}: {action} is not pinned by a whole commit"
        assert re.match(r"v\d+\.\d+\.\d+$", comment), f"{workflow.name}: no version behind {action}, but {comment!r}"


def test_an_action_has_one_version_everywhere() -> None:
    pins: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for path in WORKFLOWS:
        for action, comment in _USES.findall(path.read_text()):
            name, _, commit = action.partition("@")
            pins[name].add((commit, comment))
    several = {name: versions for name, versions in pins.items() if len(versions) > 1}
    assert not several, f"actions in more than one version: {several}"


def test_every_job_is_bounded_in_time_and_in_rights(workflow: Path) -> None:
    whole = yaml.safe_load(workflow.read_text())
    assert "permissions" in whole, f"{workflow.name} leaves its rights to the settings of the repository"
    assert set(whole["permissions"].values()) <= {"read"}, f"{workflow.name} gives every job the right to write"
    for name, job in jobs(workflow).items():
        assert "uses" in job or "timeout-minutes" in job, f"{workflow.name}: the job {name} may run for six hours"


def test_every_make_command_of_a_workflow_exists(workflow: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name, job in jobs(workflow).items():
        for step in job.get("steps", []):
            for target in re.findall(r"^make ([a-z-]+)", step.get("run", ""), re.MULTILINE):
                assert target in targets, f"{workflow.name}, {name}: `make {target}`, and the Makefile has no such target"


def test_ci_waits_for_every_one_of_its_jobs() -> None:
    found = jobs(ROOT / ".github" / "workflows" / "ci.yaml")
    assert set(found["passed"]["needs"]) == set(found) - {"passed"}, "a job whose failure `passed` does not see"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in which all files have the version 1.2.3."""
    script = tmp_path / ".github" / "scripts" / "release-notes"
    script.parent.mkdir(parents=True)
    script.write_bytes(RELEASE_NOTES.read_bytes())
    script.chmod(0o755)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "gmq"\nversion = "1.2.3"\n')
    (tmp_path / "broker" / "gmq").mkdir(parents=True)
    (tmp_path / "broker" / "gmq" / "__init__.py").write_text('__version__ = "1.2.3"\n')
    (tmp_path / "charts" / "gmq").mkdir(parents=True)
    (tmp_path / "charts" / "gmq" / "Chart.yaml").write_text('apiVersion: v2\nname: gmq\nversion: 1.2.3\nappVersion: "1.2.3"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n\n## [1.2.3]\n\n- Pears.\n\n## [1.2.2]\n\n- Apples.\n")
    return tmp_path


def release_notes(checkout: Path, version: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([checkout / ".github/scripts/release-notes", version], capture_output=True, text=True, check=False)


def test_a_release_has_the_notes_of_its_version(checkout: Path) -> None:
    done = release_notes(checkout, "1.2.3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "- Pears."


def test_a_release_whose_files_have_another_version_stops(checkout: Path) -> None:
    done = release_notes(checkout, "1.3.0")
    assert done.returncode == 1
    assert not done.stdout
    for file in ("pyproject.toml", "broker/gmq/__init__.py", "charts/gmq/Chart.yaml", "CHANGELOG.md"):
        assert file in done.stderr, f"{file} has not the version of the release, and nothing is said:\n{done.stderr}"
