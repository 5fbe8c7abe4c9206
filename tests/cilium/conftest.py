"""Every test here needs Cilium's programs: skipped where they are not built, unless STATEDB_CILIUM=required."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ingest.etcd.local import LocalEtcd

from ..apiserver.server import ApiServer
from ..ingest.clustermesh.publisher import token
from . import binary
from .kubernetes import install_crds

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
def server() -> Iterator[ApiServer]:
    """A real API server with Cilium's own CRDs, and the odd objects."""
    with ApiServer(crds=False) as server:
        server.start()
        install_crds(server)
        yield server


@pytest.fixture
def etcds() -> Iterator[Callable[[], LocalEtcd]]:
    """Makes etcds, running and empty."""
    with ExitStack() as stack:

        def make() -> LocalEtcd:
            etcd = stack.enter_context(LocalEtcd(arguments=[token()]))
            etcd.start()
            return etcd

        yield make
