"""The CustomResourceDefinition: that it is one, that people can read it, and that it agrees with spec.py."""

import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from apiserver import holds, refusals
from bodies import MEMORY, MYSQL, problems, whole
from cases import BAD, GOOD
from hypothesis import event, given, settings
from hypothesis import strategies as st
from kubernetes_validate import utils

from gmq_operator import crd, docs
from gmq_operator.rules import RULES

ROOT = Path(__file__).parents[2]
Schema = dict[str, Any]


def _fields(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Every field below, with its path."""
    for name, member in schema.get("properties", {}).items():
        yield f"{path}.{name}", member
        yield from _fields(member.get("items", member), f"{path}.{name}")


def _spec_fields() -> dict[str, Schema]:
    return dict(_fields(crd.schema()["properties"]["spec"], "spec"))


@pytest.mark.parametrize("kubernetes", [f"1.{minor}" for minor in range(25, 38)])
@pytest.mark.parametrize("cel", [True, False], ids=["with CEL", "without CEL"])
def test_every_kubernetes_knows_all_that_the_definition_says(kubernetes, cel, monkeypatch):
    monkeypatch.setattr(utils, "schema_contents", functools.cache(utils.schema_contents))
    kubernetes_validate.validate(crd.definition(cel=cel), kubernetes, strict=True)


def test_the_files_are_those_that_would_be_made(tmp_path, capsys):
    assert crd.main(["--check", str(ROOT / "charts/gmq/files")]) == 0
    assert docs.main(["--check", str(ROOT / "docs/gmqserver.md")]) == 0
    assert crd.main(["--check", str(tmp_path)]) == 1, "the files are missing"
    assert crd.main([str(tmp_path)]) == 0
    assert crd.main(["--check", str(tmp_path)]) == 0
    (tmp_path / "crd.yaml").write_text((tmp_path / "crd.yaml").read_text() + "x")
    assert crd.main(["--check", str(tmp_path)]) == 1, "a file was changed"
    assert "run `make generate`" in capsys.readouterr().err


def test_old_clusters_get_no_rules():
    assert "x-kubernetes-validations" in crd.render(cel=True)
    assert "x-kubernetes-validations" not in crd.render(cel=False)


def test_every_field_has_a_description_that_ends_a_sentence():
    for path, member in _fields(crd.schema(), "gmqserver"):
        if path == "gmqserver.metadata" or path.startswith("gmqserver.metadata."):
            continue
        assert member.get("description", "").endswith("."), f"{path} is described as {member.get('description')!r}"


def test_only_scalars_have_defaults_and_descriptions_name_them():
    """A default of an object would make a member that nobody set, and so break `exactly one of`."""
    for path, member in _spec_fields().items():
        if "default" in member:
            assert member.get("type") in {"string", "integer", "number", "boolean"} or member["x-kubernetes-int-or-string"], path
            default = member["default"]
            written = str(default).lower() if isinstance(default, bool) else str(default)
            assert f"Default: {written}." in member["description"], f"kubectl explain does not tell the default of {path}: {written}"


def test_the_schema_is_structural():
    """Where Kubernetes' own words for it go: a type or int-or-string everywhere, and items with every list."""
    for path, member in _fields(crd.schema(), "gmqserver"):
        for schema in (member, member.get("items", {"type": "none"})):
            assert ("type" in schema) != ("x-kubernetes-int-or-string" in schema), f"{path} has no type, or two"
        assert ("items" in member) == (member.get("type") == "array"), path
        assert ("x-kubernetes-list-type" in member) == (member.get("type") == "array"), path
        if member.get("x-kubernetes-list-type") == "map":
            assert set(member["x-kubernetes-list-map-keys"]) <= set(member["items"]["required"]), path


def test_lists_that_people_edit_in_parts_are_maps():
    fields = dict(_fields(crd.schema(), "gmqserver"))
    for path, key in {
        "spec.policies": "name",
        "spec.imagePullSecrets": "name",
        "spec.pod.env": "name",
        "status.conditions": "type",
        "status.endpoints": "name",
    }.items():
        assert fields[f"gmqserver.{path}"]["x-kubernetes-list-map-keys"] == [key]


def test_the_scale_and_the_columns_lead_to_fields_that_there_are():
    version = crd.definition()["spec"]["versions"][0]
    fields = dict(_fields(crd.schema(), ""))
    scale = version["subresources"]["scale"]
    for path in scale.values():
        assert path in fields
    for column in version["additionalPrinterColumns"]:
        path = column["jsonPath"].split("[")[0]
        assert path in fields or path == ".metadata.creationTimestamp", column
    names = [column["name"] for column in version["additionalPrinterColumns"] if not column.get("priority")]
    assert names == ["Storage", "Replicas", "Ready", "Reason", "Age"]


def test_the_rules_name_fields_that_there_are_and_go_through_lists_of_bounded_length():
    """An API server refuses the whole definition otherwise: it knows the types of fields, and reckons what a rule costs at most."""
    fields = _spec_fields() | {"spec": crd.schema()["properties"]["spec"]}
    for path, rules in RULES.items():
        for rule in rules:
            for named in re.findall(r"(?:self|oldSelf)\.([a-zA-Z.]+)(?![a-zA-Z.(])", re.sub(r"\.(all|exists)\(", " (", rule.cel)):
                assert f"{path}.{named}" in fields, f"{rule.cel} names {named}"
            for listed in re.findall(r"self\.([a-zA-Z.]+)\.(?:all|exists)\(", rule.cel):
                assert "maxItems" in fields[f"{path}.{listed}"], f"{rule.cel} goes through a list of any length"


@pytest.mark.parametrize("spec", GOOD)
def test_an_api_server_accepts_what_the_operator_accepts(spec):
    assert refusals(whole({"storage": MEMORY, **spec})) == []


ONLY_THE_OPERATOR = re.compile(
    r"spec\.config"
    r"|spec\.(pod\.(labels|annotations|nodeSelector)|service\.annotations)( has|\[)"
    r'|spec\.limits\.messageSize is "[0-9]'
    r'|spec\.storage\.filesystem\.size is "500m"'
    r"|spec\.service\.loadBalancerSourceRanges\["
    r"|spec\.policies\[\d\]\.deadLetter .* bytes of UTF-8"
    r"|spec\.pod\.labels"
    r"|spec\.messagesize"
)
"""What no schema and no rule in CEL says: quantities' sizes, shapes of keys, the broker's own settings, and fields that are dropped."""


@pytest.mark.parametrize(("spec", "said"), BAD)
def test_an_api_server_refuses_at_once_what_it_can_know(spec, said):
    refused = refusals(whole({"storage": MEMORY, **spec}))
    assert bool(refused) != bool(ONLY_THE_OPERATOR.match(said)), f"refused: {refused}"


@pytest.mark.parametrize("name", ["Orders", "1st", "a.b", "a" * 51, "ok"])
def test_an_api_server_refuses_a_name_that_the_operator_refuses(name):
    assert bool(refusals(whole({"storage": MEMORY}, name))) == bool(problems({"storage": MEMORY}, name))


@pytest.mark.parametrize(
    ("before", "after", "accepted"),
    [
        (MEMORY, {"type": "filesystem"}, False),
        (MEMORY, {"type": "filesystem", "switchFrom": "memory"}, True),
        (MEMORY, {"type": "filesystem", "switchFrom": "mysql"}, False),
        ({"type": "filesystem", "switchFrom": "memory"}, {"type": "filesystem"}, True),
        ({"type": "filesystem", "switchFrom": "memory"}, {**MYSQL, "switchFrom": "memory"}, False),
        ({"type": "filesystem", "switchFrom": "memory"}, {**MYSQL, "switchFrom": "filesystem"}, True),
        (MEMORY, MEMORY, True),
    ],
)
def test_an_api_server_lets_a_storage_be_changed_only_with_the_type_of_before(before, after, accepted):
    refused = refusals(whole({"storage": after}), whole({"storage": before}))
    assert (refused == []) == accepted, refused


def test_a_rule_that_is_no_boolean_would_be_noticed():
    with pytest.raises(AssertionError, match="is not a boolean"):
        holds("self.a", {"a": 1}, {})


Values = st.SearchStrategy[Any]


def _some(*good: Any, bad: Sequence[Any] = ()) -> Values:
    """One of the good values, and now and then a bad one: of objects with many members enough are good as a whole."""
    return st.integers(0, 19).flatmap(lambda number: st.sampled_from(bad if bad and number == 13 else good))


def _object(*required: str, **members: Values) -> Values:
    """Objects with some of the members; of the required ones one is missing now and then."""
    needed = {name: values for name, values in members.items() if name in required}
    optional = {name: values for name, values in members.items() if name not in required}
    whole_ones = st.fixed_dictionaries(needed, optional=optional)
    if not required:
        return whole_ones
    return st.integers(0, 19).flatmap(lambda number: st.fixed_dictionaries({}, optional=members) if number == 13 else whole_ones)


NAME = _some("a", "a.b", "a" * 253, bad=["A", "-a", "", "a" * 254, "a\n", 5])
REFERENCE = _object("name", name=NAME)
BOTH = (True, False)
COUNT = _some(1, 1_000_000, bad=[0, 1_000_001, 1.5, "1", True])
TYPE = _some("memory", "filesystem", "mysql", bad=["disk", 1])
FILESYSTEM = _object(
    size=_some("1Gi", 1 << 30, "1e9", bad=["x", "", True, 1.5, "-1Gi", "1" * 33]),
    storageClassName=NAME,
    accessModes=_some(["ReadWriteOnce"], ["ReadWriteOncePod"], ["ReadWriteOnce", "ReadWriteMany"], bad=[[], ["x"], ["ReadWriteMany"] * 2]),
    whenDeleted=_some("Retain", "Delete", bad=["Recycle"]),
)
DATABASE = _object(
    "host",
    "credentialsSecretRef",
    host=_some("db", bad=["", "d" * 254]),
    port=_some(1, 65535, bad=[0, 65536]),
    database=_some("gmq", "d" * 64, bad=["", "d" * 65]),
    credentialsSecretRef=REFERENCE,
    tls=_object(caSecretRef=REFERENCE),
)
STORAGE = st.one_of(
    _object("type", type=st.just("memory"), memory=st.just({}), switchFrom=TYPE),
    _object("type", type=st.just("filesystem"), filesystem=FILESYSTEM, switchFrom=TYPE),
    _object("type", "mysql", type=st.just("mysql"), mysql=DATABASE, switchFrom=TYPE),
    _object("type", type=TYPE, memory=st.just({}), filesystem=FILESYSTEM, mysql=DATABASE),
)
AUTH = st.one_of(
    _object(mode=_some("Generated", "Disabled", bad=["None"])),
    _object("mode", "usersSecretRef", mode=st.just("Secret"), usersSecretRef=REFERENCE),
    _object(mode=_some("Generated", "Disabled", "Secret"), usersSecretRef=REFERENCE),
)
LIMITS = _object(
    queues=COUNT,
    messageSize=_some(1, 512 << 20, "64Ki", bad=[0, (512 << 20) + 1, "x", True]),
    queueMessages=_some(5, 1_000_000_000, bad=[0, 1_000_000_001]),
    connections=COUNT,
)
POLICY = _object(
    "name",
    "pattern",
    name=_some("a", "b", "a" * 255, bad=["", "a" * 256]),
    pattern=_some("*", "a" * 1024, bad=["", "a" * 1025]),
    maxMessages=_some(1, 5, bad=[0, 6, 1_000_001]),
    maxDeliveries=COUNT,
    deadLetter=_some("dead", "a" * 255, bad=["", ".", "..", "a" * 256]),
    ttl=_some(0.001, 604800, bad=[0, 604801]),
    lease=_some(0.001, 604800, bad=[0, 604801]),
    expires=_some(1, 31536000, bad=[0.5, 31536001]),
)
SERVICE = st.one_of(
    _object(
        type=_some("ClusterIP", "NodePort", bad=["ExternalName"]),
        annotations=_some({}, {"a": "b"}, bad=[{"a": 1}, []]),
        http=_some(*BOTH, bad=["x"]),
    ),
    _object(
        type=_some("LoadBalancer", bad=["ClusterIP"]),
        loadBalancerClass=_some("a", bad=[""]),
        loadBalancerSourceRanges=_some([], ["192.0.2.0/24"], bad=[["192.0.2.0/24"] * 2, [1]]),
    ),
)
POD = _object(
    labels=_some({}, {"a": "b"}, bad=[{"a": 1}]),
    tolerations=_some([], [{}], bad=[{}, [1]]),
    env=_some([], [{"name": "TZ"}], [{"name": "TZ"}, {"name": "A"}], bad=[[{"name": "PORT"}], [{"name": "A"}] * 2, [{}], [{"name": 1}]]),
    priorityClassName=NAME,
    override=_some({}, {"hostname": "a"}, bad=[[]]),
)
SPECS = _object(
    "storage",
    replicas=_some(0, 1, bad=[2, 100, 101, -1, 1.5, "1", True]),
    image=_some("a", "a" * 1024, bad=["a b", "", "a" * 1025, 1]),
    imagePullPolicy=_some("Always", bad=["always"]),
    imagePullSecrets=st.lists(REFERENCE, max_size=2),
    storage=STORAGE,
    auth=AUTH,
    tls=_object("secretRef", secretRef=REFERENCE, clientCaSecretRef=REFERENCE),
    limits=LIMITS,
    policies=st.lists(POLICY, max_size=2),
    config=_some({}, {"limits": {"waiting": 5}}, bad=[[]]),
    service=SERVICE,
    monitoring=_object(serviceMonitor=_some(*BOTH, bad=[1])),
    pod=POD,
    logLevel=_some("info", bad=["INFO"]),
    paused=_some(*BOTH, bad=["true"]),
)


@settings(max_examples=300)
@given(SPECS)
def test_the_api_server_and_the_operator_agree_on_what_a_schema_can_say(spec):
    """Over values at the edges of their ranges and beyond them, in every field that has a rule an API server knows."""
    refused, told = refusals(whole(spec)), problems(spec)
    event("accepted" if not told else "refused")
    assert bool(refused) == bool(told), f"the API server says {refused}, the operator {told}"
