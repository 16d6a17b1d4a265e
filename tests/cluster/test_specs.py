"""Every edit of the spec takes effect or is refused with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from cluster.kubectl import Kubectl, Object, eventually
from cluster.servers import FILESYSTEM, MEMORY, condition, container, gmq_server, pod_of, pods, ready, refused, wait_until

Look = Callable[[Kubectl], Any]


def template(kubectl: Kubectl) -> Object:
    found: Object = kubectl.get("deployment", "orders")["spec"]["template"]
    return found


def configuration(kubectl: Kubectl) -> Object:
    maps = kubectl.list("configmap", "app.kubernetes.io/managed-by=gmq-operator,app.kubernetes.io/instance=orders")
    found: Object = json.loads(maps[0]["data"]["gmq.json"])
    return found


def service(kubectl: Kubectl) -> Object:
    return kubectl.get("service", "orders")


def first(kubectl: Kubectl) -> Object:
    found: Object = template(kubectl)["spec"]["containers"][0]
    return found


TOLERATION = {"key": "queues", "operator": "Exists", "effect": "NoSchedule"}
SPREAD = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
          "labelSelector": {"matchLabels": {"app.kubernetes.io/instance": "orders"}}}  # fmt: skip
TERM = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": "b"}}}
AFFINITY = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": TERM}]}}

EDITS: dict[str, tuple[dict[str, Any], Look, Any]] = {
    "image": ({"image": "example.com/gmq:1"}, lambda k: first(k)["image"], "example.com/gmq:1"),
    "imagePullPolicy": ({"imagePullPolicy": "Always"}, lambda k: first(k)["imagePullPolicy"], "Always"),
    "imagePullSecrets": ({"imagePullSecrets": [{"name": "pull"}]}, lambda k: template(k)["spec"]["imagePullSecrets"], [{"name": "pull"}]),
    "limits.queues": ({"limits": {"queues": 7}}, lambda k: configuration(k)["limits"]["queues"], 7),
    "limits.messageSize": ({"limits": {"messageSize": "64Ki"}}, lambda k: configuration(k)["limits"]["message_size"], 65536),
    "limits.queueMessages": ({"limits": {"queueMessages": 9}}, lambda k: configuration(k)["limits"]["queue_messages"], 9),
    "limits.connections": ({"limits": {"connections": 11}}, lambda k: configuration(k)["limits"]["connections"], 11),
    "policies": (
        {"policies": [{"name": "p", "pattern": "a.*", "maxDeliveries": 3, "deadLetter": "dead", "ttl": 60}]},
        lambda k: configuration(k)["policies"],
        [{"name": "p", "pattern": "a.*", "max_deliveries": 3, "dead_letter": "dead", "ttl": 60}],
    ),
    "config": ({"config": {"metrics": {"queues": 5}}}, lambda k: configuration(k)["metrics"]["queues"], 5),
    "logLevel": ({"logLevel": "debug"}, lambda k: configuration(k)["log"]["level"], "debug"),
    "auth": ({"auth": {"mode": "Disabled"}}, lambda k: configuration(k)["auth"]["anonymous"], True),
    "service.type": ({"service": {"type": "NodePort"}}, lambda k: service(k)["spec"]["type"], "NodePort"),
    "service.http": ({"service": {"http": False}}, lambda k: [port["port"] for port in service(k)["spec"]["ports"]], [4567]),
    "service.annotations": (
        {"service": {"annotations": {"example.com/a": "b"}}},
        lambda k: service(k)["metadata"].get("annotations", {}).get("example.com/a"),
        "b",
    ),
    "pod.labels": ({"pod": {"labels": {"team": "a"}}}, lambda k: template(k)["metadata"]["labels"].get("team"), "a"),
    "pod.annotations": ({"pod": {"annotations": {"a": "b"}}}, lambda k: template(k)["metadata"].get("annotations", {}).get("a"), "b"),
    "pod.resources": (
        {"pod": {"resources": {"requests": {"cpu": "10m"}}}},
        lambda k: first(k)["resources"].get("requests", {}).get("cpu"),
        "10m",
    ),
    "pod.nodeSelector": ({"pod": {"nodeSelector": {"a": "b"}}}, lambda k: template(k)["spec"].get("nodeSelector"), {"a": "b"}),
    "pod.tolerations": ({"pod": {"tolerations": [TOLERATION]}}, lambda k: template(k)["spec"].get("tolerations"), [TOLERATION]),
    "pod.affinity": ({"pod": {"affinity": AFFINITY}}, lambda k: template(k)["spec"].get("affinity") or None, AFFINITY),
    "pod.topologySpreadConstraints": (
        {"pod": {"topologySpreadConstraints": [SPREAD]}},
        lambda k: template(k)["spec"].get("topologySpreadConstraints"),
        [SPREAD],
    ),
    "pod.priorityClassName": (
        {"pod": {"priorityClassName": "system-cluster-critical"}},
        lambda k: template(k)["spec"].get("priorityClassName"),
        "system-cluster-critical",
    ),
    "pod.env": (
        {"pod": {"env": [{"name": "TZ", "value": "UTC"}]}},
        lambda k: [item for item in first(k).get("env", []) if item["name"] == "TZ"],
        [{"name": "TZ", "value": "UTC"}],
    ),
    "pod.override": ({"pod": {"override": {"hostname": "orders-host"}}}, lambda k: template(k)["spec"].get("hostname"), "orders-host"),
}


@pytest.fixture(scope="module")
def edited(module_kubectl: Kubectl) -> Kubectl:
    return module_kubectl


@pytest.mark.parametrize("field", EDITS)
def test_an_edit_of_the_spec_lands_and_its_removal_too(edited: Kubectl, field: str) -> None:
    """Without pods, so that what they would need does not matter."""
    change, look, wanted = EDITS[field]
    edited.apply(gmq_server("orders", replicas=0, storage=MEMORY))
    ready(edited, "orders")
    before = look_or_nothing(edited, look)
    assert before != wanted, f"{field} was there before the edit"
    edited.apply(gmq_server("orders", replicas=0, storage=MEMORY, **change))
    eventually(lambda: look_or_nothing(edited, look), lambda seen: seen == wanted, f"{field} did not land")
    edited.apply(gmq_server("orders", replicas=0, storage=MEMORY))
    eventually(lambda: look_or_nothing(edited, look), lambda seen: seen == before, f"{field} stayed after its removal")


def look_or_nothing(kubectl: Kubectl, look: Look) -> Any:
    try:
        return look(kubectl)
    except KeyError:
        return None


SOURCE = {"name": "A", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}
FORMS: dict[str, tuple[list[dict[str, Any]], Look, list[Any]]] = {
    "a variable": (
        [{"env": [SOURCE]}, {"env": [{"name": "A", "value": "a"}]}, {"env": [SOURCE]}],
        lambda k: [item for item in first(k).get("env", []) if item["name"] == "A"],
        [[SOURCE], [{"name": "A", "value": "a"}], [SOURCE]],
    ),
    "a probe": (
        [{}, {"override": {"containers": [{"name": "gmq", "livenessProbe": {"tcpSocket": {"port": "ops"}}}]}}, {}],
        lambda k: sorted({"httpGet", "tcpSocket"} & first(k)["livenessProbe"].keys()),
        [["httpGet"], ["tcpSocket"], ["httpGet"]],
    ),
    "a volume": (
        [{}, {"override": {"volumes": [{"name": "config", "secret": {"secretName": "mine"}}]}}, {}],
        lambda k: next(sorted(volume.keys() - {"name"}) for volume in template(k)["spec"]["volumes"] if volume["name"] == "config"),
        [["configMap"], ["secret"], ["configMap"]],
    ),
}


@pytest.mark.parametrize("what", FORMS)
def test_a_part_of_the_pods_may_become_another_kind_of_thing(edited: Kubectl, what: str) -> None:
    """Server-side apply by itself leaves some of the old kind behind, and the API server refuses both together."""
    edits, look, wanted = FORMS[what]
    for pod, expected in zip(edits, wanted, strict=True):
        edited.apply(gmq_server("orders", replicas=0, storage=MEMORY, pod=pod))
        ready(edited, "orders")
        eventually(lambda: look_or_nothing(edited, look), expected.__eq__, f"{what} did not become {expected}")
    assert "paused" not in edited.get("deployment", "orders")["spec"]


def test_a_changed_configuration_replaces_the_pod(kubectl: Kubectl) -> None:
    kubectl.apply(gmq_server("orders", storage=MEMORY))
    ready(kubectl, "orders")
    old = pod_of(kubectl, "orders")["metadata"]["uid"]
    kubectl.patch("gmqserver.gmq.io", "orders", {"spec": {"limits": {"queues": 3}}})
    pod = pod_of(kubectl, "orders", other_than=old)
    ready(kubectl, "orders")
    assert '"queues": 3' in kubectl.execute(pod["metadata"]["name"], "cat", "/etc/gmq/gmq.json")


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "replicas of a volume": ({"storage": FILESYSTEM, "replicas": 2}, "replicas"),
    "replicas of memory": ({"storage": MEMORY, "replicas": 2}, "replicas"),
    "another storage's member": ({"storage": {"type": "memory", "filesystem": {"size": "1Gi"}}}, "filesystem"),
    "mysql without mysql": ({"storage": {"type": "mysql"}}, "mysql"),
    "users without a Secret": ({"storage": MEMORY, "auth": {"mode": "Secret"}}, "usersSecretRef"),
    "configuration that is the operator's": ({"storage": MEMORY, "config": {"network": {"port": 1}}}, "network"),
    "configuration that there is not": ({"storage": MEMORY, "config": {"limitz": {}}}, "limitz"),
    "a size that is none": ({"storage": MEMORY, "limits": {"messageSize": "lots"}}, "messageSize"),
    "a dead letter queue that is none": (
        {"storage": MEMORY, "policies": [{"name": "p", "pattern": "*", "maxDeliveries": 1, "deadLetter": ".."}]},
        "deadLetter",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_spec_is_refused_with_the_reason_and_changes_nothing(edited: Kubectl, what: str) -> None:
    """By the API server, where it knows the rule, or else by a condition."""
    spec, word = BAD[what]
    edited.apply(gmq_server("orders", storage=MEMORY, replicas=0))
    ready(edited, "orders")
    before = edited.get("deployment", "orders")["metadata"]["generation"]
    if (refusal := refused(edited, gmq_server("orders", **{"replicas": 0, **spec}))) is not None:
        assert word in refusal
        return
    body = wait_until(edited, "orders", "SpecValid", "False")
    assert word in condition(body, "SpecValid")["message"], condition(body, "SpecValid")
    assert condition(body, "Ready")["status"] == "False"
    events = eventually(
        lambda: [event["message"] for event in edited.list("events") if event["involvedObject"].get("name") == "orders"],
        lambda messages: any(word in message for message in messages),
        f"no Event tells of {word}",
    )
    assert edited.get("deployment", "orders")["metadata"]["generation"] == before, f"a bad spec changed the Deployment; {events}"


def test_a_bad_server_does_not_disturb_its_neighbour(kubectl: Kubectl) -> None:
    kubectl.apply(gmq_server("bad", storage=MEMORY, config={"limitz": 1}), gmq_server("good", storage=MEMORY))
    wait_until(kubectl, "bad", "SpecValid", "False")
    ready(kubectl, "good")
    kubectl.patch("gmqserver.gmq.io", "good", {"spec": {"pod": {"labels": {"a": "b"}}}})
    eventually(lambda: pods(kubectl, "good"), lambda found: any(pod["metadata"]["labels"].get("a") for pod in found), "good is stuck")


def test_ready_names_what_a_pod_is_stuck_on(kubectl: Kubectl) -> None:
    kubectl.apply(
        gmq_server("image", storage=MEMORY, image="docker.io/library/nowhere:1", imagePullPolicy="IfNotPresent"),
        gmq_server("secret", storage=MEMORY, auth={"mode": "Secret", "usersSecretRef": {"name": "not-there"}}),
        gmq_server("node", storage=MEMORY, pod={"nodeSelector": {"nobody": "has"}}),
    )
    for name, word in {"image": "nowhere", "secret": "not-there", "node": "node"}.items():
        eventually(
            lambda name=name: condition(kubectl.get("gmqserver.gmq.io", name), "Ready").get("message", ""),
            lambda message, word=word: word in message,
            f"Ready of {name} does not name {word}",
        )


def test_pods_are_as_the_restricted_standard_wants_them(kubectl: Kubectl) -> None:
    kubectl.apply(gmq_server("orders", storage=FILESYSTEM))
    ready(kubectl, "orders")
    pod = pod_of(kubectl, "orders")
    spec, only = pod["spec"], container(pod)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert only["securityContext"]["allowPrivilegeEscalation"] is False
    assert only["securityContext"]["readOnlyRootFilesystem"] is True
    assert only["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert not any("secret" in volume.get("name", "") and "token" in volume["name"] for volume in spec["volumes"]), spec["volumes"]
    assert {probe for probe in ("startupProbe", "readinessProbe", "livenessProbe") if probe in only} == {
        "startupProbe", "readinessProbe", "livenessProbe",
    }  # fmt: skip
