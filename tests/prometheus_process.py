"""A real Prometheus for the tests, and its rules with shorter times."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from helpers_server import environment, wait_until
from http_client import request
from ports import free_port

RULES = Path(__file__).parents[1] / "charts/gmq/files/rules.yaml"
MISSING = (
    None
    if shutil.which("prometheus") and shutil.which("promtool")
    else "prometheus or promtool is not installed: apt-get install prometheus"
)


def hurried(rules: str) -> str:
    """The rules with minutes as seconds, hours as minutes, and messages that are old after 3 s."""
    rules = re.sub(r"for: (\d+)m", r"for: 1s", rules)
    rules = re.sub(r"\[(\d+)m\]", r"[\1s]", rules)
    return re.sub(r"\[(\d+)h\]", r"[\1m]", rules).replace("> 3600", "> 3")


class Prometheus:
    """A Prometheus that scrapes targets twice a second, each target a job. All of them get the labels. `jobs` are further ones."""

    def __init__(
        self,
        folder: Path,
        targets: Sequence[str],
        *,
        labels: Mapping[str, str] | None = None,
        jobs: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._folder = folder
        self.address = f"127.0.0.1:{free_port()}"
        (folder / "rules.yaml").write_text(hurried(RULES.read_text()))
        static = [
            {"job_name": f"gmq-{at}", "static_configs": [{"targets": [target], "labels": dict(labels or {})}]}
            for at, target in enumerate(targets)
        ]
        config = {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [*static, *(dict(job) for job in jobs)],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it is ready."""
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus", f"--config.file={self._folder / 'prometheus.yaml'}", f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address={self.address}",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(),
            )  # fmt: skip
        wait_until(self._ready, "Prometheus is ready", 30)

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"Prometheus ended at its start:\n{(self._folder / 'log').read_text()}"
        try:
            return request(self.address, "GET", "/-/ready").status == 200
        except OSError:
            return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(20)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples that an expression gives now."""
        reply = request(self.address, "GET", f"/api/v1/query?query={quote(expression)}")
        answer = json.loads(reply.body)
        assert answer["status"] == "success", f"{expression}: {answer}"
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def alerts(self) -> dict[str, dict[str, Any]]:
        """The alerts that fire, by name; of several with one name, one."""
        answer = json.loads(request(self.address, "GET", "/api/v1/alerts").body)
        return {alert["labels"]["alertname"]: alert for alert in answer["data"]["alerts"] if alert["state"] == "firing"}

    def scrapes(self) -> int:
        """How many good scrapes of the first target there have been within a minute."""
        found = self.query('sum_over_time(up{job="gmq-0"}[1m])')
        return int(float(found[0]["value"][1])) if found else 0
