"""The broker's pod: what the restricted Pod Security Standard asks for, probes, volumes, and last what the user overrides."""

import math
from collections.abc import Mapping
from typing import Any

from gmq_operator.observed import Context
from gmq_operator.resources import names, secrets
from gmq_operator.resources.configmap import configuration
from gmq_operator.resources.labels import selector
from gmq_operator.resources.merge import merge_pod_spec
from gmq_operator.spec import GmqServer

USER = 65532
"""The image's own user and group."""

DRAIN = 10.0
"""Seconds: the broker's default of network.drain_timeout."""
EXIT = 20
"""Seconds from the end of the drain: the last commits and closing the storage."""
LEAVING = 5
"""Seconds that a broker of several still serves when it is to stop: until then new connections are no longer sent to it."""

REQUESTS = {"cpu": "100m", "memory": "512Mi"}
LIMITS = {"memory": "512Mi"}
"""The broker takes its own limits from that of its memory; without one several brokers of a node would all count on the whole of it."""


def pod_spec(server: GmqServer, context: Context) -> dict[str, Any]:
    spec, pod = server.spec, server.spec.pod
    result: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",  # else each start goes through all files of the volume
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": grace_period(server),
        "containers": [_container(server, context)],
        "volumes": _volumes(server),
    }
    optional = {
        "imagePullSecrets": [{"name": secret.name} for secret in spec.image_pull_secrets],
        "nodeSelector": dict(pod.node_selector),
        "tolerations": list(pod.tolerations),
        "affinity": dict(pod.affinity),
        "topologySpreadConstraints": [_spread(server, constraint) for constraint in pod.topology_spread_constraints],
        "priorityClassName": pod.priority_class_name,
    }
    result |= {name: value for name, value in optional.items() if value}
    return _with_text_quantities(merge_pod_spec(result, pod.override))


def _with_text_quantities(spec: dict[str, Any]) -> dict[str, Any]:
    """Quantities as text. YAML makes numbers of such as 0.5, which the API server takes from a client but not from server-side apply.

    What an override made of the containers may be anything: it is left for the API server to refuse.
    """
    for key in ("containers", "initContainers"):
        if isinstance(containers := spec.get(key), list):
            spec[key] = [_container_with_texts(one) if isinstance(one, Mapping) else one for one in containers]
    return spec


def _container_with_texts(container: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(resources := container.get("resources"), Mapping):
        return dict(container)
    quantities = {part: _texts(resources[part]) for part in ("requests", "limits") if part in resources}
    return {**container, "resources": {**resources, **quantities}}


def _texts(quantities: Any) -> Any:
    if not isinstance(quantities, Mapping):
        return quantities
    return {name: value if isinstance(value, bool) else str(value) for name, value in quantities.items()}


def grace_period(server: GmqServer) -> int:
    """Seconds that a broker needs from SIGTERM to its end, so that it is never killed at work."""
    drain = configuration(server.spec)["network"].get("drain_timeout", DRAIN)
    return math.ceil(float(drain)) + EXIT + (LEAVING if leaves_slowly(server) else 0)


def leaves_slowly(server: GmqServer) -> bool:
    """Whether others serve while a broker stops. Where none does, the sooner it is gone the sooner its successor serves."""
    return server.spec.storage.type == "mysql"


def _spread(server: GmqServer, constraint: Mapping[str, Any]) -> dict[str, Any]:
    """A constraint that does not say which pods it counts means the server's own; Kubernetes would take it to mean none."""
    return {"labelSelector": {"matchLabels": selector(server)}, **constraint}


def _container(server: GmqServer, context: Context) -> dict[str, Any]:
    spec = server.spec
    ports = [{"name": "gmq", "containerPort": names.CLIENT_PORT, "protocol": "TCP"}]
    if spec.service.http:
        ports.append({"name": "http", "containerPort": names.HTTP_PORT, "protocol": "TCP"})
    ports.append({"name": "ops", "containerPort": names.OPS_PORT, "protocol": "TCP"})
    container: dict[str, Any] = {
        "name": names.CONTAINER,
        "image": spec.image or context.image,
        "command": ["gmqserver", "-f", f"{names.CONFIG_FOLDER}/{names.CONFIG_FILE}"],
        "ports": ports,
        "resources": _resources(spec.pod.resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",  # the status tells why a broker does not start
        "volumeMounts": _mounts(server),
        **_probes(),
    }
    if spec.image_pull_policy is not None:
        container["imagePullPolicy"] = spec.image_pull_policy
    if spec.pod.env:
        container["env"] = list(spec.pod.env)
    if leaves_slowly(server):
        container["lifecycle"] = {"preStop": {"exec": {"command": ["sleep", str(LEAVING)]}}}
    return container


def _resources(given: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of CPU and memory each count where the user says nothing of that resource, neither a request nor a limit.

    What is no such object is left for the API server to refuse.
    """
    requests, limits = given.get("requests") or {}, given.get("limits") or {}
    if not isinstance(requests, Mapping) or not isinstance(limits, Mapping):
        return dict(given)
    named = {*requests, *limits}
    result = {
        **given,
        "requests": {**{name: value for name, value in REQUESTS.items() if name not in named}, **requests},
        "limits": {**{name: value for name, value in LIMITS.items() if name not in named}, **limits},
    }
    return {name: value for name, value in result.items() if value}


def _probes() -> dict[str, Any]:
    """All ask the port for operations, which needs no certificate and no user.

    A broker that reads a long journal lives, and is not ready; one that has lost its database too. So there is no end to how long a
    recovery may take: the startup probe only waits for the process to listen, and nothing but a process that hangs is restarted.
    """
    alive = {"httpGet": {"path": "/healthz", "port": "ops"}, "timeoutSeconds": 5}
    ready = {"httpGet": {"path": "/readyz", "port": "ops"}, "timeoutSeconds": 5}
    return {
        "startupProbe": {**alive, "periodSeconds": 1, "failureThreshold": 300},
        "livenessProbe": {**alive, "periodSeconds": 10, "failureThreshold": 9},
        "readinessProbe": {**ready, "periodSeconds": 2, "failureThreshold": 3},
    }


def _volumes(server: GmqServer) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [{"name": "config", "configMap": {"name": names.config_map(server)}}]
    if server.spec.storage.type == "filesystem":
        volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": names.claim(server)}})
    return volumes + [secrets.volume(place, secret) for place, secret in secrets.used(server)]


def _mounts(server: GmqServer) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [{"name": "config", "mountPath": names.CONFIG_FOLDER, "readOnly": True}]
    if server.spec.storage.type == "filesystem":
        mounts.append({"name": "data", "mountPath": names.DATA_FOLDER})
    return mounts + [secrets.mount(place) for place, _ in secrets.used(server)]
