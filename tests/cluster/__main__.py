"""How fast things happen on a cluster with an operator: `make test-cluster-figures`."""

from __future__ import annotations

import argparse
import statistics
import time
import uuid
from collections.abc import Callable

from cluster.kubectl import Kubectl, eventually
from cluster.servers import FILESYSTEM, gmq_server, pod_of, ready


def p95(values: list[float]) -> float:
    return sorted(values)[max(0, round(len(values) * 0.95) - 1)]


def measured(what: str, times: int, once: Callable[[int], float], at_most: float) -> None:
    values = [once(number) for number in range(times)]
    verdict = "ok" if p95(values) <= at_most else "too slow"
    print(
        f"{what}: p95 {p95(values):.1f} s, median {statistics.median(values):.1f} s of {times} (at most {at_most:g} s): {verdict}",
        flush=True,
    )


def main() -> None:
    flags = argparse.ArgumentParser()
    flags.add_argument("--times", type=int, default=20)
    times = flags.parse_args().times
    kubectl = Kubectl(f"gmq-figures-{uuid.uuid4().hex[:6]}")
    kubectl("create", "namespace", kubectl.namespace)
    try:
        measured("apply to Ready, filesystem", times, lambda number: applied(kubectl, f"new-{number}"), 8)
        kubectl.apply(gmq_server("orders", storage=FILESYSTEM))
        ready(kubectl, "orders")
        measured("a deleted child back", times, lambda number: healed(kubectl, ("service", "deployment", "configmap")[number % 3]), 3)
        ready(kubectl, "orders")
        measured("an edit to a new pod Ready", times, lambda number: edited(kubectl, number), 12)
    finally:
        kubectl("delete", "namespace", kubectl.namespace, "--wait=false")


def applied(kubectl: Kubectl, name: str) -> float:
    began = time.monotonic()
    kubectl.apply(gmq_server(name, storage=FILESYSTEM))
    ready(kubectl, name)
    took = time.monotonic() - began
    kubectl("delete", "gmq", name, "--timeout=30s")
    return took


def healed(kubectl: Kubectl, kind: str) -> float:
    child = kubectl.list(kind, "app.kubernetes.io/managed-by=gmq-operator,app.kubernetes.io/instance=orders")[0]["metadata"]
    kubectl.delete(kind, child["name"], "--wait=false")
    began = time.monotonic()
    eventually(
        lambda: kubectl.find(kind, child["name"]),
        lambda found: found is not None and found["metadata"]["uid"] != child["uid"],
        f"the {kind} {child['name']} is not back",
    )
    return time.monotonic() - began


def edited(kubectl: Kubectl, number: int) -> float:
    old = pod_of(kubectl, "orders")["metadata"]["uid"]
    began = time.monotonic()
    kubectl.patch("gmqserver.gmq.io", "orders", {"spec": {"limits": {"queues": 100 + number}}})
    pod_of(kubectl, "orders", other_than=old)
    ready(kubectl, "orders")
    return time.monotonic() - began


if __name__ == "__main__":
    main()
