"""The children that a GmqServer is to have."""

import json
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import kubernetes_validate
import msgspec
import pytest
import yaml
from golden import CASES, CONTEXT, PASSWORD, children, dump, golden, server, spec_of

from certificates import Authority
from gmq import config as broker_config
from gmq.settings import Network
from gmq_operator.brokerconfig import OWNED
from gmq_operator.fields import LONGEST_NAME
from gmq_operator.observed import (
    CHILDREN,
    CLAIM,
    CONFIG_MAP,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    SERVICE,
    SERVICE_MONITOR,
    Context,
    Kind,
)
from gmq_operator.resources import Child, default_user, desired, emptied, pod, prunable, unserved
from gmq_operator.resources.labels import STORAGE
from gmq_operator.spec import Spec

VERSIONS = [f"1.{minor}" for minor in range(25, 38)]
MYSQL = {"type": "mysql", "mysql": {"host": "db", "credentialsSecretRef": {"name": "gmq-db"}}}
FILESYSTEM = {"type": "filesystem"}
MEMORY = {"type": "memory"}


def of(kind: Kind, built: list[Child]) -> list[Child]:
    return [child for child in built if (child["apiVersion"], child["kind"]) == (kind.api_version, kind.kind)]


def the_pod(spec: dict[str, Any]) -> dict[str, Any]:
    (deployment,) = of(DEPLOYMENT, desired(server(spec), CONTEXT))
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return found


def broker(spec: dict[str, Any]) -> dict[str, Any]:
    """The broker's container."""
    found: dict[str, Any] = the_pod(spec)["containers"][0]
    return found


# As they were, and as Kubernetes takes them


@pytest.mark.parametrize("case", CASES)
def test_the_children_are_those_of_the_golden_manifests(case: str):
    text = dump(children(case))
    if os.environ.get("GMQ_GOLDEN") == "write":
        golden(case).write_text(text)
    assert text == golden(case).read_text(), f"the children of {case} changed: if they should, see golden.py"


