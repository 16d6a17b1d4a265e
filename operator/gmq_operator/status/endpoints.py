"""Where clients reach a broker."""

from typing import Any

from gmq_operator.observed import SERVICE, Object, Observed

PORTS = {"gmq": "tcp", "http": "http", "ops": "ops"}
"""The endpoints by the names of the Services' ports."""


def endpoints(observed: Observed, *, tls: bool) -> list[dict[str, Any]]:
    """One for each port of each Service, within the cluster and, with a load balancer that has an address, from outside.

    `address` is what gmqclient takes, `url` what a browser, curl or a scraper takes.
    """
    services = [child for (kind, _), child in sorted(observed.children.items(), key=lambda item: item[0][1]) if kind == SERVICE]
    inside = [
        _endpoint(port["name"], f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc", port["port"], tls=tls)
        for service in services
        for port in _ports(service)
    ]
    outside = [
        _endpoint(port["name"], host, port["port"], tls=tls, suffix="-external" if number == 0 else f"-external-{number + 1}")
        for service in services
        for number, host in enumerate(_hosts(service))
        for port in _ports(service)
    ]
    return inside + outside


def without_address(observed: Observed) -> bool:
    """Whether a load balancer is asked for that has no address, or not yet."""
    services = (child for (kind, _), child in observed.children.items() if kind == SERVICE)
    return any(service.get("spec", {}).get("type") == "LoadBalancer" and not _hosts(service) for service in services)


def _ports(service: Object) -> list[Any]:
    ports = [port for port in service.get("spec", {}).get("ports", ()) if port.get("name") in PORTS]
    return sorted(ports, key=lambda port: list(PORTS).index(port["name"]))


def _hosts(service: Object) -> list[str]:
    if service.get("spec", {}).get("type") != "LoadBalancer":
        return []
    ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
    return [host for point in ingress if (host := point.get("hostname") or point.get("ip"))]


def _endpoint(port: str, host: str, number: int, *, tls: bool, suffix: str = "") -> dict[str, Any]:
    name = PORTS[port]
    secure = tls and name != "ops"  # probes and scrapers have no certificate
    address = f"[{host}]:{number}" if ":" in host else f"{host}:{number}"
    endpoint: dict[str, Any] = {"name": name + suffix, "host": host, "port": number, "address": address, "tls": secure}
    if name != "tcp":
        endpoint["url"] = f"{'https' if secure else 'http'}://{address}"
    return endpoint
