"""Users, certificates and Secrets of a server in the cluster."""

from __future__ import annotations

import base64
import json
import socket
import ssl
from pathlib import Path

import pytest

from certificates import Authority
from cluster.kubectl import Kubectl, KubectlError, Object, eventually
from cluster.servers import MEMORY, address, credentials, gmq_server, gmqclient, pod_of, ready

ROTATION = 120.0
"""Seconds in which kubelet brings a changed Secret to its pods: it looks once a minute."""


def secret(name: str, **data: str | bytes) -> Object:
    encoded = {key.replace("__", "."): base64.b64encode(value.encode() if isinstance(value, str) else value).decode()
               for key, value in data.items()}  # fmt: skip
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded}


def test_the_generated_user_is_asked_for_and_has_the_keys_of_service_binding(kubectl: Kubectl, client: str) -> None:
    kubectl.apply(gmq_server("orders", storage=MEMORY))
    body = ready(kubectl, "orders")
    assert body["status"]["binding"] == {"name": "orders-default-user"}
    found = kubectl.get("secret", "orders-default-user")
    data = {key: base64.b64decode(value).decode() for key, value in found["data"].items()}
    assert set(data) >= {"username", "password", "host", "port", "uri", "type", "provider"}, sorted(data)
    assert data["port"] == "4567"
    assert data["host"].startswith("orders."), data["host"]
    with pytest.raises(KubectlError, match=r"missing credentials"):
        gmqclient(kubectl, client, address(kubectl, "orders"), "publish", "q", "x")
    user, password = credentials(kubectl, "orders")
    gmqclient(kubectl, client, address(kubectl, "orders"), "publish", "--user", user, "--password", password, "q", "x")


def test_users_of_a_secret_are_followed_without_a_restart(kubectl: Kubectl, client: str) -> None:
    rules = {"password": "first", "allow": [{"queues": ["orders.*"], "rights": ["publish"]}]}
    kubectl.apply(secret("users", shop=json.dumps(rules)))
    kubectl.apply(gmq_server("orders", storage=MEMORY, auth={"mode": "Secret", "usersSecretRef": {"name": "users"}}))
    ready(kubectl, "orders")
    pod = pod_of(kubectl, "orders")["metadata"]
    host = address(kubectl, "orders")

    def allowed(password: str, queue: str) -> bool:
        try:
            gmqclient(kubectl, client, host, "publish", "--user", "shop", "--password", password, queue, "x")
        except KubectlError:
            return False
        return True

    assert allowed("first", "orders.new")
    assert not allowed("first", "bills")
    kubectl.apply(secret("users", shop=json.dumps({**rules, "password": "second"})))
    eventually(lambda: allowed("second", "orders.new"), bool, "the changed Secret did not reach the broker", within=ROTATION, every=1)
    assert not allowed("first", "orders.new")
    assert pod_of(kubectl, "orders")["metadata"]["uid"] == pod["uid"], "the pod was replaced for a changed Secret"


def test_a_renewed_certificate_is_taken_up_and_no_connection_is_lost(kubectl: Kubectl, tmp_path: Path) -> None:
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    kubectl.apply(tls_secret(old))
    kubectl.apply(gmq_server("orders", storage=MEMORY, auth={"mode": "Disabled"}, tls={"secretRef": {"name": "tls"}}))
    ready(kubectl, "orders")
    with kubectl.forwarded("service/orders", 4567) as port, connected(port, old) as kept:
        assert asked(kept)
        kubectl.apply(tls_secret(new))
        eventually(lambda: trusted(port, new), bool, "the broker does not show the renewed certificate", within=ROTATION, every=1)
        assert asked(kept), "a connection from before the renewal was lost"


def test_clients_need_a_certificate_where_their_authority_is_given(kubectl: Kubectl, tmp_path: Path) -> None:
    servers, clients = Authority(tmp_path / "servers"), Authority(tmp_path / "clients")
    kubectl.apply(tls_secret(servers), secret("clients", ca__crt=clients.file.read_bytes()))
    tls = {"secretRef": {"name": "tls"}, "clientCaSecretRef": {"name": "clients"}}
    kubectl.apply(gmq_server("orders", storage=MEMORY, auth={"mode": "Disabled"}, tls=tls))
    ready(kubectl, "orders")
    with kubectl.forwarded("service/orders", 4567) as port:
        assert not trusted(port, servers), "a client without a certificate was served"
        assert trusted(port, servers, clients.sign("shop"))


def tls_secret(authority: Authority) -> Object:
    certificate, key = authority.sign("orders")
    return {**secret("tls", tls__crt=certificate.read_bytes(), tls__key=key.read_bytes()), "type": "kubernetes.io/tls"}


def connected(port: int, authority: Authority, certificate: tuple[Path, Path] | None = None) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=authority.file)
    if certificate is not None:
        context.load_cert_chain(*certificate)
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), 10), server_hostname="orders")


def asked(connection: ssl.SSLSocket) -> bool:
    connection.sendall(b'\n{"operation":"L","queue":"q"}\n')
    return b'"confirmation":"Y"' in connection.recv(4096)


def trusted(port: int, authority: Authority, certificate: tuple[Path, Path] | None = None) -> bool:
    try:
        with connected(port, authority, certificate) as connection:
            return asked(connection)
    except (ssl.SSLError, ConnectionError):
        return False
