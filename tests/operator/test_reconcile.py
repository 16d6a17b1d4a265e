"""The reconciliation of a GmqServer, against a cluster in memory that can fail."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from fakecluster import NAMESPACE, FakeCluster, deployments_of, rolled_out
from world import FILESYSTEM, MEMORY, MYSQL, NEW, OLD, World, play

from gmq_operator.cache import SERVER
from gmq_operator.cluster import ClusterError, ConflictError, RefusedError, UnreachableError
from gmq_operator.observed import CLAIM, CONFIG_MAP, DEPLOYMENT, DISRUPTION_BUDGET, POD, SECRET, SERVICE, SERVICE_MONITOR, Kind, Object
from gmq_operator.reconcile import SECRET_PERIOD, UnfinishedError
from gmq_operator.reports import EVENT
from gmq_operator.turns import LONGEST

FORBIDDEN = RefusedError(403, "Forbidden", "the quota is used up")
AWAY = UnreachableError("The API server cannot be reached: timed out")
ERRORS: list[ClusterError] = [AWAY, ConflictError(409, "Conflict", "the object has been modified")]
WRITES = ["create", "apply", "apply status"]


def test_what_a_spec_asks_for_is_made() -> None:
    async def scenario(world: World) -> None:
        world.user_applies("orders", storage=FILESYSTEM)
        await world.settle("orders")
        assert world.cluster.names(DEPLOYMENT) == {"orders"}
        assert world.cluster.names(CLAIM) == {"orders-data"}
        assert world.cluster.names(CONFIG_MAP) == {"orders-config"}
        assert world.cluster.names(SERVICE) == {"orders", "orders-ops"}
        assert world.cluster.names(SECRET) == {"orders-default-user"}
        assert world.status("orders")["observedGeneration"] == 1
        assert world.condition("orders", "Ready")[0] == "False"
        world.cluster.edit(DEPLOYMENT, "orders", rolled_out)
        await world.settle("orders")
        assert world.condition("orders", "Ready")[:2] == ("True", "Serving")
        assert ("Normal", "Serving") in world.told()

    play(scenario)


def test_what_is_as_it_should_be_costs_no_request() -> None:
    async def scenario(world: World) -> None:
        world.user_applies("orders", replicas=0)
        await world.settle("orders")
        world.cluster.edit(DEPLOYMENT, "orders", rolled_out)
        await world.settle("orders")
        world.cluster.requests.clear()
        assert await world.reconcile("orders") is None, "a server that is well has to be looked at again"
        assert not world.cluster.requests

    play(scenario)


def test_a_new_operator_finds_everything_as_it_should_be() -> None:
    async def scenario(world: World) -> None:
        world.user_applies("orders", storage=FILESYSTEM)
        await world.settle("orders")
        world.cluster.requests.clear()
        anew = World(world.cluster)
        await anew.settle("orders")
        assert anew.cluster.changes() == [("create", "Secret", "orders-default-user")], "only the user is tried, as it cannot be seen"

    play(scenario)


@pytest.mark.parametrize("write", range(12))
def test_an_operator_that_is_killed_after_any_write_goes_on_where_it_was(write: int) -> None:
    class KilledError(BaseException):
        pass

    class Mortal(FakeCluster):
        left = write

        def _write(self, *arguments: Any) -> None:
            if self.left == 0:
                raise KilledError
            self.left -= 1
            super()._write(*arguments)

    async def scenario(_: World) -> None:
        cluster = Mortal()
        cluster.left = -1
        dying = World(cluster)
        dying.user_applies("orders", storage=FILESYSTEM)
        cluster.left = write
        with suppress(KilledError):
            await dying.settle("orders")
        cluster.left = -1
        heir = World(cluster)
        await heir.settle("orders")
        assert heir.cluster.names(DEPLOYMENT) == {"orders"}
        assert heir.cluster.names(SERVICE) == {"orders", "orders-ops"}
        assert heir.cluster.names(SECRET) == {"orders-default-user"}
        assert heir.status("orders")["observedGeneration"] == 1

    play(scenario)


CHILDREN: list[tuple[Kind, str]] = [
    (CONFIG_MAP, "orders-config"),
    (CLAIM, "orders-data"),
    (SERVICE, "orders"),
    (SERVICE, "orders-ops"),
    (DEPLOYMENT, "orders"),
]


@pytest.mark.parametrize(("kind", "name"), CHILDREN, ids=lambda value: str(getattr(value, "kind", value)))
def test_a_child_that_is_deleted_is_made_again(kind: Kind, name: str) -> None:
    async def scenario(world: World) -> None:
        world.user_applies("orders", storage=FILESYSTEM)
        await world.settle("orders")
        world.cluster.remove(kind, name)
        await world.settle("orders")
        assert name in world.cluster.names(kind)

    play(scenario)


EDITS: dict[str, tuple[Kind, str, Callable[[dict[str, Any]], object], Callable[[dict[str, Any]], object]]] = {
    "the configuration": (
        CONFIG_MAP,
        "orders-config",
        lambda item: item["data"].update({"gmq.json": "{}"}),
        lambda item: item["data"]["gmq.json"],
    ),
    "the replicas": (DEPLOYMENT, "orders", lambda item: item["spec"].update(replicas=5), lambda item: item["spec"]["replicas"]),
    "the label that it is watched by": (
        SERVICE,
        "orders",
        lambda item: item["metadata"]["labels"].pop("app.kubernetes.io/managed-by"),
        lambda item: item["metadata"]["labels"]["app.kubernetes.io/managed-by"],
    ),
    "the label that says whose it is": (
        CLAIM,
        "orders-data",
        lambda item: item["metadata"]["labels"].update({"app.kubernetes.io/instance": "another"}),
        lambda item: item["metadata"]["labels"]["app.kubernetes.io/instance"],
    ),
    "the owner": (
        SERVICE,
        "orders-ops",
        lambda item: item["metadata"].pop("ownerReferences"),
        lambda item: item["metadata"]["ownerReferences"][0]["name"],
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_of_what_the_operator_owns_is_undone(edit: str) -> None:
    kind, name, change, read = EDITS[edit]

    async def scenario(world: World) -> None:
        world.user_applies("orders", storage=FILESYSTEM)
        await world.settle("orders")
        right = read(world.cluster.one(kind, name))
        world.cluster.edit(kind, name, change)
        await world.settle("orders")
        assert read(world.cluster.one(kind, name)) == right

    play(scenario)


def test_what_others_add_stays_and_what_the_spec_no_longer_has_goes() -> None:
    async def scenario(world: World) -> None:
        world.user_applies("orders", service={"annotations": {"ours": "yes"}})
        await world.settle("orders")
        world.cluster.edit(SERVICE, "orders", lambda item: item["metadata"]["annotations"].update(theirs="yes"))
        world.user_applies("orders")
        await world.settle("orders")
        assert world.cluster.one(SERVICE, "orders")["metadata"]["annotations"] == {"theirs": "yes"}

    play(scenario)


def test_children_that_are_no_longer_asked_for_are_deleted() -> None:
    async def scenario(world: World) -> None:
        world.user_applies("orders", storage=MYSQL, replicas=2, monitoring={"serviceMonitor": True})
        await world.settle("orders")
        assert world.cluster.names(DISRUPTION_BUDGET) == world.cluster.names(SERVICE_MONITOR) == {"orders"}
        world.user_applies("orders", storage=MYSQL, replicas=1)
        await world.settle("orders")
        assert not world.cluster.names(DISRUPTION_BUDGET) | world.cluster.names(SERVICE_MONITOR)

    play(scenario)


def test_a_spec_that_breaks_rules_changes_nothing_but_the_status() -> None:
    async def scenario(world: World) -> None:
        world.user_applies("orders", storage=FILESYSTEM)
        await world.settle("orders")
        world.cluster.requests.clear()
        world.user_applies("orders", storage=FILESYSTEM, replicas=3)
        assert await world.settle("orders") is None, "a spec that breaks rules is tried again though nobody changed it"
        assert {verb for verb, kind, _ in world.cluster.changes() if kind != "Event"} == {"apply status"}
        assert world.condition("orders", "SpecValid")[0] == "False"
        assert "spec.replicas" in world.condition("orders", "SpecValid")[2]
        assert world.status("orders")["observedGeneration"] == 2
        assert ("Warning", "Invalid") in world.told()
        world.cluster.remove(SERVICE, "orders-ops")
        world.cluster.requests.clear()
        await world.settle("orders")
        assert "orders-ops" not in world.cluster.names(SERVICE), "children were changed for a spec that breaks rules"
        world.user_applies("orders", storage=FILESYSTEM)
        await world.settle("orders")
        assert world.condition("orders", "SpecValid")[0] == "True"
        assert "orders-ops" in world.cluster.names(SERVICE)

    play(scenario)


GARBAGE: list[Any] = [
    {},
    {"storage": None},
    {"storage": {"type": 7}},
    {"storage": MEMORY, "replicas": "many"},
    {"unknown": {"a": [{}]}},
    None,
    [],
]


@pytest.mark.parametrize("spec", GARBAGE, ids=str)
def test_garbage_is_told_of_and_disturbs_no_other(spec: Any) -> None:
    async def scenario(world: World) -> None:
        item = {"apiVersion": SERVER.api_version, "kind": SERVER.kind, "metadata": {"name": "bad", "namespace": NAMESPACE}, "spec": spec}
        world.cluster.put(SERVER, item)
        world.user_applies("good")
        with suppress(Exception):  # the API server takes none of this, and what must not happen is that the other one suffers
            await world.settle("bad")
        await world.settle("good")
        assert world.cluster.names(DEPLOYMENT) == {"good"}

    play(scenario)


def test_a_paused_server_is_left_alone() -> None:
    async def scenario(world: World) -> None:
        world.user_applies("orders")
        await world.settle("orders")
        world.user_applies("orders", paused=True, replicas=0)
        world.cluster.remove(SERVICE, "orders")
        world.cluster.edit(CONFIG_MAP, "orders-config", lambda item: item["data"].clear())
        world.cluster.requests.clear()
        await world.settle("orders")
        assert {verb for verb, kind, _ in world.cluster.changes() if kind != "Event"} == {"apply status"}
        assert world.condition("orders", "Paused")[0] == "True"
        world.user_applies("orders", replicas=0)
        await world.settle("orders")
        assert "orders" in world.cluster.names(SERVICE)
        assert world.cluster.one(DEPLOYMENT, "orders")["spec"]["replicas"] == 0
        assert world.cluster.one(CONFIG_MAP, "orders-config")["data"]

    play(scenario)


def test_the_type_of_storage_changes_only_when_the_old_one_is_named() -> None:
    async def scenario(world: World) -> None:
        world.user_applies("orders", storage=FILESYSTEM)
        await world.settle("orders")
        world.user_applies("orders")
        await world.settle("orders")
        assert world.condition("orders", "SpecValid")[1] == "SwitchRefused"
        assert "filesystem" in world.cluster.one(CONFIG_MAP, "orders-config")["data"]["gmq.json"]
        world.user_applies("orders", storage={"type": "memory", "switchFrom": "filesystem"})
        await world.settle("orders")
        assert world.condition("orders", "SpecValid")[0] == "True"
        assert "filesystem" not in world.cluster.one(CONFIG_MAP, "orders-config")["data"]["gmq.json"]
        assert world.cluster.names(CLAIM) == {"orders-data"}, "messages went with a change of the storage"

    play(scenario)


def size(world: World) -> str:
    return str(world.cluster.one(CLAIM, "orders-data")["spec"]["resources"]["requests"]["storage"])


def test_a_claim_grows_and_never_shrinks() -> None:
    async def scenario(world: World) -> None:
        world.user_applies("orders", storage=FILESYSTEM)
        await world.settle("orders")
        world.cluster.edit(CLAIM, "orders-data", lambda item: item["spec"].update(storageClassName="standard", volumeName="pv-1"))
        world.user_applies("orders", storage={"type": "filesystem", "filesystem": {"size": "2Gi"}})
        await world.settle("orders")
        assert size(world) == "2Gi"
        world.user_applies("orders", storage={"type": "filesystem", "filesystem": {"size": "1Gi", "storageClassName": "fast"}})
        await world.settle("orders")
        assert size(world) == "2Gi"
        assert world.cluster.one(CLAIM, "orders-data")["spec"]["storageClassName"] == "standard"
        assert world.cluster.one(CLAIM, "orders-data")["spec"]["volumeName"] == "pv-1"

    play(scenario)


def test_a_claim_that_was_left_behind_is_looked_at_no_more() -> None:
    async def scenario(world: World) -> None:
        world.user_applies("orders", storage=FILESYSTEM)
        await world.settle("orders")
        world.cluster.edit(CLAIM, "orders-data", lambda item: item.update(status={"phase": "Pending"}))
        world.user_applies("orders", storage={"type": "memory", "switchFrom": "filesystem"})
        await world.settle("orders")
        world.cluster.edit(DEPLOYMENT, "orders", rolled_out)
        assert await world.settle("orders") is None, "a server that is well is looked at again and again"
        world.cluster.requests.clear()
        await world.reconcile("orders")
        assert not world.cluster.requests, "Events about a claim that nothing uses are asked for"

    play(scenario)


def test_an_expansion_that_is_refused_is_told_and_holds_nothing_else_up() -> None:
    async def scenario(world: World) -> None:
        world.user_applies("orders", storage=FILESYSTEM)
        await world.settle("orders")
        world.cluster.edit(CLAIM, "orders-data", lambda item: item.update(status={"phase": "Bound", "capacity": {"storage": "1Gi"}}))
        refusal = RefusedError(403, "Forbidden", "only dynamically provisioned claims can be resized")
        world.cluster.fail("apply", refusal, kind=CLAIM, times=100)
        world.user_applies("orders", replicas=0, storage={"type": "filesystem", "filesystem": {"size": "2Gi"}})
        with pytest.raises(UnfinishedError):
            await world.reconcile("orders")
        assert world.condition("orders", "StorageReady")[1] == "ExpansionRefused"
        assert world.cluster.one(DEPLOYMENT, "orders")["spec"]["replicas"] == 0
        world.cluster.faults.clear()
        await world.settle("orders")
        assert size(world) == "2Gi"
        assert world.condition("orders", "StorageReady")[1] != "ExpansionRefused"

    play(scenario)


@pytest.mark.parametrize(("kind", "name"), CHILDREN, ids=lambda value: str(getattr(value, "kind", value)))
def test_a_child_that_is_refused_is_told_of_and_tried_again(kind: Kind, name: str) -> None:
    async def scenario(world: World) -> None:
        world.cluster.fail("apply", FORBIDDEN, kind=kind, times=2 if kind == SERVICE else 1)
        world.user_applies("orders", storage=FILESYSTEM)
        with pytest.raises(UnfinishedError, match="the quota is used up"):
            await world.reconcile("orders")
        assert "the quota is used up" in str(world.status("orders")["conditions"])
        await world.settle("orders")
        assert name in world.cluster.names(kind)
        assert "the quota" not in str(world.status("orders")["conditions"])

    play(scenario)


def test_what_server_side_apply_leaves_behind_is_taken_out_of_the_way() -> None:
    """An API server refuses a variable with a value and the rest of what was its source: the pods are emptied first, and not started."""

    async def scenario(world: World) -> None:
        world.user_applies("orders")
        await world.settle("orders")
        emptied = []

        def tell(kind: Kind, change: str, item: Object) -> None:
            if kind == DEPLOYMENT:
                emptied.append(bool(item["spec"].get("paused")))
            world.tell(kind, change, item)

        world.cluster.sink = tell
        world.cluster.requests.clear()
        world.cluster.fail("apply", RefusedError(422, "Invalid", "may not be specified when `value` is not empty"), kind=DEPLOYMENT)
        world.user_applies("orders", pod={"env": [{"name": "TZ", "value": "UTC"}]})
        await world.reconcile("orders")
        asked = [verb for verb, kind, _ in world.cluster.changes() if kind == DEPLOYMENT.kind]
        assert asked == ["apply", "dry run", "apply", "apply"]
        assert emptied == [True, False], "pods of the emptied Deployment would start"
        (container,) = world.cluster.one(DEPLOYMENT, "orders")["spec"]["template"]["spec"]["containers"]
        assert container["env"] == [{"name": "TZ", "value": "UTC"}]
        assert world.condition("orders", "SpecValid")[0] == "True"

    play(scenario)


def test_pods_that_the_api_server_does_not_take_change_nothing() -> None:
    async def scenario(world: World) -> None:
        world.user_applies("orders")
        await world.settle("orders")
        before = world.cluster.one(DEPLOYMENT, "orders")
        invalid = RefusedError(422, "Invalid", "spec.template.spec.volumes[0].name: Required value")
        world.cluster.fail("apply", invalid, kind=DEPLOYMENT)
        world.cluster.fail("dry run", invalid, kind=DEPLOYMENT)
        world.user_applies("orders", pod={"override": {"volumes": [{}]}})
        with pytest.raises(UnfinishedError, match="Required value"):
            await world.reconcile("orders")
        assert world.cluster.one(DEPLOYMENT, "orders") == before

    play(scenario)


def test_an_operator_that_is_killed_between_emptied_pods_and_new_ones_goes_on() -> None:
    async def scenario(world: World) -> None:
        world.user_applies("orders")
        await world.settle("orders")
        world.cluster.fail("apply", RefusedError(422, "Invalid", "more than 1 handler type"), kind=DEPLOYMENT)
        world.cluster.fail("apply", UnreachableError("the operator is gone"), kind=DEPLOYMENT, after=True)
        world.user_applies("orders", pod={"env": [{"name": "TZ", "value": "UTC"}]})
        with pytest.raises(UnreachableError):
            await world.reconcile("orders")
        assert world.cluster.one(DEPLOYMENT, "orders")["spec"]["paused"] is True
        again = World(world.cluster)
        await again.settle("orders")
        spec = again.cluster.one(DEPLOYMENT, "orders")["spec"]
        assert "paused" not in spec
        assert spec["template"]["spec"]["containers"][0]["env"] == [{"name": "TZ", "value": "UTC"}]

    play(scenario)


def test_a_refusal_that_lasts_is_told_once() -> None:
    async def scenario(world: World) -> None:
        world.cluster.fail("apply", FORBIDDEN, kind=SERVICE, times=1000)
        world.user_applies("orders")
        with pytest.raises(UnfinishedError):
            await world.reconcile("orders")
        world.cluster.requests.clear()
        for _ in range(5):
            with pytest.raises(UnfinishedError):
                await world.reconcile("orders")
        assert not [request for request in world.cluster.changes() if request[1] in {"GmqServer", "Event"}]

    play(scenario)


def test_brokers_are_not_restarted_when_their_new_configuration_is_refused() -> None:
    async def scenario(world: World) -> None:
        world.user_applies("orders")
        await world.settle("orders")
        before = world.cluster.one(DEPLOYMENT, "orders")
        world.cluster.fail("apply", FORBIDDEN, kind=CONFIG_MAP, times=1)
        world.user_applies("orders", limits={"queues": 3})
        with pytest.raises(UnfinishedError):
            await world.reconcile("orders")
        assert world.cluster.one(DEPLOYMENT, "orders") == before
        await world.settle("orders")
        assert world.cluster.one(DEPLOYMENT, "orders") != before

    play(scenario)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("verb", [*WRITES, "get", "list"])
@pytest.mark.parametrize("after", [False, True], ids=["not done", "done, and the answer lost"])
def test_errors_that_pass_leave_nothing_undone(error: ClusterError, verb: str, *, after: bool) -> None:
    if (verb, after) == ("create", False) and isinstance(error, ConflictError):
        pytest.skip("that means that it is there")

    async def scenario(world: World) -> None:
        world.user_applies("orders", storage=FILESYSTEM)
        world.cluster.fail(verb, error, times=4, after=after)
        failures = 0
        for _ in range(12):
            try:
                await world.reconcile("orders")
            except ClusterError:
                failures += 1
        assert failures or verb in {"create", "list"} or after, "an error was taken for success"
        await world.settle("orders")
        assert world.cluster.names(DEPLOYMENT) == {"orders"}
        assert world.cluster.names(SECRET) == {"orders-default-user"}
        assert world.status("orders")["observedGeneration"] == 1

    play(scenario)


def test_one_server_that_fails_does_not_keep_another_from_being_made() -> None:
    async def scenario(world: World) -> None:
        world.user_applies("bad")
        world.user_applies("good")
        world.cluster.fail("apply", FORBIDDEN, times=3)
        with pytest.raises(UnfinishedError):
            await world.reconcile("bad")
        await world.settle("good")
        assert world.cluster.names(DEPLOYMENT) == {"good"}

    play(scenario)


def theirs(kind: Kind, name: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, "namespace": NAMESPACE, **metadata},
        "spec": {"theirs": "yes"},
    }


OWNER = [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "other", "controller": True}]
NAMESAKE = [{"apiVersion": "gmq.io/v1beta1", "kind": "GmqServer", "name": "another", "uid": "other", "controller": True}]
OURS = {"app.kubernetes.io/managed-by": "gmq-operator", "app.kubernetes.io/instance": "orders"}


@pytest.mark.parametrize(("kind", "name"), CHILDREN, ids=lambda value: str(getattr(value, "kind", value)))
@pytest.mark.parametrize(
    "metadata",
    [{}, {"ownerReferences": OWNER}, {"ownerReferences": NAMESAKE, "labels": OURS}],
    ids=["nobody's", "another's", "a namesake's"],
)
def test_what_belongs_to_somebody_else_is_not_taken_over(kind: Kind, name: str, metadata: dict[str, Any]) -> None:
    async def scenario(world: World) -> None:
        world.cluster.put(kind, theirs(kind, name, **metadata))
        before = world.cluster.one(kind, name)
        world.user_applies("orders", storage=FILESYSTEM)
        with pytest.raises(UnfinishedError, match="left as it is"):
            await world.reconcile("orders")
        assert world.cluster.one(kind, name) == before, "an object of somebody else was changed"
        assert f"{kind.kind} {name}" in str(world.status("orders")["conditions"])
        world.cluster.remove(kind, name)
        await world.settle("orders")
        assert world.condition("orders", "SpecValid")[0] == "True"
        assert world.cluster.one(kind, name)["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "gmq-operator"

    play(scenario)


def test_what_others_made_with_the_labels_of_a_child_is_left_alone() -> None:
    """`kubectl expose deployment/orders` gives the Service that it makes the Deployment's labels."""

    async def scenario(world: World) -> None:
        world.user_applies("orders")
        await world.settle("orders")
        exposed = copy.deepcopy(world.cluster.one(SERVICE, "orders"))
        exposed["metadata"] = {"name": "orders-public", "namespace": NAMESPACE, "labels": exposed["metadata"]["labels"]}
        world.cluster.put(SERVICE, exposed)
        await world.settle("orders")
        assert "orders-public" in world.cluster.names(SERVICE), "a Service that somebody made was deleted"
        hosts = [endpoint["host"] for endpoint in world.status("orders")["endpoints"]]
        assert "orders-public.shop.svc" not in hosts, "the API server refuses a status with two endpoints of a name"

    play(scenario)


