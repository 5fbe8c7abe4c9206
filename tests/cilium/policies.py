"""Random policies of both kinds, with a selector in every place that has one, and identities for them to select."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NAMESPACE = "io.kubernetes.pod.namespace"
CLUSTER = "io.cilium.k8s.policy.cluster"
TEAM = "io.cilium.k8s.namespace.labels.team"
LOCAL = "c1"

_ENTITIES = [
    "all",
    "cluster",
    "cluster-mesh",
    "health",
    "host",
    "ingress",
    "init",
    "kube-apiserver",
    "none",
    "remote-node",
    "unmanaged",
    "world",
    "world-ipv4",
    "world-ipv6",
]
_RESERVED = {
    1: "host",
    2: "world",
    3: "unmanaged",
    4: "health",
    5: "init",
    6: "remote-node",
    7: "kube-apiserver",
    8: "ingress",
    9: "world-ipv4",
    10: "world-ipv6",
    11: "aggregate-cluster",
    12: "aggregate-cluster-mesh",
    13: "aggregate-world",
    14: "aggregate-remote-node",
}
_CIDRS = ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "0--0/0", "fd00--0/8", "fd00--1/128"]

_sources = st.sampled_from(["k8s", "k8s", "k8s", "any", "container", "unspec", "node"])
_pod_labels = st.fixed_dictionaries(
    {},
    optional={
        "app": st.sampled_from(["web", "db", ""]),
        "tier": st.sampled_from(["front", "back"]),
        TEAM: st.sampled_from(["red", "blue"]),
    },
)


@st.composite
def _pod(draw: st.DrawFn, number: int) -> tuple[int, str]:
    """A pod's identity; seldom one that lacks what every pod has, or has it from an odd source."""
    of = {key: (draw(_sources), value) for key, value in draw(_pod_labels).items()}
    local = draw(st.booleans())
    if draw(st.integers(0, 7)):
        of[NAMESPACE] = (draw(st.sampled_from(["k8s"] * 7 + ["any"])), draw(st.sampled_from(["shop", "shop", "other"])))
    if draw(st.integers(0, 7)):
        of[CLUSTER] = ("k8s", LOCAL if local else "c2")
    text = "".join([f"{source}:{key}={value};" for key, (source, value) in sorted(of.items())])
    return (65536 if local else 131072) + number, text or "k8s:bare=;"


@st.composite
def _reserved(draw: st.DrawFn) -> tuple[int, str]:
    number = draw(st.sampled_from(sorted(_RESERVED)))
    of = {_RESERVED[number]: "reserved:{}=;"}
    if number in (1, 6):  # nodes have labels of Kubernetes, too, and may run an API server
        more = draw(st.sets(st.sampled_from(["kube-apiserver", "app", CLUSTER])))
        forms = {"kube-apiserver": "reserved:{}=;", "app": "k8s:{}=web;", CLUSTER: f"k8s:{{}}={LOCAL};"}
        of |= {key: forms[key] for key in more}
    if number == 7:
        of["remote-node"] = "reserved:{}=;"
    return number, "".join([form.format(key) for key, form in sorted(of.items())])


@st.composite
def _network(draw: st.DrawFn, number: int) -> tuple[int, str]:
    """The identity of a network, which is known on one node only."""
    world = draw(st.sampled_from(["world", "world-ipv4", "world-ipv6"]))
    return (1 << 24) + number, f"cidr:{draw(st.sampled_from(_CIDRS))}=;reserved:{world}=;"


@st.composite
def _remote_node(draw: st.DrawFn, number: int) -> tuple[int, str]:
    cluster, app = draw(st.sampled_from([LOCAL, "c2"])), draw(st.sampled_from(["web", "db"]))
    return (2 << 24) + number, f"k8s:app={app};k8s:{CLUSTER}={cluster};reserved:remote-node=;"


