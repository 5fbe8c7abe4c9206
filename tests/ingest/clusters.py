"""Random small clusters as objects of Kubernetes, and what clustermesh-apiserver would write into an etcd for them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from hypothesis import strategies as st

from statedb.catalog import Backend, BackendKey, Frontend, Service, ServiceKey
from statedb.catalog.wire import crds, identities, ips, keys, nodes, services

Object: TypeAlias = dict[str, Any]
CLUSTER = "cluster1"

names = st.sampled_from(["a", "b", "c", "web", "db-0"])
namespaces = st.sampled_from(["default", "shop", "kube-system"])
ipv4 = st.integers(1, 250).map(lambda last: f"10.0.0.{last}")
ipv6 = st.integers(1, 0xFFFF).map(lambda last: f"fd00::{last:x}")
texts = st.text("abcxyz0123<>&é\u2028", max_size=5)
label_maps = st.dictionaries(st.sampled_from(["app", "tier", "k8s.io/x"]), texts, max_size=3)


def _metadata(name: Any, **more: Any) -> Any:
    return st.fixed_dictionaries({"name": name, **more})


def _object(api: str, kind: str, **fields: Any) -> Any:
    return st.fixed_dictionaries({"apiVersion": st.just(api), "kind": st.just(kind), **fields})


addressing = st.lists(st.fixed_dictionaries({}, optional={"ipv4": ipv4, "ipv6": ipv6}), max_size=2)
ports = st.lists(
    st.fixed_dictionaries(
        {"name": names, "port": st.integers(1, 65535), "protocol": st.sampled_from(["TCP", "UDP", "SCTP"])}
    ),
    max_size=2,
)
networking = st.fixed_dictionaries(
    {"addressing": addressing, "node": st.sampled_from(["172.18.0.2", "172.18.0.3", ""])}
)
encryption = st.fixed_dictionaries({"key": st.integers(0, 255)})
numbers = st.sampled_from([1, 4, 65_700, 65_701, 70_000])

cilium_nodes = _object(
    "cilium.io/v2",
    "CiliumNode",
    metadata=_metadata(names, labels=label_maps, annotations=label_maps),
    spec=st.fixed_dictionaries(
        {
            "addresses": st.lists(
                st.fixed_dictionaries({"type": st.sampled_from(["InternalIP", "CiliumInternalIP"]), "ip": ipv4 | ipv6}),
                max_size=3,
            ),
            "ipam": st.fixed_dictionaries({"podCIDRs": st.lists(ipv4.map(lambda ip: f"{ip}/24"), max_size=2)}),
            "health": st.fixed_dictionaries({}, optional={"ipv4": ipv4, "ipv6": ipv6}),
            "ingress": st.fixed_dictionaries({}, optional={"ipv4": ipv4, "ipv6": ipv6}),
            "encryption": encryption,
            "bootid": texts,
        }
    ),
)
cilium_identities = _object(
    "cilium.io/v2",
    "CiliumIdentity",
    metadata=_metadata(numbers.map(str)),
    **{
        "security-labels": st.dictionaries(
            st.sampled_from(["k8s:app", "k8s:io.kubernetes.pod.namespace", "reserved:host"]),
            st.text("abc/.-", max_size=4),
            min_size=1,
        )
    },
)
cilium_endpoints = _object(
    "cilium.io/v2",
    "CiliumEndpoint",
    metadata=_metadata(names, namespace=namespaces),
    status=st.fixed_dictionaries(
        {
            "identity": st.fixed_dictionaries({"id": numbers}),
            "networking": networking,
            "encryption": encryption,
            "named-ports": ports,
            "service-account": texts,
        }
    ),
)
kubernetes_services = _object(
    "v1",
    "Service",
    metadata=_metadata(
        names,
        namespace=namespaces,
        labels=label_maps,
        annotations=st.sampled_from(
            [
                {"service.cilium.io/global": "true"},
                {"service.cilium.io/global": "true", "service.cilium.io/affinity": "local"},
                {"service.cilium.io/global": "true", "service.cilium.io/shared": "false"},
                {"service.cilium.io/global": "false"},
                {},
            ]
        ),
    ),
    spec=st.fixed_dictionaries({"clusterIP": ipv4, "ports": ports, "selector": label_maps}),
)
endpoint_slices = st.tuples(names, namespaces, names).flatmap(
    lambda key: _object(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        metadata=st.just(
            {"name": f"{key[0]}-{key[2]}", "namespace": key[1], "labels": {"kubernetes.io/service-name": key[0]}}
        ),
        addressType=st.just("IPv4"),
        ports=st.lists(
            st.fixed_dictionaries({"name": names, "port": st.integers(1, 65535), "protocol": st.just("TCP")}),
            max_size=2,
            unique_by=lambda port: port["name"],
        ),
        endpoints=st.lists(
            st.fixed_dictionaries(
                {
                    "addresses": st.lists(ipv4, min_size=1, max_size=2),
                    "conditions": st.fixed_dictionaries(
                        {"ready": st.booleans(), "serving": st.booleans()}, optional={"terminating": st.booleans()}
                    ),
                    "nodeName": st.sampled_from(["n1", "n2"]),
                    "zone": st.sampled_from(["", "z"]),
                }
            ),
            max_size=2,
        ),
    )
)


def as_in_etcd(services: Iterable[Service], backends: Iterable[Backend]) -> tuple[list[Service], list[Backend]]:
    """What an etcd with services of form v1 holds of these rows: docs/formats.md, "What an etcd cannot hold"."""
    shared = [
        msgspec.structs.replace(each, affinity="", frontends=_lowest_ports(each.frontends))
        for each in services
        if each.shared
    ]
    keys_of_shared = {each.key for each in shared}
    kept = [each for each in backends if each.service in keys_of_shared and (each.ready or each.serving)]
    written = _written_names(kept)
    return shared, [
        Backend(
            each.key,
            written[each.key],
            hostname=each.hostname,
            zone=each.zone,
            zone_hints=each.zone_hints if each.zone else (),
        )
        for each in kept
        if written[each.key]
    ]


def _lowest_ports(frontends: Iterable[Frontend]) -> tuple[Frontend, ...]:
    """One port for each name at an address: the lowest."""
    lowest: dict[tuple[str, str], Frontend] = {}
    for each in sorted(frontends, key=lambda each: (each.port, each.protocol)):
        lowest.setdefault((each.ip, each.port_name), each)
    return tuple(each for each in frontends if each in lowest.values())


def _written_names(backends: Iterable[Backend]) -> dict[BackendKey, tuple[str, ...]]:
    """The port names of each backend that lead to no lower port of its address."""
    lowest: dict[tuple[ServiceKey, str, str], BackendKey] = {}
    for each in sorted(backends, key=lambda each: (each.key.port, each.key.protocol)):
        for port_name in each.port_names:
            lowest.setdefault((each.service, each.key.ip, port_name), each.key)
    return {
        each.key: tuple(name for name in each.port_names if lowest[each.service, each.key.ip, name] == each.key)
        for each in backends
    }


def name_of(value: Object) -> tuple[str, str, str]:
    """What tells an object from all others."""
    return value["kind"], value["metadata"].get("namespace", ""), value["metadata"]["name"]


def _addresses(value: Object) -> set[str]:
    if value["kind"] != "CiliumEndpoint":
        return set()
    return {ip for pair in value["status"]["networking"]["addressing"] for ip in pair.values()}


def without_conflicts(values: list[Object]) -> list[Object]:
    """No address in two endpoints: which of two claims holds depends on who came first, and that etcd cannot tell."""
    taken: set[str] = set()
    kept = []
    for value in values:
        addresses = _addresses(value)
        if not addresses & taken:
            kept.append(value)
            taken |= addresses
    return kept


clusters = st.lists(
    cilium_nodes | cilium_identities | cilium_endpoints | kubernetes_services | endpoint_slices,
    max_size=15,
    unique_by=name_of,
).map(without_conflicts)
"""Objects of one cluster, each once."""


def write_directory(values: Iterable[Object], directory: Path) -> None:
    """The objects as manifests, one file each."""
    for number, value in enumerate(values):
        (directory / f"{number:03}.json").write_text(json.dumps(value))


def etcd_entries(values: Iterable[Object]) -> dict[str, bytes]:
    """The objects as an etcd holds them."""
    entries: dict[str, bytes] = {}
    slices = []
    found = []
    for value in values:
        kind = value["kind"]
        if kind == "CiliumNode":
            (node,) = crds.node(value, CLUSTER, 1)
            entries[f"{keys.NODES}/{nodes.name(node)}"] = nodes.encode(node)
        elif kind == "CiliumIdentity":
            identity = crds.identity(value, CLUSTER)
            assert identity is not None
            entries[f"{keys.IDENTITIES}/{identities.name(identity)}"] = identities.encode(identity)
        elif kind == "CiliumEndpoint":
            for endpoint in crds.endpoint(value, CLUSTER):
                entries[f"{keys.IPS}/{ips.name(endpoint)}"] = ips.encode(endpoint)
        elif kind == "Service":
            found += [service for service in crds.service(value, CLUSTER, 1) if service.shared]
        else:
            slices.append(crds.endpoint_slice(value, CLUSTER))
    for service in found:
        joined = crds.join(service, [each for each in slices if each and each[0].service == service.key])
        own = [each for each in joined if each.ready or each.serving]
        entries[f"{keys.SERVICES}/{services.name(service)}"] = services.encode(service, own)
    return entries
