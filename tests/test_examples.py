"""The example cluster is a whole: nothing is rejected, and its parts fit together."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from ingest.manifests import ManifestsOptions, open as open_manifests
from statedb import Database, Snapshot
from statedb.catalog import TABLES, Backends, Endpoints, Identities, Namespaces, Nodes, Policies, Rejected, Services

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Snapshot]:
    db = Database(*TABLES)
    source = open_manifests(db, "cluster1", 1, ManifestsOptions(directory=str(EXAMPLES / "cluster")))
    source.start()
    assert db.wait_initialized(Nodes, Policies, timeout=30)
    yield db.snapshot()
    source.stop()
    assert source.join(10)


def test_nothing_is_rejected(cluster: Snapshot):
    assert list(cluster[Rejected].values()) == []


def test_every_table_has_rows(cluster: Snapshot):
    assert len(cluster[Nodes]) == 3
    assert len({(row.namespace, row.pod) for row in cluster[Endpoints].values()}) == 40
    for table in (Identities, Services, Backends, Namespaces, Policies):
        assert len(cluster[table]) >= 3, table.name


def test_every_endpoint_is_on_a_node_in_its_pod_network(cluster: Snapshot):
    for endpoint in cluster[Endpoints].values():
        (node,) = cluster[Nodes.by_address][endpoint.host_ip]
        assert any(ip_address(endpoint.key.ip) in ip_network(cidr) for cidr in node.pod_cidrs)
        assert cluster[Nodes.by_pod_cidr].longest(endpoint.key.ip) == (node,)


def test_every_endpoint_has_an_identity_of_its_namespace(cluster: Snapshot):
    identities = {row.key.id: row for row in cluster[Identities].values()}
    for endpoint in cluster[Endpoints].values():
        assert identities[endpoint.identity].namespace == endpoint.namespace
        assert endpoint.namespace in {row.key.name for row in cluster[Namespaces].values()}


def test_every_backend_is_an_endpoint(cluster: Snapshot):
    addresses = {row.key.ip for row in cluster[Endpoints].values()}
    for backend in cluster[Backends].values():
        assert backend.key.ip in addresses
        assert backend.service in cluster[Services]
