"""Every test here needs Cilium's programs: skipped where they are not built, unless STATEDB_CILIUM=required."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from ingest.etcd.local import LocalEtcd

from ..apiserver.server import ApiServer
from ..conftest import FIGURE
from ..ingest.clustermesh.publisher import token
from . import binary, objects
from .asking import Oracle
from .kubernetes import create_all, install_crds
from .peers import ClusterMesh
from .publishing import Ours

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


@pytest.fixture(scope="session")
def odd(server: ApiServer) -> ApiServer:
    """The same, with the odd objects, which stay."""
    create_all(server, [*objects.NAMESPACES, *(each for case in objects.all_cases() for each in case.objects)])
    return server


@dataclass(frozen=True)
class Published:
    """What both writers have written of the odd objects; they live."""

    real: LocalEtcd
    ours: LocalEtcd
    writer: Ours


@pytest.fixture(scope="module")
def published(odd: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    """Both writers with their defaults on the odd objects. Ours has threads here, and other tests count threads."""
    folder = tmp_path_factory.mktemp("published")
    with LocalEtcd(arguments=[token()]) as real, LocalEtcd(arguments=[token()]) as ours:
        real.start()
        ours.start()
        with ClusterMesh(folder, odd, real) as peer, Ours(odd, ours) as writer:
            peer.wait_ready()
            writer.wait_ready()
            yield Published(real, ours, writer)


Say = Callable[[str], None]
Etcds = Callable[[], LocalEtcd]
"""What the fixtures of these names give."""


@pytest.fixture
def say(record_property: Callable[[str, object], None]) -> Say:
    """Tells a figure, which the summary of the run shows."""
    return lambda what: record_property(FIGURE, f"tests/cilium: {what}")


@pytest.fixture
def etcds() -> Iterator[Callable[[], LocalEtcd]]:
    """Makes etcds, running and empty."""
    with ExitStack() as stack:

        def make() -> LocalEtcd:
            etcd = stack.enter_context(LocalEtcd(arguments=[token()]))
            etcd.start()
            return etcd

        yield make


@pytest.fixture(scope="session")
def oracle() -> Iterator[Oracle]:
    """One process of Cilium's packages, which answers all questions of this run."""
    with Oracle() as running:
        yield running
