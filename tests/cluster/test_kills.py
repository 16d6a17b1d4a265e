"""What was acknowledged outlives the pod."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from cluster import killing
from cluster.killing import KilledPod
from cluster.kubectl import Kubectl, eventually
from cluster.servers import FILESYSTEM, all_pods, gmq_server, is_ready, pod_of, ready
from crash.harness import POLICIES, Plan, run
from crash.mixes import MIXES

KILLS = int(os.environ.get("GMQ_TEST_POD_KILLS", "3"))
OPEN = {"auth": {"mode": "Disabled"}, "service": {"type": "NodePort"}}
"""Without users, as the crash harness has none, and reached at the node."""


def policies() -> list[dict[str, object]]:
    names = {"max_deliveries": "maxDeliveries", "dead_letter": "deadLetter", "max_messages": "maxMessages"}
    return [{names.get(key, key): value for key, value in policy.items()} for policy in POLICIES]


@pytest.mark.timeout(120 + 30 * KILLS)
def test_nothing_acknowledged_is_lost_when_pods_are_killed_under_load(kubectl: Kubectl) -> None:
    if (reason := killing.may_kill()) is not None:
        pytest.skip(reason)
    kubectl.apply(gmq_server("orders", storage=FILESYSTEM, policies=policies(), **OPEN))
    ready(kubectl, "orders")
    report = run(Plan(MIXES["volume"], seed=1, ends=KILLS, load=(0.5, 2.0)), KilledPod(kubectl, "orders"))
    assert not report.faults, report.told()
    print(report)  # noqa: T201  # shown with -s: how many requests it was


def test_a_replacement_waits_for_the_pod_that_still_has_the_volume(kubectl: Kubectl) -> None:
    """A pod that drains slowly and its replacement run side by side; only one of them may use the files."""
    slow = {"network": {"drain_timeout": 6}}
    kubectl.apply(gmq_server("orders", storage=FILESYSTEM, config=slow, **OPEN))
    ready(kubectl, "orders")
    old = pod_of(kubectl, "orders")["metadata"]
    with kubectl.forwarded(f"pod/{old['name']}", 4567) as port, waiting_replies(port):
        kubectl.delete("pod", old["name"], "--wait=false")
        both = eventually(
            lambda: all_pods(kubectl, "orders"),
            lambda found: len(found) == 2 or not any(pod["metadata"]["uid"] == old["uid"] for pod in found),
            "no replacement came",
        )
        while any(pod["metadata"]["uid"] == old["uid"] and running(pod) for pod in both):
            assert not any(is_ready(pod) for pod in both if pod["metadata"]["uid"] != old["uid"]), (
                "the replacement is ready while the pod of before still runs"
            )
            both = all_pods(kubectl, "orders")
    new = pod_of(kubectl, "orders", other_than=old["uid"])
    assert new["status"]["containerStatuses"][0]["restartCount"] == 0, "the replacement ended instead of waiting for the volume"


def running(pod: dict[str, Any]) -> bool:
    return any("running" in status["state"] for status in pod["status"].get("containerStatuses", []))


def waiting_replies(port: int) -> socket.socket:
    """A client that does not take its replies, so that the broker's drain takes as long as it may."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.settimeout(2)
    connection.sendall(b"\n")
    try:
        while True:
            connection.sendall(b'{"operation":"Q"}\n' * 1000)
    except TimeoutError:
        return connection  # nothing goes through any more: the broker waits for this client
