"""What somebody deletes or changes by hand is put right."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cluster.kubectl import Kubectl, Object, eventually
from cluster.servers import MEMORY, gmq_server, ready, wait_until

SOON = 3.0
"""Seconds in which a child is back; the figure is measured over many, a busy machine gets five times as long here."""


@pytest.fixture(scope="module")
def healed(module_kubectl: Kubectl) -> Kubectl:
    module_kubectl.apply(gmq_server("orders", replicas=0, storage={"type": "filesystem", "filesystem": {"size": "16Mi"}}))
    ready(module_kubectl, "orders")
    return module_kubectl


def children(kubectl: Kubectl, kind: str) -> list[Object]:
    return kubectl.list(kind, "app.kubernetes.io/managed-by=gmq-operator,app.kubernetes.io/instance=orders")


@pytest.mark.parametrize("kind", ["deployment", "service", "configmap", "persistentvolumeclaim"])
def test_a_deleted_child_comes_back(healed: Kubectl, kind: str) -> None:
    before = children(healed, kind)
    assert before, f"{kind}: there is none"
    for child in before:
        name, uid = child["metadata"]["name"], child["metadata"]["uid"]
        healed.delete(kind, name)
        eventually(
            lambda name=name: healed.find(kind, name),
            lambda found, uid=uid: found is not None and found["metadata"]["uid"] != uid,
            f"the {kind} {name} is not back",
            within=5 * SOON,
        )


EDITS: dict[str, tuple[str, dict[str, object], Callable[[Object], object]]] = {
    "the ports of the Service": (
        "service",
        {"spec": {"ports": [{"name": "gmq", "port": 4567, "targetPort": 1, "protocol": "TCP"}]}},
        lambda body: sorted((port["port"], port["targetPort"]) for port in body["spec"]["ports"]),
    ),
    "the configuration": ("configmap", {"data": {"gmq.json": "{}"}}, lambda body: body["data"]),
    "the command of the container": (
        "deployment",
        {"spec": {"template": {"spec": {"enableServiceLinks": True, "automountServiceAccountToken": True}}}},
        lambda body: (
            body["spec"]["template"]["spec"]["enableServiceLinks"],
            body["spec"]["template"]["spec"]["automountServiceAccountToken"],
        ),
    ),
    "a label": (
        "deployment",
        {"metadata": {"labels": {"app.kubernetes.io/part-of": "something-else"}}},
        lambda body: body["metadata"]["labels"]["app.kubernetes.io/part-of"],
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_of_what_the_operator_owns_is_undone(healed: Kubectl, edit: str) -> None:
    kind, change, owned = EDITS[edit]
    name = children(healed, kind)[0]["metadata"]["name"] if kind != "service" else "orders"
    right = owned(healed.get(kind, name))
    healed.patch(kind, name, change)
    eventually(lambda: owned(healed.get(kind, name)), lambda seen: seen == right, f"{edit} was not put right", within=5 * SOON)


def test_what_others_add_stays(healed: Kubectl) -> None:
    healed.patch("service", "orders", {"metadata": {"annotations": {"example.com/theirs": "yes"}, "labels": {"theirs": "yes"}}})
    healed.patch("gmqserver.gmq.io", "orders", {"spec": {"service": {"annotations": {"example.com/ours": "yes"}}}})
    annotations = eventually(
        lambda: healed.get("service", "orders")["metadata"]["annotations"],
        lambda seen: seen.get("example.com/ours") == "yes",
        "the annotation of the spec did not reach the Service",
    )
    assert annotations["example.com/theirs"] == "yes"
    healed.patch("gmqserver.gmq.io", "orders", {"spec": {"service": {"annotations": None}}})
    annotations = eventually(
        lambda: healed.get("service", "orders")["metadata"]["annotations"],
        lambda seen: "example.com/ours" not in seen,
        "an annotation that the spec no longer has is still at the Service",
    )
    assert annotations["example.com/theirs"] == "yes"


def test_a_child_of_somebody_else_is_not_taken_over(kubectl: Kubectl) -> None:
    kubectl.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs"}, "data": {"theirs": "yes"}})
    kubectl("create", "service", "clusterip", "orders", "--tcp=80")
    kubectl.apply(gmq_server("orders", replicas=0, storage=MEMORY))
    body = wait_until(kubectl, "orders", "Ready", "False")
    assert "orders" in str(body["status"]["conditions"])
    assert [port["port"] for port in kubectl.get("service", "orders")["spec"]["ports"]] == [80], "a Service of somebody else was changed"
