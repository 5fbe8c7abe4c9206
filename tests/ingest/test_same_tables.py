"""Interchange: the same cluster through manifests and through a kvstore gives the same tables."""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, assume, given, settings

from catalog import TABLES, Backends, Endpoints, Identities, Nodes, Rejected, Services
from catalog.wire import WireError
from ingest import KvstoreOptions, ManifestsOptions, Source
from ingest.etcd.local import LocalEtcd
from ingest.kvstore import open as open_kvstore
from ingest.manifests import open as open_manifests
from statedb import Database, Snapshot
from tests.ingest.clusters import CLUSTER, Object, clusters, etcd_entries, write_directory

CARRIED = (Nodes, Identities, Endpoints, Services, Backends)


def rows(snapshot: Snapshot) -> dict[str, list[Any]]:
    return {table.name: list(snapshot[table].values()) for table in CARRIED}


def tables_of(db: Database, source: Source) -> dict[str, list[Any]]:
    """What a source makes of its place, once."""
    source.start()
    try:
        assert db.wait_initialized(*CARRIED, timeout=30)
        snapshot = db.snapshot()
        assert not snapshot[Rejected]
        return rows(snapshot)
    finally:
        source.stop()
        assert source.join(10)
        assert source.failure is None


def through_manifests(values: list[Object]) -> dict[str, list[Any]]:
    with tempfile.TemporaryDirectory() as directory:
        write_directory(values, Path(directory))
        db = Database(*TABLES)
        return tables_of(db, open_manifests(db, CLUSTER, 1, ManifestsOptions(directory=directory)))


def through_kvstore(entries: dict[str, bytes], etcd: LocalEtcd) -> dict[str, list[Any]]:
    with etcd.client() as client:
        client.delete_prefix(b"")
        for key, value in entries.items():
            client.put(key.encode(), value)
    db = Database(*TABLES)
    return tables_of(db, open_kvstore(db, CLUSTER, 1, KvstoreOptions(endpoints=(etcd.endpoint,))))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(clusters)
def test_interchange(etcd: LocalEtcd, values: list[Object]):
    try:
        entries = etcd_entries(values)
    except WireError:
        assume(False)  # two ports of one address have one name: the form in etcd cannot say that
    assert through_manifests(values) == through_kvstore(entries, etcd)
