"""The ipcache: the identity, node and encryption key of each address, from the endpoints and nodes of all clusters.

If several rows claim an address, a row of the local cluster wins. Then an endpoint wins over a node, as in Cilium
(pkg/ipcache: the address of an endpoint shadows a network of one address), then the stronger source (`precedence`),
then a node's own address over the health and ingress addresses of other nodes, then the first by cluster and name. If
one node has an address twice, ingress wins over health, and health over its own (pkg/node/manager). So the table
depends only on the rows, and not on their order of arrival.

A lookup is a longest prefix match in a snapshot, from any thread, while updates run. The entry of a network applies to
those of its addresses that have no entry themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from statedb import Database, Index, PrefixIndex, Snapshot, Table, UniqueIndex
from statedb.catalog import Endpoint, Endpoints, Node, Nodes

from ..running.derivation import Derivation, derive
from ..running.follower import Report
from ..running.source_snapshot import SourceSnapshot
from .node_ips import node_ips
from .precedence import precedence

HOST = 1
HEALTH = 4
REMOTE_NODE = 6
INGRESS = 8
"""Reserved identities (cilium/cilium pkg/identity)."""


class IPEntry(msgspec.Struct, frozen=True, gc=False):
    """The entry of an address or a network, in canonical text; an address has no ``/32`` or ``/128``.

    ``host_ip``: the node that traffic is sent to; empty if unknown. ``encryption_key`` 0 means none. ``cluster``: the
    cluster of the winning row. ``source``: who observed it. ``pod`` is empty for nodes.
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
    """One row for each claimed address or network."""

    primary = UniqueIndex[str, IPEntry](lambda entry: entry.network)
    by_network = PrefixIndex[str | bytes, IPEntry](lambda entry: (entry.network,))
    by_identity = Index[int, IPEntry](lambda entry: (entry.identity,))


def lookup(snapshot: Snapshot, address: str | bytes) -> IPEntry | None:
    """The entry of the longest network that covers an address (text, or 4 or 16 bytes); None if there is none.

    For many lookups in one snapshot, bind ``snapshot[IPCache.by_network].longest`` once. It saves a third.
    """
    found = snapshot[IPCache.by_network].longest(address)
    return found[0] if found else None


def derive_ipcache(
    db: Database, cluster: str, *, local_node: str = "", report: Report | None = None
) -> Derivation[str, IPEntry]:
    """Maintain the table ``IPCache``. ``cluster`` is the local cluster, whose claims win over all others.

    The addresses of the node ``local_node`` of this cluster have the identity of the host, those of other nodes the
    identity of a remote node.
    """

    def compute(snapshot: SourceSnapshot, network: str) -> IPEntry | None:
        claims = claims_of(snapshot, network, cluster, local_node)
        return min(claims).entry if claims else None

    return derive(
        db,
        IPCache,
        compute,
        {
            Endpoints: lambda _, endpoint: [plain_address(endpoint.key.ip)],
            Nodes: lambda _, node: Nodes.by_ip.keys_of(node),
        },
        name="ipcache",
        report=report,
    )


class Claim(NamedTuple):
    """The claim of a row to an address. The winner sorts first. Two claims differ in a field before ``entry``."""

    is_remote: bool
    is_node: bool
    precedence: int
    kind: int
    cluster: str
    name: str
    entry: IPEntry


def claims_of(snapshot: SourceSnapshot, network: str, local_cluster: str, local_node: str = "") -> list[Claim]:
    """All claims to an address or network by endpoints and nodes, unordered."""
    claims = [_of_endpoint(endpoint, network, local_cluster) for endpoint in snapshot[Endpoints.by_prefix][network]]
    for node in snapshot[Nodes.by_ip][network]:
        claims += _of_node(node, network, local_cluster, local_node)
    return claims


def _of_endpoint(endpoint: Endpoint, network: str, local_cluster: str) -> Claim:
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
    strength = precedence(local_cluster, cluster, endpoint.source)
    return Claim(cluster != local_cluster, False, strength, 0, cluster, endpoint.key.ip, entry)


def _of_node(node: Node, network: str, local_cluster: str, local_node: str) -> Iterator[Claim]:
    cluster, name = node.key.cluster, node.key.name
    strength = precedence(local_cluster, cluster, node.source)
    host_ip = node_ips(node).of_family(network)
    own = [each.ip for each in node.addresses]
    is_host = cluster == local_cluster and name == local_node
    claimed = {HOST if is_host else REMOTE_NODE: own, HEALTH: node.health_ips, INGRESS: node.ingress_ips}
    roles = [(kind, identity) for kind, (identity, ips) in enumerate(claimed.items()) if network in ips]
    for kind, identity in roles[-1:]:
        entry = IPEntry(network, identity, host_ip, node.encryption_key, cluster, source=node.source)
        yield Claim(cluster != local_cluster, True, strength, kind, cluster, name, entry)


def plain_address(ip: str) -> str:
    """An address without the prefix length of a network of one address."""
    return ip.removesuffix("/128") if ":" in ip else ip.removesuffix("/32")
