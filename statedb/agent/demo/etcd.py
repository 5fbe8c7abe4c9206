"""A real etcd for the demonstration, kept equal to a directory of manifests, as a control plane would."""

from __future__ import annotations

import threading
from typing import Self

from ingest.etcd.local import LocalEtcd
from ingest.manifests import ManifestsOptions, open as open_manifests
from statedb import Database, Snapshot, WatchSet
from statedb.catalog import TABLES, Backends, Endpoints, Identities, Nodes, Services
from statedb.catalog.wire import identities, ips, keys, nodes, services

_MIRRORED = (Nodes, Identities, Endpoints, Services, Backends)
_POLL_S = 0.05


def entries_of(snapshot: Snapshot) -> dict[bytes, bytes]:
    """The rows of a cluster as keys and values in Cilium's KVStore layout."""
    entries = {f"{keys.NODES}/{nodes.name(row)}": nodes.encode(row) for row in snapshot[Nodes].values()}
    for identity in snapshot[Identities].values():
        entries[f"{keys.IDENTITIES}/{identities.name(identity)}"] = identities.encode(identity)
    for endpoint in snapshot[Endpoints].values():
        entries[f"{keys.IPS}/{ips.name(endpoint)}"] = ips.encode(endpoint)
    for service in snapshot[Services].values():
        backends = snapshot[Backends.by_service][service.key]
        entries[f"{keys.SERVICES}/{services.name(service)}"] = services.encode(service, backends)
    return {key.encode(): value for key, value in entries.items()}


class MirroredEtcd:
    """An etcd that a thread keeps equal to a directory. A context manager; raises NoEtcd without an etcd binary."""

    def __init__(self, directory: str, cluster: str, cluster_id: int) -> None:
        """Not yet started."""
        self._etcd = LocalEtcd()
        self._db = Database(*TABLES)
        options = ManifestsOptions(directory=directory, rescan_s=_POLL_S)
        self._source = open_manifests(self._db, cluster, cluster_id, options)
        self._stopping = threading.Event()
        self._filled = threading.Event()
        self._thread = threading.Thread(target=self._mirror, name="demo etcd", daemon=True)

    @property
    def endpoint(self) -> str:
        """Its address."""
        return self._etcd.endpoint

    def __enter__(self) -> Self:
        """Start it, and wait until it holds everything in the directory."""
        try:
            self._etcd.start()
            self._source.start()
            self._thread.start()
            self._filled.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it and remove its data."""
        self._stopping.set()
        self._source.stop()
        if self._thread.is_alive():
            self._thread.join()
        self._source.join()
        self._etcd.close()

    def _mirror(self) -> None:
        written: dict[bytes, bytes] = {}
        self._db.wait_initialized(*_MIRRORED)
        with self._etcd.client() as client:
            client.put(keys.HEARTBEAT.encode(), b"demo")
            while not self._stopping.is_set():
                snapshot = self._db.snapshot()
                wanted = entries_of(snapshot)
                for key in written.keys() - wanted.keys():
                    client.delete(key)
                for key, value in wanted.items():
                    if written.get(key) != value:
                        client.put(key, value)
                written = wanted
                self._filled.set()
                WatchSet(*[snapshot[table].watch() for table in _MIRRORED]).wait(timeout=0.2)
