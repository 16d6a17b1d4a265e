"""From one image to another, under load."""

from __future__ import annotations

import itertools
import os

import pytest

from cluster.installation import IMAGE
from cluster.killing import ChangedServer
from cluster.kubectl import Kubectl
from cluster.servers import FILESYSTEM, container, gmq_server, pod_of, ready
from cluster.test_kills import OPEN, policies
from crash.harness import Plan, run
from crash.mixes import MIXES

OTHER = os.environ.get("GMQ_TEST_OTHER_IMAGE", "")
"""Another image of the broker that the nodes have."""


@pytest.mark.skipif(not OTHER, reason="GMQ_TEST_OTHER_IMAGE names no other image")
@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost_from_one_image_to_another_and_back(kubectl: Kubectl) -> None:
    kubectl.apply(gmq_server("orders", storage=FILESYSTEM, policies=policies(), **OPEN))
    ready(kubectl, "orders")
    images = itertools.cycle([OTHER, IMAGE])
    report = run(Plan(MIXES["all"], seed=2, ends=2, load=(1.0, 2.0)), ChangedServer(kubectl, "orders", lambda: {"image": next(images)}))
    assert not report.faults, report.told()
    assert container(pod_of(kubectl, "orders"))["image"] in {OTHER, IMAGE}
