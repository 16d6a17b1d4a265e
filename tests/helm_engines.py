"""The chart as the real Helm renders it: Helm 4 as a library, and Helm 3 as the command that `make tools` installs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import helm_python
import yaml

ROOT = Path(__file__).parents[1]
CHART = ROOT / "charts" / "gmq"
HELM3 = ROOT / ".tools" / "helm" / "node_modules" / ".bin" / "helm"

Values = Mapping[str, Any]
Manifest = dict[str, Any]


class RefusedError(Exception):
    """Helm did not take the values, or the chart failed on purpose; the text is what the user reads."""


class Engine(Protocol):
    """A version of Helm. Its default version of Kubernetes is what Helm assumes without a cluster."""

    name: str

    def text(self, values: Values, *, release: str = "gmq", namespace: str = "gmq-system") -> dict[str, str]:
        """What is rendered, by template; NOTES.txt is among them.

        Raises:
            RefusedError: the chart does not take the values.
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
                raise RefusedError(str(error)) from error
        return {template.removeprefix("gmq/templates/"): text for template, text in rendered.items()}

    def lint(self, values: Values) -> list[str]:
        report = helm_python.lint(CHART, dict(values), strict=True, namespace="gmq-system")
        return [message["error"] for message in report["messages"] if message["severity"] > 1]


class Helm3:
    name = "Helm 3"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def text(self, values: Values, *, release: str = "gmq", namespace: str = "gmq-system", kubernetes: str | None = None) -> dict[str, str]:
        version = () if kubernetes is None else (f"--kube-version={kubernetes}",)
        rendered = self.run("template", release, str(CHART), f"--namespace={namespace}", *version, values=values)
        by_template: dict[str, str] = {}
        for document in rendered.split("\n---\n"):
            head, _, rest = document.removeprefix("---\n").partition("\n")
            template = head.removeprefix("# Source: gmq/templates/")
            by_template[template] = by_template.get(template, "") + f"---\n{rest}\n"
        return by_template

    def lint(self, values: Values) -> list[str]:
        try:
            output = self.run("lint", "--strict", str(CHART), values=values)
        except RefusedError as error:
            output = str(error)
        return [line for line in output.splitlines() if line.startswith(("[WARNING]", "[ERROR]", "Error"))]

    def run(self, *arguments: str, values: Values | None = None) -> str:
        """What the command prints.

        Raises:
            RefusedError: it failed.
        """
        with_values: tuple[str, ...] = ()
        if values is not None:
            file = self._folder / "values.json"
            file.write_text(json.dumps(values))
            with_values = (f"--values={file}",)
        done = subprocess.run([HELM3, *arguments, *with_values], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RefusedError(done.stdout + done.stderr)
        return done.stdout