def test_a_claim_that_was_kept_is_taken_up_again() -> None:
    async def scenario(world: World) -> None:
        world.user_applies("orders", storage=FILESYSTEM)
        await world.settle("orders")
        uid = world.cluster.one(CLAIM, "orders-data")["metadata"]["uid"]
        world.cluster.remove(SERVER, "orders")
        world.cluster.collect_garbage()
        assert await world.reconcile("orders") is None
        assert not world.cluster.names(DEPLOYMENT)
        world.user_applies("orders", storage=FILESYSTEM)
        await world.settle("orders")
        assert world.cluster.one(CLAIM, "orders-data")["metadata"]["uid"] == uid
        assert world.condition("orders", "SpecValid")[0] == "True"

    play(scenario)


def test_children_of_a_predecessor_are_waited_for() -> None:
    async def scenario(world: World) -> None:
        world.user_applies("orders")
        await world.settle("orders")
        world.cluster.remove(SERVER, "orders")
        world.user_applies("orders")
        assert await world.reconcile("orders") is not None, "nobody comes back for what the garbage collector deletes"
        world.cluster.collect_garbage()
        await world.settle("orders")
        assert world.cluster.names(SECRET) == {"orders-default-user"}, "the predecessor's user was taken for this one's"
        uid = world.cluster.one(SERVER, "orders")["metadata"]["uid"]
        for deployment in deployments_of(world.cluster):
            assert deployment["metadata"]["ownerReferences"][0]["uid"] == uid

    play(scenario)


