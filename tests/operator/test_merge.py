"""A partial PodSpec over another one: what `kubectl patch --type=strategic` would make of it."""

from typing import Any

import pytest

from gmq_operator.resources.merge import merge_pod_spec

POD: dict[str, Any] = {
    "terminationGracePeriodSeconds": 30,
    "securityContext": {"runAsNonRoot": True, "runAsUser": 1},
    "containers": [
        {
            "name": "gmq",
            "image": "gmq",
            "command": ["gmqserver", "-f", "x"],
            "env": [{"name": "A", "value": "a"}, {"name": "B", "value": "b"}],
            "ports": [{"name": "gmq", "containerPort": 4567}],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            "livenessProbe": {"httpGet": {"path": "/healthz", "port": "ops"}, "periodSeconds": 10},
        }
    ],
    "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "orders"}}],
    "tolerations": [{"key": "a"}],
    "topologySpreadConstraints": [{"topologyKey": "zone", "maxSkew": 1}],
    "imagePullSecrets": [{"name": "one"}],
}


def changed(path: list[Any], value: Any) -> dict[str, Any]:
    """The pod with one thing different."""

    def put(inner: Any, rest: list[Any]) -> Any:
        if not rest:
            return value
        if isinstance(inner, list):
            return [put(item, rest[1:]) if at == rest[0] else item for at, item in enumerate(inner)]
        return {**inner, rest[0]: put(inner.get(rest[0]), rest[1:])}

    result: dict[str, Any] = put(POD, path)
    return result


