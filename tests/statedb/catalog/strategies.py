"""Random rows of the catalog that the formats of etcd can carry."""

from collections.abc import Iterable

from hypothesis import strategies as st

from statedb.catalog import (
    Backend,
    BackendKey,
    Endpoint,
    EndpointKey,
    Frontend,
    Identity,
    IdentityKey,
    NamedPort,
    Node,
    NodeAddress,
    NodeKey,
    Service,
    ServiceKey,
)
from statedb.catalog.wire import cidr
from statedb.catalog.wire.addresses import ipv4_first

CLUSTER = "cluster1"

names = st.text("abc0123.-", min_size=1, max_size=8)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ipv4 = st.ip_addresses(v=4).map(str)
ipv6 = st.ip_addresses(v=6).filter(lambda ip: ip.ipv4_mapped is None).map(str)
addresses = ipv4 | ipv6
networks = st.one_of(
    st.tuples(ipv4, st.integers(0, 32)).map(lambda pair: cidr.network(f"{pair[0]}/{pair[1]}")),
    st.tuples(ipv6, st.integers(0, 128)).map(lambda pair: cidr.network(f"{pair[0]}/{pair[1]}")),
)
ports = st.integers(0, 65535)
protocols = st.sampled_from(["TCP", "UDP", "SCTP", "ANY"])
pairs = st.dictionaries(texts, texts, max_size=4).map(lambda mapping: tuple(sorted(mapping.items())))

label_keys = st.text("abck8s./-_", min_size=1, max_size=6)
label_values = st.text("abc=:/.-_", max_size=6)
identities = st.builds(
    lambda number, labels: Identity(
        IdentityKey(CLUSTER, number),
        tuple([f"{source}:{key}={value}" for key, (source, value) in sorted(labels.items())]),
        next((v for k, (s, v) in labels.items() if k == "io.kubernetes.pod.namespace" and s == "k8s"), ""),
    ),
    st.integers(0, 0xFFFFFFFF),
    st.dictionaries(
        label_keys | st.just("io.kubernetes.pod.namespace"),
        st.tuples(st.sampled_from(["k8s", "reserved", "cni", "cidr"]), label_values),
        min_size=1,
        max_size=4,
    ),
)

endpoints = st.builds(
    Endpoint,
    key=st.builds(EndpointKey, st.just(CLUSTER), addresses | networks),
    identity=st.integers(0, 0xFFFFFFFF).filter(lambda number: number != 1),
    host_ip=st.just("") | addresses,
    namespace=texts,
    pod=texts,
    service_account=texts,
    encryption_key=st.integers(0, 255),
    named_ports=st.lists(st.builds(NamedPort, texts, ports, protocols), max_size=3).map(tuple),
)

one_per_family = st.tuples(st.just("") | ipv4, st.just("") | ipv6).map(lambda pair: tuple(ip for ip in pair if ip))
nodes = st.builds(
    Node,
    key=st.builds(NodeKey, st.just(CLUSTER), names),
    addresses=st.lists(
        st.builds(NodeAddress, st.sampled_from(["InternalIP", "ExternalIP", "CiliumInternalIP"]), addresses), max_size=3
    ).map(tuple),
    pod_cidrs=st.lists(networks, max_size=4).map(ipv4_first),
    health_ips=one_per_family,
    ingress_ips=one_per_family,
    encryption_key=st.integers(0, 255),
    labels=pairs,
    annotations=pairs,
    wireguard_key=texts,
    boot_id=texts,
    cluster_id=st.integers(0, 0xFFFFFFFF),
    source=texts,
)

service_keys = st.builds(ServiceKey, st.just(CLUSTER), names, names)
frontends = st.lists(
    st.builds(Frontend, addresses, texts, protocols, ports),
    max_size=3,
    unique_by=lambda each: (each.ip, each.port_name),
).map(lambda found: tuple(sorted(found)))


def as_form_v1(found: Iterable[Backend]) -> tuple[Backend, ...]:
    """What form v1 of services holds of some backends: those that take traffic, without their conditions and nodes."""
    return tuple(
        [
            Backend(
                each.key,
                each.port_names,
                hostname=each.hostname,
                zone=each.zone,
                zone_hints=each.zone_hints if each.zone else (),
            )
            for each in found
            if each.ready or each.serving
        ]
    )


@st.composite
def shared_services(draw: st.DrawFn) -> tuple[Service, tuple[Backend, ...]]:
    """A service and its backends; within one address no port name twice, and one zone and host name."""
    service = draw(
        st.builds(
            Service,
            key=service_keys,
            frontends=frontends,
            shared=st.booleans(),
            include_external=st.booleans(),
            labels=pairs,
            selector=pairs,
            cluster_id=st.integers(0, 0xFFFFFFFF),
        )
    )
    key = service.key
    backends = []
    for ip in draw(st.lists(addresses, max_size=3, unique=True)):
        hostname, zone, hints = draw(st.tuples(texts, texts, st.lists(names, max_size=2).map(tuple)))
        hints = hints if zone else ()  # the form has hints with a zone only
        of_port = draw(st.dictionaries(st.tuples(ports, protocols), st.sets(texts, min_size=1, max_size=2), max_size=2))
        used: set[str] = set()
        for (port, protocol), port_names in of_port.items():
            free = port_names - used
            used |= free
            if free:
                backend_key = BackendKey(key.cluster, key.namespace, key.name, ip, port, protocol)
                backends.append(
                    Backend(backend_key, tuple(sorted(free)), hostname=hostname, zone=zone, zone_hints=hints)
                )
    return service, tuple(sorted(backends, key=lambda backend: backend.key))