@pytest.mark.parametrize("storage", [MEMORY, FILESYSTEM])
def test_nothing_is_told_of_a_predecessor_as_if_it_were_this_servers(storage: dict[str, Any]) -> None:
    """It is about to go: who waits for Ready would be told so, and then have no broker."""

    async def scenario(world: World) -> None:
        world.user_applies("orders")
        await world.settle("orders")
        world.cluster.edit(DEPLOYMENT, "orders", rolled_out)
        await world.settle("orders")
        assert world.condition("orders", "Ready")[0] == "True"
        world.cluster.remove(SERVER, "orders")
        world.user_applies("orders", storage=storage)
        await world.reconcile("orders")
        assert world.condition("orders", "SpecValid")[1] == "Valid", "the predecessor's storage counts as this server's"
        assert world.condition("orders", "Ready")[:2] == ("False", "NoDeployment"), "the predecessor's pods count as this server's"
        assert world.condition("orders", "Progressing")[1] == "Waiting"
        assert not world.status("orders")["endpoints"], "the predecessor's Services lead to no broker of this server"

    play(scenario)


def test_children_that_were_orphaned_are_adopted() -> None:
    async def scenario(world: World) -> None:
        world.user_applies("orders")
        await world.settle("orders")
        world.cluster.remove(SERVER, "orders")
        world.cluster.edit(DEPLOYMENT, "orders", lambda item: item["metadata"].pop("ownerReferences"))
        world.cluster.collect_garbage()
        before = world.cluster.one(DEPLOYMENT, "orders")["metadata"]["uid"]
        world.user_applies("orders")
        await world.settle("orders")
        metadata = world.cluster.one(DEPLOYMENT, "orders")["metadata"]
        assert metadata["uid"] == before
        assert metadata["ownerReferences"][0]["uid"] == world.cluster.one(SERVER, "orders")["metadata"]["uid"]

    play(scenario)


