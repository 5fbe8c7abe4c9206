"""Random claims of addresses: endpoints, networks and nodes of several clusters, as etcds have them."""

from __future__ import annotations

from hypothesis import strategies as st

from statedb.catalog import Endpoint, EndpointKey, Node, NodeAddress, NodeKey

LOCAL, NODE = "c1", "n1"

_clusters = st.sampled_from([LOCAL, LOCAL, "c2", "c3"])
_ips = st.sampled_from(["10.0.0.1", "10.0.0.1", "10.0.0.2", "fd00::1"])
_networks = st.sampled_from(["10.0.0.0/24", "10.0.0.0/8", "fd00::/64"])
_kinds = st.sampled_from(["InternalIP", "InternalIP", "ExternalIP", "CiliumInternalIP"])


def _source(cluster: str) -> st.SearchStrategy[str]:
    """Who observed it: of another cluster the mesh, always."""
    return st.sampled_from(["custom-resource", "kvstore", "local"]) if cluster == LOCAL else st.just("clustermesh")


@st.composite
def _endpoint(draw: st.DrawFn, number: int) -> Endpoint:
    cluster = draw(_clusters)
    return Endpoint(
        key=EndpointKey(cluster, draw(st.one_of(_ips, _ips, _networks))),
        identity=70000 + number,
        host_ip=f"172.18.0.{number + 1}",
        pod=f"pod-{number}",
        namespace="shop",
        encryption_key=number,
        source=draw(_source(cluster)),
    )


@st.composite
def _node(draw: st.DrawFn, number: int) -> Node:
    """A node of its own name, with an address that only it has; the local one seldom, and then once."""
    cluster = draw(_clusters)
    addresses = [NodeAddress("InternalIP", f"172.19.0.{number + 1}")]
    addresses += draw(st.lists(st.builds(NodeAddress, _kinds, _ips), max_size=2, unique=True))
    return Node(
        key=NodeKey(cluster, NODE if cluster == LOCAL and draw(st.booleans()) and number == 0 else f"m{number}"),
        addresses=tuple(addresses),
        health_ips=draw(st.lists(_ips.filter(lambda ip: ":" not in ip), max_size=1).map(tuple)),
        ingress_ips=draw(st.lists(_ips.filter(lambda ip: ":" not in ip), max_size=1).map(tuple)),
        encryption_key=number,
        cluster_id=int(cluster[1:]),
        source=draw(_source(cluster)),
    )


claims: st.SearchStrategy[list[Endpoint | Node]] = (
    st.integers(1, 3)
    .flatmap(
        lambda count: st.tuples(
            *[st.one_of(_endpoint(number), _endpoint(number), _node(number)) for number in range(count)]
        )
    )
    .map(lambda found: list({each.key: each for each in found}.values()))
)
"""One row for each key, as in our tables."""
