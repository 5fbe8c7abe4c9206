"""Every test here needs Cilium's programs: skipped where they are not built, unless STATEDB_CILIUM=required."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import binary
from .asking import Oracle

HERE = Path(__file__).parent


@pytest.fixture(scope="session", autouse=True)
def _has_programs(request: pytest.FixtureRequest) -> None:
    needed = any(item.get_closest_marker("cilium") for item in request.session.items)
    if needed and os.environ.get(binary.REQUIRED) == "required":
        assert not binary.missing(), binary.missing()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if HERE in item.path.parents and item.path.name != "test_binary.py"]
    missing = binary.missing() if here else ""
    for item in here:
        item.add_marker(pytest.mark.cilium)
        if missing and os.environ.get(binary.REQUIRED) != "required":
            item.add_marker(pytest.mark.skip(reason=missing))


@pytest.fixture(scope="session")
def oracle() -> Iterator[Oracle]:
    """One process of Cilium's packages, which answers all questions of this run."""
    with Oracle() as running:
        yield running
