"""What the chart lets the operator, and people, do."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from matrix import CASES

from helm_engines import Engine, Manifest, manifests

ROLES = {"Role", "ClusterRole"}
BINDINGS = {"RoleBinding", "ClusterRoleBinding"}


def is_of_the_test(item: Manifest) -> bool:
    return "helm.sh/hook" in item["metadata"].get("annotations", {})


def granted(rules: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """Group, resource and verb of everything that the rules allow."""
    return {
        (group, resource, verb) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"] for verb in rule["verbs"]
    }


def operators_roles(engine: Engine, case: str) -> list[Manifest]:
    objects = [item for item in manifests(engine.text(CASES[case])) if not is_of_the_test(item)]
    bound = {(item["roleRef"]["kind"], item["roleRef"]["name"]) for item in objects if item["kind"] in BINDINGS}
    return [item for item in objects if (item["kind"], item["metadata"]["name"]) in bound]


@pytest.mark.parametrize("case", ["defaults", "some namespaces"])
def test_the_operator_creates_secrets_and_never_reads_one(engine: Engine, case: str) -> None:
    for role in operators_roles(engine, case):
        assert {verb for _, resource, verb in granted(role["rules"]) if resource == "secrets"} == {"create"}


@pytest.mark.parametrize("case", ["defaults", "some namespaces"])
def test_no_rule_has_a_wildcard_or_gives_rights_away(engine: Engine, case: str) -> None:
    for role in operators_roles(engine, case):
        for grant in granted(role["rules"]):
            assert "*" not in grant, grant
            assert grant[2] not in {"escalate", "bind", "impersonate"}, grant


@pytest.mark.parametrize("case", ["defaults", "some namespaces", "its own namespace"])
def test_every_rule_says_what_it_is_for(engine: Engine, case: str) -> None:
    lines = engine.text(CASES[case])["rbac.yaml"].splitlines()
    for previous, line in itertools.pairwise(lines):
        if line.strip().startswith("- apiGroups:"):
            assert previous.strip().startswith(("# ", "verbs:")), f"no reason beside {line.strip()}"


def test_with_some_namespaces_there_are_no_rights_elsewhere(engine: Engine) -> None:
    objects = manifests(engine.text(CASES["some namespaces"]))
    roles = operators_roles(engine, "some namespaces")
    assert {(role["kind"], role["metadata"]["namespace"]) for role in roles} == {("Role", "shop"), ("Role", "billing")}
    assert not [item for item in objects if item["kind"] == "ClusterRoleBinding"]
    deployment = next(item for item in objects if item["kind"] == "Deployment")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["args"] == [
        "--log-level=info",
        "--namespace=shop",
        "--namespace=billing",
    ]


def test_with_all_namespaces_the_operator_is_told_none(engine: Engine) -> None:
    objects = manifests(engine.text({}))
    assert [role["kind"] for role in operators_roles(engine, "defaults")] == ["ClusterRole"]
    deployment = next(item for item in objects if item["kind"] == "Deployment")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["args"] == ["--log-level=info"]


@pytest.mark.parametrize("case", CASES)
def test_bindings_are_to_service_accounts_that_there_are(engine: Engine, case: str) -> None:
    objects = manifests(engine.text(CASES[case]))
    accounts = {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in objects if item["kind"] == "ServiceAccount"}
    accounts.add(("gmq-system", CASES[case].get("serviceAccount", {}).get("name", "")))
    for item in objects:
        for subject in item.get("subjects", []):
            assert (subject["namespace"], subject["name"]) in accounts
        if item["kind"] in {"Deployment", "Pod"}:
            pod = item["spec"]["template"]["spec"] if item["kind"] == "Deployment" else item["spec"]
            assert (item["metadata"]["namespace"], pod["serviceAccountName"]) in accounts


def test_no_roles_are_made_where_somebody_else_does(engine: Engine) -> None:
    objects = [item for item in manifests(engine.text(CASES["rights made elsewhere"])) if not is_of_the_test(item)]
    assert not [item["metadata"]["name"] for item in objects if item["kind"] in ROLES | BINDINGS]


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        ("view", {"get", "list", "watch"}, {"create", "update", "patch", "delete"}),
        ("edit", {"get", "list", "watch", "create", "update", "patch", "delete"}, set()),
        ("admin", {"get", "list", "watch", "create", "update", "patch", "delete"}, set()),
    ],
)
def test_people_with_the_clusters_roles_have_them_for_gmqservers(engine: Engine, role: str, may: set[str], may_not: set[str]) -> None:
    label = f"rbac.authorization.k8s.io/aggregate-to-{role}"
    roles = [item for item in manifests(engine.text({})) if item["metadata"]["labels"].get(label) == "true"]
    verbs = {verb for item in roles for _, resource, verb in granted(item["rules"]) if resource == "gmqservers"}
    assert may <= verbs
    assert not may_not & verbs
    status = {verb for item in roles for _, resource, verb in granted(item["rules"]) if resource == "gmqservers/status"}
    assert status == {"get", "list", "watch"}, "the status is the operator's to write"
