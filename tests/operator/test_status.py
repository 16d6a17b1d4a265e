"""What a GmqServer says of itself, from what real clusters had."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from seen import CONTEXT, FILESYSTEM, MEMORY, MYSQL, NOW, body, recorded, seen, server, service

from gmq_operator import status
from gmq_operator.observed import CLAIM, CONFIG_MAP, DEPLOYMENT, DISRUPTION_BUDGET, SECRET, SERVICE, SERVICE_MONITOR, Context, Observed
from gmq_operator.spec import Auth, FilesystemStorage, GmqServer, Monitoring, Reference, SpecError, Storage, Tls
from gmq_operator.statusschema import STATUS

TYPES = ["Ready", "Progressing", "StorageReady", "SpecValid", "Paused"]


def conditions(of: GmqServer | SpecError, observed: Observed, context: Context = CONTEXT, now: datetime = NOW) -> dict[str, dict[str, Any]]:
    """The conditions by type."""
    return {condition["type"]: condition for condition in status.compute(of, context, observed, now)["conditions"]}


def told(condition: dict[str, Any]) -> tuple[str, str]:
    return condition["status"], condition["reason"]


@dataclass
class Case:
    """A recording, and what Ready has to say of it."""

    recording: str
    reason: str
    says: str
    storage: Storage = MEMORY
    at: datetime = NOW


CASES = [
    Case("absent", "ImagePullFailed", "not present with pull policy of Never. Check spec.image"),
    Case("bad-image", "ImagePullFailed", 'Failed to pull image "registry.example/gmq:9.9"'),
    Case("bad-name", "ImagePullFailed", "repository name must be lowercase"),
    Case("missing-secret", "SecretMissing", "the Secret orders-tls, which is not there"),
    Case("env-secret", "SecretMissing", "the Secret nowhere, which is not there"),
    Case("missing-key", "SecretIncomplete", "the key tls.crt"),
    Case("env-key", "SecretIncomplete", "the key a"),
    Case("oom", "OutOfMemory", "Raise spec.pod.resources.limits.memory"),
    Case(
        "crash", "Crashing", "exit code 78; restarts: 6. It said: gmqserver: /etc/gmq/gmq.json is not a good configuration: limits.queues"
    ),
    Case("exit-zero", "Crashing", "exit code 0"),
    Case("init", "Crashing", "Container prepare of pod"),
    Case("startup", "Crashing", "Startup probe failed"),
    Case("liveness", "Crashing", "Liveness probe failed"),
    Case("bad-certificate", "Crashing", "exit code 2; restarts: 4. It said: gmqserver: /etc/gmq/gmq.json: tls.certificate is"),
    Case("bad-command", "ContainerNotStarted", 'exec: "gmqserver": executable file not found'),
    Case("root", "ContainerNotStarted", "image will run as root"),
    Case("device", "VolumeNotMounted", "hostPath type check failed"),
    Case("unschedulable", "Unschedulable", "didn't match Pod's node affinity"),
    Case("huge", "Unschedulable", "Insufficient memory"),
    Case("quota", "PodsRefused", "exceeded quota: small, requested: pods=1"),
    Case("not-ready", "NotServing", "kubectl logs -n status-data not-ready-7d6d4b8454-v6kvf"),
    Case("slow-stop", "Stopping", "finishes what is under way"),
    Case("no-class", "StorageClassMissing", "the storage class fast, which this cluster does not have", FILESYSTEM),
    Case("no-default", "NoStorageClass", "names no storage class", FILESYSTEM),
    Case("no-claim", "NoClaim", "The claim is not there yet", FILESYSTEM),
    Case("database-away", "DatabaseNotReached", "the database gmq on db:3306", MYSQL, at=NOW + timedelta(hours=1)),
    Case("not-ready", "NotServing", "its volume is full or fails", FILESYSTEM),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.recording}-{case.storage.type}")
def test_ready_names_what_a_pod_is_stuck_on(case: Case) -> None:
    claim = {(CLAIM, "bound"): recorded("bound")["claims"][0]} if case.reason == "NotServing" else {}
    observed = seen(case.recording, storage=case.storage.type, extra=claim)
    ready = conditions(server(case.recording, case.storage), observed, now=case.at)["Ready"]
    assert told(ready) == ("False", case.reason), ready
    assert case.says in ready["message"], ready["message"]


def test_a_server_that_serves_is_ready_and_complete() -> None:
    found = conditions(server("bound", FILESYSTEM), seen("bound", storage="filesystem"))
    assert {name: told(condition) for name, condition in found.items()} == {
        "Ready": ("True", "Serving"),
        "Progressing": ("False", "Complete"),
        "StorageReady": ("True", "Bound"),
        "SpecValid": ("True", "Valid"),
        "Paused": ("False", "NotPaused"),
    }


@pytest.mark.parametrize("recording", ["ready", "crash", "zero", "quota"])
def test_every_condition_says_of_which_generation_it_is(recording: str) -> None:
    computed = status.compute(server(recording), CONTEXT, seen(recording), NOW)
    assert [condition["type"] for condition in computed["conditions"]] == TYPES
    assert {condition["observedGeneration"] for condition in computed["conditions"]} == {computed["observedGeneration"]} == {3}
    assert all(condition["reason"].isalpha() and condition["message"] for condition in computed["conditions"])


def test_no_replicas_are_ready_as_nothing_else_was_asked_for() -> None:
    found = conditions(server("zero", replicas=0), seen("zero"))
    assert told(found["Ready"]) == ("True", "ScaledToZero")
    assert told(found["Progressing"]) == ("False", "Complete")


def test_before_anything_is_made_a_server_is_being_created() -> None:
    found = conditions(server("orders"), Observed(body=body("orders")))
    assert told(found["Ready"]) == ("False", "NoDeployment")
    assert told(found["Progressing"]) == ("True", "Creating")


@pytest.mark.parametrize("missing", [("status",), ("status", "spec"), ("status", "spec", "labels")])
def test_objects_that_were_made_a_moment_ago_and_have_no_status_are_on_their_way(missing: tuple[str, ...]) -> None:
    def fresh(item: Any) -> dict[str, Any]:
        metadata = {key: value for key, value in item["metadata"].items() if key not in missing}
        return {"metadata": metadata, **{key: value for key, value in item.items() if key not in {"metadata", *missing}}}

    whole = seen("bound", storage="filesystem")
    observed = Observed(
        body=body("bound"), children={key: fresh(item) for key, item in whole.children.items()}, pods=[fresh(pod) for pod in whole.pods]
    )
    found = conditions(server("bound", FILESYSTEM), observed)
    assert found["Ready"]["status"] == "False"
    assert found["Progressing"]["status"] == "True"
    assert found["StorageReady"]["status"] == "False"


# The spec


PROBLEMS = ["spec.replicas: found 2, memory storage allows 0 or 1", "spec.storage.memory: missing"]


def test_a_bad_spec_is_told_with_all_its_problems() -> None:
    found = conditions(SpecError(PROBLEMS), seen("ready"))
    assert told(found["SpecValid"]) == ("False", "Invalid")
    assert all(problem in found["SpecValid"]["message"] for problem in PROBLEMS)
    assert told(found["Ready"]) == ("False", "SpecInvalid")
    assert "Nothing was changed; pods that are ready: 1" in found["Ready"]["message"]
    assert told(found["Progressing"]) == ("False", "SpecInvalid")


def test_a_bad_spec_leaves_endpoints_binding_and_counts_as_they_were() -> None:
    before = {"endpoints": [{"name": "tcp", "host": "a", "port": 1}], "binding": {"name": "ready-default-user"}}
    computed = status.compute(SpecError(PROBLEMS), CONTEXT, seen("ready", status=before), NOW)
    assert {key: computed[key] for key in before} == before
    assert (computed["replicas"], computed["readyReplicas"]) == (1, 1)


def test_another_type_of_storage_needs_switch_from() -> None:
    observed = seen("ready", storage="memory")
    computed = conditions(server("ready", MYSQL), observed)
    assert told(computed["SpecValid"]) == ("False", "SwitchRefused")
    assert told(computed["Ready"]) == ("False", "SwitchRefused")
    assert "set spec.storage.switchFrom to memory" in computed["SpecValid"]["message"]


@pytest.mark.parametrize(("left", "refused"), [(None, True), ("filesystem", True), ("memory", False)])
def test_switch_from_has_to_name_the_storage_in_use(left: Any, *, refused: bool) -> None:
    wanted = Storage(type="mysql", mysql=MYSQL.mysql, switch_from=left)
    assert (status.refused_switch(server("ready", wanted), seen("ready", storage="memory")) is not None) == refused


def test_the_config_map_tells_the_storage_in_use_where_the_deployment_is_gone() -> None:
    config = {"metadata": {"name": "orders", "labels": {"gmq.io/storage": "filesystem"}}}
    observed = Observed(body=body("orders"), children={(CONFIG_MAP, "orders"): config})
    assert "keeps its messages in filesystem" in (status.refused_switch(server("orders", MEMORY), observed) or "")


def test_paused_is_told_and_ready_stays_what_it_is() -> None:
    found = conditions(server("ready", paused=True), seen("ready", paused=True))
    assert told(found["Paused"]) == ("True", "Paused")
    assert told(found["Progressing"]) == ("False", "Paused")
    assert told(found["Ready"]) == ("True", "Serving")


# On the way


def test_a_rolling_update_that_is_stuck_leaves_ready_true_and_tells_why() -> None:
    found = conditions(server("surge", MYSQL, replicas=2), seen("surge", storage="mysql"))
    assert told(found["Ready"]) == ("True", "Serving")
    assert told(found["Progressing"]) == ("True", "ImagePullFailed")
    assert "Pods made as the spec asks now: 1 of 2; pods that are ready: 2" in found["Progressing"]["message"]
    assert told(found["StorageReady"]) == ("True", "DatabaseReached")


def test_a_deployment_changed_just_now_is_not_ready_where_old_pods_stop_first() -> None:
    recording = recorded("ready")["deployment"]
    recording["metadata"]["generation"] = 2
    found = conditions(server("ready"), seen("ready", extra={(DEPLOYMENT, "ready"): recording}))
    assert told(found["Ready"]) == ("False", "RollingOut")
    assert told(found["Progressing"]) == ("True", "RollingOut")


def test_a_rollout_past_its_deadline_is_stuck() -> None:
    found = conditions(server("not-ready"), seen("not-ready"))
    assert told(found["Progressing"]) == ("False", "Stuck")


def test_a_deployment_that_has_yet_to_count_a_ready_pod_is_progress() -> None:
    recording = recorded("ready")["deployment"]
    recording["status"] |= {"readyReplicas": 0, "availableReplicas": 0}
    found = conditions(server("ready"), seen("ready", extra={(DEPLOYMENT, "ready"): recording}))
    assert told(found["Ready"]) == ("False", "RollingOut")
    assert told(found["Progressing"]) == ("True", "RollingOut")


def test_a_pod_that_still_stops_after_scaling_down_is_progress() -> None:
    found = conditions(server("scaled-down"), seen("scaled-down"))
    assert told(found["Ready"]) == ("True", "Serving")
    assert told(found["Progressing"]) == ("True", "Stopping")


def test_a_pod_that_does_not_stop_in_time_is_told_with_the_way_out() -> None:
    late = NOW + timedelta(minutes=30)
    computed = status.compute(server("slow-stop"), CONTEXT, seen("slow-stop"), late)
    ready = computed["conditions"][0]
    assert told(ready) == ("False", "PodStuckStopping")
    assert "--force --grace-period=0" in ready["message"]


def test_a_broker_that_waits_for_the_lock_of_the_one_before_it_says_so() -> None:
    recording = recorded("not-ready")
    old = recorded("slow-stop")["pods"]
    observed = seen("not-ready", storage="filesystem", extra={(CLAIM, "bound"): recorded("bound")["claims"][0]})
    both = Observed(body=observed.body, children=observed.children, pods=[*recording["pods"], *old], warnings=observed.warnings)
    assert told(conditions(server("not-ready", FILESYSTEM), both)["Ready"]) == ("False", "WaitingForOldPod")


def test_a_broker_that_only_just_runs_is_starting() -> None:
    young = status.compute(server("not-ready"), CONTEXT, seen("not-ready"), NOW - timedelta(minutes=9, seconds=10))
    assert told(young["conditions"][0]) == ("False", "Starting")


def test_a_broker_that_was_ready_and_is_no_more_is_not_starting() -> None:
    observed = seen("not-ready")
    for condition in observed.pods[0]["status"]["conditions"]:
        condition["lastTransitionTime"] = "2026-11-25T10:26:45Z"
    lost = status.compute(server("not-ready"), CONTEXT, observed, NOW - timedelta(minutes=9, seconds=10))
    assert told(lost["conditions"][0]) == ("False", "NotServing")


def test_a_node_that_does_not_answer_is_named() -> None:
    recording = recorded("ready")
    recording["deployment"]["status"] |= {"readyReplicas": 0, "availableReplicas": 0}
    for condition in recording["pods"][0]["status"]["conditions"]:
        condition["status"] = "False" if condition["type"] == "Ready" else condition["status"]
    observed = Observed(body=body("ready"), children={(DEPLOYMENT, "ready"): recording["deployment"]}, pods=recording["pods"])
    ready = conditions(server("ready"), observed)["Ready"]
    assert told(ready) == ("False", "NodeLost")
    assert "kubectl describe node node1" in ready["message"]


def test_a_readiness_gate_that_is_not_met_is_quoted() -> None:
    recording = recorded("ready")
    recording["deployment"]["status"] |= {"readyReplicas": 0, "availableReplicas": 0}
    gates = {"reason": "ReadinessGatesNotReady", "message": 'the status of pod readiness gate "example.com/balanced" is not "True"'}
    for condition in recording["pods"][0]["status"]["conditions"]:
        if condition["type"] == "Ready":
            condition.update(status="False", **gates)
    observed = Observed(body=body("ready"), children={(DEPLOYMENT, "ready"): recording["deployment"]}, pods=recording["pods"])
    ready = conditions(server("ready"), observed)["Ready"]
    assert told(ready) == ("False", "NotServing")
    assert "example.com/balanced" in ready["message"]


def test_a_pod_that_its_node_ended_is_only_told_when_nothing_else_is() -> None:
    evicted = {
        "metadata": {"name": "ready-0", "namespace": "shop"},
        "spec": {"nodeName": "node1"},
        "status": {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."},
    }
    crashing = seen("crash")
    both = Observed(body=crashing.body, children=crashing.children, pods=[evicted, *crashing.pods], warnings=crashing.warnings)
    assert told(conditions(server("crash"), both)["Ready"]) == ("False", "Crashing")
    alone = Observed(body=crashing.body, children=crashing.children, pods=[evicted])
    assert "low on resource: memory" in conditions(server("crash"), alone)["Ready"]["message"]


def test_a_mount_that_failed_once_was_only_too_early() -> None:
    observed = seen("device")
    once = [event | {"count": 1} for event in observed.warnings]
    early = Observed(body=observed.body, children=observed.children, pods=observed.pods, warnings=once)
    assert told(conditions(server("device"), early)["Ready"]) == ("False", "Starting")


def test_a_part_that_waits_says_for_what() -> None:
    calm = seen("ready")
    waiting = {(DEPLOYMENT, "ready"): "The pods of shop/billing are being replaced, and one server is changed at a time."}
    observed = Observed(body=calm.body, children=calm.children, pods=calm.pods, waiting=waiting)
    found = conditions(server("ready"), observed)
    assert told(found["Ready"]) == ("True", "Serving")
    assert told(found["Progressing"]) == ("True", "Waiting")
    assert found["Progressing"]["message"].startswith("Deployment ready: The pods of shop/billing")


# Storage


def claim_of(recording: str, **changes: Any) -> dict[str, Any]:
    claim = recorded(recording)["claims"][0]
    for key, value in changes.items():
        claim[key] = claim.get(key, {}) | value
    return {(CLAIM, recording): claim}


CLAIM_FORBIDS = (
    'persistentvolumeclaims "bound" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the '
    "pvc must support resize"
)
GROWING = {"resources": {"requests": {"storage": "2Gi"}}}


@pytest.mark.parametrize(
    ("asked", "claim", "refused", "outcome", "says"),
    [
        ("1Gi", {}, None, ("True", "Bound"), "1Gi"),
        ("1024Mi", {}, None, ("True", "Bound"), "1Gi"),
        ("500Mi", {}, None, ("False", "ShrinkRefused"), "claims only grow"),
        ("2Gi", {}, CLAIM_FORBIDS, ("False", "ExpansionRefused"), "must support resize"),
        ("1Gi", {}, "spec is immutable", ("False", "ClaimRefused"), "spec is immutable"),
        ("2Gi", {"spec": GROWING}, None, ("True", "Expanding"), "from 1Gi to 2Gi"),
        ("1Gi", {"status": {"phase": "Lost"}}, None, ("False", "VolumeLost"), "is gone"),
        ("1Gi", {"status": {"phase": "Pending"}}, None, ("False", "ClaimPending"), "waits for its volume"),
    ],
)
def test_a_claim_that_is_not_what_is_asked_for_is_told(
    asked: str, claim: dict[str, Any], refused: str | None, outcome: tuple[str, str], says: str
) -> None:
    refusals = {(CLAIM, "bound"): refused} if refused else {}
    observed = seen("bound", storage="filesystem", extra=claim_of("bound", **claim), refused=refusals)
    storage = Storage(type="filesystem", filesystem=FilesystemStorage(size=asked))
    found = conditions(server("bound", storage), observed)
    assert told(found["StorageReady"]) == outcome, found["StorageReady"]
    assert says in found["StorageReady"]["message"]
    assert told(found["Ready"]) == ("True", "Serving"), "a claim that serves as it is does not make the broker unready"
    if outcome[1] in {"ShrinkRefused", "ExpansionRefused", "ClaimRefused"}:
        assert told(found["Progressing"]) == outcome, "what was asked for has not arrived"


def test_a_claim_that_is_refused_at_first_is_why_the_server_is_not_ready() -> None:
    refused = {(CLAIM, "no-claim-data"): 'persistentvolumeclaims "no-claim-data" is forbidden: exceeded quota'}
    found = conditions(server("no-claim", FILESYSTEM), seen("no-claim", storage="filesystem", refused=refused))
    assert told(found["StorageReady"]) == told(found["Ready"]) == ("False", "ClaimNotCreated")
    assert "exceeded quota" in found["Ready"]["message"]


def test_an_expansion_that_fails_later_is_told_with_the_cause() -> None:
    event = {
        "reason": "VolumeResizeFailed",
        "message": "the quota of the disks is used up",
        "involvedObject": {"kind": "PersistentVolumeClaim", "name": "bound"},
    }
    observed = seen("bound", storage="filesystem", extra=claim_of("bound", spec=GROWING))
    failed = Observed(body=observed.body, children=observed.children, pods=observed.pods, warnings=[event])
    storage = Storage(type="filesystem", filesystem=FilesystemStorage(size="2Gi"))
    found = conditions(server("bound", storage), failed)["StorageReady"]
    assert told(found) == ("False", "ExpansionFailed")
    assert "the quota of the disks is used up" in found["message"]


def test_a_volume_that_grows_when_the_pod_restarts_says_so() -> None:
    pending = {
        "type": "FileSystemResizePending",
        "message": "Waiting for user to (re-)start a pod to finish file system resize of volume on node.",
    }
    observed = seen("bound", storage="filesystem", extra=claim_of("bound", spec=GROWING, status={"conditions": [pending]}))
    storage = Storage(type="filesystem", filesystem=FilesystemStorage(size="2Gi"))
    assert "(re-)start a pod" in conditions(server("bound", storage), observed)["StorageReady"]["message"]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"storage_class_name": "fast"}, "storageClassName (fast, not standard)"),
        ({"access_modes": ("ReadWriteOncePod",)}, "accessModes (ReadWriteOncePod, not ReadWriteOnce)"),
    ],
)
def test_what_a_claim_cannot_change_is_told(asked: dict[str, Any], says: str) -> None:
    storage = Storage(type="filesystem", filesystem=FilesystemStorage(size="1Gi", **asked))
    found = conditions(server("bound", storage), seen("bound", storage="filesystem"))["StorageReady"]
    assert told(found) == ("False", "ClaimChangeRefused")
    assert says in found["message"]


def test_a_claim_without_a_volume_is_made_anew_with_another_class() -> None:
    storage = Storage(type="filesystem", filesystem=FilesystemStorage(size="1Gi", storage_class_name="standard"))
    found = conditions(server("no-class", storage), seen("no-class", storage="filesystem"))
    assert told(found["StorageReady"]) == told(found["Ready"]) == ("False", "ClaimOutdated")
    assert "`kubectl delete pvc -n status-data no-class`" in found["StorageReady"]["message"]


def test_a_claim_that_somebody_deleted_is_told_while_the_messages_are_still_there() -> None:
    found = conditions(server("deleted", FILESYSTEM), seen("deleted", storage="filesystem"))
    assert told(found["StorageReady"]) == ("False", "ClaimBeingDeleted")
    assert told(found["Ready"]) == ("True", "Serving")


def test_of_a_database_nothing_is_known_while_no_broker_runs() -> None:
    found = conditions(server("zero", MYSQL, replicas=0), seen("zero", storage="mysql"))["StorageReady"]
    assert told(found) == ("Unknown", "NoBrokerRuns")


# What the API server refuses, and what it does not know


@pytest.mark.parametrize("kind", [DEPLOYMENT, CONFIG_MAP, SERVICE, SECRET])
def test_a_part_that_the_api_server_refuses_makes_the_server_unready(kind: Any) -> None:
    refused = {(kind, "ready"): 'admission webhook "images.example" denied the request: unsigned image'}
    found = conditions(server("ready"), seen("ready", refused=refused))
    assert told(found["Ready"]) == ("False", "ApplyRefused")
    assert told(found["Progressing"]) == ("False", "ApplyRefused")
    assert f"{kind.kind} ready: admission webhook" in found["Ready"]["message"]


@pytest.mark.parametrize("kind", [DISRUPTION_BUDGET, SERVICE_MONITOR])
def test_a_part_that_no_broker_needs_does_not(kind: Any) -> None:
    found = conditions(server("ready"), seen("ready", refused={(kind, "ready"): "forbidden"}))
    assert told(found["Ready"]) == ("True", "Serving")
    assert told(found["Progressing"]) == ("False", "ApplyRefused")


def test_a_kind_that_the_cluster_lacks_is_told_and_harms_nothing() -> None:
    context = Context(image="gmq:dev", served=frozenset({CONFIG_MAP, SERVICE, CLAIM, DEPLOYMENT}))
    found = conditions(server("ready", monitoring=Monitoring(service_monitor=True)), seen("ready"), context)
    assert told(found["Ready"]) == ("True", "Serving")
    assert told(found["Progressing"]) == ("False", "KindNotServed")
    assert "ServiceMonitor (monitoring.coreos.com/v1)" in found["Progressing"]["message"]
    assert "PodDisruptionBudget" not in found["Progressing"]["message"], "one replica asks for no budget"


# The rest of the status


SERVICES = {
    (SERVICE, "ready"): service("ready", {"http": 8080, "gmq": 4567}),
    (SERVICE, "ready-ops"): service("ready-ops", {"ops": 9567}),
}


def test_endpoints_can_be_copied_into_a_client() -> None:
    computed = status.compute(server("ready"), CONTEXT, seen("ready", extra=SERVICES), NOW)
    assert [(endpoint["name"], endpoint["address"], endpoint.get("url")) for endpoint in computed["endpoints"]] == [
        ("tcp", "ready.shop.svc:4567", None),
        ("http", "ready.shop.svc:8080", "http://ready.shop.svc:8080"),
        ("ops", "ready-ops.shop.svc:9567", "http://ready-ops.shop.svc:9567"),
    ]
    assert all(endpoint["address"] == f"{endpoint['host']}:{endpoint['port']}" for endpoint in computed["endpoints"])


def test_a_load_balancer_with_an_address_is_an_endpoint_with_tls_where_there_is() -> None:
    ingress = {"loadBalancer": {"ingress": [{"ip": "2001:db8::7"}, {"hostname": "mq.example"}]}}
    outer = service("ready", {"gmq": 4567, "http": 8080}, spec={"type": "LoadBalancer"}, status=ingress)
    computed = status.compute(
        server("ready", tls=Tls(secret_ref=Reference(name="tls"))), CONTEXT, seen("ready", extra={(SERVICE, "ready"): outer}), NOW
    )
    found = {endpoint["name"]: endpoint for endpoint in computed["endpoints"]}
    assert list(found) == ["tcp", "http", "tcp-external", "http-external", "tcp-external-2", "http-external-2"]
    assert found["http-external"]["url"] == "https://[2001:db8::7]:8080"
    assert found["tcp-external-2"]["address"] == "mq.example:4567"
    assert all(endpoint["tls"] for endpoint in found.values())


def test_a_load_balancer_without_an_address_yet_is_none() -> None:
    outer = service("ready", {"gmq": 4567}, spec={"type": "LoadBalancer"}, status={"loadBalancer": {}})
    computed = status.compute(server("ready"), CONTEXT, seen("ready", extra={(SERVICE, "ready"): outer}), NOW)
    assert [endpoint["name"] for endpoint in computed["endpoints"]] == ["tcp"]
    assert "The load balancer has no address yet" in computed["conditions"][1]["message"]


def test_scale_and_binding_are_told() -> None:
    computed = status.compute(server("ready"), CONTEXT, seen("ready"), NOW)
    assert computed["selector"] == "app.kubernetes.io/instance=ready,app.kubernetes.io/name=gmq"
    assert (computed["replicas"], computed["readyReplicas"]) == (1, 1)
    assert computed["binding"] == {"name": "ready-default-user"}
    without = status.compute(server("ready", auth=Auth(mode="Disabled")), CONTEXT, seen("ready"), NOW)
    assert "binding" not in without


def test_the_schema_knows_every_field_that_is_written() -> None:
    """What it does not know the API server leaves out, and the status would be written again and again."""
    computed = status.compute(server("ready"), CONTEXT, seen("ready", extra=SERVICES), NOW)
    assert unknown(computed, STATUS) == []
    assert unknown({"endpoints": [{"name": "tcp", "color": "red"}]}, STATUS) == [".endpoints.color"], "the check finds what it looks for"


def unknown(value: Any, schema: dict[str, Any], path: str = "") -> list[str]:
    """The paths in a value that a schema has no property for."""
    if isinstance(value, list):
        return [found for item in value for found in unknown(item, schema["items"], path)]
    if not isinstance(value, dict):
        return []
    known = schema["properties"]
    missing = [f"{path}.{key}" for key in value if key not in known]
    return missing + [found for key in value if key in known for found in unknown(value[key], known[key], f"{path}.{key}")]


# Writing it


def test_nothing_is_written_while_nothing_happens() -> None:
    first = status.compute(server("crash"), CONTEXT, seen("crash"), NOW)
    second = status.compute(server("crash"), CONTEXT, seen("crash", status=first), NOW + timedelta(hours=1))
    assert not status.changed(first, second)
    assert status.events(first, second) == []


def test_what_others_keep_in_the_status_is_no_reason_to_write() -> None:
    new = status.compute(server("ready"), CONTEXT, seen("ready"), NOW)
    theirs = {"type": "example.com/Audited", "status": "True", "reason": "Done", "message": ""}
    old = new | {"conditions": [theirs, *reversed(new["conditions"])], "later": 1}
    assert not status.changed(old, new)
    assert status.changed({key: value for key, value in old.items() if key != "binding"}, new)
    assert status.changed(old, {key: value for key, value in new.items() if key != "binding"})


def test_a_transition_has_its_time_and_another_reason_alone_has_none() -> None:
    first = status.compute(server("crash"), CONTEXT, seen("crash"), NOW)
    other = status.compute(server("oom"), CONTEXT, seen("oom", status=first), NOW + timedelta(hours=1))
    good = status.compute(server("ready"), CONTEXT, seen("ready", status=first), NOW + timedelta(hours=1))
    assert status.changed(first, other)
    assert [computed["conditions"][0]["lastTransitionTime"] for computed in (first, other, good)] == [
        "2026-11-25T10:36:00Z",
        "2026-11-25T10:36:00Z",
        "2026-11-25T11:36:00Z",
    ]


def test_no_message_is_longer_than_an_event_may_be() -> None:
    computed = status.compute(SpecError([f"spec.config.key{number}: unknown" for number in range(500)]), CONTEXT, seen("ready"), NOW)
    assert max(len(condition["message"]) for condition in computed["conditions"]) == 1024
    assert all(len(event.note) <= 1024 for event in status.events({}, computed))


# Events


def happened(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, str]]:
    return [(event.type, event.reason) for event in status.events(before, after)]


def test_the_way_to_ready_and_back_is_told_in_events() -> None:
    new = status.compute(server("orders"), CONTEXT, Observed(body=body("orders")), NOW)
    ready = status.compute(server("ready"), CONTEXT, seen("ready"), NOW)
    crash = status.compute(server("crash"), CONTEXT, seen("crash"), NOW)
    assert happened({}, new) == [("Normal", "Creating")]
    assert happened(new, ready) == [("Normal", "Serving"), ("Normal", "Complete")]
    assert happened(ready, crash) == [("Warning", "Crashing")]
    assert happened(crash, ready) == [("Normal", "Serving")]


def test_a_bad_spec_is_one_event_and_another_bad_spec_another() -> None:
    ready = status.compute(server("ready"), CONTEXT, seen("ready"), NOW)
    bad = status.compute(SpecError(PROBLEMS), CONTEXT, seen("ready", status=ready), NOW)
    worse = status.compute(SpecError([*PROBLEMS, "spec.tls.secretRef: missing"]), CONTEXT, seen("ready", status=bad), NOW)
    assert happened(ready, bad) == [("Warning", "Invalid")]
    assert happened(bad, worse) == [("Warning", "Invalid")]
    assert happened(worse, ready) == [("Normal", "Valid"), ("Normal", "Serving")]


def test_a_cause_is_told_once_and_not_with_its_effects() -> None:
    ready = status.compute(server("ready"), CONTEXT, seen("ready"), NOW)
    stuck = status.compute(server("no-class", FILESYSTEM), CONTEXT, seen("no-class", storage="filesystem"), NOW)
    assert happened(ready, stuck) == [("Warning", "StorageClassMissing"), ("Normal", "RollingOut")]


def test_what_another_condition_told_before_is_not_told_again_when_progressing_comes_back_to_it() -> None:
    refused = {(CLAIM, "bound"): CLAIM_FORBIDS}
    storage = Storage(type="filesystem", filesystem=FilesystemStorage(size="2Gi"))
    calm = status.compute(server("bound", storage), CONTEXT, seen("bound", storage="filesystem", refused=refused), NOW)
    moving = seen("bound", storage="filesystem", refused=refused, status=calm)
    deployment = {**moving.children[DEPLOYMENT, "bound"]}
    deployment["metadata"] = {**deployment["metadata"], "generation": 2}
    rolling = status.compute(
        server("bound", storage),
        CONTEXT,
        seen("bound", storage="filesystem", refused=refused, extra={(DEPLOYMENT, "bound"): deployment}),
        NOW,
    )
    assert happened(calm, rolling) == [("Normal", "RollingOut")]
    assert happened(rolling, calm) == [("Normal", "Serving")]


def test_pausing_and_going_on_are_told() -> None:
    ready = status.compute(server("ready"), CONTEXT, seen("ready"), NOW)
    paused = status.compute(server("ready", paused=True), CONTEXT, seen("ready"), NOW)
    assert happened(ready, paused) == [("Normal", "Paused")]
    assert ("Normal", "NotPaused") in happened(paused, ready)
