"""GmqServers as tests make them, and brokers as their clients reach them."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from typing import Any

from cluster.kubectl import PATIENCE, Kubectl, KubectlError, Object, eventually

FILESYSTEM = {"type": "filesystem", "filesystem": {"size": "64Mi"}}
MEMORY = {"type": "memory"}
ROUTED = 10.0
"""Seconds in which a Service leads to a pod that is ready, at the latest."""


def gmq_server(name: str, **spec: Any) -> Object:
    return {"apiVersion": "gmq.io/v1beta1", "kind": "GmqServer", "metadata": {"name": name}, "spec": spec}


def condition(body: Mapping[str, Any] | None, kind: str) -> Object:
    """One condition of the status; {} where it is not there."""
    conditions = (body or {}).get("status", {}).get("conditions", [])
    return next((item for item in conditions if item["type"] == kind), {})


def settled(body: Mapping[str, Any] | None, kind: str, status: str = "True", reason: str | None = None) -> bool:
    """Whether the condition is so, for the spec as it is now."""
    told = condition(body, kind)
    return (
        bool(told)
        and told["status"] == status
        and told["observedGeneration"] == (body or {})["metadata"]["generation"]
        and (reason is None or told["reason"] == reason)
    )


def wait_until(
    kubectl: Kubectl, name: str, kind: str, status: str = "True", reason: str | None = None, *, within: float = PATIENCE
) -> Object:
    """Wait until a condition of the GmqServer is so for its present spec."""
    wanted = f"{kind} {status}" + (f" with {reason}" if reason else "")
    body = eventually(
        lambda: kubectl.find("gmqserver.gmq.io", name),
        lambda body: settled(body, kind, status, reason),
        f"{name} is not {wanted}",
        within=within,
    )
    assert body is not None
    return body


def ready(kubectl: Kubectl, name: str, *, within: float = PATIENCE) -> Object:
    return wait_until(kubectl, name, "Ready", within=within)


def pods(kubectl: Kubectl, name: str) -> list[Object]:
    """The server's pods that are not on their way out."""
    return [pod for pod in all_pods(kubectl, name) if "deletionTimestamp" not in pod["metadata"]]


def all_pods(kubectl: Kubectl, name: str) -> list[Object]:
    return kubectl.list("pods", f"app.kubernetes.io/instance={name},app.kubernetes.io/managed-by=gmq-operator")


def is_ready(pod: Mapping[str, Any]) -> bool:
    return any(item["type"] == "Ready" and item["status"] == "True" for item in pod.get("status", {}).get("conditions", []))


def pod_of(kubectl: Kubectl, name: str, *, other_than: str = "", within: float = PATIENCE) -> Object:
    """The one ready pod; with `other_than` (a uid) one that came after it."""
    found = eventually(
        lambda: [pod for pod in pods(kubectl, name) if is_ready(pod) and pod["metadata"]["uid"] != other_than],
        lambda found: len(found) == 1,
        f"{name} does not have one ready pod",
        within=within,
    )
    return found[0]


def container(pod: Mapping[str, Any]) -> Object:
    found: Object = pod["spec"]["containers"][0]
    return found


def gmqclient(kubectl: Kubectl, pod: str, host: str, *arguments: str, given: str | None = None) -> str:
    """Run gmqclient in a pod, against a Service's address: a cluster need not have DNS.

    The nodes learn a moment after the operator that a pod is ready. Until then the Service refuses connections, and nothing was sent.
    """
    subcommand, *rest = arguments
    deadline = time.monotonic() + ROUTED
    while True:
        try:
            return kubectl.execute(pod, "gmqclient", subcommand, "--server", host, *rest, given=given)
        except KubectlError as error:
            if "connection refused" not in str(error) or time.monotonic() > deadline:
                raise


def address(kubectl: Kubectl, service: str) -> str:
    found: str = kubectl.get("service", service)["spec"]["clusterIP"]
    return found


def credentials(kubectl: Kubectl, name: str) -> tuple[str, str]:
    """User and password that the operator made."""
    data = kubectl.get("secret", f"{name}-default-user")["data"]
    return base64.b64decode(data["username"]).decode(), base64.b64decode(data["password"]).decode()


def client_pod(image: str) -> Object:
    """A pod that waits for commands."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "client", "labels": {"app": "client"}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "client",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python3", "-c", "import signal; signal.pause()"],
                    "securityContext": {"allowPrivilegeEscalation": False, "runAsNonRoot": True},
                }
            ],
        },
    }


def started_client(kubectl: Kubectl, image: str) -> str:
    """The name of a pod in which commands can be run."""
    kubectl.apply(client_pod(image))
    eventually(lambda: kubectl.get("pod", "client"), is_ready, "the client pod does not run")
    return "client"


def refused(kubectl: Kubectl, body: Mapping[str, Any]) -> str | None:
    """Apply what the API server may refuse; what it said, or None where it took it."""
    try:
        kubectl.apply(body)
    except KubectlError as error:
        return str(error)
    return None


def timed(kubectl: Kubectl, name: str, *, within: float = PATIENCE) -> float:
    """Seconds from now until it is ready."""
    began = time.monotonic()
    ready(kubectl, name, within=within)
    return time.monotonic() - began