GMQ = ["containers", 0]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        pytest.param({}, POD, id="nothing"),
        pytest.param({"hostname": "a"}, {**POD, "hostname": "a"}, id="a new field"),
        pytest.param({"terminationGracePeriodSeconds": 5}, {**POD, "terminationGracePeriodSeconds": 5}, id="another value"),
        pytest.param(
            {"securityContext": {"runAsUser": 2, "fsGroup": 3}},
            changed(["securityContext"], {"runAsNonRoot": True, "runAsUser": 2, "fsGroup": 3}),
            id="an object is merged",
        ),
        pytest.param({"securityContext": {"runAsUser": None}}, changed(["securityContext"], {"runAsNonRoot": True}), id="null takes away"),
        pytest.param({"hostUsers": None}, POD, id="null takes nothing away"),
        pytest.param(
            {"securityContext": {"$patch": "replace", "fsGroup": 3}},
            changed(["securityContext"], {"fsGroup": 3}),
            id="an object is replaced",
        ),
        pytest.param({"securityContext": {"$patch": "delete"}}, changed(["securityContext"], {}), id="an object is emptied"),
        pytest.param(
            {"securityContext": {"$retainKeys": ["fsGroup"], "fsGroup": 3}},
            changed(["securityContext"], {"fsGroup": 3}),
            id="an object keeps some keys",
        ),
        pytest.param({"containers": [{"name": "gmq", "image": "other"}]}, changed([*GMQ, "image"], "other"), id="a container by its name"),
        pytest.param(
            {"containers": [{"name": "proxy", "image": "p"}]},
            {**POD, "containers": [*POD["containers"], {"name": "proxy", "image": "p"}]},
            id="another container",
        ),
        pytest.param(
            {"containers": [{"name": "gmq", "command": ["sh"]}]}, changed([*GMQ, "command"], ["sh"]), id="a list of words is replaced"
        ),
        pytest.param(
            {"containers": [{"name": "gmq", "env": [{"name": "B", "value": "x"}, {"name": "C", "value": "c"}]}]},
            changed([*GMQ, "env"], [{"name": "A", "value": "a"}, {"name": "B", "value": "x"}, {"name": "C", "value": "c"}]),
            id="variables by their names",
        ),
        pytest.param(
            {"containers": [{"name": "gmq", "env": [{"name": "A", "$patch": "delete"}]}]},
            changed([*GMQ, "env"], [{"name": "B", "value": "b"}]),
            id="a variable is deleted",
        ),
        pytest.param(
            {"containers": [{"name": "gmq", "env": [{"name": "Z", "$patch": "delete"}]}]}, POD, id="a variable that is not there is deleted"
        ),
        pytest.param(
            {"containers": [{"name": "gmq", "env": [{"$patch": "replace"}, {"name": "C", "value": "c"}]}]},
            changed([*GMQ, "env"], [{"name": "C", "value": "c"}]),
            id="all variables are replaced",
        ),
        pytest.param(
            {"containers": [{"name": "gmq", "ports": [{"containerPort": 4567, "hostPort": 1}, {"containerPort": 2}]}]},
            changed([*GMQ, "ports"], [{"name": "gmq", "containerPort": 4567, "hostPort": 1}, {"containerPort": 2}]),
            id="ports by their numbers",
        ),
        pytest.param(
            {"containers": [{"name": "gmq", "volumeMounts": [{"mountPath": "/data", "readOnly": True}]}]},
            changed([*GMQ, "volumeMounts"], [{"name": "data", "mountPath": "/data", "readOnly": True}]),
            id="mounts by their paths",
        ),
        pytest.param(
            {"containers": [{"name": "gmq", "livenessProbe": {"exec": {"command": ["x"]}}}]},
            changed([*GMQ, "livenessProbe"], {"periodSeconds": 10, "exec": {"command": ["x"]}}),
            id="a probe of another kind",
        ),
        pytest.param(
            {"containers": [{"name": "gmq", "$setElementOrder/env": [{"name": "B"}]}], "$setElementOrder/containers": [{"name": "gmq"}]},
            POD,
            id="the order that kubectl writes down",
        ),
        pytest.param(
            {"volumes": [{"name": "data", "emptyDir": {}}]}, changed(["volumes"], [{"name": "data", "emptyDir": {}}]), id="another source"
        ),
        pytest.param(
            {"volumes": [{"name": "data", "persistentVolumeClaim": {"readOnly": True}}]},
            changed(["volumes"], [{"name": "data", "persistentVolumeClaim": {"claimName": "orders", "readOnly": True}}]),
            id="the same source",
        ),
        pytest.param(
            {"containers": [{"name": "gmq", "livenessProbe": {"httpGet": {"path": "/"}, "periodSeconds": 5}}]},
            changed([*GMQ, "livenessProbe"], {"httpGet": {"path": "/", "port": "ops"}, "periodSeconds": 5}),
            id="a probe of the same kind",
        ),
        pytest.param(
            {"containers": [{"name": "gmq", "env": [{"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]}]},
            changed([*GMQ, "env"], [{"name": "A", "value": "a"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]),
            id="a variable with a source",
        ),
        pytest.param({"tolerations": [{"key": "b"}]}, changed(["tolerations"], [{"key": "b"}]), id="tolerations are replaced"),
        pytest.param(
            {"topologySpreadConstraints": [{"topologyKey": "zone", "maxSkew": 2}, {"topologyKey": "node"}]},
            changed(["topologySpreadConstraints"], [{"topologyKey": "zone", "maxSkew": 2}, {"topologyKey": "node"}]),
            id="spreads by their keys",
        ),
        pytest.param(
            {"imagePullSecrets": [{"name": "two"}]}, changed(["imagePullSecrets"], [{"name": "one"}, {"name": "two"}]), id="pull secrets"
        ),
        pytest.param(
            {"initContainers": [{"name": "first", "env": [{"name": "A", "value": "a"}]}]},
            {**POD, "initContainers": [{"name": "first", "env": [{"name": "A", "value": "a"}]}]},
            id="a list that was not there",
        ),
    ],
)
def test_a_pod_is_overridden(override: dict[str, Any], expected: dict[str, Any]):
    assert merge_pod_spec(POD, override) == expected


@pytest.mark.parametrize(
    "override",
    [{"containers": [{"image": "x"}]}, {"containers": ["x"]}, {"containers": "x"}, {"containers": {"a": 1}}, {"volumes": [None]}],
)
def test_what_is_no_podspec_is_left_for_the_api_server_to_refuse(override: dict[str, Any]):
    merged = merge_pod_spec(POD, override)
    for key, value in override.items():
        assert value == merged[key] or value[0] in merged[key]