def test_a_server_that_is_being_deleted_gets_no_more_children() -> None:
    async def scenario(world: World) -> None:
        world.user_applies("orders")
        await world.settle("orders")
        world.cluster.edit(SERVER, "orders", lambda item: item["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z"))
        world.cluster.remove(DEPLOYMENT, "orders")
        world.cluster.requests.clear()
        await world.reconcile("orders")
        assert not world.cluster.requests

    play(scenario)


def test_a_child_that_is_being_deleted_is_waited_for() -> None:
    async def scenario(world: World) -> None:
        world.user_applies("orders", storage=FILESYSTEM)
        await world.settle("orders")
        world.cluster.edit(CLAIM, "orders-data", lambda item: item["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z"))
        world.cluster.edit(CLAIM, "orders-data", lambda item: item.update(status={"phase": "Bound", "capacity": {"storage": "1Gi"}}))
        world.cluster.edit(CLAIM, "orders-data", lambda item: item["metadata"].update(labels={**OURS, "changed": "yes"}))
        world.cluster.requests.clear()
        await world.settle("orders")
        assert ("apply", "PersistentVolumeClaim", "orders-data") not in world.cluster.requests
        assert world.condition("orders", "StorageReady")[1] == "ClaimBeingDeleted"

    play(scenario)


