"""The quick starts of the pages, typed as they are written, with this cluster in the place of an empty one."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import installation
from cluster.installation import CHART, IMAGE, ROOT
from cluster.kubectl import PATIENCE, Kubectl

PUBLISHED = "oci://ghcr.io/gmq-io/charts/gmq"
"""Where a reader finds the chart. Here it is the one of this checkout, and the image the one under test."""
MOST_COMMANDS = 4
"""From an empty cluster to a message."""

_BLOCK = re.compile(r"<!-- quickstart: cluster -->\n```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: str) -> list[str]:
    found = _BLOCK.findall((ROOT / page).read_text())
    assert found, f"{page} has no quick start for a cluster"
    return found


def commands(block: str) -> int:
    """How many there are: lines that begin one, those within quotes and here-documents aside."""
    return len(re.findall(r"^(?:helm|kubectl) ", block, re.MULTILINE))


@pytest.fixture
def reader(cluster: None, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of somebody whose context has a namespace of its own, with no operator in the cluster yet."""
    if installation.installed():
        installation.uninstall()
    namespace = f"gmq-test-{uuid.uuid4().hex[:8]}"
    kubectl = Kubectl(namespace)
    kubectl("create", "namespace", namespace)
    config = tmp_path / "kubeconfig"
    config.write_text(kubectl("config", "view", "--raw", "--minify", "--flatten"))
    repository, _, tag = IMAGE.rpartition(":")
    helm = tmp_path / "bin" / "helm"
    helm.parent.mkdir()
    helm.write_text(
        f"#!/bin/bash\npublished={shlex.quote(PUBLISHED)} chart={shlex.quote(str(CHART))}\n"
        f'exec {installation.helm()} "${{@/#$published/$chart}}" --set image.repository={repository},image.tag={tag}\n'
    )
    helm.chmod(0o755)
    environment = {**os.environ, "KUBECONFIG": str(config), "PATH": f"{helm.parent}:{os.environ['PATH']}"}
    subprocess.run(["kubectl", "config", "set-context", "--current", f"--namespace={namespace}"], env=environment, check=True)
    yield environment
    kubectl("delete", "namespace", namespace, "--wait=false")
    if not installation.installed():  # the tests after this one go on with it
        installation.install()


def typed(block: str, reader: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-e", "-c", block],
        cwd=ROOT,
        env=reader,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"these commands fail:\n{block}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.alone
@pytest.mark.timeout(420)
@pytest.mark.parametrize(("page", "message"), [("docs/quickstart.md", "two apples"), ("README.md", "hello")])
def test_a_quick_start_leads_from_nothing_to_a_message(reader: dict[str, str], page: str, message: str) -> None:
    needed, came = 0, False
    for block in blocks(page):
        printed = typed(block, reader)
        needed += 0 if came else commands(block)
        came = came or printed.endswith(f"1\n{message}\n")
    assert came, f"{page} does not come to its message; it printed last:\n{printed}"
    assert needed <= MOST_COMMANDS, f"{page} needs {needed} commands to the first message"
