"""Whether a child has to be applied, on objects as a real API server gave them back.

`live/` has what Kubernetes 1.20 made of golden manifests:

    kubectl apply --server-side --field-manager=gmq-operator --dry-run=server -o yaml -f golden/pods.yaml
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from golden import FOLDER, golden

from gmq_operator.resources import Child, differs

CASES = sorted(path.stem for path in (FOLDER / "live").glob("*.yaml"))


def documents(text: str) -> dict[tuple[str, str], Child]:
    return {(child["kind"], child["metadata"]["name"]): child for child in yaml.safe_load_all(text)}


def recorded(case: str) -> dict[tuple[str, str], tuple[Child, Child]]:
    """What was applied and what became of it, by kind and name."""
    desired = documents(golden(case).read_text())
    return {key: (desired[key], live) for key, live in documents((FOLDER / "live" / f"{case}.yaml").read_text()).items()}


@pytest.fixture
def deployment() -> tuple[Child, Child]:
    return recorded("pods")["Deployment", "orders"]


@pytest.fixture
def service() -> tuple[Child, Child]:
    return recorded("filesystem")["Service", "orders"]


@pytest.fixture
def claim() -> tuple[Child, Child]:
    return recorded("filesystem")["PersistentVolumeClaim", "orders-data"]


def pod(child: Child) -> dict[str, Any]:
    found: dict[str, Any] = child["spec"]["template"]["spec"]
    return found


def container(child: Child) -> dict[str, Any]:
    found: dict[str, Any] = pod(child)["containers"][0]
    return found


def owned(live: Child) -> dict[str, Any]:
    found: dict[str, Any] = live["metadata"]["managedFields"][0]["fieldsV1"]
    return found


def owned_pod(live: Child) -> dict[str, Any]:
    found: dict[str, Any] = owned(live)["f:spec"]["f:template"]["f:spec"]
    return found


def owned_container(live: Child) -> dict[str, Any]:
    found: dict[str, Any] = owned_pod(live)["f:containers"]['k:{"name":"gmq"}']
    return found


@pytest.mark.parametrize("case", CASES)
def test_what_was_applied_is_not_applied_again(case: str):
    for (kind, name), (desired, live) in recorded(case).items():
        assert not differs(desired, live), f"{kind} {name} would be applied for ever"


@pytest.mark.parametrize("case", CASES)
def test_every_value_that_is_wanted_otherwise_is_noticed(case: str):
    def values(value: Any, change: Callable[[Any], None]) -> None:
        """Call `change` with each place of a value, as a function that sets it."""
        places = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for place, inner in list(places):
            if isinstance(inner, dict | list):
                values(inner, change)
                continue
            value[place] = f"{inner}0" if isinstance(inner, str) else not inner if isinstance(inner, bool) else inner + 1
            change(place)
            value[place] = inner

    for (kind, name), (desired, live) in recorded(case).items():
        wanted = copy.deepcopy({key: value for key, value in desired.items() if key not in {"apiVersion", "kind"}})
        identity = {key: wanted["metadata"].pop(key) for key in ("name", "namespace")}
        head = {key: desired[key] for key in ("apiVersion", "kind")}

        def noticed(place: Any, kind: str = kind, name: str = name, wanted: Child = wanted, live: Child = live) -> None:
            changed = {**head, **wanted, "metadata": {**wanted["metadata"], **identity}}  # noqa: B023  # called at once
            assert differs(changed, live), f"{kind} {name}: another {place} is not noticed"

        values(wanted, noticed)


def test_a_field_that_is_wanted_now_is_noticed(deployment: tuple[Child, Child]):
    desired, live = deployment
    container(desired)["imagePullPolicy"] = "IfNotPresent"  # which is the default that the API server set: it becomes ours
    assert differs(desired, live)


def test_a_field_that_is_wanted_no_longer_is_noticed(deployment: tuple[Child, Child]):
    desired, live = deployment
    del container(desired)["resources"]["limits"]["memory"]
    assert differs(desired, live)


def test_an_item_that_is_wanted_no_longer_is_noticed(service: tuple[Child, Child]):
    desired, live = service
    desired["spec"]["ports"].pop()
    assert differs(desired, live)


def test_what_others_add_is_left_alone(deployment: tuple[Child, Child], service: tuple[Child, Child]):
    desired, live = deployment
    live["metadata"].setdefault("annotations", {})["example.com/seen"] = "yes"
    live["metadata"]["labels"]["team"] = "a"
    container(live)["env"].append({"name": "INJECTED", "value": "x"})
    pod(live)["containers"].append({"name": "sidecar", "image": "proxy"})
    live["metadata"]["managedFields"].append({"manager": "injector", "operation": "Update", "apiVersion": "apps/v1", "fieldsV1": {}})
    assert not differs(desired, live)

    desired, live = service
    live["spec"]["ports"].append({"name": "extra", "port": 99})
    live["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    assert not differs(desired, live)


def test_a_value_that_somebody_changed_is_noticed(deployment: tuple[Child, Child]):
    desired, live = deployment
    container(live)["image"] = "other"
    del owned_container(live)["f:image"]
    assert differs(desired, live)


def test_a_value_that_somebody_took_away_is_noticed(deployment: tuple[Child, Child]):
    desired, live = deployment
    del pod(live)["automountServiceAccountToken"], owned_pod(live)["f:automountServiceAccountToken"]
    assert differs(desired, live)


def test_an_item_that_somebody_took_away_is_noticed(service: tuple[Child, Child]):
    desired, live = service
    live["spec"]["ports"].pop()
    del owned(live)["f:spec"]["f:ports"]['k:{"port":8080,"protocol":"TCP"}']
    assert differs(desired, live)


def test_an_owner_that_somebody_took_away_is_noticed(deployment: tuple[Child, Child]):
    desired, live = deployment
    del live["metadata"]["ownerReferences"], owned(live)["f:metadata"]["f:ownerReferences"]
    assert differs(desired, live)


def test_a_value_that_the_api_server_leaves_out_is_no_difference(deployment: tuple[Child, Child]):
    desired, live = deployment
    pod(desired)["hostNetwork"] = False
    assert differs(desired, live), "it is not owned yet"
    owned_pod(live)["f:hostNetwork"] = {}
    assert not differs(desired, live)


def test_a_quantity_is_compared_as_the_number_that_it_means(deployment: tuple[Child, Child], claim: tuple[Child, Child]):
    desired, live = deployment
    container(desired)["resources"] = {"requests": {"cpu": "0.1", "memory": "0.5Gi"}, "limits": {"cpu": "2000m", "memory": "1024Mi"}}
    container(live)["resources"] = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}}
    owned_container(live)["f:resources"] = {
        "f:requests": {"f:cpu": {}, "f:memory": {}},
        "f:limits": {"f:cpu": {}, "f:memory": {}},
    }
    assert not differs(desired, live)
    container(live)["resources"]["limits"]["memory"] = "2Gi"
    assert differs(desired, live)

    desired, live = claim
    desired["spec"]["resources"]["requests"]["storage"] = "10240Mi"
    assert not differs(desired, live)


def test_what_looks_like_a_quantity_elsewhere_is_text(deployment: tuple[Child, Child]):
    desired, live = deployment
    container(desired)["env"][0]["value"] = "1024Mi"
    container(live)["env"][0]["value"] = "1Gi"
    assert differs(desired, live)


def test_a_port_without_its_protocol_is_found(deployment: tuple[Child, Child]):
    desired, live = deployment
    del container(desired)["ports"][0]["protocol"]
    assert differs(desired, live), "the operator still owns the protocol"
    del owned_container(live)["f:ports"]['k:{"containerPort":4567,"protocol":"TCP"}']["f:protocol"]
    assert not differs(desired, live)


@pytest.mark.parametrize(
    "entries",
    [
        None,
        [],
        [{"manager": "kubectl-edit", "operation": "Update", "apiVersion": "apps/v1", "fieldsV1": {}}],
        [{"manager": "gmq-operator", "operation": "Update", "apiVersion": "apps/v1", "fieldsV1": {}}],
        [{"manager": "gmq-operator", "operation": "Apply", "apiVersion": "apps/v1", "subresource": "scale", "fieldsV1": {}}],
        [{"manager": "gmq-operator", "operation": "Apply", "apiVersion": "apps/v1beta2", "fieldsV1": {}}],
    ],
)
def test_what_the_operator_did_not_apply_is_applied(deployment: tuple[Child, Child], entries: list[dict[str, Any]] | None):
    desired, live = deployment
    for entry in entries or ():
        entry["fieldsV1"] = owned(live)
    live["metadata"]["managedFields"] = entries
    assert differs(desired, live)