def test_the_generated_user_is_made_once_and_again_when_somebody_deleted_it() -> None:
    async def scenario(world: World) -> None:
        world.user_applies("orders", replicas=0)
        await world.settle("orders")
        password = world.cluster.one(SECRET, "orders-default-user")["stringData"]["password"]
        assert len(password) >= 24
        world.seconds += SECRET_PERIOD
        await world.settle("orders")
        assert world.cluster.one(SECRET, "orders-default-user")["stringData"]["password"] == password
        world.cluster.remove(SECRET, "orders-default-user")
        world.seconds += SECRET_PERIOD
        await world.settle("orders")
        assert world.cluster.one(SECRET, "orders-default-user")["stringData"]["password"] != password

    play(scenario)


def test_no_user_is_made_where_there_are_others_or_none() -> None:
    async def scenario(world: World) -> None:
        world.user_applies("orders", auth={"mode": "Disabled"})
        world.user_applies("bills", auth={"mode": "Secret", "usersSecretRef": {"name": "users"}})
        await world.settle("orders")
        await world.settle("bills")
        assert not world.cluster.names(SECRET)

    play(scenario)


def test_a_kind_that_the_cluster_lacks_is_told_of_and_made_when_it_is_there() -> None:
    async def scenario(world: World) -> None:
        world.cluster.kinds.discard(SERVICE_MONITOR)
        without = World(world.cluster)
        without.user_applies("orders", replicas=0, monitoring={"serviceMonitor": True})
        await without.settle("orders")
        without.cluster.edit(DEPLOYMENT, "orders", rolled_out)
        await without.settle("orders")
        assert "ServiceMonitor" in str(without.status("orders")["conditions"])
        assert not without.cluster.names(SERVICE_MONITOR)
        world.cluster.kinds.add(SERVICE_MONITOR)
        having = World(world.cluster)
        await having.settle("orders")
        assert having.cluster.names(SERVICE_MONITOR) == {"orders"}

    play(scenario)


