"""A GmqServer's spec: what is accepted, what is refused, and in which words."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from bodies import MEMORY, MYSQL, parsed, problem, problems, whole
from cases import BAD, GOOD
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct, inspect

from gmq import config
from gmq.document import settings_of, struct_of
from gmq.settings import Settings
from gmq_operator.brokerconfig import OWNED, OWNED_VARIABLES
from gmq_operator.fields import Pod, Spec
from gmq_operator.observed import Context
from gmq_operator.resources import configmap, desired
from gmq_operator.resources.pod import LIMITS, REQUESTS
from gmq_operator.spec import parse


def test_the_smallest_spec_has_every_default():
    server = parse(whole({"storage": {"type": "filesystem"}}))
    assert (server.namespace, server.name, server.uid, server.generation) == ("shop", "orders", "0000", 3)
    spec = server.spec
    assert spec.replicas == 1
    assert spec.storage.filesystem is not None, "a storage of files has a volume, also where nothing is said about it"
    assert (spec.storage.filesystem.size, spec.storage.filesystem.when_deleted) == ("10Gi", "Retain")
    assert spec.auth.mode == "Generated"
    assert spec.service.type == "ClusterIP"
    assert parse(whole({"storage": MEMORY})).spec.storage.memory is not None


@pytest.mark.parametrize("spec", GOOD)
def test_a_good_spec_is_accepted(spec):
    assert problems({"storage": MEMORY, **spec}) == []


def test_null_means_the_same_as_left_out_everywhere():
    spec = {"storage": {**MEMORY, "filesystem": None, "switchFrom": None}, "replicas": None, "auth": None, "policies": None}
    spec |= {"limits": {"messageSize": None}, "config": {"auth": None, "limits": {"queues": None}}, "pod": {"env": None}}
    assert problems(spec) == []
    assert parse(whole(spec)).spec.replicas == 1


@pytest.mark.parametrize(
    ("size", "read"), [(65536, 65536), ("64Ki", 65536), ("1e3", 1000), ("0.5Ki", 512), ("2k", 2000), ("+1M", 1_000_000)]
)
def test_a_message_size_is_a_quantity_and_comes_in_bytes(size, read):
    assert parsed(limits={"messageSize": size}).spec.limits.message_size == read


@pytest.mark.parametrize("size", [1 << 30, "1Gi", "1073741824"])
def test_the_size_of_a_volume_is_a_number_or_a_quantity(size):
    filesystem = parsed(storage={"type": "filesystem", "filesystem": {"size": size}}).spec.storage.filesystem
    assert filesystem is not None
    assert filesystem.size == str(size)


@pytest.mark.parametrize(("spec", "said"), BAD)
def test_a_bad_spec_is_refused_with_its_path_what_was_found_and_what_is_allowed(spec, said):
    assert problem(**spec) == said


def test_a_misspelt_field_is_told_in_the_spelling_of_the_resource():
    assert problem(limits={"messagesize": 5}).startswith("spec.limits.messagesize is not a setting (did you mean messageSize?)")


def test_all_problems_are_told_at_once():
    spec = {"replicas": 3, "storage": {"type": "filesystem", "memory": {}}, "limits": {"queues": 0}, "config": {"auth": {"user": "a"}}}
    assert [found.split(" ")[0] for found in problems(spec)] == [
        "spec.limits.queues",
        "spec.storage.memory",
        "spec.replicas",
        "spec.config.auth",
    ]


@pytest.mark.parametrize("spec", [None, 5, "x", []])
def test_a_spec_that_is_no_object_is_refused(spec):
    assert problems(spec)[0].startswith("spec is "), problems(spec)


@pytest.mark.parametrize("member", ["config", "pod", "storage"])
def test_a_spec_that_is_nested_too_deeply_is_refused(member):
    """An API server takes ten thousand levels; whoever goes down them comes to the end of the stack."""
    deep: Any = 1
    for _ in range(4_500):
        deep = {"affinity": [deep]}
    assert problem(**{member: deep}) == f"spec.{member} is nested more than 100 levels deep"


@pytest.mark.parametrize("name", ["Orders", "1st", "a.b", "a-", "a" * 51, "ö"])
def test_a_name_that_cannot_name_a_service_is_refused(name):
    assert problem(name).startswith("metadata.name is ")
    assert problems({"storage": MEMORY}, "a" * 50) == []


def _nested(path: str) -> dict[str, Any]:
    """A broker's configuration with a value at this path."""
    value: Any = {}
    for part in reversed(path.split(".")):
        value = {part: value}
    return value  # type: ignore[no-any-return]  # a path has a part


def _paths(kind: type[Struct], before: str = "") -> Iterator[str]:
    for setting in settings_of(kind):
        yield before + setting.key
        if (inner := struct_of(setting.type)) is not None:
            yield from _paths(inner, f"{before}{setting.key}.")


def _written(value: Any, before: str = "") -> Iterator[str]:
    for key, member in value.items():
        if isinstance(member, dict) and member:
            yield from _written(member, f"{before}{key}.")
        else:
            yield before + key


