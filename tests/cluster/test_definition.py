"""The CustomResourceDefinition on a real API server, which the tests without a cluster have a stand-in for."""

from __future__ import annotations

import json
import re

import shapes
from apiserver import refusals
from bodies import MEMORY, MYSQL, whole
from kubernetes import client, config

from cluster.kubectl import Kubectl
from cluster.servers import gmq_server, refused
from gmq_operator.spec import GROUP, PLURAL, VERSION

INVALID = 422
"""The status with which an API server answers that an object is invalid."""


def test_the_real_api_server_says_of_each_edge_of_each_range_what_its_stand_in_says(kubectl: Kubectl) -> None:
    """Through the API itself: kubectl takes minutes for so many."""
    config.load_kube_config()
    api, with_rules = client.CustomObjectsApi(), knows_rules(kubectl)
    differ: list[str] = []
    for spec in shapes.ALONE.alone():
        body = {**whole(spec), "metadata": {"name": "orders"}}
        said = ""
        try:
            api.create_namespaced_custom_object(GROUP, VERSION, kubectl.namespace, PLURAL, body, dry_run="All")
        except client.ApiException as error:
            if error.status != INVALID:
                raise
            said = json.loads(error.body)["message"]
        foretold = refusals(body, cel=with_rules)
        if bool(said) != bool(foretold):
            differ.append(f"of {json.dumps(spec)} the API server says {said or 'nothing'}, its stand-in {foretold}")
    assert not differ, "\n".join(differ)


def test_kubectl_explains_every_field_with_its_default(kubectl: Kubectl) -> None:
    said = re.sub(r"\s+", " ", kubectl("explain", "gmqserver.spec.storage.filesystem"))
    for text in ("Messages on a volume", "size", "It can grow where the storage class allows that, and never shrink. Default: 10Gi."):
        assert text in said


def test_a_type_of_storage_changes_only_with_the_type_of_before(kubectl: Kubectl) -> None:
    if not knows_rules(kubectl):
        return  # there the operator says so, by a condition
    kubectl.apply(gmq_server("orders", storage=MEMORY, replicas=0))
    refusal = refused(kubectl, gmq_server("orders", storage={"type": "filesystem"}, replicas=0))
    assert refusal is not None
    assert "switchFrom" in refusal
    assert refused(kubectl, gmq_server("orders", storage={**MYSQL, "switchFrom": "memory"}, replicas=0)) is None


def knows_rules(kubectl: Kubectl) -> bool:
    """Whether the definition that is installed has rules in CEL."""
    return "x-kubernetes-validations" in json.dumps(kubectl.get("crd", "gmqservers.gmq.io")["spec"])