def waiting_pod(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": OURS, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "status": {
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [{"name": "gmq", "state": {"waiting": {"reason": "ContainerCreating"}}, "restartCount": 0}],
        },
    }


def test_what_a_pod_waits_for_is_found_in_its_events_and_looked_for_again() -> None:
    async def scenario(world: World) -> None:
        world.user_applies("orders")
        await world.settle("orders")
        world.cluster.put(POD, waiting_pod("orders-1"))
        pod = world.cluster.one(POD, "orders-1")
        again = await world.settle("orders")
        assert again is not None, "events are not watched, so somebody has to look again"
        assert again <= 60
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": "e", "namespace": NAMESPACE, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "involvedObject": {"kind": "Pod", "name": "orders-1", "namespace": NAMESPACE, "uid": pod["metadata"]["uid"]},
            "type": "Warning",
            "reason": "FailedMount",
            "message": 'MountVolume.SetUp failed for volume "tls" : secret "orders-tls" not found',
            "lastTimestamp": "2026-01-01T00:00:00Z",
        }
        world.cluster.put(EVENT, event)
        await world.settle("orders")
        assert world.condition("orders", "Ready")[1] == "SecretMissing"
        assert "orders-tls" in world.condition("orders", "Ready")[2]

    play(scenario)


def test_events_that_may_not_be_listed_or_posted_hold_nothing_up() -> None:
    async def scenario(world: World) -> None:
        world.cluster.put(POD, waiting_pod("orders-1"))
        world.cluster.fail("list", FORBIDDEN, kind=EVENT, times=100)
        world.cluster.fail("create", FORBIDDEN, kind=EVENT, times=100)
        world.user_applies("orders")
        await world.settle("orders")
        assert world.cluster.names(DEPLOYMENT) == {"orders"}
        assert world.condition("orders", "Ready")[0] == "False"

    play(scenario)


