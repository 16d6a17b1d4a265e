"""Names of metrics: as Prometheus wants them, and the same in the code, the pages, the dashboard and the alerts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.metrics import MetricWrapperBase

from gmq.message import LIMITS
from gmq.server.limits import ENDINGS, REFUSALS
from gmq.server.metrics.definitions import BROKER_METRICS, METRICS, QUEUE_METRICS, Definition
from gmq.settings import LimitSettings, Network
from gmq_operator.metrics import Metrics

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/metrics.md"
OPERATOR_PAGE = ROOT / "docs/operator.md"
RUNBOOKS = ROOT / "docs/runbooks.md"
DASHBOARD = ROOT / "charts/gmq/files/dashboards/gmq.json"
RULES = ROOT / "charts/gmq/files/rules.yaml"
NAME = re.compile(r"\b(?:gmq|process|python)_[a-z0-9_]+\b")
UNITS = {"seconds", "bytes"}
THINGS = {"messages", "queues", "connections", "consumers", "requests", "errors", "failures", "damaged", "torn", "size", "ready", "up",
    "build", "published", "delivered", "acknowledged", "expired", "lettered", "dropped", "refused", "closed",
    "limit", "refusals"}  # fmt: skip
"""What a name may end in where it counts things, or tells a state: that has no unit."""


def process_metrics() -> set[str]:
    registry = CollectorRegistry()
    for kind in (ProcessCollector, PlatformCollector, GCCollector):
        kind(registry=registry)
    return {sample.name for family in registry.collect() for sample in family.samples}


OPERATOR_METRICS = [one for one in vars(Metrics()).values() if isinstance(one, MetricWrapperBase)]


def operator_name(metric: MetricWrapperBase) -> str:
    """The name that queries use; for a histogram without its endings."""
    return str(metric._name + {"counter": "_total", "info": "_info"}.get(metric._type, ""))


def operator_series() -> set[str]:
    samples = {sample.name for family in Metrics().registry.collect() for sample in family.samples}
    return samples | {operator_name(metric) for metric in OPERATOR_METRICS}


def series() -> set[str]:
    """Every name that a query may use."""
    names = set()
    for definition in METRICS:
        endings = ("_bucket", "_count", "_sum") if definition.kind == "histogram" else ("",)
        names |= {definition.series + ending for ending in endings}
    return names | process_metrics()


@pytest.mark.parametrize("definition", METRICS, ids=lambda definition: definition.name)
def test_a_metric_is_named_as_prometheus_wants_it(definition: Definition) -> None:
    assert re.fullmatch(r"gmq(_[a-z]+)+", definition.name)
    assert not definition.name.endswith(("_total", "_info", "_count", "_sum", "_bucket"))
    last = definition.name.rpartition("_")[2]
    assert last in UNITS | THINGS, f"{definition.name} ends in neither a base unit nor a thing that it counts"
    assert definition.help.endswith(".")
    assert definition.help[0].isupper()
    timed = any(word in definition.help for word in ("Time ", "Age ", "late "))
    assert timed == definition.name.endswith("_seconds"), "a time is in seconds, and its name says so"
    assert set(definition.labels) <= {
        "queue",
        "state",
        "operation",
        "transport",
        "storage",
        "result",
        "reason",
        "limit",
        "version",
        "python",
    }


def test_no_metric_is_there_twice() -> None:
    names = [definition.name for definition in METRICS]
    assert len(set(names)) == len(names)


def table(definitions: tuple[Definition, ...]) -> str:
    rows = [
        f"| `{one.series}` | {one.kind} | {', '.join(f'`{label}`' for label in one.labels) or 'none'} | {one.help} |" for one in definitions
    ]
    return "\n".join(["| metric | kind | labels | meaning |", "|---|---|---|---|", *rows, ""])


@pytest.mark.parametrize("definitions", [QUEUE_METRICS, BROKER_METRICS], ids=["queues", "broker"])
def test_the_page_has_every_metric_as_it_is_defined(definitions: tuple[Definition, ...]) -> None:
    assert table(definitions) in PAGE.read_text(), f"docs/metrics.md should have this table:\n{table(definitions)}"


def test_the_page_has_every_metric_of_the_operator_as_it_is_defined() -> None:
    labels = [", ".join(f"`{label}`" for label in one._labelnames) or "none" for one in OPERATOR_METRICS]
    named = zip(OPERATOR_METRICS, labels, strict=True)
    rows = [f"| `{operator_name(one)}` | {one._type} | {labels} | {one._documentation} |" for one, labels in named]
    wanted = "\n".join(["| metric | kind | labels | meaning |", "|---|---|---|---|", *rows, ""])
    assert wanted in PAGE.read_text(), f"docs/metrics.md should have this table:\n{wanted}"


@pytest.mark.parametrize("file", [PAGE, OPERATOR_PAGE, RUNBOOKS, DASHBOARD, RULES], ids=lambda file: file.name)
def test_only_metrics_that_exist_are_spoken_of(file: Path) -> None:
    known = series() | {definition.series for definition in METRICS} | operator_series()
    unknown = set(NAME.findall(file.read_text())) - known
    assert not unknown


def test_the_page_has_every_limit_and_what_counts_it() -> None:
    table = PAGE.read_text().partition("<!-- limits -->")[2].partition("<!-- /limits -->")[0]
    settings = {f"limits.{name}" for name in LimitSettings.__struct_fields__}
    settings |= {f"network.{name}" for name in Network.__struct_fields__ if name.endswith("timeout") and name != "drain_timeout"}
    assert set(re.findall(r"\b(?:limits|network)\.\w+", table)) == settings
    assert sorted(re.findall(r'gmq_limit_refusals_total\{limit="(\w+)"\}', table)) == sorted(LIMITS)
    reasons = [*REFUSALS, *ENDINGS]
    assert sorted(re.findall(r'gmq_connections_\w+\{reason="(\w+)"\}', table)) == sorted(reasons)


def test_the_page_names_every_metric_of_the_process() -> None:
    missing = process_metrics() - set(NAME.findall(PAGE.read_text()))
    assert not missing


def test_every_metric_is_on_the_dashboard_or_in_an_alert_or_both() -> None:
    used = set(NAME.findall(DASHBOARD.read_text())) | set(NAME.findall(RULES.read_text()))
    unused = [one.series for one in METRICS if not any(name == one.series or name.startswith(f"{one.series}_") for name in used)]
    assert not unused


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_every_alert_has_a_paragraph_in_the_runbooks_and_none_is_left_over() -> None:
    headings = re.findall(r"^## (.+)$", RUNBOOKS.read_text(), re.MULTILINE)
    assert headings == [alert["alert"] for alert in alerts()]
    for alert in alerts():
        assert alert["annotations"]["runbook_url"] == f"docs/runbooks.md#{alert['alert'].lower()}"
        assert {"summary", "description"} <= set(alert["annotations"])
        assert alert["labels"]["severity"] in {"warning", "critical"}


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_a_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert len(panel["description"]) > 10, "a description tells what is seen, and what it means"
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"]
    assert defaults["thresholds"]["steps"]
    for target in panel["targets"]:
        assert target["legendFormat"]
        assert target["datasource"]["uid"] == "${datasource}"
        assert all(label in target["expr"] for label in ("$namespace", "$server", "$instance")), "the variables choose what is seen"


def test_the_dashboard_can_be_imported_anywhere() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    assert "__inputs" not in dashboard
    variables = {variable["name"]: variable["type"] for variable in dashboard["templating"]["list"]}
    assert variables == {"datasource": "datasource", "namespace": "query", "server": "query", "instance": "query", "queue": "query"}
    assert [panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"] == [
        "Overview",
        "Queues",
        "Latency",
        "Storage",
        "Process",
    ]
    identities = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(identities)) == len(identities)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]]
    assert len(set(places)) == len(places), "two panels are at one place"