identities: st.SearchStrategy[dict[int, str]] = st.lists(
    st.integers(1, 9).flatmap(
        lambda number: st.one_of(
            _pod(number), _pod(number), _pod(number), _reserved(), _network(number), _remote_node(number)
        )
    ),
    min_size=1,
    max_size=12,
).map(dict)
"""Numbers with their labels as an etcd has them."""

_keys = st.sampled_from(
    [
        *("app", "k8s:app", "any:app", "container:app", "unspec:app", "tier", "k8s:tier", ":app"),
        *[f"{source}{key}" for source in ("", "k8s:", "any:", "container:") for key in (NAMESPACE, CLUSTER, TEAM)],
        *("reserved:host", "reserved:init", "reserved:remote-node", "reserved:world", "reserved:kube-apiserver"),
        *("any:host", "host", "k8s:init", "any:remote-node", "k8s:io.cilium.k8s.namespace.labels", "$host"),
        *(
            "cidr:10.0.0.0/8",
            "cidr:10.1.0.0/16",
            "cidr:fd00--0/8",
            "cidr:10.1.2.3/32",
            "any:10.0.0.0/8",
            "cidr:0.0.0.0/0",
        ),
    ]
)
_values = st.sampled_from(["", "web", "db", "front", "shop", "other", "c1", "c2", "red", "blue"])
_operators = st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"])


@st.composite
def _expression(draw: st.DrawFn) -> dict[str, Any]:
    operator = draw(_operators)
    with_values = operator in ("In", "NotIn")
    if not draw(st.integers(0, 19)):
        with_values = not with_values
    found: dict[str, Any] = {"key": draw(_keys), "operator": operator}
    if with_values:
        found["values"] = draw(st.lists(_values, min_size=1, max_size=3))
    return found


selectors: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "matchLabels": st.dictionaries(_keys, _values, max_size=2),
        "matchExpressions": st.lists(_expression(), max_size=2),
    },
)
_PEERS = {"from": ("ingress", "ingressDeny"), "to": ("egress", "egressDeny")}


def _traffic(way: str) -> st.SearchStrategy[dict[str, Any]]:
    """One entry of a direction; seldom with two kinds of peers, which Cilium refuses."""
    kinds: dict[str, st.SearchStrategy[list[Any]]] = {
        f"{way}Endpoints": st.lists(selectors, max_size=2),
        f"{way}Nodes": st.lists(selectors, max_size=2),
        f"{way}Entities": st.lists(st.sampled_from(_ENTITIES), max_size=2),
    }
    one = st.one_of([st.fixed_dictionaries({name: kind}) for name, kind in kinds.items()])
    return st.one_of(one, one, one, one, one, one, st.fixed_dictionaries({}, optional=kinds))


@st.composite
def _rule(draw: st.DrawFn, clusterwide: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    about = draw(st.integers(0, 19))
    if about not in (0, 1, 2):
        found["endpointSelector"] = draw(selectors)
    if about in (1, 2) or (clusterwide and about in (3, 4, 5)):
        found["nodeSelector"] = draw(selectors)
        if about > 2:
            del found["endpointSelector"]
    for way, directions in _PEERS.items():
        for direction in directions:
            entries = draw(st.lists(_traffic(way), max_size=2))
            if entries:
                found[direction] = entries
    return found


@st.composite
def _policy(draw: st.DrawFn) -> dict[str, Any]:
    clusterwide = draw(st.booleans())
    metadata = {"name": "p"} if clusterwide else {"name": "p", "namespace": draw(st.sampled_from(["shop", "other"]))}
    kind = "CiliumClusterwideNetworkPolicy" if clusterwide else "CiliumNetworkPolicy"
    found: dict[str, Any] = {"apiVersion": "cilium.io/v2", "kind": kind, "metadata": metadata}
    rules = draw(st.lists(_rule(clusterwide), min_size=1, max_size=2))
    if draw(st.booleans()):
        found["spec"], *rules = rules
    if rules:
        found["specs"] = rules
    return found


policies: st.SearchStrategy[dict[str, Any]] = _policy()
