"""Random rows of small clusters, from pools so small that claims collide, and histories of them."""

from __future__ import annotations

from hypothesis import strategies as st

from statedb.catalog import (
    Backend,
    BackendKey,
    Endpoint,
    EndpointKey,
    Entity,
    Frontend,
    Identity,
    IdentityKey,
    Node,
    NodeAddress,
    NodeKey,
    Policy,
    PolicyKey,
    Requirement,
    Selector,
    Service,
    ServiceKey,
)

clusters = st.sampled_from(["c1", "c2", "c3"])
sources = st.sampled_from(["local", "kvstore", "custom-resource", "clustermesh", "unheard of"])
addresses = st.sampled_from(["10.0.0.1", "10.0.0.2", "10.1.0.1", "fd00::1", "fd00::2"])
networks = st.sampled_from(
    ["0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/24", "10.0.0.1/32", "10.1.0.0/16", "fd00::/64", "fd00::1/128"]
)
pod_cidrs = st.sampled_from(["10.0.0.0/24", "10.1.0.0/16", "10.0.0.0/8", "fd00::/64"])

endpoints = st.builds(
    Endpoint,
    key=st.builds(EndpointKey, clusters, addresses | networks),
    identity=st.sampled_from([0, 100, 200]),
    host_ip=st.sampled_from(["", "172.18.0.2"]),
    pod=st.sampled_from(["", "web"]),
    encryption_key=st.integers(0, 1),
    source=sources,
)
nodes = st.builds(
    Node,
    key=st.builds(NodeKey, clusters, st.sampled_from(["n1", "n2"])),
    addresses=st.lists(
        st.builds(NodeAddress, st.sampled_from(["InternalIP", "ExternalIP", "CiliumInternalIP"]), addresses)
        | st.just(NodeAddress("Hostname", "")),
        max_size=3,
    ).map(tuple),
    pod_cidrs=st.lists(pod_cidrs, max_size=2).map(tuple),
    health_ips=st.lists(addresses, max_size=1).map(tuple),
    ingress_ips=st.lists(addresses, max_size=1).map(tuple),
    encryption_key=st.integers(0, 1),
    source=sources,
)

label_texts = st.sampled_from(
    [
        "k8s:app=web",
        "k8s:app=db",
        "k8s:app=",
        "k8s:tier=front",
        "any:app=web",
        "reserved:host=",
        "cidr:10.0.0.0/8=",
        "bare",
        "reserved:remote-node=",
        "k8s:io.kubernetes.pod.namespace=default",
        "k8s:io.cilium.k8s.policy.cluster=c1",
    ]
)
identities = st.builds(
    Identity,
    key=st.builds(IdentityKey, clusters, st.integers(1, 4)),
    labels=st.lists(label_texts, max_size=4, unique=True).map(tuple),
)
_keys = st.sampled_from(["app", "k8s:app", "any:app", "tier", "reserved:host", "none", "k8s:bare", "bare"])
_values = st.lists(st.sampled_from(["", "web", "db", "front"]), min_size=1, max_size=2).map(
    lambda v: tuple(sorted(set(v)))
)
requirements = st.one_of(
    st.builds(Requirement, _keys, st.sampled_from(["In", "NotIn"]), _values),
    st.builds(Requirement, _keys, st.sampled_from(["Exists", "DoesNotExist"])),
)
selectors = st.builds(
    Selector,
    path=st.sampled_from(
        ["spec.endpointSelector", "spec.ingress[0].fromEndpoints[0]", "spec.egress[0].toNodes[0]", "spec.nodeSelector"]
    ),
    requirements=st.lists(requirements, max_size=2).map(lambda each: tuple(sorted(each))),
)
policies = st.builds(
    Policy,
    key=st.builds(PolicyKey, st.just("CiliumNetworkPolicy"), st.sampled_from(["", "default"]), st.sampled_from("ab")),
    selectors=st.lists(selectors, max_size=3).map(tuple),
    entities=st.lists(
        st.builds(Entity, st.just("spec.ingress[0].fromEntities[0]"), st.sampled_from(["all", "cluster", "host"])),
        max_size=1,
    ).map(tuple),
)

_ports = st.sampled_from([80, 80, 443])
_service_names = st.sampled_from(["web", "web", "web", "db"])
_mostly = st.sampled_from([True, True, True, False])
_backend_ips = st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1"])
_service_keys = st.builds(ServiceKey, clusters, st.just("default"), _service_names)
services = st.builds(
    Service,
    key=_service_keys,
    frontends=st.lists(
        st.builds(Frontend, addresses, st.sampled_from(["", "http", "https"]), st.sampled_from(["TCP", "UDP"]), _ports),
        max_size=3,
        unique=True,
    ).map(lambda each: tuple(sorted(each))),
    shared=_mostly,
    include_external=_mostly,
    affinity=st.sampled_from(["", "local", "remote"]),
)
backends = st.builds(
    Backend,
    key=st.builds(BackendKey, clusters, st.just("default"), _service_names, _backend_ips, _ports, st.just("TCP")),
    port_names=st.lists(st.sampled_from(["", "http", "https"]), min_size=1, max_size=2, unique=True).map(
        lambda names: tuple(sorted(names))
    ),
    ready=_mostly,
    serving=_mostly,
    terminating=st.booleans(),
    source=sources,
)
