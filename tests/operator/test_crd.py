"""The CustomResourceDefinition: that it is one, that people can read it, and that it agrees with spec.py."""

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import shapes
from apiserver import holds, refusals
from bodies import MEMORY, MYSQL, problems, whole
from cases import BAD, GOOD
from hypothesis import event, given, settings
from kubernetes_validate import utils
from seen import CONTEXT, FOLDER, NOW, seen, server, service

from gmq_operator import crd, docs
from gmq_operator.observed import SERVICE
from gmq_operator.rules import RULES
from gmq_operator.spec import Reference, SpecError, Tls
from gmq_operator.status import compute

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
    r"|spec\.storage\.mysql\.host"
    r"|spec\.messagesize"
)
"""What no schema and no rule in CEL says: quantities' sizes, shapes of keys and hosts, the broker's settings, fields that are dropped."""


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


@pytest.mark.parametrize("name", sorted(file.stem for file in FOLDER.glob("*.json")))
def test_no_member_of_a_status_is_dropped_or_refused(name):
    """An API server drops members that the schema does not have, without a word."""
    reached = {"loadBalancer": {"ingress": [{"hostname": "lb"}, {"ip": "2001:db8::1"}]}}
    clients = service("orders", {"gmq": 4567, "http": 8080}, spec={"type": "LoadBalancer"}, status=reached)
    observed = seen(name, extra={(SERVICE, "orders"): clients, (SERVICE, "orders-ops"): service("orders-ops", {"ops": 9567})})
    for found in (server(name, tls=Tls(secret_ref=Reference(name="tls"))), SpecError(["spec.replicas is -1"])):
        status = compute(found, CONTEXT, observed, NOW)
        schema = crd.schema()["properties"]["status"]
        assert _dropped(status, schema, "status") == []
        assert refusals(whole({"storage": MEMORY}) | {"status": status}) == []


def _dropped(value: Any, schema: Schema, path: str) -> list[str]:
    if isinstance(value, list):
        return [found for item in value for found in _dropped(item, schema["items"], f"{path}[]")]
    if not isinstance(value, dict):
        return []
    known = schema.get("properties", {})
    unknown = [f"{path}.{name}" for name in value if name not in known]
    return unknown + [found for name, item in value.items() if name in known for found in _dropped(item, known[name], f"{path}.{name}")]


def test_a_rule_that_is_no_boolean_would_be_noticed():
    with pytest.raises(AssertionError, match="is not a boolean"):
        holds("self.a", {"a": 1}, {})


def _agree(spec: Any) -> bool:
    """Whether the spec is accepted, by both."""
    refused, told = refusals(whole(spec)), problems(spec)
    assert bool(refused) == bool(told), f"of {spec} the API server says {refused}, the operator {told}"
    return not told


def test_the_api_server_and_the_operator_agree_on_each_edge_of_each_range():
    outcomes = [_agree(spec) for spec in shapes.ALONE.alone()]
    assert 100 < sum(outcomes) < len(outcomes) - 100, "hardly any spec is good, or hardly any is bad"


@settings(max_examples=200, deadline=None)
@given(shapes.TOGETHER.together())
def test_the_api_server_and_the_operator_agree_on_many_fields_together(spec):
    event("accepted" if _agree(spec) else "refused")
