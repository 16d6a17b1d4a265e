"""What the chart renders, as Helm 3 and Helm 4 have it."""

from __future__ import annotations

import difflib
import functools
import json
import os
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import utils
from matrix import CASES, DIGEST, MONITORING, POD

from helm_engines import CHART, Engine, Helm3, Helm4, Manifest, manifests

GOLDEN = Path(__file__).with_name("golden")
WITHOUT_SCHEMA = {"ServiceMonitor", "PrometheusRule"}
"""Kinds of others, of which kubernetes-validate knows nothing."""


def of_kind(objects: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    """The only object of the kind, or the one of the name."""
    found = [item for item in objects if item["kind"] == kind and name in (None, item["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} objects are a {kind} named {name or 'anything'}: {[item['metadata']['name'] for item in found]}"
    return found[0]


def pod_spec(objects: list[Manifest]) -> dict[str, Any]:
    spec: dict[str, Any] = of_kind(objects, "Deployment")["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("kubernetes", [f"1.{minor}" for minor in range(25, 38)])
def test_every_manifest_is_what_kubernetes_accepts(kubernetes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utils, "schema_contents", functools.cache(utils.schema_contents))  # else every object reads megabytes
    objects = {json.dumps(item, sort_keys=True): item for case in CASES.values() for item in manifests(Helm4().text(case))}
    unknown: set[str] = set()
    problems: list[str] = []
    for item in objects.values():
        try:
            kubernetes_validate.validate(item, kubernetes, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            unknown.add(item["kind"])
        except kubernetes_validate.ValidationError as error:
            where = ".".join(str(step) for step in error.path)
            problems.append(f"{item['kind']} {item['metadata']['name']}: {where}: {error.message}")
    assert not problems, "\n".join(problems)
    assert unknown == WITHOUT_SCHEMA, "what kubernetes-validate has no schema for is not checked"


@pytest.mark.parametrize("case", CASES)
def test_the_strict_linter_finds_nothing(engine: Engine, case: str) -> None:
    """Information aside: that a chart may have an icon, which this one has no address for."""
    assert engine.lint(CASES[case]) == []


@pytest.mark.parametrize("case", CASES)
def test_both_versions_of_helm_render_the_same(helm3: Helm3, case: str) -> None:
    def comparable(objects: list[Manifest]) -> list[str]:
        kept = [item for item in objects if item["kind"] != "CustomResourceDefinition"]  # depends on Kubernetes' version
        return sorted(json.dumps(item, sort_keys=True) for item in kept)

    assert comparable(manifests(helm3.text(CASES[case]))) == comparable(manifests(Helm4().text(CASES[case])))


@pytest.mark.parametrize("case", ["defaults", "everything", "some namespaces"])
def test_what_is_rendered_is_what_was_looked_at(case: str) -> None:
    """The golden files are read by a person when they change: GMQ_GOLDEN=write rewrites them."""
    rendered = Helm4().text(CASES[case])
    left_out = ("crd.yaml", "dashboards.yaml")  # each is a file of the chart, tested against it
    text = "".join(f"# {name}\n{rendered[name].strip()}\n" for name in sorted(rendered) if name not in left_out and rendered[name].strip())
    file = GOLDEN / f"{case.replace(' ', '-')}.yaml"
    if os.environ.get("GMQ_GOLDEN") == "write":
        GOLDEN.mkdir(exist_ok=True)
        file.write_text(text)
    difference = difflib.unified_diff(file.read_text().splitlines(), text.splitlines(), str(file), "rendered", lineterm="")
    assert file.read_text() == text, "\n".join(difference)


@pytest.mark.parametrize("case", CASES)
def test_no_two_objects_are_the_same(case: str) -> None:
    seen = [(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in manifests(Helm4().text(CASES[case]))]
    assert len(seen) == len(set(seen)), seen


def test_names_of_long_releases_fit() -> None:
    for item in manifests(Helm4().text(CASES["everything"], release="r" * 53)):
        assert len(item["metadata"]["name"]) <= 63, item["metadata"]["name"]


ODD_NAMES = ["123", "1e3", "no", "on", "0x1f", "null"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_that_yaml_takes_for_something_else_stay_text(engine: Engine, name: str) -> None:
    values = {
        **CASES["everything"],
        "fullnameOverride": "" if name[0].isdigit() else name,
        "serviceAccount": {"name": name},
        "watchNamespaces": [name],
        "priorityClassName": name,
        "monitoring": {**MONITORING, "dashboards": {"enabled": True, "namespace": name}},
    }
    for item in manifests(engine.text(values, release=name, namespace=name)):
        metadata = item["metadata"]
        texts = [metadata["name"], metadata.get("namespace", ""), *metadata["labels"].values(), *metadata.get("annotations", {}).values()]
        assert [text for text in texts if not isinstance(text, str)] == [], f"{item['kind']}: {metadata}"
        if item["kind"] not in WITHOUT_SCHEMA:
            kubernetes_validate.validate(item, "1.33", strict=True)


@pytest.mark.parametrize("release", ["123", "1gmq", "gmq.prod", "2024.q1-gmq"])
def test_every_name_of_a_release_makes_names_of_services(engine: Engine, release: str) -> None:
    """A release may be named with dots, and begin with a digit. The server of `helm test` has a Service too."""
    objects = manifests(engine.text({}, release=release))
    for item in (of_kind(objects, "Service"), of_kind(objects, "Pod")):
        assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", item["metadata"]["name"]), item["metadata"]["name"]


def test_annotations_of_people_do_not_make_a_key_twice(engine: Engine) -> None:
    """The API server's clients refuse a document with one."""
    text = engine.text({"podAnnotations": {"kubectl.kubernetes.io/default-container": "mine"}})["deployment.yaml"]
    assert text.count("kubectl.kubernetes.io/default-container") == 1, text


@pytest.mark.parametrize(
    ("kubernetes", "file"),
    [
        ("1.20.2", "crd-without-cel.yaml"),
        ("1.24.17", "crd-without-cel.yaml"),
        ("1.25.0", "crd.yaml"),
        ("1.25.3-gke.100", "crd.yaml"),
        ("1.37.0", "crd.yaml"),
    ],
)
def test_the_definition_has_cel_rules_where_kubernetes_has_them(helm3: Helm3, kubernetes: str, file: str) -> None:
    rendered = of_kind(manifests(helm3.text({}, kubernetes=kubernetes)), "CustomResourceDefinition")
    wanted = yaml.safe_load((CHART / "files" / file).read_text())
    assert rendered["spec"] == wanted["spec"]
    assert rendered["metadata"]["name"] == wanted["metadata"]["name"]


def test_the_definition_stays_when_the_release_goes_unless_asked_otherwise(engine: Engine) -> None:
    for keep, policy in [(True, "keep"), (False, None)]:
        definition = of_kind(manifests(engine.text({"crds": {"keep": keep}})), "CustomResourceDefinition")
        assert definition["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == policy


def test_the_definition_is_not_installed_where_somebody_else_does(engine: Engine) -> None:
    assert "CustomResourceDefinition" not in {item["kind"] for item in manifests(engine.text({"crds": {"install": False}}))}


def test_the_operator_runs_from_the_image_that_brokers_get(engine: Engine) -> None:
    for values, image in [
        ({}, "ghcr.io/gmq-io/gmq:0.1.0"),
        ({"image": {"repository": "registry.example:5000/gmq", "tag": "2.0.0"}}, "registry.example:5000/gmq:2.0.0"),
        (CASES["by digest"], f"registry.example/gmq@{DIGEST}"),
    ]:
        container = pod_spec(manifests(engine.text(values)))["containers"][0]
        assert container["image"] == image
        assert {"name": "GMQ_BROKER_IMAGE", "value": image} in container["env"]


def test_the_pod_gets_what_the_values_say(engine: Engine) -> None:
    objects = manifests(engine.text(POD))
    pod = pod_spec(objects)
    container = pod["containers"][0]
    for key in ["imagePullSecrets", "nodeSelector", "tolerations", "affinity", "priorityClassName"]:
        assert pod[key] == POD[key]
    assert pod["securityContext"] == POD["podSecurityContext"]
    assert container["securityContext"] == {**POD["securityContext"], "readOnlyRootFilesystem": True}  # Helm merges maps
    assert container["resources"]["limits"] == POD["resources"]["limits"]
    assert container["env"][-2:] == POD["extraEnv"]
    metadata = of_kind(objects, "Deployment")["spec"]["template"]["metadata"]
    assert metadata["labels"]["team"] == "platform"
    assert metadata["annotations"]["sidecar.istio.io/inject"] == "false"


def test_labels_of_people_do_not_displace_those_that_find_the_pod(engine: Engine) -> None:
    deployment = of_kind(manifests(engine.text({"podLabels": {"app.kubernetes.io/name": "mine"}})), "Deployment")
    selector = deployment["spec"]["selector"]["matchLabels"]
    assert selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


def test_the_operators_pods_are_restricted_and_alone(engine: Engine) -> None:
    objects = manifests(engine.text({}))
    deployment = of_kind(objects, "Deployment")["spec"]
    assert deployment["replicas"] == 1
    assert deployment["strategy"] == {"type": "Recreate"}
    for pod in (pod_spec(objects), of_kind(objects, "Pod")["spec"]):
        assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        assert pod["containers"][0]["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        assert pod["enableServiceLinks"] is False


def test_services_and_monitors_find_the_operators_pod(engine: Engine) -> None:
    objects = manifests(engine.text(CASES["everything"]))
    pod = of_kind(objects, "Deployment")["spec"]["template"]
    service = of_kind(objects, "Service")
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
    assert service["spec"]["ports"] == [{"name": "http", "port": ports["http"], "targetPort": "http", "protocol": "TCP"}]
    monitor = of_kind(objects, "ServiceMonitor", "gmq-queue-operator")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] == "http"
    policy = of_kind(objects, "NetworkPolicy")["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


def test_nothing_is_found_by_labels_that_brokers_have(engine: Engine) -> None:
    """A GmqServer may have the release's name: the operator's Service must not lead to its brokers, nor theirs to the operator."""
    for item in manifests(engine.text(CASES["everything"])):
        assert item["metadata"]["labels"]["app.kubernetes.io/name"] != "gmq", item["metadata"]["name"]
        assert item["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm", item["metadata"]["name"]
