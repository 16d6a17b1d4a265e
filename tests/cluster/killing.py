"""Brokers in pods for the crash harness: killed, replaced, upgraded."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cluster.kubectl import Kubectl, eventually
from cluster.servers import is_ready, pods, ready

TCP_PORT = 4567


class PodBroker:
    """The broker of a GmqServer with a Service of the type NodePort, as the crash harness reaches it."""

    def __init__(self, kubectl: Kubectl, name: str) -> None:
        self.kubectl = kubectl
        self.name = name
        self.host = kubectl.node_address()
        self.port = 0
        self.uid = ""

    def kill(self) -> None:
        """SIGKILL to the broker, if it runs; then the pod is deleted, so that another comes without kubelet's back-off."""
        for pod in pods(self.kubectl, self.name):
            for process in processes_of(pod):
                kill_process(process)
            self.kubectl.delete("pod", pod["metadata"]["name"], "--force", "--grace-period=0", "--wait=false")

    def wait(self) -> None:
        """Until a pod that is not the last one serves at the Service's port."""
        found = eventually(
            lambda: [pod for pod in pods(self.kubectl, self.name) if is_ready(pod) and pod["metadata"]["uid"] != self.uid],
            bool,
            f"{self.name} has no other ready pod than {self.uid or 'none'}",
        )
        self.uid = found[0]["metadata"]["uid"]
        ports = self.kubectl.get("service", self.name)["spec"]["ports"]
        self.port = next(port["nodePort"] for port in ports if port["port"] == TCP_PORT)
        eventually(self._answers, bool, f"nothing answers at {self.host}:{self.port}")

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), 1) as connection:
                connection.sendall(b'\n{"operation":"H"}\n')
                return connection.recv(1) == b"{"
        except OSError:
            return False


class KilledPod:
    """A broker whose pod is killed."""

    survives = False

    def __init__(self, kubectl: Kubectl, name: str) -> None:
        self.broker = PodBroker(kubectl, name)

    def start(self) -> None:
        self.broker.wait()

    def end(self) -> None:
        self.broker.kill()

    def faults(self) -> list[str]:
        return []


class ChangedServer(KilledPod):
    """A broker whose GmqServer is changed so that its pod is replaced, in order."""

    def __init__(self, kubectl: Kubectl, name: str, change: Callable[[], dict[str, Any]]) -> None:
        super().__init__(kubectl, name)
        self._change = change

    def start(self) -> None:
        super().start()
        ready(self.broker.kubectl, self.broker.name)

    def end(self) -> None:
        """Change the spec, and wait until the pod of before is gone: its connections are then."""
        before = self.broker.uid
        self.broker.kubectl.patch("gmqserver.gmq.io", self.broker.name, {"spec": self._change()})
        eventually(
            lambda: [pod["metadata"]["uid"] for pod in pods(self.broker.kubectl, self.broker.name)],
            lambda uids: before not in uids,
            f"the pod {before} of {self.broker.name} is still there after a change of its spec",
        )


def may_kill() -> str | None:
    """Why processes of pods cannot be killed from here; None where they can."""
    return None if os.getuid() == 0 else "only root may kill processes of pods"


def processes_of(pod: dict[str, Any]) -> list[int]:
    """The processes of a pod's containers as this machine numbers them, where its node is this machine or a container on it."""
    ids = [status["containerID"].rpartition("/")[2] for status in pod["status"].get("containerStatuses", []) if "containerID" in status]
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                groups = (entry / "cgroup").read_text()
            except OSError:
                continue  # it ended meanwhile
            if any(identity in groups for identity in ids):
                found.append(int(entry.name))
    return found


def kill_process(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return  # it ended by itself
