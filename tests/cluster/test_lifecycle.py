"""Scaling, pausing, deleting, and coming back."""

from __future__ import annotations

import pytest

from cluster.kubectl import Kubectl, eventually
from cluster.servers import FILESYSTEM, MEMORY, address, condition, credentials, gmq_server, gmqclient, pods, ready, wait_until

CHILDREN = ("deployment", "service", "configmap")


def test_a_server_is_scaled_to_nothing_and_back_and_keeps_its_messages(kubectl: Kubectl, client: str) -> None:
    kubectl.apply(gmq_server("orders", storage=FILESYSTEM))
    ready(kubectl, "orders")
    user, password = credentials(kubectl, "orders")
    login = ("--user", user, "--password", password)
    gmqclient(kubectl, client, address(kubectl, "orders"), "publish", *login, "kept", "for later")
    kubectl("scale", "gmq/orders", "--replicas=0")
    wait_until(kubectl, "orders", "Ready", reason="ScaledToZero")
    eventually(lambda: pods(kubectl, "orders"), lambda found: not found, "pods are left at replicas 0")
    kubectl("scale", "gmq/orders", "--replicas=1")
    kubectl("wait", "--for=condition=Ready", "gmq/orders", "--timeout=60s")
    eventually(lambda: pods(kubectl, "orders"), bool, "no pod came back")
    ready(kubectl, "orders")
    assert gmqclient(kubectl, client, address(kubectl, "orders"), "subscribe", *login, "kept").strip() == "for later"


def test_a_paused_server_is_left_alone_until_it_goes_on(kubectl: Kubectl) -> None:
    kubectl.apply(gmq_server("orders", replicas=0, storage=MEMORY))
    ready(kubectl, "orders")
    kubectl.patch("gmqserver.gmq.io", "orders", {"spec": {"paused": True}})
    wait_until(kubectl, "orders", "Paused")
    kubectl.delete("service", "orders")
    kubectl.patch("gmqserver.gmq.io", "orders", {"spec": {"logLevel": "debug"}})
    wait_until(kubectl, "orders", "Paused")
    assert kubectl.find("service", "orders") is None, "the operator changed a paused server"
    kubectl.patch("gmqserver.gmq.io", "orders", {"spec": {"paused": False}})
    wait_until(kubectl, "orders", "Paused", "False")
    eventually(lambda: kubectl.find("service", "orders"), bool, "the Service did not come back after the pause")


def test_a_deleted_server_takes_its_children_along_and_leaves_its_claim_for_the_next(kubectl: Kubectl, client: str) -> None:
    kubectl.apply(gmq_server("orders", storage=FILESYSTEM))
    ready(kubectl, "orders")
    user, password = credentials(kubectl, "orders")
    gmqclient(kubectl, client, address(kubectl, "orders"), "publish", "--user", user, "--password", password, "kept", "for the next")
    claim = claim_of(kubectl)
    kubectl("delete", "gmq", "orders", "--timeout=20s")
    for kind in (*CHILDREN, "pods"):
        eventually(lambda kind=kind: ours(kubectl, kind), lambda found: not found, f"there is still a {kind} of a deleted GmqServer")
    assert kubectl.find("persistentvolumeclaim", claim) is not None, "the claim was deleted with its GmqServer"
    kubectl.apply(gmq_server("orders", storage=FILESYSTEM))
    ready(kubectl, "orders")
    user, password = credentials(kubectl, "orders")
    taken = gmqclient(kubectl, client, address(kubectl, "orders"), "subscribe", "--user", user, "--password", password, "kept")
    assert taken.strip() == "for the next"


def test_a_claim_goes_with_its_server_where_the_spec_says_so(kubectl: Kubectl) -> None:
    storage = {"type": "filesystem", "filesystem": {"size": "64Mi", "whenDeleted": "Delete"}}
    kubectl.apply(gmq_server("orders", replicas=0, storage=storage))
    ready(kubectl, "orders")
    claim = claim_of(kubectl)
    kubectl("delete", "gmq", "orders", "--timeout=20s")
    eventually(lambda: kubectl.find("persistentvolumeclaim", claim), lambda found: found is None, "the claim is still there")


def test_the_storage_is_switched_only_when_the_spec_says_from_what(kubectl: Kubectl) -> None:
    kubectl.apply(gmq_server("orders", replicas=0, storage=MEMORY))
    ready(kubectl, "orders")
    kubectl.apply(gmq_server("orders", replicas=0, storage=FILESYSTEM))
    body = wait_until(kubectl, "orders", "SpecValid", "False")
    assert "switchFrom" in condition(body, "SpecValid")["message"], condition(body, "SpecValid")
    kubectl.apply(gmq_server("orders", replicas=0, storage={**FILESYSTEM, "switchFrom": "memory"}))
    ready(kubectl, "orders")
    assert claim_of(kubectl)


def test_a_smaller_claim_is_refused_with_the_reason_and_the_server_goes_on(kubectl: Kubectl) -> None:
    kubectl.apply(gmq_server("orders", storage=FILESYSTEM))
    ready(kubectl, "orders")
    kubectl.patch("gmqserver.gmq.io", "orders", {"spec": {"storage": {"filesystem": {"size": "1Mi"}}}})
    body = eventually(
        lambda: kubectl.get("gmqserver.gmq.io", "orders"),
        lambda body: "64Mi" in condition(body, "StorageReady").get("message", "") + condition(body, "SpecValid").get("message", ""),
        "nothing says that a claim cannot shrink",
    )
    assert pods(kubectl, "orders"), body["status"]


@pytest.mark.parametrize(
    "command", [("get", "gmq"), ("get", "gmq", "-o", "wide"), ("explain", "gmqserver.spec.storage"), ("describe", "gmq")]
)
def test_kubectl_shows_servers_to_people(module_kubectl: Kubectl, command: tuple[str, ...]) -> None:
    kubectl = module_kubectl
    kubectl.apply(gmq_server("shown", replicas=0, storage=MEMORY))
    ready(kubectl, "shown")
    text = kubectl(*command)
    wanted = {"get": ("NAME", "STORAGE", "REPLICAS", "READY", "REASON", "AGE", "ScaledToZero"), "explain": ("filesystem", "switchFrom"),
              "describe": ("Conditions", "ScaledToZero")}  # fmt: skip
    for word in wanted[command[0]]:
        assert word in text, text


def claim_of(kubectl: Kubectl) -> str:
    claims = ours(kubectl, "persistentvolumeclaim")
    assert len(claims) == 1, f"there are the claims {claims}"
    return claims[0]


def ours(kubectl: Kubectl, kind: str) -> list[str]:
    return [item["metadata"]["name"] for item in kubectl.list(kind, "app.kubernetes.io/managed-by=gmq-operator")]
