"""The engines that the chart is tested with."""

from __future__ import annotations

import pytest

from helm_engines import HELM3, Engine, Helm3, Helm4


@pytest.fixture
def helm3(tmp_path_factory: pytest.TempPathFactory) -> Helm3:
    if not HELM3.exists():
        pytest.skip("Helm 3 is not installed: make tools")
    return Helm3(tmp_path_factory.mktemp("helm"))


@pytest.fixture(params=["helm3", "helm4"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return Helm4() if request.param == "helm4" else request.getfixturevalue("helm3")
