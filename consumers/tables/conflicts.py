"""Conflicts: keys that rows of several clusters claim, such as an address, a pod network or a service's backend.

The tables `IPCache`, `Routes` and `LoadBalancers` have the winner of each claim (`precedence`). This table names the
losers. A conflict is a configuration error, such as two clusters with the same pod networks, or an attack.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

import msgspec

from statedb import Database, Index, Table, UniqueIndex
from statedb.catalog import Backend, Backends, Endpoint, Endpoints, Node, Nodes

from ..running.derivation import Derivation
from ..running.follower import Report
from ..running.source_snapshot import SourceSnapshot
from .ipcache import IPCache, claims_of, plain_address
from .loadbalancer import LoadBalancers
from .node_ips import node_ips
from .routes import Routes, affected_networks, owner_of_network

log = logging.getLogger("statedb.consumers")

_ADDRESS, _NETWORK, _BACKEND = IPCache.name, Routes.name, LoadBalancers.name


class ConflictKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """``table``: the table of the winner, ``ipcache``, ``routes`` or ``loadbalancer``. ``key``: the claimed key.

    An address or network, a pod network, or ``NAMESPACE/NAME IP PORT PROTOCOL`` of a service's backend.
    """

    table: str
    key: str


class Conflict(msgspec.Struct, frozen=True, gc=False):
    """``winner`` and ``losers`` (sorted) are clusters. ``since``: when the conflict was found, in Unix seconds.

    ``since`` stays the same when the winner or the losers change.
    """

    key: ConflictKey
    winner: str
    losers: tuple[str, ...]
    since: float = 0.0


class Conflicts(Table[ConflictKey, Conflict], name="conflicts"):
    """One row for each key that several clusters claim now."""

    primary = UniqueIndex[ConflictKey, Conflict](lambda conflict: conflict.key)
    by_loser = Index[str, Conflict](lambda conflict: conflict.losers)


class ConflictsDerivation(Derivation[ConflictKey, Conflict]):
    """Maintains the table `Conflicts`; made by `derive_conflicts`."""

    def __init__(
        self, db: Database, cluster: str, *, report: Report | None = None, wall: Callable[[], float] = time.time
    ) -> None:
        """``wall`` dates the rows, in Unix seconds."""
        super().__init__(
            db,
            Conflicts,
            self._compute_row,
            {
                Endpoints: lambda _, endpoint: _of_endpoint(endpoint),
                Nodes: lambda snapshot, node: _of_node(snapshot, cluster, node),
                Backends: lambda _, backend: [_of_backend(backend)],
            },
            name="conflicts",
            report=report,
        )
        self.total = 0
        """The number of conflicts since the start, including those that have ended."""
        self._cluster = cluster
        self._wall = wall
        self._since: dict[ConflictKey, float] = {}
        self._logged: set[tuple[str, str, str]] = set()

    def _compute_row(self, snapshot: SourceSnapshot, key: ConflictKey) -> Conflict | None:
        clusters = _CLAIMANTS[key.table](snapshot, key.key, self._cluster)
        if len(clusters) < 2:
            self._since.pop(key, None)
            return None
        if key not in self._since:
            self.total += 1
            self._since[key] = self._wall()
        winner, losers = clusters[0], tuple(sorted(clusters[1:]))
        self._warn(key, winner, losers)
        return Conflict(key, winner, losers, self._since[key])

    def _warn(self, key: ConflictKey, winner: str, losers: tuple[str, ...]) -> None:
        """Log a warning, once for each pair of clusters and table, because there may be thousands of conflicts."""
        for loser in losers:
            if (key.table, winner, loser) not in self._logged:
                self._logged.add((key.table, winner, loser))
                log.warning(
                    "clusters %s and %s both claim %s; in table %s %s wins. The table conflicts has all such keys",
                    winner,
                    loser,
                    key.key,
                    key.table,
                    winner,
                )


def derive_conflicts(
    db: Database, cluster: str, *, report: Report | None = None, wall: Callable[[], float] = time.time
) -> ConflictsDerivation:
    """Maintain the table `Conflicts`. ``cluster`` is the local cluster; ``wall`` returns Unix seconds."""
    return ConflictsDerivation(db, cluster, report=report, wall=wall)


# --- which keys a row claims ------------------------------------------------------------------------------------------


def _of_endpoint(endpoint: Endpoint) -> list[ConflictKey]:
    return [ConflictKey(_ADDRESS, plain_address(endpoint.key.ip))]


def _of_node(snapshot: SourceSnapshot, local_cluster: str, node: Node) -> list[ConflictKey]:
    networks = affected_networks(snapshot, local_cluster, node)
    return [
        *[ConflictKey(_ADDRESS, ip) for ip in Nodes.by_ip.keys_of(node)],
        *[ConflictKey(_NETWORK, network) for network in networks],
    ]


def _of_backend(backend: Backend) -> ConflictKey:
    key = backend.key
    return ConflictKey(_BACKEND, f"{key.namespace}/{key.service} {key.ip} {key.port} {key.protocol}")


# --- which clusters claim a key, each once, the winner first ----------------------------------------------------------


def _claimants_of_address(snapshot: SourceSnapshot, address: str, local_cluster: str) -> list[str]:
    return list(dict.fromkeys([claim.cluster for claim in sorted(claims_of(snapshot, address, local_cluster))]))


def _claimants_of_network(snapshot: SourceSnapshot, network: str, local_cluster: str) -> list[str]:
    found = {node.key.cluster for node in snapshot[Nodes.by_pod_cidr][network] if any(node_ips(node))}
    if found and owner_of_network(snapshot, local_cluster, network) is not None:
        found.add(local_cluster)
    return _local_first(found, local_cluster)


def _claimants_of_backend(snapshot: SourceSnapshot, text: str, local_cluster: str) -> list[str]:
    rows = snapshot[Backends.by_address][text.split(" ")[1]]
    return _local_first({row.key.cluster for row in rows if _of_backend(row).key == text}, local_cluster)


def _local_first(clusters: set[str], local_cluster: str) -> list[str]:
    return sorted(clusters, key=lambda cluster: (cluster != local_cluster, cluster))


_CLAIMANTS: Mapping[str, Callable[[SourceSnapshot, str, str], list[str]]] = {
    _ADDRESS: _claimants_of_address,
    _NETWORK: _claimants_of_network,
    _BACKEND: _claimants_of_backend,
}
