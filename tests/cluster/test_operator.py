"""The operator itself: restarted, watched, and within its rights."""

from __future__ import annotations

import json
import os
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from cluster.installation import SYSTEM, operator_logs, operator_pod
from cluster.kubectl import Kubectl, eventually
from cluster.servers import MEMORY, gmq_server, ready
from gmq_operator.observed import CHILDREN

AUDIT = Path(os.environ.get("GMQ_TEST_AUDIT_LOG", "/nowhere"))
"""The API server's audit log, as JSON lines, where it can be read."""


def test_an_operator_killed_in_the_middle_goes_on_where_it_was(kubectl: Kubectl) -> None:
    names = [f"server-{number}" for number in range(10)]
    for _ in range(2):
        kubectl.apply(*(gmq_server(name, replicas=0, storage=MEMORY) for name in names))
        Kubectl(SYSTEM)("delete", "pod", operator_pod(), "--force", "--grace-period=0", "--wait=false")
        for name in names:
            ready(kubectl, name)
        kubectl("delete", "gmq", "--all", "--timeout=30s")


def test_the_operator_leaves_no_marks_on_the_resource(kubectl: Kubectl) -> None:
    kubectl.apply(gmq_server("orders", replicas=0, storage=MEMORY))
    metadata = ready(kubectl, "orders")["metadata"]
    assert "finalizers" not in metadata
    assert set(metadata.get("annotations", {})) <= {"kubectl.kubernetes.io/last-applied-configuration"}, metadata["annotations"]


def test_the_operator_logs_json_and_no_secret(kubectl: Kubectl) -> None:
    kubectl.apply(gmq_server("orders", replicas=0, storage=MEMORY))
    ready(kubectl, "orders")
    lines = operator_logs()
    assert any("orders" in json.dumps(line) for line in lines), lines[-3:]
    password = kubectl("get", "secret", "orders-default-user", "-o", "jsonpath={.data.password}")
    assert password not in json.dumps(lines)


def test_the_operators_metrics_and_health_are_served(kubectl: Kubectl) -> None:
    kubectl.apply(gmq_server("orders", replicas=0, storage=MEMORY))
    ready(kubectl, "orders")
    with Kubectl(SYSTEM).forwarded(f"pod/{operator_pod()}", 8080) as port:
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10).status == 200
    counts = re.findall(r"^gmq_operator_reconciles_total\{[^}]*\} ([0-9.e+]+)$", text, re.MULTILINE)
    assert sum(map(float, counts)) > 0, text


def audited(user: str) -> list[dict[str, Any]]:
    return [entry for line in AUDIT.read_text().splitlines() if (entry := json.loads(line))["user"].get("username") == user]


def request_of(entry: dict[str, Any]) -> tuple[str, str, str]:
    reference = entry["objectRef"]
    resource = "/".join(filter(None, (reference["resource"], reference.get("subresource"))))
    return entry["verb"], reference.get("apiGroup", ""), resource


@pytest.mark.skipif(not AUDIT.exists(), reason="GMQ_TEST_AUDIT_LOG names no audit log of the API server")
def test_the_operator_is_denied_nothing_and_granted_nothing_in_vain(kubectl: Kubectl) -> None:
    """What it asked for against what it was granted; the test makes it use all it has."""
    kubectl.apply(gmq_server("orders", storage={"type": "filesystem", "filesystem": {"size": "16Mi"}}))
    ready(kubectl, "orders")
    kubectl.patch("gmqserver.gmq.io", "orders", {"spec": {"limits": {"queues": 3}}})
    ready(kubectl, "orders")
    account = Kubectl(SYSTEM).get("pod", operator_pod())["spec"]["serviceAccountName"]
    user = f"system:serviceaccount:{SYSTEM}:{account}"
    entries = [entry for entry in audited(user) if "objectRef" in entry]
    # Not by the answer's code: what is created in a namespace that goes away is forbidden to everybody.
    denied = {request_of(entry) for entry in entries if entry.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid"}
    assert not denied, f"the operator was denied {sorted(denied)}"
    asked = {request_of(entry) for entry in entries}
    asked |= {("create", group, resource) for verb, group, resource in asked if verb == "patch"}  # an apply that makes an object needs both
    versions = Kubectl("default")("api-versions").split()
    absent = {kind.group for kind in CHILDREN if kind.api_version not in versions}
    vain = {grant for grant in grants(account) if grant not in asked and grant[1] not in absent}
    assert not vain, f"the operator is granted {sorted(vain)}, and never asks for it"


def grants(account: str) -> set[tuple[str, str, str]]:
    """Verb, group and resource of all that the ServiceAccount may do."""
    kubectl = Kubectl(SYSTEM)
    found = set()
    for bindings in ("clusterrolebindings", "rolebindings"):
        for binding in kubectl.list(bindings):
            subjects = binding.get("subjects", [])
            if any(subject["name"] == account and subject.get("namespace") == SYSTEM for subject in subjects):
                for rule in kubectl.get(binding["roleRef"]["kind"].lower(), binding["roleRef"]["name"])["rules"] or []:
                    found |= {
                        (verb, group, resource)
                        for verb in rule["verbs"]
                        for group in rule.get("apiGroups", [])
                        for resource in rule.get("resources", [])
                    }
    return found


def test_the_status_says_when_a_kind_is_not_served(kubectl: Kubectl) -> None:
    if "monitoring.coreos.com/v1" in kubectl("api-versions").split():
        pytest.skip("this cluster serves ServiceMonitors")
    kubectl.apply(gmq_server("orders", replicas=0, storage=MEMORY, monitoring={"serviceMonitor": True}))
    body = ready(kubectl, "orders")
    eventually(
        lambda: json.dumps(kubectl.get("gmqserver.gmq.io", "orders")["status"]["conditions"]),
        lambda text: "ServiceMonitor" in text,
        f"no condition says that ServiceMonitors are not served; {body['status']}",
    )
