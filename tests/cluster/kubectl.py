"""The cluster as somebody with kubectl sees it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

Object = dict[str, Any]
T = TypeVar("T")

PATIENCE = 90.0
"""Seconds in which what has to happen in a cluster happens, on a busy machine."""
LOOK_EVERY = 0.1


class KubectlError(AssertionError):
    """kubectl ended with an error; the text is what it said."""


@dataclass(frozen=True)
class Kubectl:
    """kubectl in one namespace."""

    namespace: str

    def __call__(self, *arguments: str, given: str | None = None, timeout: float = PATIENCE) -> str:
        """What it prints.

        Raises:
            KubectlError: it failed.
        """
        done = subprocess.run(
            ["kubectl", "--namespace", self.namespace, *arguments],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(arguments)} ended with {done.returncode}: {done.stderr}{done.stdout}")
        return done.stdout

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Client-side validation is left out: kubectl checks against the schemas of its own cluster's time."""
        self("apply", "--validate=false", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def get(self, kind: str, name: str) -> Object:
        value: Object = json.loads(self("get", kind, name, "-o", "json"))
        return value

    def find(self, kind: str, name: str) -> Object | None:
        """The object; None where there is none."""
        text = self("get", kind, name, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def list(self, kind: str, selector: str = "") -> list[Object]:
        items: list[Object] = json.loads(self("get", kind, "-o", "json", *(("--selector", selector) if selector else ())))["items"]
        return items

    def patch(self, kind: str, name: str, change: Mapping[str, Any]) -> None:
        self("patch", kind, name, "--type=merge", "-p", json.dumps(change))

    def delete(self, kind: str, name: str, *arguments: str) -> None:
        self("delete", kind, name, "--ignore-not-found", *arguments)

    def execute(self, pod: str, *command: str, given: str | None = None, timeout: float = PATIENCE) -> str:
        """Run a command in a pod's first container."""
        return self("exec", *(("-i",) if given is not None else ()), pod, "--", *command, given=given, timeout=timeout)

    def node_address(self) -> str:
        """The address of the first node inside the cluster's network."""
        addresses = self.list("nodes")[0]["status"]["addresses"]
        address: str = next(item["address"] for item in addresses if item["type"] == "InternalIP")
        return address

    @contextmanager
    def forwarded(self, target: str, port: int) -> Iterator[int]:
        """A port of this machine that leads to one of the target's, such as `service/orders`."""
        process = subprocess.Popen(
            ["kubectl", "--namespace", self.namespace, "port-forward", target, f":{port}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            assert process.stdout is not None
            first = process.stdout.readline()  # Forwarding from 127.0.0.1:40123 -> 4567
            assert first.startswith("Forwarding from"), f"kubectl port-forward {target} {port}: {first}{process.stdout.read()}"
            yield int(first.split("->")[0].strip().rsplit(":", 1)[1])
        finally:
            process.terminate()
            process.wait(10)


def missing() -> str | None:
    """Why there is no cluster to test on; None where there is one. A cluster that nobody meant for tests is left alone."""
    if not os.environ.get("GMQ_TEST_CLUSTER"):
        return "make test-cluster runs these"
    if shutil.which("kubectl") is None:
        return "kubectl is not installed"
    try:
        done = subprocess.run(["kubectl", "version", "-o", "json"], capture_output=True, text=True, check=False, timeout=20)
    except subprocess.TimeoutExpired:
        return "the cluster that KUBECONFIG names does not answer"
    if done.returncode:
        return f"no cluster: {done.stderr.strip() or 'KUBECONFIG names none'}"
    return None


def eventually(look: Callable[[], T], good: Callable[[T], object], what: str, *, within: float = PATIENCE, every: float = LOOK_EVERY) -> T:
    """Look until it is good; what it was then.

    Raises:
        AssertionError: it did not become so within the seconds; says what it was last.
    """
    deadline = time.monotonic() + within
    while not good(seen := look()):
        assert time.monotonic() < deadline, f"after {within:g} s {what}; last seen: {shown(seen)}"
        time.sleep(every)  # between two looks
    return seen


def shown(value: object) -> str:
    text = json.dumps(value, default=str) if isinstance(value, dict | Sequence) else str(value)
    return text if len(text) < 3000 else f"{text[:3000]}..."