@pytest.mark.parametrize("path", OWNED)
def test_a_setting_that_the_operator_writes_is_refused_with_what_to_set_instead(path):
    assert path in set(_paths(Settings)), f"the broker has no setting {path}"
    assert problem(config=_nested(path)) == f"spec.config.{path} may not be set here; {OWNED[path]}"
    if named := re.match(r"set spec\.([a-zA-Z.]+)", OWNED[path]):
        assert named[1] in set(_paths(Spec)), f"the refusal of {path} names a field that there is not"


EVERYTHING = {
    "storage": {"type": "mysql", "mysql": {**MYSQL["mysql"], "tls": {"caSecretRef": {"name": "ca"}}}},  # type: ignore[dict-item]  # an object
    "tls": {"secretRef": {"name": "tls"}, "clientCaSecretRef": {"name": "ca"}},
    "limits": {"queues": 1, "messageSize": 1, "queueMessages": 1, "connections": 1},
    "policies": [{"name": "a", "pattern": "*"}],
}


@pytest.mark.parametrize(
    "spec",
    [
        EVERYTHING,
        {"storage": {"type": "filesystem"}},
        {"auth": {"mode": "Disabled"}},
        {"auth": {"mode": "Secret", "usersSecretRef": {"name": "a"}}},
    ],
)
def test_nothing_that_the_operator_writes_can_be_set_beside_it(spec):
    """In the other direction: the operator's part of the configuration, given as the user's, is refused member by member."""
    for path in _written(configmap.configuration(parsed(**spec).spec)):
        found = problems({"storage": MEMORY, "config": _nested(path)})
        assert any("may not be set here" in said for said in found), f"{path} is the operator's and was not refused: {found}"


def test_the_variables_that_the_broker_reads_are_refused():
    read = {value for name, value in vars(config).items() if name.endswith("_VARIABLE")}
    assert read == set(OWNED_VARIABLES)
    for name in read:
        assert problem(pod={"env": [{"name": name, "value": "x"}]}) == f'spec.pod.env[0].name is "{name}"; {OWNED_VARIABLES[name]}'


def test_the_default_resources_are_the_ones_that_pods_get():
    said = next(setting.default for setting in settings_of(Pod) if setting.name == "resources")
    wanted = f"requests of {REQUESTS['cpu']} of cpu and {REQUESTS['memory']} of memory, and a limit of {LIMITS['memory']} of memory"
    assert said == wanted


NUMBERS = {
    "limits": {
        "queues": [1, 1_000_000],
        "messageSize": [1, "512Mi", "64Ki"],
        "queueMessages": [1, 1_000_000_000],
        "connections": [1, 1_000_000],
    },
    "policy": {
        "maxMessages": [1],
        "maxDeliveries": [1, 1_000_000],
        "deadLetter": ["dead", "ö" * 127],
        "ttl": [0.001, 604800],
        "lease": [0.001, 604800],
        "expires": [1, 31536000],
    },
}


@settings(deadline=None)
@given(
    st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in NUMBERS["limits"].items()}),
    st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in NUMBERS["policy"].items()}),
    st.sampled_from([{}, {"limits": {"waiting": 1}}, {"metrics": {"queues": 0}}, {"http": {"hosts": ["*"]}, "log": {}}]),
    st.booleans(),
)
def test_the_broker_accepts_what_an_accepted_spec_makes(limits, policy, further, http):
    """With everything at the edges of its range: the two have the same ranges."""
    server = parsed(
        auth={"mode": "Disabled"},
        limits=limits,
        policies=[{"name": "a", "pattern": "*", **policy}],
        config=further,
        service={"http": http},
    )
    loaded = config.parse(configmap.text(server), {}, "gmq.json")
    assert loaded.limits.queues == limits.get("queues", loaded.limits.queues)


def test_every_field_reaches_the_children():
    """A message size with a suffix among them, which the broker does not know."""
    kinds = [child["kind"] for child in desired(parsed(limits={"messageSize": "64Ki"}), Context(image="gmq:dev"))]
    assert "Deployment" in kinds


def _names(kind: type[Struct]) -> Iterator[str]:
    for setting in settings_of(kind):
        yield setting.key
        inner = setting.type.item_type if isinstance(setting.type, inspect.VarTupleType) else setting.type
        if (struct := struct_of(inner)) is not None:
            yield from _names(struct)


NAMES = sorted({*_names(Spec), *_names(Settings)})
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["1Gi", "memory", "Secret", "..", "*"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([setting.key for setting in settings_of(Spec)]), ANYTHING), ANYTHING)
def test_whatever_a_body_has_is_read_or_refused_in_sentences_that_begin_with_the_path(spec, config):
    """One bad GmqServer must not disturb the others, also where no API server has pruned it."""
    for body in (spec, {**spec, "storage": MEMORY}, {"storage": MEMORY, "config": config}):
        assert all(re.match(r"spec[. \[]", said) for said in problems(body))
