"""A recorded cluster through a real API server, and the same as files: equal tables, also after it has changed.

That the other backends agree with the files is said by test_interchange, on an API server that can be made to fail.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from statedb import Snapshot
from statedb.catalog import Backends, Rejected, Services

from ...apiserver import objects
from ...apiserver.server import ApiServer
from ..clusters import Object
from ..kube_real import put, remove
from ..kube_rig import KubeRig, cep, ces, endpoint_slice, service
from .everywhere import Rows, rows
from .test_interchange import compute_all

pytestmark = pytest.mark.apiserver

_HEADLESS = service("headless", ip="None")
_HEADLESS["spec"] |= {"selector": {"app": "db"}}
COMMON = [
    objects.node("n1"),
    objects.node("n2", "172.18.0.3"),
    objects.identity("65700"),
    objects.identity("70000", "db"),
    service("web"),
    service("own", shared=False, ip="10.96.0.11"),
    _HEADLESS,
    endpoint_slice("web-1", "web", ["10.0.0.1", "10.0.0.2"]),
    endpoint_slice("web-2", "web", ["10.0.0.3"]),
    endpoint_slice("headless-1", "headless", ["10.0.0.4"]),
    endpoint_slice("own-1", "own", ["10.0.0.5"]),
]
_DUAL_STACK = objects.endpoint("pod-a")
_DUAL_STACK["metadata"] |= {"namespace": "default"}
SINGLE = [*COMMON, _DUAL_STACK, *[cep(f"10.0.0.{last}", 65_700) for last in range(1, 6)]]
SLICED = [*COMMON, ces("a", ["10.0.0.1", "10.0.0.2"]), ces("b", ["10.0.0.3"], 65_700)]


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer() as one:
        one.start()
        yield one


def without_kubernetes(snapshot: Snapshot) -> Rows:
    """The rows without the service of the API server itself, which every cluster has."""
    found = rows(snapshot)
    return {
        **found,
        Services.name: [row for row in found[Services.name] if row.key.name != "kubernetes"],
        Backends.name: [row for row in found[Backends.name] if row.key.service != "kubernetes"],
    }


@pytest.mark.parametrize(("values", "endpoint_slices"), [(SINGLE, False), (SLICED, True)], ids=["single", "slices"])
@pytest.mark.parametrize("streaming", [True, False])
def test_the_tables_are_those_of_the_files(
    server: ApiServer, values: list[Object], endpoint_slices: bool, streaming: bool
):
    try:
        for value in values:
            put(server, value)
        options = {"endpoint_slices": endpoint_slices, "streaming_lists": streaming, "page_limit": 2}
        with KubeRig(kubeconfig=str(server.kubeconfig()), **options) as rig:
            snapshot = rig.synced()
            assert not snapshot[Rejected]
            assert without_kubernetes(snapshot) == compute_all(values)
            changed = [*values[:4], *values[5:]]  # the service goes, its slices stay
            remove(server, values[4])
            rig.until(lambda s: without_kubernetes(s) == compute_all(changed), "the tables of what is left")
            put(server, values[4])
            rig.until(lambda s: without_kubernetes(s) == compute_all(values), "the tables of all")
    finally:
        for value in values:
            remove(server, value)