def test_a_status_is_not_written_to_another_server_of_the_same_name() -> None:
    async def scenario(world: World) -> None:
        world.user_applies("orders")
        world.cluster.sink = lambda *_: None  # the watch is behind
        world.cluster.remove(SERVER, "orders")
        world.user_applies("orders", replicas=0)
        with pytest.raises(ConflictError):
            await world.reconcile("orders")
        assert not world.status("orders")

    play(scenario)


def image(world: World, name: str) -> str:
    return str(world.cluster.one(DEPLOYMENT, name)["spec"]["template"]["spec"]["containers"][0]["image"])


def test_after_an_upgrade_of_the_operator_one_server_at_a_time_is_restarted() -> None:
    async def scenario(world: World) -> None:
        for name in ("a", "b", "c"):
            world.user_applies(name)
            await world.settle(name)
            world.cluster.edit(DEPLOYMENT, name, rolled_out)
            await world.settle(name)
        after = World(world.cluster, NEW)
        for name in ("a", "b", "c"):
            await after.settle(name)
        assert [image(after, name) for name in ("a", "b", "c")] == [NEW, "gmq:1", "gmq:1"]
        assert not after.woken
        assert after.condition("b", "Progressing")[:2] == ("True", "Waiting")
        assert "one server is restarted at a time" in after.condition("b", "Progressing")[2]
        after.cluster.edit(DEPLOYMENT, "a", rolled_out)
        await after.settle("a")
        assert {key.name for key in after.woken} == {"b", "c"}, "who waits for a turn is not told that it is free"
        await after.settle("b")
        await after.settle("c")
        assert [image(after, name) for name in ("b", "c")] == [NEW, "gmq:1"]
        after.seconds += LONGEST
        await after.settle("c")
        assert image(after, "c") == NEW, "one server that does not become ready holds up the others for ever"

    play(scenario)


