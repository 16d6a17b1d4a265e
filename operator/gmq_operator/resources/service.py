"""The Service that clients connect to."""

from typing import Any

from gmq_operator.observed import SERVICE
from gmq_operator.resources import names
from gmq_operator.resources.labels import selector
from gmq_operator.resources.owner import Child, child
from gmq_operator.spec import GmqServer


def service(server: GmqServer) -> Child:
    wanted = server.spec.service
    result = child(server, SERVICE, names.service(server))
    if wanted.annotations:
        result["metadata"]["annotations"] = dict(wanted.annotations)
    spec: dict[str, Any] = {"type": wanted.type, "selector": selector(server), "ports": _ports(server)}
    if wanted.type == "LoadBalancer":  # the API server refuses them with other types
        if wanted.load_balancer_class is not None:
            spec["loadBalancerClass"] = wanted.load_balancer_class
        if wanted.load_balancer_source_ranges:
            spec["loadBalancerSourceRanges"] = list(wanted.load_balancer_source_ranges)
    result["spec"] = spec
    return result


def _ports(server: GmqServer) -> list[dict[str, Any]]:
    """The protocol's own name is for meshes and load balancers, that they do not take it for HTTP."""
    ports: list[dict[str, Any]] = [
        {"name": "gmq", "port": names.CLIENT_PORT, "targetPort": "gmq", "protocol": "TCP", "appProtocol": "gmq.io/gmq"}
    ]
    if server.spec.service.http:
        scheme = "http" if server.spec.tls is None else "https"
        ports.append({"name": "http", "port": names.HTTP_PORT, "targetPort": "http", "protocol": "TCP", "appProtocol": scheme})
    return ports
