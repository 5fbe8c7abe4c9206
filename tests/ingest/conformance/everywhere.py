"""One cluster, told at once to a directory, to an API server and to an etcd, which two kinds of sources read."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from ingest import ClusterMeshOptions, KubernetesOptions, KvstoreOptions, ManifestsOptions, Source
from ingest.clustermesh import open as open_clustermesh
from ingest.etcd.local import LocalEtcd
from ingest.kubernetes import open as open_kubernetes
from ingest.kvstore import open as open_kvstore
from ingest.manifests import open as open_manifests
from statedb import Database, Snapshot, WatchSet
from statedb.catalog import TABLES, Backends, Endpoints, Identities, Nodes, Services
from statedb.catalog.wire import WireError, crds, ips, keys
from statedb.catalog.wire.cluster_configs import ClusterConfig, encode

from ...tcp_proxy import TcpProxy
from ..clustermesh.publisher import CANARIES
from ..clusters import CLUSTER, Object, as_in_etcd, etcd_entries, name_of
from ..kube_fake import FakeApi

CARRIED = (Nodes, Identities, Endpoints, Services, Backends)
"""What every backend carries."""
WAIT_S = 60.0
BEAT_S = 0.05

Rows = dict[str, list[Any]]


def rows(snapshot: Snapshot) -> Rows:
    return {table.name: list(snapshot[table].values()) for table in CARRIED}


def entries_of(values: list[Object]) -> dict[str, bytes]:
    """What an etcd holds of them, slices of endpoints included. Raises WireError where it cannot say it."""
    slices = [value for value in values if value["kind"] == "CiliumEndpointSlice"]
    entries = etcd_entries([value for value in values if value["kind"] != "CiliumEndpointSlice"])
    for value in slices:
        for endpoint in crds.endpoint_slice_of_cilium(value, CLUSTER):
            entries[f"{keys.IPS}/{ips.name(endpoint)}"] = ips.encode(endpoint)
    return entries


def as_told_by(source: str, wanted: Rows) -> Rows:
    """What a source of this kind can tell of a cluster whose objects make these rows."""
    if source in ("manifests", "kubernetes"):
        return wanted
    services, backends = as_in_etcd(wanted[Services.name], wanted[Backends.name])
    return {**wanted, Services.name: services, Backends.name: backends}


class Everywhere:
    """The cluster and a running source of each kind; a context manager."""

    def __init__(self, etcd: LocalEtcd, directory: Path, *, endpoint_slices: bool) -> None:
        self._directory = directory
        self._resources = contextlib.ExitStack()
        self.api = self._resources.enter_context(FakeApi())
        self.client = self._resources.enter_context(etcd.client())
        self.proxy = self._resources.enter_context(TcpProxy(etcd.endpoint))
        self.objects: dict[tuple[str, str, str], Object] = {}
        """What is there and good; of objects that are bad now, what was good last."""
        self._written: dict[str, bytes] = {}
        self.client.delete_prefix(b"")
        self._beat()  # by which an etcd is known again that has lost its history, too
        self.client.put(f"cilium/cluster-config/{CLUSTER}".encode(), encode(ClusterConfig(1, True)))
        for canary in CANARIES:
            self.client.put(canary.replace("cluster3", CLUSTER).encode(), b"now")
        quick: dict[str, Any] = {"retry_min_s": 0.02, "retry_max_s": 0.1, "request_timeout_s": 5.0}
        etcds: dict[str, Any] = {"endpoints": (self.proxy.endpoint,), **quick}
        options: dict[str, tuple[Any, Any]] = {
            "manifests": (open_manifests, ManifestsOptions(directory=str(directory), rescan_s=0.02)),
            "kubernetes": (
                open_kubernetes,
                KubernetesOptions(server=self.api.url, endpoint_slices=endpoint_slices, page_limit=3, **quick),
            ),
            "kvstore": (open_kvstore, KvstoreOptions(lease_time_s=0.0, **etcds)),
            "clustermesh": (open_clustermesh, ClusterMeshOptions(**etcds)),
        }
        self.databases: dict[str, Database] = {}
        self.sources: dict[str, Source] = {}
        for name, (open_it, chosen) in options.items():
            self.databases[name] = db = Database(*TABLES)
            self.sources[name] = open_it(db, CLUSTER, 1, chosen)

    def __enter__(self) -> Self:
        for source in self.sources.values():
            source.start()
        return self

    def __exit__(self, *_: object) -> None:
        for source in self.sources.values():
            source.stop()
        ended = [source.join(10) for source in self.sources.values()]
        self._resources.close()
        assert all(ended)
        assert [source.failure for source in self.sources.values()] == [None] * len(self.sources)

    def put(self, value: Object) -> None:
        """Create or update an object; left out where another one has its address, or an etcd cannot tell it."""
        after = {**self.objects, name_of(value): value}
        try:
            entries = entries_of(list(after.values()))
        except WireError:
            return
        if _claims_twice(after.values()):
            return
        self.objects = after
        self._write_file(value)
        self.api.put(value)
        self._write_etcd(entries)

    def remove(self, name: tuple[str, str, str]) -> None:
        """Delete an object, good or bad."""
        value = self.objects.pop(name)
        self._file(value).unlink()
        self.api.remove(value)
        self._write_etcd(entries_of(list(self.objects.values())))

    def move(self, first: Object, second: Object, *, new_first: bool) -> None:
        """Two slices at once, as an operator writes them that moves endpoints: one after the other, in either order."""
        for value in (second, first) if new_first else (first, second):
            self.objects[name_of(value)] = value
            self._write_file(value)
            self.api.put(value)
        self._write_etcd(entries_of(list(self.objects.values())))

    def spoil(self, name: tuple[str, str, str], bad: Object, key: str) -> None:
        """An object becomes one that cannot be read; the last good one counts."""
        assert name_of(bad) == name
        self._write_file(bad)
        self.api.put(bad)
        self.client.put(key.encode(), b"{")
        self._written[key] = b"{"

    def until_all(self, holds: Callable[[str, Snapshot], bool], what: Callable[[str], str]) -> None:
        """Wait until all sources' tables fulfil a condition; it is given the kind of the source.

        The writer of the etcd lives meanwhile: only when its heartbeat changes is it known that it is not a dead one's.
        """
        for name, db in self.databases.items():
            end = time.monotonic() + WAIT_S
            while not holds(name, snapshot := db.snapshot()):
                watches = [snapshot[table].watch() for table in TABLES]
                WatchSet(*watches).wait(timeout=BEAT_S)
                assert time.monotonic() < end, what(name)
                self._beat()

    def _beat(self) -> None:
        self.client.put(keys.HEARTBEAT.encode(), b"now")

    def _write_etcd(self, entries: dict[str, bytes]) -> None:
        for key in [key for key in self._written if key not in entries]:
            self.client.delete(key.encode())
            del self._written[key]
        for key, value in entries.items():
            if self._written.get(key) not in (value, b"{"):
                self.client.put(key.encode(), value)
                self._written[key] = value

    def _file(self, value: Object) -> Path:
        return self._directory / ("-".join(name_of(value)).replace("/", "_") + ".json")

    def _write_file(self, value: Object) -> None:
        path = self._file(value)
        temporary = path.with_name(f".{path.name}.{threading.get_ident()}")
        temporary.write_text(json.dumps(value))
        temporary.replace(path)


def _claims_twice(values: Any) -> bool:
    claimed: set[str] = set()
    for value in values:
        if value["kind"] == "CiliumEndpoint":
            its = {row.key.ip for row in crds.endpoint(value, CLUSTER)}
        elif value["kind"] == "CiliumEndpointSlice":
            its = {row.key.ip for row in crds.endpoint_slice_of_cilium(value, CLUSTER)}
        else:
            continue
        if its & claimed:
            return True
        claimed |= its
    return False
