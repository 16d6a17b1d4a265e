"""Many servers beside much that is none of the operator's business."""

from __future__ import annotations

import os
import time
import urllib.request

import pytest

from cluster.installation import SYSTEM, operator_pod
from cluster.kubectl import Kubectl, eventually
from cluster.servers import MEMORY, gmq_server, settled

SERVERS = int(os.environ.get("GMQ_TEST_SERVERS", "50"))
UNRELATED = int(os.environ.get("GMQ_TEST_UNRELATED", "500"))
PER_SERVER = 0.3
"""Seconds for each server to be reconciled: 200 in 60 s."""
MEMORY_LIMIT = 150e6
QUIET = 20.0
"""Seconds in which requests are counted."""
WINDOWS = 4
"""How often they are counted: what other tests left behind is still being deleted, and a resync may come."""


def metric(text: str, name: str) -> float:
    """The sum of all series of a metric."""
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name)


@pytest.mark.alone
@pytest.mark.timeout(600)
def test_many_servers_are_reconciled_soon_and_then_cost_little(kubectl: Kubectl) -> None:
    for start in range(0, UNRELATED, 500):
        kubectl.apply(
            *(
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"unrelated-{number}"}, "data": {"a": "b" * 1000}}
                for number in range(start, min(start + 500, UNRELATED))
            )
        )
    began = time.monotonic()
    kubectl.apply(*(gmq_server(f"server-{number}", replicas=0, storage=MEMORY) for number in range(SERVERS)))
    eventually(
        lambda: sum(settled(body, "Ready") for body in kubectl.list("gmqservers.gmq.io")),
        lambda ready: ready == SERVERS,
        f"not all of {SERVERS} servers are ready",
        within=max(30.0, SERVERS * PER_SERVER),
        every=0.5,
    )
    took = time.monotonic() - began
    with Kubectl(SYSTEM).forwarded(f"pod/{operator_pod()}", 8080) as port:

        def look() -> str:
            text: str = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
            return text

        eventually(lambda: metric(look(), "gmq_operator_queue_keys"), lambda keys: keys == 0, "the operator's queue does not become empty")
        for _ in range(WINDOWS):
            before = metric(look(), "gmq_operator_api_requests_total")
            time.sleep(QUIET)  # the time over which a rate is measured
            after = look()
            rate = (metric(after, "gmq_operator_api_requests_total") - before) / QUIET
            if rate < 1:
                break
    resident = metric(after, "process_resident_memory_bytes")
    told = f"{SERVERS} servers in {took:.1f} s; then {rate:.2f} requests/s, {resident / 1e6:.0f} MB"
    print(told)  # noqa: T201  # the figures, shown with -s
    assert rate < 1, told
    assert resident < MEMORY_LIMIT, told
