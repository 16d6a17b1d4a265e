"""What Prometheus and Grafana get."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from matrix import CASES, MONITORING

from helm_engines import CHART, Engine, Manifest, manifests

DASHBOARDS = sorted((CHART / "files" / "dashboards").glob("*.json"))
RULES: dict[str, Any] = yaml.safe_load((CHART / "files" / "rules.yaml").read_text())


def of_kind(engine: Engine, case: str, kind: str) -> list[Manifest]:
    return [item for item in manifests(engine.text(CASES[case])) if item["kind"] == kind]


def test_nothing_of_it_is_there_unless_asked_for(engine: Engine) -> None:
    kinds = {item["kind"] for item in manifests(engine.text({}))}
    assert not kinds & {"ServiceMonitor", "PrometheusRule"}
    assert not [name for name, text in engine.text({}).items() if name == "dashboards.yaml" and text.strip()]


def test_each_dashboard_is_a_config_map_with_the_very_file(engine: Engine) -> None:
    found = {
        key: value
        for item in of_kind(engine, "everything", "ConfigMap")
        if item["metadata"]["labels"].get("grafana") == "yes"
        for key, value in item["data"].items()
    }
    assert found == {file.name: file.read_text() for file in DASHBOARDS}
    assert [json.loads(text)["uid"] for text in found.values()], "there are no dashboards"


def test_dashboards_are_where_grafana_looks_for_them(engine: Engine) -> None:
    maps = [item for item in of_kind(engine, "everything", "ConfigMap") if "grafana" in item["metadata"]["labels"]]
    for item in maps:
        assert item["metadata"]["namespace"] == "grafana"
        assert item["metadata"]["annotations"] == {"grafana_folder": "GMQ"}
    maps = [
        item for item in of_kind(engine, "dashboards beside the release", "ConfigMap") if "grafana_dashboard" in item["metadata"]["labels"]
    ]
    assert len(maps) == len(DASHBOARDS)
    for item in maps:
        assert item["metadata"]["namespace"] == "gmq-system"
        assert item["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_the_alerts_are_those_of_the_file(engine: Engine) -> None:
    (rule,) = of_kind(engine, "dashboards beside the release", "PrometheusRule")
    assert rule["spec"] == RULES


def test_the_alerts_pass_promtool_and_lead_to_the_runbooks_one_has(engine: Engine, tmp_path: Path) -> None:
    (rule,) = of_kind(engine, "everything", "PrometheusRule")
    assert rule["metadata"]["labels"]["role"] == "alert-rules"
    alerts = [alert for group in rule["spec"]["groups"] for alert in group["rules"] if "alert" in alert]
    prefix = MONITORING["rules"]["runbookPrefix"]
    assert alerts
    for alert in alerts:
        assert alert["annotations"]["runbook_url"].startswith(f"{prefix}docs/runbooks.md#"), alert["alert"]
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: make servers")
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(rule["spec"]))
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("case", "selector"), [("everything", {"any": True}), ("some namespaces", {"matchNames": ["shop", "billing"]})])
def test_brokers_are_scraped_where_the_operator_looks_after_them(engine: Engine, case: str, selector: dict[str, Any]) -> None:
    monitors = [item for item in of_kind(engine, case, "ServiceMonitor") if item["metadata"]["name"].endswith("-brokers")]
    assert [item["spec"]["namespaceSelector"] for item in monitors] == [selector]
    assert monitors[0]["metadata"]["labels"]["release"] == "prometheus"
    assert monitors[0]["spec"]["endpoints"][0]["interval"] == "1m30s"
