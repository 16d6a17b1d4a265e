"""What `helm test` runs in the cluster: apply a GmqServer, wait until it is ready, publish a message, take it, delete the server.

The environment says where: NAMESPACE, NAME, and TIMEOUT in seconds for each thing that is waited for. Exits 0 when all of it worked.
"""

import base64
import os
import time
from collections.abc import Callable
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from gmq.client import BlockingClient, ConnectionFailed
from gmq_operator.cluster import connect

NAMESPACE = os.environ["NAMESPACE"]
NAME = os.environ["NAME"]
TIMEOUT = float(os.environ["TIMEOUT"])
PAYLOAD = b"hello from helm test"
SERVER: dict[str, Any] = {
    "apiVersion": "gmq.io/v1beta1",
    "kind": "GmqServer",
    "metadata": {"name": NAME},
    "spec": {"storage": {"type": "memory"}},
}


class Servers:
    """The GmqServers of the namespace."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = client.CustomObjectsApi(api)
        self._where = {"group": "gmq.io", "version": "v1beta1", "namespace": NAMESPACE, "plural": "gmqservers"}

    def create(self) -> None:
        self._api.create_namespaced_custom_object(body=SERVER, **self._where)

    def read(self) -> dict[str, Any]:
        server: dict[str, Any] = self._api.get_namespaced_custom_object(name=NAME, **self._where)
        return server

    def delete(self) -> None:
        self._api.delete_namespaced_custom_object(name=NAME, **self._where)


def is_gone(read: Callable[[], object]) -> bool:
    try:
        read()
    except ApiException as error:
        if error.status == 404:
            return True
        raise
    return False


def wait_for(what: str, holds: Callable[[], bool], why_not: Callable[[], str] = lambda: "") -> None:
    deadline = time.monotonic() + TIMEOUT
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {TIMEOUT:g} seconds. {why_not()}")
        time.sleep(0.5)


def ready_condition(server: dict[str, Any]) -> dict[str, Any]:
    """The condition Ready, or one that says that there is none yet."""
    for condition in server.get("status", {}).get("conditions", []):
        if condition["type"] == "Ready":
            return dict(condition)
    return {"status": "Unknown", "reason": "NoStatus", "message": "the operator has not looked at it; see the operator's log"}


def exchange(core: client.CoreV1Api) -> None:
    """Publish and take one message as the generated user, over the Service's address, which needs no cluster DNS."""
    secret = core.read_namespaced_secret(f"{NAME}-default-user", NAMESPACE).data
    user, password = (base64.b64decode(secret[key]).decode() for key in ("username", "password"))
    service = core.read_namespaced_service(NAME, NAMESPACE).spec
    port = next(port.port for port in service.ports if port.name == "gmq")

    def connection() -> BlockingClient:
        return BlockingClient(f"{service.cluster_ip}:{port}", user=user, password=password)

    # A node learns of a Service's first pod a moment after everybody sees it ready.
    wait_for("the Service leads to the broker", lambda: is_open(connection))
    with connection() as broker:
        broker.publish("helm-test", PAYLOAD)
        message = broker.take("helm-test", wait=10)
    taken = None if message is None else message.payload
    if taken != PAYLOAD:
        raise ValueError(f"published {PAYLOAD!r}, and took {taken!r}")


def is_open(connection: Callable[[], BlockingClient]) -> bool:
    try:
        with connection():
            return True
    except ConnectionFailed:
        return False


def clean_up(servers: Servers, core: client.CoreV1Api) -> None:
    """Delete the server, and see its children go: a second run finds nothing of the first."""
    if not is_gone(servers.read):
        servers.delete()
    wait_for("the generated user was deleted", lambda: is_gone(lambda: core.read_namespaced_secret(f"{NAME}-default-user", NAMESPACE)))
    wait_for("the Service was deleted", lambda: is_gone(lambda: core.read_namespaced_service(NAME, NAMESPACE)))


def main() -> None:
    api = connect()
    servers, core = Servers(api), client.CoreV1Api(api)
    clean_up(servers, core)
    servers.create()
    print(f"GmqServer {NAME} created in {NAMESPACE}", flush=True)
    try:
        wait_for(
            "the GmqServer became ready",
            lambda: ready_condition(servers.read())["status"] == "True",
            lambda: "{reason}: {message}".format(**ready_condition(servers.read())),
        )
        print("ready", flush=True)
        exchange(core)
        print("published a message and took it", flush=True)
    finally:
        clean_up(servers, core)
    print("deleted", flush=True)


if __name__ == "__main__":
    main()