def test_a_changed_spec_waits_for_no_turn() -> None:
    async def scenario(world: World) -> None:
        for name in ("a", "b"):
            world.user_applies(name)
            await world.settle(name)
            world.cluster.edit(DEPLOYMENT, name, rolled_out)
            await world.settle(name)
        after = World(world.cluster, NEW)
        await after.settle("a")
        after.user_applies("b", logLevel="debug")
        await after.settle("b")
        assert image(after, "b") == NEW

    play(scenario)


def test_no_pod_is_restarted_while_the_claim_that_it_uses_is_being_deleted() -> None:
    def goes(claim: Any) -> None:
        claim["metadata"]["deletionTimestamp"] = "2026-11-25T10:00:00Z"
        claim["status"] = {"phase": "Bound", "capacity": {"storage": "1Gi"}}

    async def scenario(world: World) -> None:
        world.user_applies("orders", storage=FILESYSTEM)
        await world.settle("orders")
        world.cluster.edit(DEPLOYMENT, "orders", rolled_out)
        world.cluster.edit(CLAIM, "orders-data", goes)
        world.user_applies("orders", storage=FILESYSTEM, image=NEW)
        await world.settle("orders")
        assert image(world, "orders") == OLD, "a restart lets the claim go, and the messages with it"
        assert world.condition("orders", "Progressing")[:2] == ("True", "Waiting")
        assert world.condition("orders", "StorageReady")[1] == "ClaimBeingDeleted"
        world.user_applies("orders", storage=FILESYSTEM, image=NEW, replicas=0)
        await world.settle("orders")
        assert world.cluster.one(DEPLOYMENT, "orders")["spec"]["replicas"] == 0, "to scale to 0 is the way to let the claim go"

    play(scenario)


def test_results_are_counted() -> None:
    async def scenario(world: World) -> None:
        world.user_applies("orders")
        await world.settle("orders")
        world.user_applies("orders", replicas=3)
        await world.settle("orders")
        world.cluster.fail("apply status", AWAY)
        world.user_applies("orders", replicas=0)
        with pytest.raises(UnreachableError):
            await world.reconcile("orders")
        await world.reconcile("gone")
        counts = {
            sample.labels["result"]: sample.value
            for family in world.metrics.registry.collect()
            for sample in family.samples
            if sample.name == "gmq_operator_reconciles_total"
        }
        assert counts["error"] == 1
        assert counts["deleted"] == 1
        assert counts["invalid"] >= 1
        assert counts["ok"] >= 2

    play(scenario)
