"""The chart on a real cluster: installed, tested, upgraded, rolled back, uninstalled and installed again."""

from __future__ import annotations

import itertools
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import helm_python
import pytest

import mariadb
from cluster import database
from cluster.database import ReachableMariaDb
from cluster.installation import CHART, RELEASE, SYSTEM, helm, image_values, install, operator_pod, run_helm, uninstall
from cluster.killing import KilledPod
from cluster.kubectl import Kubectl, Object, eventually
from cluster.servers import FILESYSTEM, MEMORY, address, container, gmq_server, gmqclient, pod_of, pods, ready
from cluster.test_kills import OPEN, policies
from cluster.test_upgrade import OTHER
from crash.harness import Plan, run
from crash.mixes import MIXES
from gmq.client import BlockingClient, ConnectionFailed, OutcomeUnknown, Unavailable

pytestmark = [pytest.mark.alone, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def afterwards_as_before(operator: str) -> Iterator[None]:
    """Each of these tests leaves the operator as it was installed."""
    yield
    install()


def test_its_own_test_passes() -> None:
    told = run_helm("test", RELEASE, "--timeout", "150s")
    assert "Succeeded" in told, told


def test_an_upgrade_of_the_operator_alone_restarts_no_server(kubectl: Kubectl) -> None:
    kubectl.apply(gmq_server("orders", storage=FILESYSTEM))
    ready(kubectl, "orders")
    before, operator = pod_of(kubectl, "orders"), operator_pod()
    install(podAnnotations={"example.com/changed": "yes"})
    assert operator_pod() != operator, "the upgrade did not replace the operator"
    kubectl.apply(gmq_server("later", replicas=0, storage=MEMORY))
    ready(kubectl, "later")  # the new operator has looked at all there is
    ready(kubectl, "orders")
    assert pod_of(kubectl, "orders")["metadata"]["uid"] == before["metadata"]["uid"], "an upgrade that changes no server restarted one"


class UpgradedRelease(KilledPod):
    """A broker that is replaced because the release is upgraded, then rolled back."""

    def __init__(self, kubectl: Kubectl, name: str) -> None:
        super().__init__(kubectl, name)
        self._steps = itertools.cycle([lambda: install(OTHER), lambda: run_helm("rollback", RELEASE, "--wait")])

    def start(self) -> None:
        super().start()
        ready(self.broker.kubectl, self.broker.name)

    def end(self) -> None:
        before = self.broker.uid
        next(self._steps)()
        eventually(
            lambda: [pod["metadata"]["uid"] for pod in pods(self.broker.kubectl, self.broker.name)],
            lambda uids: before not in uids,
            "the release has another image, and the server's pod is that of before",
        )


@pytest.mark.skipif(not OTHER, reason="GMQ_TEST_OTHER_IMAGE names no other image")
def test_an_upgrade_and_a_rollback_under_load_lose_nothing(kubectl: Kubectl) -> None:
    kubectl.apply(gmq_server("orders", storage=FILESYSTEM, policies=policies(), **OPEN))
    ready(kubectl, "orders")
    report = run(Plan(MIXES["all"], seed=3, ends=2, load=(1.0, 2.0)), UpgradedRelease(kubectl, "orders"))
    assert not report.faults, report.told()


AWAY = float(os.environ.get("GMQ_TEST_AWAY_SECONDS", "40"))
"""Seconds for which one replica may be away: 12 on a cluster that does nothing else."""


class Reconnecting(threading.Thread):
    """A client that publishes all the time, as a program does, and notes for how long it could not."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(daemon=True)
        self._address = f"{host}:{port}"
        self._over = threading.Event()
        self.longest = 0.0
        self.published = 0

    def run(self) -> None:
        with BlockingClient(self._address) as client:
            last = time.monotonic()
            while not self._over.is_set():
                try:
                    client.publish("work", b"x")
                except (ConnectionFailed, OutcomeUnknown, Unavailable):
                    continue
                self.published += 1
                self.longest = max(self.longest, time.monotonic() - last)
                last = time.monotonic()

    def stop(self) -> None:
        self._over.set()
        self.join(60)


def work_beside(kubectl: Kubectl, image: str) -> Reconnecting:
    """Let the server `orders` change to an image, with a client at work."""
    reached = KilledPod(kubectl, "orders")
    reached.start()
    client = Reconnecting(reached.broker.host, reached.broker.port)
    client.start()
    eventually(lambda: client.published, bool, "the client publishes nothing")
    kubectl.patch("gmqserver.gmq.io", "orders", {"spec": {"image": image}})
    eventually(
        lambda: [container(pod)["image"] for pod in pods(kubectl, "orders")],
        lambda images: images and set(images) == {image},
        "the pods do not have the new image",
    )
    ready(kubectl, "orders")
    done = client.published
    eventually(lambda: client.published, lambda published: published > done, "the client did not come back after the change")
    client.stop()
    return client


@pytest.mark.skipif(not OTHER, reason="GMQ_TEST_OTHER_IMAGE names no other image")
def test_one_replica_is_away_for_seconds_only(kubectl: Kubectl) -> None:
    kubectl.apply(gmq_server("orders", storage=FILESYSTEM, **OPEN))
    ready(kubectl, "orders")
    client = work_beside(kubectl, OTHER)
    assert client.longest <= AWAY, f"a client could not publish for {client.longest:.1f} s"
    print(f"filesystem: {client.longest:.1f} s")  # noqa: T201  # the figure


@pytest.mark.skipif(not OTHER, reason="GMQ_TEST_OTHER_IMAGE names no other image")
def test_two_replicas_on_a_database_are_never_away(kubectl: Kubectl, tmp_path: Path) -> None:
    if mariadb.MISSING:
        pytest.skip(mariadb.MISSING)
    server = ReachableMariaDb(tmp_path)
    server.start()
    try:
        kubectl.apply(database.secret())
        kubectl.apply(gmq_server("orders", replicas=2, storage=database.storage(server, server.create()), **OPEN))
        ready(kubectl, "orders")
        client = work_beside(kubectl, OTHER)
    finally:
        server.kill()
    assert client.longest <= 2, f"a client could not publish for {client.longest:.1f} s"
    print(f"mysql: {client.longest:.1f} s")  # noqa: T201  # the figure


def test_brokers_go_on_without_the_release_and_the_next_takes_them_over(kubectl: Kubectl, client: str) -> None:
    kubectl.apply(gmq_server("orders", storage=FILESYSTEM, auth={"mode": "Disabled"}), gmq_server("gone", storage=MEMORY))
    ready(kubectl, "orders")
    ready(kubectl, "gone")
    pod = pod_of(kubectl, "orders")["metadata"]["uid"]
    uninstall()
    assert kubectl.find("customresourcedefinition", "gmqservers.gmq.io") is not None, "the CRD went with the release"
    gmqclient(kubectl, client, address(kubectl, "orders"), "publish", "kept", "without an operator")
    kubectl("delete", "gmq", "gone", "--timeout=20s")
    eventually(lambda: pods(kubectl, "gone"), lambda found: not found, "a GmqServer cannot be deleted without the operator")
    install()
    kubectl.patch("gmqserver.gmq.io", "orders", {"spec": {"service": {"annotations": {"example.com/a": "b"}}}})
    eventually(
        lambda: kubectl.get("service", "orders")["metadata"].get("annotations", {}).get("example.com/a"),
        lambda seen: seen == "b",
        "the new release does not look after the server of the old one",
    )
    assert pod_of(kubectl, "orders")["metadata"]["uid"] == pod, "the new release restarted a server that did not change"
    assert gmqclient(kubectl, client, address(kubectl, "orders"), "subscribe", "kept").strip() == "without an operator"


def test_some_namespaces_alone_are_looked_after_with_rights_in_them_alone(kubectl: Kubectl) -> None:
    other = Kubectl(f"{kubectl.namespace}-other")
    other("create", "namespace", other.namespace)
    try:
        install(watchNamespaces=[kubectl.namespace])
        names = Kubectl("default")("get", "clusterrolebindings", "-l", f"app.kubernetes.io/instance={RELEASE}", "-o", "name").split()
        assert not names, f"there are still the rights in the whole cluster {names}"
        for where in (other, kubectl):
            where.apply(gmq_server("orders", replicas=0, storage=MEMORY))
        ready(kubectl, "orders")
        assert other.find("deployment", "orders") is None, "a namespace was looked after that was not asked for"
        assert "status" not in other.get("gmqserver.gmq.io", "orders")
    finally:
        other("delete", "namespace", other.namespace, "--wait=false")


def commands(notes: str) -> str:
    """What the notes tell the reader to run: indented lines, and what is between <<END and END."""
    script, inside = [], False
    for line in notes.splitlines():
        inside = inside or line.endswith("<<END")
        if inside or line.startswith("  "):
            script.append(line if inside else line.strip())
        inside = inside and line != "END"
    return "\n".join(script)


def test_its_notes_name_commands_that_work_as_they_are() -> None:
    script = commands(run_helm("get", "notes", RELEASE))
    assert "apply" in script, script
    assert " test " in script, script
    path = f"{Path(helm() or '').parent}:{os.environ['PATH']}"
    try:
        done = subprocess.run(
            ["bash", "-euxc", script], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False, timeout=240
        )
        assert done.returncode == 0, done.stderr + done.stdout
    finally:
        Kubectl(SYSTEM)("delete", "gmqservers.gmq.io/orders", "--ignore-not-found")


def test_helm_4_does_all_of_it_too(kubectl: Kubectl) -> None:
    """Helm 4 applies server-side, which is stricter than what Helm 3 does."""
    uninstall()
    values = {**image_values(), "watchNamespaces": [kubectl.namespace], "crds": {"install": False}}
    with helm_python.Config(namespace=kubectl.namespace) as helm4:
        helm4.install(CHART, RELEASE, values, namespace=kubectl.namespace, wait="legacy", timeout=120)
        try:
            assert "took it" in helm4.test(RELEASE, timeout=150, logs=True)["logs"]
            changed = {**values, "logLevel": "debug"}
            helm4.upgrade(CHART, RELEASE, changed, namespace=kubectl.namespace, wait="legacy", timeout=120)
            assert container(pod_of_operator(kubectl))["args"][0] == "--log-level=debug"
            helm4.rollback(RELEASE)
            eventually(
                lambda: container(pod_of_operator(kubectl))["args"][0],
                lambda argument: argument == "--log-level=info",
                "the rollback did not bring back the old values",
            )
        finally:
            helm4.uninstall(RELEASE)


def pod_of_operator(kubectl: Kubectl) -> Object:
    """The operator's newest pod in the namespace."""
    found = eventually(lambda: kubectl.list("pods", "app.kubernetes.io/component=operator"), bool, "there is no operator")
    return max(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


def test_a_server_is_ready_within_twenty_seconds_of_nothing(kubectl: Kubectl) -> None:
    uninstall()
    began = time.monotonic()
    install()
    kubectl.apply(gmq_server("orders", storage=FILESYSTEM))
    ready(kubectl, "orders")
    took = time.monotonic() - began
    print(f"helm install and one apply to Ready: {took:.1f} s")  # noqa: T201  # the figure
    assert took < float(os.environ.get("GMQ_TEST_INSTALL_SECONDS", "60")), f"{took:.1f} s"
