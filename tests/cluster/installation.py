"""The operator, installed as a user installs it: with the chart."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from cluster.kubectl import PATIENCE, Kubectl, eventually

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "gmq"
OWN_HELM = ROOT / ".tools" / "helm" / "node_modules" / ".bin" / "helm"
IMAGE = os.environ.get("GMQ_TEST_IMAGE", "docker.io/library/gmq:dev")
"""The image that the cluster's nodes have."""
MORE = json.loads(os.environ.get("GMQ_TEST_VALUES", "{}"))
"""Further values of the chart, as a cluster may need them."""
RELEASE = "gmq"
SYSTEM = "gmq-system"
"""The namespace of the operator."""


def helm() -> str | None:
    """The helm command line; None where there is none."""
    return shutil.which("helm") or (str(OWN_HELM) if OWN_HELM.exists() else None)


def image_values(image: str = IMAGE) -> dict[str, Any]:
    repository, _, tag = image.rpartition(":")
    return {"image": {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"}}


def run_helm(*arguments: str, namespace: str = SYSTEM, values: dict[str, Any] | None = None, timeout: float = 2 * PATIENCE) -> str:
    """What helm prints.

    Raises:
        AssertionError: it failed; says what it told.
    """
    command = helm()
    assert command is not None, "there is no helm here: make tools"
    given = ["--values", "-"] if values is not None else []
    done = subprocess.run(
        [command, "--namespace", namespace, *arguments, *given],
        input=json.dumps(values) if values is not None else None,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    assert done.returncode == 0, f"helm {' '.join(arguments)} ended with {done.returncode}: {done.stderr}{done.stdout}"
    return done.stdout


def install(image: str = IMAGE, **values: Any) -> None:
    """Install the operator for the whole cluster, or upgrade it, and wait until it is there."""
    run_helm(
        "upgrade", "--install", RELEASE, str(CHART), "--create-namespace", "--wait", "--timeout", "120s",
        values={**image_values(image), **MORE, **values},
    )  # fmt: skip


def installed() -> bool:
    return bool(run_helm("list", "--short", "--filter", f"^{RELEASE}$").strip())


def uninstall() -> None:
    run_helm("uninstall", RELEASE)


def operator_pod() -> str:
    """The name of the operator's pod, once there is one that runs."""
    kubectl = Kubectl(SYSTEM)
    found = eventually(
        lambda: [
            pod["metadata"]["name"]
            for pod in kubectl.list("pods", "app.kubernetes.io/component=operator")
            if "deletionTimestamp" not in pod["metadata"] and pod.get("status", {}).get("phase") == "Running"
        ],
        lambda found: len(found) == 1,
        "there is no one operator pod",
    )
    name: str = found[0]
    return name


def operator_logs() -> list[dict[str, Any]]:
    """What the operator wrote, line by line; a line that is not JSON fails."""
    return [json.loads(line) for line in Kubectl(SYSTEM)("logs", operator_pod(), "--tail=-1").splitlines()]
