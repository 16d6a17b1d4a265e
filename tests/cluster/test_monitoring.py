"""What the chart's ServiceMonitors say leads a real Prometheus to the operator and to every broker."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

import prometheus_process
from cluster.installation import CHART, RELEASE, SYSTEM, operator_pod, run_helm
from cluster.kubectl import Kubectl, Object, eventually
from cluster.servers import MEMORY, gmq_server, pod_of, ready
from prometheus_process import Prometheus

pytestmark = pytest.mark.skipif(prometheus_process.MISSING is not None, reason=str(prometheus_process.MISSING))

ON = {"enabled": True}


def monitors(namespace: str = SYSTEM) -> list[Object]:
    """The ServiceMonitors that the chart makes where it is asked for them."""
    values = {"monitoring": {"operator": ON, "brokers": ON}}
    rendered = run_helm("template", RELEASE, str(CHART), "--show-only", "templates/monitoring.yaml", namespace=namespace, values=values)
    return [item for item in yaml.safe_load_all(rendered) if item["kind"] == "ServiceMonitor"]


def meta(label: str) -> str:
    """As Prometheus names a label of a Service while it chooses what to scrape."""
    return "__meta_kubernetes_service_label_" + re.sub(r"[^a-zA-Z0-9_]", "_", label)


def discovered() -> list[dict[str, Any]]:
    """Every port behind every Service of the cluster, with the labels that Prometheus gives it; Debian's cannot ask the cluster itself."""
    listed = {
        kind: json.loads(Kubectl("default")("get", kind, "--all-namespaces", "--output", "json"))["items"]
        for kind in ("services", "endpoints")
    }
    labels = {(item["metadata"]["namespace"], item["metadata"]["name"]): item["metadata"].get("labels", {}) for item in listed["services"]}
    found = []
    for item in listed["endpoints"]:
        namespace, name = item["metadata"]["namespace"], item["metadata"]["name"]
        for subset in item.get("subsets", []):
            for port in subset.get("ports", []):
                addresses = [*subset.get("addresses", []), *subset.get("notReadyAddresses", [])]
                told = {
                    "__meta_kubernetes_namespace": namespace,
                    "__meta_kubernetes_service_name": name,
                    "__meta_kubernetes_endpoint_port_name": port.get("name", ""),
                    **{meta(key): value for key, value in labels.get((namespace, name), {}).items()},
                }
                found.append({"targets": [f"{address['ip']}:{port['port']}" for address in addresses], "labels": told})
    return found


def scraping(monitor: Object) -> list[dict[str, Any]]:
    """What the Prometheus operator makes of a ServiceMonitor for its Prometheus."""
    spec, name = monitor["spec"], monitor["metadata"]["name"]
    chosen = spec.get("namespaceSelector", {})
    namespaces = ".*" if chosen.get("any") else "|".join(chosen.get("matchNames") or [monitor["metadata"]["namespace"]])
    wanted = {"__meta_kubernetes_namespace": namespaces}
    wanted |= {meta(key): re.escape(value) for key, value in spec["selector"]["matchLabels"].items()}
    named = [
        {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
        {"source_labels": ["__meta_kubernetes_service_name"], "target_label": "job"},
        {"source_labels": [meta(spec.get("jobLabel", "none"))], "target_label": "job", "regex": "(.+)"},
    ]
    return [
        {
            "job_name": f"{name}-{at}",
            "metrics_path": endpoint["path"],
            "static_configs": discovered(),
            "relabel_configs": [
                *({"action": "keep", "source_labels": [label], "regex": regex} for label, regex in wanted.items()),
                {"action": "keep", "source_labels": ["__meta_kubernetes_endpoint_port_name"], "regex": endpoint["port"]},
                *named,
                *(
                    {"source_labels": relabeling["sourceLabels"], "target_label": relabeling["targetLabel"]}
                    for relabeling in endpoint.get("relabelings", [])
                ),
            ],
        }
        for at, endpoint in enumerate(spec["endpoints"])
    ]


def reached(pod: Object, port: int) -> bool:
    try:
        with socket.create_connection((pod["status"]["podIP"], port), 3):
            return True
    except OSError:
        return False


def test_a_prometheus_finds_the_operator_and_the_brokers(kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl.apply(gmq_server("orders", storage=MEMORY), gmq_server("bills", storage=MEMORY, monitoring={"serviceMonitor": False}))
    for name in ("orders", "bills"):
        ready(kubectl, name)
    if not reached(pod_of(kubectl, "orders"), 9567):
        pytest.skip("this machine does not reach the cluster's pods")
    prometheus = Prometheus(tmp_path, [], jobs=[job for monitor in monitors() for job in scraping(monitor)])
    prometheus.start()
    try:
        namespace = kubectl.namespace
        found = eventually(
            lambda: {
                (sample["metric"]["server"], sample["metric"]["job"])
                for sample in prometheus.query(f'gmq_ready{{namespace="{namespace}"}} == 1')
            },
            lambda found: len(found) == 2,
            "Prometheus does not have both brokers",
        )
        assert found == {("orders", "orders"), ("bills", "bills")}
        seen = eventually(
            lambda: prometheus.query(f'gmq_operator_build_info{{namespace="{SYSTEM}"}}'), bool, "Prometheus does not have the operator"
        )
        assert [sample["metric"]["instance"] for sample in seen] == [
            f"{Kubectl(SYSTEM).get('pod', operator_pod())['status']['podIP']}:8080"
        ]
        down = prometheus.query(f'up{{namespace=~"{namespace}|{SYSTEM}"}} == 0')
        assert not down, f"found and not scraped: {[sample['metric'] for sample in down]}"
    finally:
        prometheus.stop()
