"""Values that the chart is rendered with, each to bring out another part of it."""

from __future__ import annotations

from typing import Any

DIGEST = "sha256:" + "0123456789abcdef" * 4

MONITORING: dict[str, Any] = {
    "operator": {"enabled": True, "interval": "15s", "labels": {"release": "prometheus"}},
    "brokers": {"enabled": True, "interval": "1m30s", "labels": {"release": "prometheus"}},
    "rules": {"enabled": True, "labels": {"role": "alert-rules"}, "runbookPrefix": "https://wiki.example/gmq/"},
    "dashboards": {"enabled": True, "namespace": "grafana", "labels": {"grafana": "yes"}, "annotations": {"grafana_folder": "GMQ"}},
}

NETWORK_POLICY: dict[str, Any] = {
    "enabled": True,
    "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
    "apiServerPorts": [8443],
    "extraEgress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 3128}]}],
}

POD: dict[str, Any] = {
    "imagePullSecrets": [{"name": "registry"}],
    "extraEnv": [
        {"name": "HTTPS_PROXY", "value": "http://proxy:3128"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    ],
    "resources": {"limits": {"cpu": 1, "memory": "512Mi"}},
    "podLabels": {"team": "platform"},
    "podAnnotations": {"sidecar.istio.io/inject": "false"},
    "podSecurityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "infra", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "pool", "operator": "In", "values": ["infra"]}]}]
            }
        }
    },
    "priorityClassName": "system-cluster-critical",
    "logLevel": "debug",
}

CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": {
        "image": {"repository": "registry.example/gmq", "tag": "1.2.3", "pullPolicy": "Always"},
        "nameOverride": "queue",
        "crds": {"annotations": {"team": "platform"}},
        "serviceAccount": {"annotations": {"team": "platform"}},
        "monitoring": MONITORING,
        "networkPolicy": NETWORK_POLICY,
        "tests": {"timeout": 60},
        **POD,
    },
    "by digest": {"image": {"repository": "registry.example/gmq", "tag": "ignored", "digest": DIGEST}},
    "some namespaces": {"watchNamespaces": ["shop", "billing"], "monitoring": MONITORING},
    "its own namespace": {"watchNamespaces": ["gmq-system"]},
    "rights made elsewhere": {"rbac": {"create": False, "aggregate": False}, "serviceAccount": {"create": False, "name": "operators"}},
    "another name": {"fullnameOverride": "message-queue", "serviceAccount": {"name": "mq"}},
    "definition made elsewhere": {"crds": {"install": False}},
    "definition goes with the release": {"crds": {"keep": False}},
    "network policy for all": {"networkPolicy": {"enabled": True}},
    "dashboards beside the release": {"monitoring": {"dashboards": {"enabled": True}, "rules": {"enabled": True}}},
    "no test": {"tests": {"enabled": False}},
    "emptied": {"resources": {"requests": None, "limits": None}, "podSecurityContext": None, "securityContext": None},
    "a part of another chart": {"global": {"imageRegistry": "registry.example"}},
}
