"""The values: each is described, used and checked."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
import tomllib
from typing import Any

import kubernetes_validate
import pytest
import yaml
from matrix import CASES, DIGEST

from helm_engines import CHART, ROOT, Engine, Helm4, RefusedError, manifests

VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
FREE = {"podSecurityContext", "securityContext", "resources", "monitoring.dashboards.labels"}
"""Values that are maps of Kubernetes' own, or of the user's words."""


ANOTHER: dict[str, object] = {
    "image.digest": DIGEST,
    "image.pullPolicy": "Never",
    "imagePullSecrets": [{"name": "registry"}],
    "watchNamespaces": ["shop"],
    "logLevel": "debug",
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "resources": {"limits": {"cpu": 7}},
    "podSecurityContext": {"runAsUser": 7},
    "securityContext": {"runAsUser": 7},
    "tolerations": [{"key": "infra"}],
    "affinity": {"nodeAffinity": {}},
    "monitoring.operator.interval": "15s",
    "monitoring.brokers.interval": "15s",
    "networkPolicy.metricsFrom": [{"podSelector": {}}],
    "networkPolicy.apiServerPorts": [8443],
    "networkPolicy.extraEgress": [{"ports": [{"port": 3128}]}],
}
"""Values that are not the default, where a rule does not find one."""


def leaves(values: dict[str, Any], above: str = "") -> list[str]:
    found: list[str] = []
    for key, value in values.items():
        name = f"{above}{key}"
        found += leaves(value, f"{name}.") if isinstance(value, dict) and value and name not in FREE else [name]
    return found


LEAVES = leaves(VALUES)


def with_value(name: str, value: object) -> dict[str, Any]:
    values: dict[str, Any] = {}
    *sections, key = name.split(".")
    inner = values
    for section in sections:
        inner = inner.setdefault(section, {})
    inner[key] = value
    return values


def in_schema(name: str) -> dict[str, Any]:
    node = SCHEMA
    for step in name.split("."):
        node = node["properties"][step]
        if "$ref" in node:
            node = {**SCHEMA["definitions"][node["$ref"].rsplit("/", 1)[1]], **{key: node[key] for key in node if key != "$ref"}}
    return node


def schema_leaves(node: dict[str, Any], above: str = "") -> list[str]:
    found = []
    for key in node["properties"]:
        name = f"{above}{key}"
        inner = in_schema(name)
        found += schema_leaves(inner, f"{name}.") if "properties" in inner and name not in {*FREE, "affinity"} else [name]
    return found


def test_what_is_made_from_the_values_is_not_stale() -> None:
    done = subprocess.run([sys.executable, ROOT / "charts" / "reference.py", "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_schema_has_the_values_and_no_others() -> None:
    assert sorted(schema_leaves(SCHEMA)) == sorted([*LEAVES, "global"])


@pytest.mark.parametrize("name", LEAVES)
def test_every_value_is_described(name: str) -> None:
    assert len(in_schema(name)["description"]) > 10, "a comment above it in values.yaml"
    assert f"| `{name}` |" in (CHART / "README.md").read_text()


@pytest.mark.parametrize("name", LEAVES)
def test_every_value_is_used(name: str) -> None:
    """Another value for it changes what is rendered."""
    base = with_value("serviceAccount", {"name": "theirs"}) if name == "serviceAccount.create" else {}
    for part in ("monitoring.operator", "monitoring.brokers", "monitoring.rules", "monitoring.dashboards", "networkPolicy"):
        if name != f"{part}.enabled":
            merge(base, with_value(part, {"enabled": True}))
    changed = copy.deepcopy(base)
    merge(changed, with_value(name, another_value(name)))
    assert Helm4().text(base) != Helm4().text(changed)


def another_value(name: str) -> object:
    """A good value that is not the default."""
    if name in ANOTHER:
        return ANOTHER[name]
    default: object = VALUES
    for step in name.split("."):
        assert isinstance(default, dict)
        default = default[step]
    if isinstance(default, bool):
        return not default
    if isinstance(default, int):
        return default + 1
    return "other" if isinstance(default, str) else {"other": "label"}


def merge(into: dict[str, Any], values: dict[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


@pytest.mark.parametrize("case", CASES)
def test_templates_use_no_value_that_there_is_not(case: str) -> None:
    used = {name for file in (CHART / "templates").rglob("*.*") for name in re.findall(r"\.Values\.([A-Za-z.]+[A-Za-z])", file.read_text())}
    known = {*LEAVES, *(name.rpartition(".")[0] for name in LEAVES)}
    assert used <= known, used - known


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"imgae": {"tag": "1"}}, ["imgae"]),
        ({"image": {"tga": "1"}}, ["image", "tga"]),
        ({"image": {"digest": "sha256:123"}}, ["image", "digest"]),
        ({"image": {"pullPolicy": "Sometimes"}}, ["image", "pullPolicy", "Always"]),
        ({"image": {"tag": 1.1}}, ["image", "tag", "string"]),
        ({"replicas": 2}, ["replicas"]),
        ({"watchNamespaces": "shop"}, ["watchNamespaces", "array"]),
        ({"watchNamespaces": ["Shop"]}, ["watchNamespaces", "0"]),
        ({"crds": {"keep": "yes"}}, ["crds", "keep", "boolean"]),
        ({"podLabels": {"enabled": True}}, ["podLabels", "enabled", "string"]),
        ({"resources": {"limit": {"cpu": 1}}}, ["resources", "limit"]),
        ({"tolerations": [{"keys": "infra"}]}, ["tolerations", "0", "keys"]),
        ({"monitoring": {"operator": {"interval": "often"}}}, ["monitoring", "operator", "interval"]),
        ({"monitoring": {"serviceMonitor": True}}, ["monitoring", "serviceMonitor"]),
        ({"extraEnv": [{"value": "x"}]}, ["extraEnv", "0", "name"]),
        ({"networkPolicy": {"apiServerPorts": [70000]}}, ["apiServerPorts", "0"]),
        ({"tests": {"timeout": 0}}, ["tests", "timeout", "1"]),
        ({"logLevel": "verbose"}, ["logLevel", "debug"]),
    ],
)
def test_a_wrong_value_is_refused_and_named(engine: Engine, values: dict[str, Any], told: list[str]) -> None:
    with pytest.raises(RefusedError) as refusal:
        engine.text(values)
    assert [word for word in told if word not in str(refusal.value)] == [], str(refusal.value)


EVERYTHING_ON: dict[str, Any] = {
    "monitoring": {part: {"enabled": True} for part in ("operator", "brokers", "rules", "dashboards")},
    "networkPolicy": {"enabled": True},
}
"""What else is off by default."""


@pytest.mark.parametrize("name", sorted({*LEAVES, *(leaf.rpartition(".")[0] for leaf in LEAVES if "." in leaf)}))
def test_a_value_taken_away_is_refused_and_named_or_makes_what_kubernetes_accepts(engine: Engine, name: str) -> None:
    """Helm drops the default where somebody sets null, as people do to empty a map."""
    values = copy.deepcopy(EVERYTHING_ON)
    merge(values, with_value(name, None))
    try:
        objects = manifests(engine.text(values))
    except RefusedError as refusal:
        said = str(refusal)
        assert name.rpartition(".")[2] in said, said
        assert "template" not in said, f"an error of the chart's own, not of the value: {said}"
        return
    for item in objects:
        if item["kind"] not in {"ServiceMonitor", "PrometheusRule"}:
            kubernetes_validate.validate(item, "1.33", strict=True)
    assert "<nil>" not in str(objects), "a value that is not there is written as if it were text"


def test_a_network_policy_always_names_the_ports_of_the_api_server(engine: Engine) -> None:
    with pytest.raises(RefusedError, match="apiServerPorts"):
        engine.text({"networkPolicy": {"enabled": True, "apiServerPorts": None}})


def test_a_service_account_made_elsewhere_has_to_be_named(engine: Engine) -> None:
    with pytest.raises(RefusedError, match=r"serviceAccount\.name has to name a service account"):
        engine.text({"serviceAccount": {"create": False}})


def test_the_charts_version_is_the_packages() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (chart["version"], chart["appVersion"]) == (version, version)
