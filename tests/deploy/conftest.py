"""Tests that need helm are skipped where there is none, with the remedy; STATEDB_HELM=required lets them fail."""

import os

import pytest

from . import helm

REQUIRED = "STATEDB_HELM"


@pytest.fixture(scope="session", autouse=True)
def _has_helm(request: pytest.FixtureRequest) -> None:
    needs = any(item.get_closest_marker("helm") for item in request.session.items)
    if needs and os.environ.get(REQUIRED) == "required":
        assert helm.find() is not None, "there is no helm; run `make helm`"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if helm.find() is not None or os.environ.get(REQUIRED) == "required":
        return
    for item in items:
        if item.get_closest_marker("helm"):
            item.add_marker(pytest.mark.skip(reason="there is no helm; run `make helm` (it needs Go)"))