@pytest.fixture(scope="module", autouse=True)
def schemas_are_read_once() -> Iterator[None]:
    """kubernetes-validate reads megabytes for each object."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kubernetes_validate.utils, "schema_contents", cache(kubernetes_validate.utils.schema_contents))
        yield


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_of_kubernetes_takes_the_golden_manifests(version: str):
    checked = set()
    for case in CASES:
        for child in yaml.safe_load_all(golden(case).read_text()):
            if child["kind"] == SERVICE_MONITOR.kind:
                continue  # of the Prometheus operator, not of Kubernetes
            kubernetes_validate.validate(child, version, strict=True)
            checked.add(child["kind"])
    assert checked == {kind.kind for kind in CHILDREN} - {SERVICE_MONITOR.kind} | {"Secret"}


# Fields

CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "replicas": ({"storage": MYSQL}, {"replicas": 2}),
    "image": ({}, {"image": "other"}),
    "imagePullPolicy": ({}, {"imagePullPolicy": "Always"}),
    "imagePullSecrets.name": ({}, {"imagePullSecrets": [{"name": "registry"}]}),
    "storage.type": ({}, {"storage": FILESYSTEM}),
    "storage.filesystem.size": ({}, {"storage": {**FILESYSTEM, "filesystem": {"size": "11Gi"}}}),
    "storage.filesystem.storageClassName": (
        {"storage": FILESYSTEM},
        {"storage": {**FILESYSTEM, "filesystem": {"storageClassName": "fast"}}},
    ),
    "storage.filesystem.accessModes": (
        {"storage": FILESYSTEM},
        {"storage": {**FILESYSTEM, "filesystem": {"accessModes": ["ReadWriteOncePod"]}}},
    ),
    "storage.filesystem.whenDeleted": ({"storage": FILESYSTEM}, {"storage": {**FILESYSTEM, "filesystem": {"whenDeleted": "Delete"}}}),
    "storage.mysql.host": ({"storage": MYSQL}, {"storage": {**MYSQL, "mysql": {**MYSQL["mysql"], "host": "other"}}}),
    "storage.mysql.port": ({"storage": MYSQL}, {"storage": {**MYSQL, "mysql": {**MYSQL["mysql"], "port": 3307}}}),
    "storage.mysql.database": ({"storage": MYSQL}, {"storage": {**MYSQL, "mysql": {**MYSQL["mysql"], "database": "other"}}}),
    "storage.mysql.credentialsSecretRef.name": (
        {"storage": MYSQL},
        {"storage": {**MYSQL, "mysql": {**MYSQL["mysql"], "credentialsSecretRef": {"name": "other"}}}},
    ),
    "storage.mysql.tls.caSecretRef.name": (
        {"storage": {**MYSQL, "mysql": {**MYSQL["mysql"], "tls": {}}}},
        {"storage": {**MYSQL, "mysql": {**MYSQL["mysql"], "tls": {"caSecretRef": {"name": "ca"}}}}},
    ),
    "auth.mode": ({}, {"auth": {"mode": "Disabled"}}),
    "auth.usersSecretRef.name": (
        {"auth": {"mode": "Secret", "usersSecretRef": {"name": "one"}}},
        {"auth": {"mode": "Secret", "usersSecretRef": {"name": "other"}}},
    ),
    "tls.secretRef.name": ({}, {"tls": {"secretRef": {"name": "tls"}}}),
    "tls.clientCaSecretRef.name": (
        {"tls": {"secretRef": {"name": "tls"}}},
        {"tls": {"secretRef": {"name": "tls"}, "clientCaSecretRef": {"name": "ca"}}},
    ),
    "limits.queues": ({}, {"limits": {"queues": 7}}),
    "limits.messageSize": ({}, {"limits": {"messageSize": "64Ki"}}),
    "limits.queueMessages": ({}, {"limits": {"queueMessages": 7}}),
    "limits.connections": ({}, {"limits": {"connections": 7}}),
    **{
        f"policies.{field}": (
            {"policies": [{"name": "one", "pattern": "*"}]},
            {"policies": [{"name": "one", "pattern": "*", field: value}]},
        )
        for field, value in {
            "name": "other",
            "pattern": "orders.*",
            "maxMessages": 7,
            "maxDeliveries": 7,
            "deadLetter": "dead",
            "ttl": 7,
            "lease": 7,
            "expires": 7,
        }.items()
    },
    "config": ({}, {"config": {"limits": {"waiting": 7}}}),
    "service.type": ({}, {"service": {"type": "NodePort"}}),
    "service.annotations": ({}, {"service": {"annotations": {"example.com/a": "b"}}}),
    "service.http": ({}, {"service": {"http": False}}),
    "service.loadBalancerClass": (
        {"service": {"type": "LoadBalancer"}},
        {"service": {"type": "LoadBalancer", "loadBalancerClass": "example.com/a"}},
    ),
    "service.loadBalancerSourceRanges": (
        {"service": {"type": "LoadBalancer"}},
        {"service": {"type": "LoadBalancer", "loadBalancerSourceRanges": ["192.0.2.0/24"]}},
    ),
    "monitoring.serviceMonitor": ({}, {"monitoring": {"serviceMonitor": True}}),
    **{
        f"pod.{field}": ({}, {"pod": {field: value}})
        for field, value in {
            "labels": {"team": "a"},
            "annotations": {"example.com/a": "b"},
            "resources": {"limits": {"memory": "1Gi"}},
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
            "priorityClassName": "important",
            "env": [{"name": "TZ", "value": "UTC"}],
            "override": {"hostname": "other"},
        }.items()
    },
    "logLevel": ({}, {"logLevel": "debug"}),
}
"""By a field, a spec and the same with another value of that field; the storage is memory where nothing else is said."""

CHANGE_NOTHING = {
    "storage.switchFrom": "permission for a change, which is looked at before children are made",
    "paused": "keeps the operator from applying children, whatever they are",
}


def fields_of(type_: Any, path: str = "") -> Iterator[str]:
    """The paths of all fields without fields of their own."""
    for field in msgspec.structs.fields(type_):
        where = f"{path}.{field.encode_name}" if path else field.encode_name
        inner = next((one for one in _types(field.type) if isinstance(one, type) and issubclass(one, msgspec.Struct)), None)
        if inner is None:
            yield where
        else:
            yield from fields_of(inner, where)


def _types(type_: Any) -> Iterator[Any]:
    yield type_
    for inner in get_args(type_):
        yield from _types(inner)


def test_every_field_is_known_to_change_something_or_not_to():
    assert set(fields_of(Spec)) == set(CHANGES) | set(CHANGE_NOTHING)


@pytest.mark.parametrize("field", CHANGES)
def test_a_field_changes_what_is_desired(field: str):
    before, change = ({"storage": MEMORY, **spec} for spec in CHANGES[field])
    after = {**before, **CHANGES[field][1]}
    assert change
    assert desired(server(before), CONTEXT) != desired(server(after), CONTEXT), f"spec.{field} has no effect"


def test_what_changes_nothing_changes_nothing():
    plain = {"storage": MEMORY}
    other = {"storage": {**MEMORY, "switchFrom": "filesystem"}, "paused": True}
    assert desired(server(plain), CONTEXT) == desired(server(other), CONTEXT)


def test_the_operators_own_image_is_the_default():
    assert broker({"storage": MEMORY})["image"] == CONTEXT.image
    assert broker({"storage": MEMORY, "image": "other"})["image"] == "other"


# The configuration


def stored(case: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(of(CONFIG_MAP, children(case))[0]["data"]["gmq.json"])
    return found


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that Secrets are mounted in, with what they may have."""
    folder = tmp_path_factory.mktemp("secrets")
    authority = Authority(folder / "authority")
    certificate, key = authority.sign("broker")
    files = {
        "user/username": b"default-user",
        "user/password": b"secret",
        "users/shop": b"secret",
        "tls/tls.crt": certificate.read_bytes(),
        "tls/tls.key": key.read_bytes(),
        "client-ca/ca.crt": authority.file.read_bytes(),
        "mysql/username": b"gmq",
        "mysql/password": b"secret",
        "mysql-ca/ca.crt": authority.file.read_bytes(),
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return folder


def read(case: str, mounted: Path) -> broker_config.Config:
    text = json.dumps(stored(case)).replace("/run/secrets/gmq", str(mounted))
    return broker_config.parse(text, {}, case)


@pytest.mark.parametrize("case", CASES)
def test_the_broker_takes_the_configuration(case: str, mounted: Path):
    config = read(case, mounted)
    assert config.storage_type == spec_of(case)["storage"]["type"]
    assert (config.listen.interface, config.listen.port) == ("", 4567)
    assert config.ops is not None
    assert (config.ops.interface, config.ops.port) == ("", 9567)


def test_the_broker_finds_what_the_spec_says(mounted: Path):
    tuned = read("tuned", mounted)
    assert (tuned.limits.queues, tuned.limits.message_size, tuned.limits.queue_messages) == (100, 65536, 100_000)
    assert (tuned.limits.connections, tuned.limits.waiting) == (1000, 500)
    assert (tuned.drain_timeout, tuned.idle_timeout, tuned.http_hosts) == (25.5, 3600, ("queues.example.com",))
    policy = tuned.policy_for("orders.new")
    assert (policy.max_messages, policy.max_deliveries, policy.dead_letter) == (1000, 5, "dead")
    assert (policy.ttl, policy.lease, policy.expires) == (3600, 60, 86400)
    assert str(tuned.storage_path) == "/var/lib/gmq/data"

    several = read("several", mounted)
    assert several.database is not None
    assert (str(several.database.hosts[0]), several.database.name) == ("db.example.com:3307", "queues")
    assert several.database.credentials() == ("gmq", "secret")
    assert several.database.tls is not None

    secured = read("secured", mounted)
    assert secured.tls is not None
    assert secured.users.folder == str(mounted / "users")

    memory = read("memory", mounted)
    assert memory.http is None
    assert memory.log.level == "debug"


def leaves(settings: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, value in settings.items():
        where = f"{path}.{name}" if path else name
        if isinstance(value, dict):
            yield from leaves(value, where)
        else:
            yield where


def test_what_the_configuration_has_may_not_be_set_beside_it():
    for case in CASES:
        given = set(leaves(spec_of(case).get("config", {})))
        for path in set(leaves(stored(case))) - given:
            assert {path, path.split(".")[0]} & set(OWNED), f"{case}: {path} is written, and not refused in spec.config"


def test_a_changed_configuration_restarts_the_brokers_and_the_same_one_does_not():
    def template(spec: dict[str, Any]) -> dict[str, Any]:
        (deployment,) = of(DEPLOYMENT, desired(server(spec), CONTEXT))
        found: dict[str, Any] = deployment["spec"]["template"]
        return found

    plain = {"storage": MYSQL}
    assert template({**plain, "limits": {"queues": 7}}) != template(plain)
    assert template({**plain, "replicas": 3, "service": {"type": "NodePort"}, "monitoring": {"serviceMonitor": True}}) == template(plain)


# Pods


def test_a_broker_that_is_alone_stops_before_its_successor_starts():
    for storage in (MEMORY, FILESYSTEM):
        (deployment,) = of(DEPLOYMENT, desired(server({"storage": storage}), CONTEXT))
        assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    (deployment,) = of(DEPLOYMENT, desired(server({"storage": MYSQL}), CONTEXT))
    assert deployment["spec"]["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}


def test_the_grace_period_is_longer_than_the_drain():
    assert Network().drain_timeout == pod.DRAIN
    for storage in (MEMORY, MYSQL):
        usual = the_pod({"storage": storage})["terminationGracePeriodSeconds"]
        longer = the_pod({"storage": storage, "config": {"network": {"drain_timeout": 300}}})["terminationGracePeriodSeconds"]
        assert longer - usual == 300 - pod.DRAIN
        assert usual >= pod.DRAIN + 10


def test_an_emptied_deployment_starts_nothing_and_has_nothing_of_the_old_pods():
    for case in CASES:
        (wanted,) = of(DEPLOYMENT, children(case))
        empty = emptied(wanted, {"spec": {"replicas": 7}})
        kubernetes_validate.validate(empty, VERSIONS[-1], strict=True)
        assert empty["spec"].pop("paused") is True, "its pods would be started"
        assert empty["spec"].pop("replicas") == 7, "a paused Deployment starts old pods where there are too few"
        spec, was = empty["spec"]["template"].pop("spec"), wanted["spec"]["template"]["spec"]
        (container,) = spec.pop("containers")
        assert container.pop("name") == "replaced"
        assert set(spec) | set(container) == {"automountServiceAccountToken", "securityContext", "image", "resources"}
        assert spec.items() <= was.items()
        assert container.items() <= was["containers"][0].items()
        replicas = wanted["spec"].pop("replicas")
        assert replicas != 7
        kept = {**wanted["spec"], "template": {"metadata": wanted["spec"]["template"]["metadata"]}}
        assert empty == {**wanted, "spec": kept}


def test_a_secret_is_mounted_as_a_folder_with_the_keys_that_are_needed():
    for case in CASES:
        spec = the_pod(spec_of(case))
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        for mount in spec["containers"][0]["volumeMounts"]:
            assert "subPath" not in mount, f"{case}: a Secret mounted with subPath never changes"
            source = volumes[mount["name"]].get("secret")
            if source is not None and mount["name"] != "users":
                assert source["items"], f"{case}: {mount['name']} has keys that the broker has no use for"


def test_the_configuration_names_files_that_are_mounted():
    for case in CASES:
        container = broker(spec_of(case))
        folders = [mount["mountPath"] for mount in container["volumeMounts"]]
        for path in re.findall(r'"(/[^"]+)"', json.dumps(stored(case))):
            assert any(path == folder or path.startswith(f"{folder}/") for folder in folders), f"{case}: nothing is mounted at {path}"
        assert set(container["command"]) >= {"/etc/gmq/gmq.json"}


def test_pods_are_of_the_restricted_kind():
    for case in CASES:
        spec, container = the_pod(spec_of(case)), broker(spec_of(case))
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert not any("hostPath" in volume for volume in spec["volumes"])


def test_a_default_of_resources_counts_where_nothing_is_said_of_that_resource():
    def resources(given: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = broker({"storage": MEMORY, "pod": {"resources": given}})["resources"]
        return found

    assert resources({}) == {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "512Mi"}}
    assert resources({"limits": {"memory": "2Gi"}}) == {"requests": {"cpu": "100m"}, "limits": {"memory": "2Gi"}}
    assert resources({"requests": {"memory": "2Gi"}}) == {"requests": {"cpu": "100m", "memory": "2Gi"}}
    assert resources({"limits": {"cpu": 0.5}}) == {"requests": {"memory": "512Mi"}, "limits": {"cpu": "0.5", "memory": "512Mi"}}


@pytest.mark.parametrize("containers", ["x", {"a": 1}, [None], ["x"], [{"name": "gmq", "resources": "x"}], [{"resources": {"limits": 1}}]])
def test_what_is_no_podspec_is_left_for_the_api_server_to_refuse(containers: Any):
    assert the_pod({"storage": MEMORY, "pod": {"override": {"containers": containers}}})["containers"]


@pytest.mark.parametrize("part", ["requests", "limits"])
@pytest.mark.parametrize("wrong", [["cpu"], "cpu", 1, True])
def test_what_are_no_resources_is_left_for_the_api_server_to_refuse(part: str, wrong: Any):
    assert broker({"storage": MEMORY, "pod": {"resources": {part: wrong}}})["resources"][part] == wrong


def test_numbers_are_quantities_too():
    override = {"initContainers": [{"name": "first", "image": "x", "resources": {"requests": {"cpu": 0.5}, "limits": {"cpu": 1}}}]}
    first = the_pod({"storage": MEMORY, "pod": {"override": override}})["initContainers"][0]
    assert first["resources"] == {"requests": {"cpu": "0.5"}, "limits": {"cpu": "1"}}


def test_a_spread_without_a_selector_counts_the_servers_own_pods():
    constraint = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
    spec = the_pod({"storage": MYSQL, "pod": {"topologySpreadConstraints": [constraint, {**constraint, "labelSelector": {}}]}})
    first, second = spec["topologySpreadConstraints"]
    assert first["labelSelector"]["matchLabels"]["app.kubernetes.io/instance"] == "orders"
    assert second["labelSelector"] == {}


# Which children


def test_children_are_in_the_order_in_which_they_are_needed():
    kinds = [child["kind"] for child in desired(server({**spec_of("several")}), CONTEXT)]
    assert kinds == ["ConfigMap", "Service", "Service", "PodDisruptionBudget", "Deployment", "ServiceMonitor"]
    kinds = [child["kind"] for child in desired(server(spec_of("filesystem")), CONTEXT)]
    assert kinds == ["ConfigMap", "PersistentVolumeClaim", "Service", "Service", "Deployment"]


def test_kinds_that_the_cluster_lacks_are_left_out_and_told():
    one = server(spec_of("several"))
    old = Context(image="x", served=frozenset(CHILDREN) - {DISRUPTION_BUDGET, SERVICE_MONITOR})
    kinds = {child["kind"] for child in desired(one, old)}
    assert kinds == {"ConfigMap", "Service", "Deployment"}
    assert unserved(one, old) == [DISRUPTION_BUDGET, SERVICE_MONITOR]
    assert unserved(one, CONTEXT) == []


def test_a_stopped_server_keeps_everything_but_its_pods():
    running, stopped = ({**spec_of("stopped"), "replicas": replicas} for replicas in (1, 0))
    one, other = desired(server(running), CONTEXT), desired(server(stopped), CONTEXT)
    assert of(DEPLOYMENT, one)[0]["spec"].pop("replicas") == 1
    assert of(DEPLOYMENT, other)[0]["spec"].pop("replicas") == 0
    assert one == other


def live(built: list[Child]) -> dict[tuple[Kind, str], Child]:
    kinds = {(kind.api_version, kind.kind): kind for kind in CHILDREN}
    return {(kinds[child["apiVersion"], child["kind"]], child["metadata"]["name"]): child for child in built}


def test_what_is_no_longer_desired_is_to_go():
    several = spec_of("several")
    there = live(desired(server(several), CONTEXT))
    assert prunable(server(several), CONTEXT, there) == []
    fewer = server({**several, "replicas": 1, "monitoring": {}})
    assert set(prunable(fewer, CONTEXT, there)) == {(DISRUPTION_BUDGET, "orders"), (SERVICE_MONITOR, "orders")}


def test_a_claim_is_never_to_go():
    for when in ("Retain", "Delete"):
        there = live(desired(server({"storage": {**FILESYSTEM, "filesystem": {"whenDeleted": when}}}), CONTEXT))
        assert (CLAIM, "orders-data") in there
        assert prunable(server({"storage": MEMORY}), CONTEXT, there) == []


def test_what_belongs_to_another_is_left_alone():
    theirs = live(desired(server(spec_of("several"), name="other"), CONTEXT))
    for child in theirs.values():
        child["metadata"]["ownerReferences"][0]["uid"] = "another"
    unowned = {(SERVICE, "shop"): {"metadata": {"name": "shop"}}}
    assert prunable(server({"storage": MEMORY}), CONTEXT, {**theirs, **unowned}) == []


# The generated user


def test_the_generated_user_is_a_service_binding():
    secret = default_user(server({"storage": MEMORY}), PASSWORD)
    assert secret["type"] == "servicebinding.io/gmq"
    assert secret["stringData"] == {
        "type": "gmq",
        "provider": "gmq",
        "host": "orders.shop.svc",
        "port": "4567",
        "username": "default-user",
        "password": PASSWORD,
        "uri": "gmq://default-user:a%20password%2C%20of%20%2Fany%3A%20kind%40@orders.shop.svc:4567",
    }


def test_the_uri_of_a_server_with_tls_says_so():
    secret = default_user(server({"storage": MEMORY, "tls": {"secretRef": {"name": "orders-tls"}}}), PASSWORD)
    assert secret["stringData"]["uri"].startswith("gmqs://")


def test_the_longest_name_makes_names_and_labels_that_fit():
    built = desired(server(spec_of("several"), name="x" * LONGEST_NAME), CONTEXT)
    for child in (*built, default_user(server(spec_of("several"), name="x" * LONGEST_NAME), PASSWORD)):
        assert len(child["metadata"]["name"]) <= (253 if child["kind"] != "Service" else 63)
        assert all(len(value) <= 63 for value in child["metadata"]["labels"].values())


def test_children_say_which_storage_they_were_made_for():
    for storage in (MEMORY, FILESYSTEM, MYSQL):
        built = desired(server({"storage": storage}), CONTEXT)
        for kind in (CONFIG_MAP, DEPLOYMENT):
            assert of(kind, built)[0]["metadata"]["labels"][STORAGE] == storage["type"]
