"""Which identity an address has, on which node, under which key: endpoints and nodes of all clusters in one table.

Where several claim an address, the strongest source wins; of equal ones an endpoint before a node, then the first by
name, so that the table is a function of the others and not of their order in time. Looking up is the longest match of
a snapshot: from any thread, while updates run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from statedb import Database, Index, PrefixIndex, Snapshot, Table, UniqueIndex
from statedb.catalog import Endpoint, Endpoints, Node, NodeKey, Nodes

from ..running.derivation import Cut, Derivation, derive
from ..running.follower import Report
from .node_ips import node_ips
from .precedence import rank

HOST = 1
HEALTH = 4
REMOTE_NODE = 6
INGRESS = 8
"""Reserved identities (cilium/cilium pkg/identity)."""


class IPEntry(msgspec.Struct, frozen=True, gc=False):
    """What is known of an address or a network, in canonical text; an address has no ``/32`` or ``/128``.

    ``host_ip`` is the node that traffic to it is sent to, empty where that is not known; ``encryption_key`` 0 means
    none. ``cluster`` is the one that the claim comes from, ``source`` who observed it. ``pod`` is empty for nodes.
    """

    network: str
    identity: int
    host_ip: str = ""
    encryption_key: int = 0
    cluster: str = ""
    namespace: str = ""
    pod: str = ""
    source: str = ""


class IPCache(Table[str, IPEntry], name="ipcache"):
    """One row per address or network that anybody claims."""

    primary = UniqueIndex[str, IPEntry](lambda entry: entry.network)
    by_network = PrefixIndex[str | bytes, IPEntry](lambda entry: (entry.network,))
    by_identity = Index[int, IPEntry](lambda entry: (entry.identity,))


def lookup(snapshot: Snapshot, address: str | bytes) -> IPEntry | None:
    """The entry of the longest network that covers an address (text, or 4 or 16 bytes); None where none does.

    To look many up in one snapshot bind ``snapshot[IPCache.by_network].longest`` once: a third of the time is saved.
    """
    found = snapshot[IPCache.by_network].longest(address)
    return found[0] if found else None


def derive_ipcache(
    db: Database, *, local_node: NodeKey | None = None, report: Report | None = None
) -> Derivation[str, IPEntry]:
    """Keeps the table ``IPCache``. The addresses of ``local_node`` are the host's, those of others remote nodes'."""

    def compute(cut: Cut, network: str) -> IPEntry | None:
        claims = [_of_endpoint(endpoint, network) for endpoint in cut[Endpoints.by_prefix][network]]
        for node in cut[Nodes.by_ip][network]:
            claims += _of_node(node, network, local=node.key == local_node)
        return min(claims).entry if claims else None

    return derive(
        db,
        IPCache,
        compute,
        {Endpoints: lambda _, endpoint: [_plain(endpoint.key.ip)], Nodes: lambda _, node: Nodes.by_ip.keys_of(node)},
        name="ipcache",
        report=report,
    )


class _Claim(NamedTuple):
    """Claims sort by who wins; no two of one address are equal in what comes before the entry."""

    rank: int
    kind: int
    cluster: str
    name: str
    entry: IPEntry


def _of_endpoint(endpoint: Endpoint, network: str) -> _Claim:
    cluster = endpoint.key.cluster
    entry = IPEntry(
        network,
        endpoint.identity,
        endpoint.host_ip,
        endpoint.encryption_key,
        cluster,
        endpoint.namespace,
        endpoint.pod,
        endpoint.source,
    )
    return _Claim(rank(endpoint.source), 0, cluster, endpoint.key.ip, entry)


def _of_node(node: Node, network: str, *, local: bool) -> Iterator[_Claim]:
    host_ip = node_ips(node).of_family(network)
    own = [each.ip for each in node.addresses]
    claimed = {HOST if local else REMOTE_NODE: own, HEALTH: node.health_ips, INGRESS: node.ingress_ips}
    for kind, (identity, ips) in enumerate(claimed.items(), start=1):
        if network in ips:
            entry = IPEntry(network, identity, host_ip, node.encryption_key, node.key.cluster, source=node.source)
            yield _Claim(rank(node.source), kind, node.key.cluster, node.key.name, entry)


def _plain(ip: str) -> str:
    """A network of one address is that address."""
    return ip.removesuffix("/128") if ":" in ip else ip.removesuffix("/32")
