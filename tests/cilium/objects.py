"""Odd objects of every kind that an API server takes. Where real and ours write different values, a case says so.

A difference is named as in ``differences.yaml``, and told by the end of its key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
EXAMPLE = Path(__file__).parents[2] / "examples" / "cluster"
GLOBAL = "service.cilium.io/global"
SHARED = "service.cilium.io/shared"
OF_SERVICE = "kubernetes.io/service-name"
NAMESPACE_LABEL = "k8s:io.kubernetes.pod.namespace"


@dataclass(frozen=True)
class Case:
    """Objects, and the ends of the keys that differ, each with the name of the difference."""

    objects: list[Object]
    differs: dict[str, str] = field(default_factory=dict)


def example() -> list[Object]:
    """The example cluster, without policies: those are not published."""
    found = [each for path in sorted(EXAMPLE.glob("*.yaml")) for each in yaml.safe_load_all(path.read_text())]
    return [each for each in found if each and "Policy" not in each["kind"]]


def namespace(name: str, says: str | None = None) -> Object:
    annotations = {} if says is None else {"clustermesh.cilium.io/global": says}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "annotations": annotations}}


def node(name: str, *, labels: Object | None = None, annotations: Object | None = None, **spec: Any) -> Object:
    metadata = {"name": name, "labels": labels or {}, "annotations": annotations or {}}
    return {"apiVersion": "cilium.io/v2", "kind": "CiliumNode", "metadata": metadata, "spec": spec}


def addresses(*texts: str, kind: str = "InternalIP") -> list[Object]:
    return [{"type": kind, "ip": text} for text in texts]


def identity(name: str, **labels: str) -> Object:
    metadata = {"name": name}
    return {"apiVersion": "cilium.io/v2", "kind": "CiliumIdentity", "metadata": metadata, "security-labels": labels}


def labelled(name: str, labels: dict[str, str]) -> Object:
    return identity(name, **labels)


def endpoint(name: str, *ips: str, namespace: str = "odd", node: str = "172.18.0.3", **status: Any) -> Object:
    addressing = [{"ipv6" if ":" in ip else "ipv4": ip} for ip in ips]
    networking = {"addressing": addressing, "node": node}
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumEndpoint",
        "metadata": {"name": name, "namespace": namespace},
        "status": {"identity": {"id": 200_000}, "networking": networking} | status,
    }


def core_endpoint(name: str, *ips: str, identity: int = 200_000, node: str = "172.18.0.3", **more: Any) -> Object:
    addressing = [{"ipv6" if ":" in ip else "ipv4": ip} for ip in ips]
    return {"name": name, "id": identity, "networking": {"addressing": addressing, "node": node}} | more


def cilium_slice(name: str, *endpoints: Object, namespace: str = "odd") -> Object:
    return {
        "apiVersion": "cilium.io/v2alpha1",
        "kind": "CiliumEndpointSlice",
        "metadata": {"name": name},
        "namespace": namespace,
        "endpoints": list(endpoints),
    }


def service(
    name: str,
    annotations: dict[str, str] | None = None,
    *,
    namespace: str = "odd",
    labels: dict[str, str] | None = None,
    **spec: Any,
) -> Object:
    metadata = {
        "name": name,
        "namespace": namespace,
        "labels": labels or {},
        "annotations": {GLOBAL: "true"} if annotations is None else annotations,
    }
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports} | spec}


def slice_of(
    service: str,
    tag: str,
    *endpoints: Object | str,
    namespace: str = "odd",
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    kind: str = "IPv4",
    ports: list[Object] | None = None,
) -> Object:
    metadata = {
        "name": f"{service}-{tag}",
        "namespace": namespace,
        "labels": {OF_SERVICE: service} | (labels or {}),
        "annotations": annotations or {},
    }
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": kind,
        "endpoints": [{"addresses": [each]} if isinstance(each, str) else each for each in endpoints],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}] if ports is None else ports,
    }


def unlabelled(name: str, *endpoints: str) -> Object:
    found = slice_of(name, "a", *endpoints)
    found["metadata"]["labels"] = {}
    return found


NAMESPACES = [
    namespace("odd"),
    namespace("said", "true"),
    namespace("shouted", "TRUE"),
    namespace("spaced", " true "),
    namespace("yes", "yes"),
    namespace("empty", ""),
    namespace("no", "false"),
]
"""Those in which something is; each says in another way whether others see it."""
SPELLED = [each["metadata"]["name"] for each in NAMESPACES[1:]]

NODES: dict[str, Case] = {
    "all fields": Case(
        [
            node(
                "full",
                labels={"kubernetes.io/hostname": "full", "a": "b"},
                annotations={
                    "a": "<&>\u00e9",
                    "network.cilium.io/wg-pub-key": "new=",
                    "io.cilium.network.wg-pub-key": "old=",
                },
                addresses=[*addresses("172.18.0.2", "fc00:c111::2"), *addresses("10.244.0.1", kind="CiliumInternalIP")],
                bootid="570d3fd1-93db-4862-ba99-6a3c2c10c38f",
                health={"ipv4": "10.244.0.134", "ipv6": "fd00:10:244::d812"},
                ingress={"ipv4": "10.244.0.200", "ipv6": "fd00:10:244::c8"},
                encryption={"key": 7},
                ipam={
                    "podCIDRs": ["10.244.0.0/24", "fd00:10:244::/64", "10.244.9.0/24"],
                    "pools": {"allocated": [{"pool": "a", "cidrs": ["10.1.0.0/24", "fd01::/96"]}]},
                },
            )
        ]
    ),
    "nothing": Case([node("bare")]),
    "the older name of the key": Case([node("older", annotations={"io.cilium.network.wg-pub-key": "old="})]),
    "an empty address": Case([node("gap", addresses=addresses("172.18.0.4", "", "172.18.0.5"))]),
    "no address at all": Case([node("only-gap", addresses=addresses(""))]),
    "names in place of addresses": Case(
        [
            node(
                "named",
                addresses=[
                    *addresses("named", "", kind="Hostname"),
                    *addresses("n.example.org", kind="InternalDNS"),
                    *addresses("172.18.0.6", kind="ExternalDNS"),
                    *addresses("172.18.0.7"),
                ],
            )
        ]
    ),
    "addresses that are spelled oddly": Case(
        [
            node(
                "spelled",
                addresses=addresses(
                    "FC00:0::00A", "::ffff:172.18.0.8", "010.0.0.1", "fe80::1%eth0", "not one", "1.2.3", "::"
                ),
            )
        ]
    ),
    "an address twice": Case([node("twice", addresses=addresses("172.18.0.9", "172.18.0.9"))]),
    "no kind of address": Case(
        [node("kindless", addresses=[{"ip": "172.18.0.10"}, {"type": "New", "ip": "10.0.0.1"}])]
    ),
    "host bits": Case([node("bits", ipam={"podCIDRs": ["10.244.1.5/24", "fd00::5/64"]})]),
    "the widest and the narrowest networks": Case(
        [node("extremes", ipam={"podCIDRs": ["0.0.0.0/0", "10.244.2.1/32", "::/0", "fd00::1/128"]})]
    ),
    "IPv6 first": Case([node("six-first", ipam={"podCIDRs": ["fd00:1::/64", "10.244.3.0/24"]})]),
    "mapped networks": Case(
        [node("mapped", ipam={"podCIDRs": ["::ffff:10.0.0.0/104", "::ffff:10.1.2.3/120"]})],
        {"/cluster3/mapped": "mapped networks"},
    ),
    "addresses in the field of the other family": Case(
        [node("swapped", health={"ipv4": "fd00::1", "ipv6": "10.244.0.1"}, ingress={"ipv4": "fd00::2"})],
        {"/cluster3/swapped": "the field of the other family"},
    ),
    "health addresses that are none": Case(
        [node("ill", health={"ipv4": "none", "ipv6": "FD00::D812"}, ingress={"ipv4": "", "ipv6": "fe80::1%eth0"})]
    ),
    "a key above 255": Case([node("big-key", encryption={"key": 300})]),
    "a name with dots": Case([node("a.b-c.example")]),
}

IDENTITIES: dict[str, Case] = {
    "usual": Case(
        [labelled("196610", {NAMESPACE_LABEL: "odd", "k8s:app": "web", "k8s:io.cilium.k8s.policy.cluster": "c"})]
    ),
    "without a namespace": Case([labelled("196611", {"k8s:app": "web"})]),
    "in an empty namespace": Case([labelled("196612", {NAMESPACE_LABEL: "", "k8s:app": "web"})]),
    "in a namespace that is not there": Case([labelled("196613", {NAMESPACE_LABEL: "nowhere"})]),
    "without labels": Case([labelled("196614", {})]),
    "labels without a source, without a value, of other sources": Case(
        [labelled("196615", {NAMESPACE_LABEL: "odd", "app": "x", "k8s:empty": "", "reserved:host": "", "any:a": "b"})]
    ),
    "sources that are spelled oddly": Case(
        [
            labelled(
                "196616",
                {NAMESPACE_LABEL: "odd", "$host": "", "a:b:c": "d", ":none": "x", "k8s:": "y", "reserved:": "z"},
            )
        ],
        {"/id/196616": "a label without a key"},
    ),
    "signs in values": Case(
        [labelled("196617", {NAMESPACE_LABEL: "odd", "k8s:a": "=b", "k8s:c": "<\u00e9 >", "k8s:d": ":"})]
    ),
    "one key of two sources": Case(
        [labelled("196618", {NAMESPACE_LABEL: "odd", "k8s:a": "1", "container:a": "1"})],
        {"/id/196618": "one key of two sources"},
    ),
    "a network": Case([labelled("196619", {NAMESPACE_LABEL: "odd", "cidr:2001-db8--1/128": "", "reserved:world": ""})]),
    **{
        f"in a namespace that says {name}": Case(
            [labelled(str(196_700 + place), {NAMESPACE_LABEL: name, "k8s:app": "a"})]
        )
        for place, name in enumerate(SPELLED)
    },
}

PORTS = [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "", "port": 53, "protocol": "UDP"}]
ENDPOINTS: dict[str, Case] = {
    "usual": Case([endpoint("cep-1", "10.3.0.1", "fd00:3::1", **{"service-account": "sa", "named-ports": PORTS})]),
    "no network yet": Case([{**endpoint("cep-2"), "status": {"identity": {"id": 200_000}}}]),
    "no addresses": Case([endpoint("cep-3")]),
    "no status": Case([{**endpoint("cep-4"), "status": {}}]),
    "no identity": Case([endpoint("cep-5", "10.3.0.5", identity=None)]),
    "reserved identities": Case(
        [endpoint(f"cep-6-{number}", f"10.3.6.{number}", identity={"id": number}) for number in (0, 1, 2, 4, 6)],
        {"/ip/v1/default/10.3.6.1": "a host's identity"},
    ),
    "no node": Case([endpoint("cep-7", "10.3.0.7", node="")]),
    "a node that is no address": Case([endpoint("cep-8", "10.3.0.8", node="node-1")]),
    "a key above 255": Case([endpoint("cep-9", "10.3.0.9", encryption={"key": 300})]),
    "addresses that are spelled oddly": Case(
        [
            endpoint("cep-10", "FD00:3::000A", "::ffff:10.3.0.10", "10.3.0.11"),
            endpoint("cep-11", "10.3.0.12", "10.3.0.12"),
        ]
    ),
    "both families in one pair": Case(
        [
            {
                **endpoint("cep-12"),
                "status": {
                    "networking": {"addressing": [{"ipv4": "10.3.0.13", "ipv6": "fd00:3::13"}], "node": "fd00::1"}
                },
            }
        ]
    ),
    "two pods with one address": Case(
        [endpoint("first", "10.3.0.30"), endpoint("second", "10.3.0.30")],
        {"/ip/v1/default/10.3.0.30": "two pods with one address"},
    ),
    "two pods with one address, the first in a namespace that is not seen": Case(
        [endpoint("a", "10.3.0.31", namespace="no"), endpoint("b", "10.3.0.31", namespace="odd")]
    ),
    "ports without names, without protocols": Case(
        [endpoint("cep-13", "10.3.0.14", **{"named-ports": [{"port": 0}, {"name": "a"}, {}]})]
    ),
    **{
        f"in a namespace that says {name}": Case([endpoint("cep", f"10.3.9.{place}", namespace=name)])
        for place, name in enumerate(SPELLED)
    },
}

CILIUM_SLICES: dict[str, Case] = {
    "usual": Case(
        [
            cilium_slice(
                "ces-1",
                core_endpoint("p-1", "10.4.0.1", "fd00:4::1", **{"service-account": "sa", "named-ports": PORTS}),
                core_endpoint("p-2", "10.4.0.2", encryption={"key": 300}),
            )
        ]
    ),
    "no endpoints": Case([cilium_slice("ces-2")]),
    "no namespace": Case([cilium_slice("ces-3", core_endpoint("p", "10.4.0.3"), namespace="")]),
    "a namespace that is not there": Case([cilium_slice("ces-4", core_endpoint("p", "10.4.0.4"), namespace="nowhere")]),
    "one address twice": Case([cilium_slice("ces-5", core_endpoint("p", "10.4.0.5"), core_endpoint("q", "10.4.0.5"))]),
    "no network": Case([cilium_slice("ces-6", {"name": "p", "id": 1}, core_endpoint("q", "10.4.0.6"))]),
    "reserved identities": Case(
        [cilium_slice("ces-7", *(core_endpoint(f"p{n}", f"10.4.7.{n}", identity=n) for n in (0, 1, 2, 6)))],
        {"/10.4.7.1": "a host's identity"},
    ),
    **{
        f"in a namespace that says {name}": Case(
            [cilium_slice(f"ces-{name}", core_endpoint("p", f"10.4.9.{place}"), namespace=name)]
        )
        for place, name in enumerate(SPELLED)
    },
}


def _told(name: str, annotations: dict[str, str]) -> Case:
    return Case([service(name, annotations), slice_of(name, "a", "10.5.0.1")])


SERVICES: dict[str, Case] = {
    "usual": Case(
        [
            service(
                "usual",
                labels={"app": "web", "x": ""},
                selector={"app": "web"},
                ports=[
                    {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080},
                    {"name": "dns", "port": 53, "protocol": "UDP"},
                    {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
                    {"name": "sctp", "port": 9, "protocol": "SCTP"},
                ],
            ),
            slice_of("usual", "a", "10.5.1.1", "10.5.1.2"),
            slice_of("usual", "b", "10.5.1.3", ports=[{"name": "dns", "port": 5353, "protocol": "UDP"}]),
        ]
    ),
    "without slices": Case([service("lonely")]),
    "slices without a service": Case([slice_of("nobody", "a", "10.5.0.2")]),
    "not global": _told("private", {}),
    "shared alone is not global": _told("shared-only", {SHARED: "true"}),
    "global and not shared": _told("kept", {GLOBAL: "true", SHARED: "false"}),
    "older names": _told("older", {"io.cilium/global-service": "true"}),
    "older names, not shared": _told(
        "older-kept", {"io.cilium/global-service": "true", "io.cilium/shared-service": "no"}
    ),
    "the newer name counts": _told("newer", {GLOBAL: "false", "io.cilium/global-service": "true"}),
    **{
        f"global says {text!r}": _told(f"told-{place}", {GLOBAL: text})
        for place, text in enumerate(["TRUE", "True", " true ", "true ", "1", "t", "yes", ""])
    },
    **{
        f"shared says {text!r}": _told(f"shares-{place}", {GLOBAL: "true", SHARED: text})
        for place, text in enumerate(["TRUE", " true ", "1", ""])
    },
    "affinity": _told("affine", {GLOBAL: "true", "service.cilium.io/affinity": "Local"}),
    "headless": Case(
        [
            service("headless", clusterIP="None"),
            slice_of("headless", "a", {"addresses": ["10.5.0.3"], "hostname": "h-0"}),
        ]
    ),
    "headless by its label": Case([service("by-label", labels={"service.kubernetes.io/headless": ""})]),
    "both families": Case(
        [
            service("dual", ipFamilyPolicy="RequireDualStack"),
            slice_of("dual", "a", "10.5.0.4"),
            slice_of("dual", "b", "fd00:5::4", kind="IPv6"),
        ]
    ),
    "a name outside": Case(
        [service("outside", type="ExternalName", externalName="example.org")],
        {"/services/v1/cluster3/odd/outside": "a service without an address"},
    ),
    "a name outside, without ports": Case(
        [service("outside-bare", type="ExternalName", externalName="example.org", ports=[])],
        {"/services/v1/cluster3/odd/outside-bare": "a service without an address"},
    ),
    "a port of a node": Case(
        [service("of-node", type="NodePort", externalTrafficPolicy="Local"), slice_of("of-node", "a", "10.5.0.5")]
    ),
    "a service of another proxy": Case(
        [
            service("proxied", labels={"service.kubernetes.io/service-proxy-name": "other"}),
            slice_of("proxied", "a", "10.5.0.6"),
            slice_of("proxied", "b", "10.5.0.7", labels={"service.kubernetes.io/service-proxy-name": "other"}),
        ]
    ),
    "a slice of another proxy": Case(
        [
            service("half"),
            slice_of("half", "a", "10.5.0.8"),
            slice_of("half", "b", "10.5.0.9", labels={"service.kubernetes.io/service-proxy-name": ""}),
        ]
    ),
    "slices that the mesh made": Case(
        [
            service("meshed"),
            slice_of("meshed", "a", "10.5.0.10"),
            slice_of(
                "meshed",
                "b",
                "10.9.0.11",
                labels={"endpointslice.kubernetes.io/managed-by": "endpointslice-mesh-controller.cilium.io"},
            ),
            slice_of("meshed", "c", "10.5.0.12", labels={"endpointslice.kubernetes.io/managed-by": "someone"}),
        ]
    ),
    "no label of a service": Case([unlabelled("unlabelled", "10.5.0.13")]),
    "what we do not know in a slice": Case(
        [
            service("unknown"),
            slice_of(
                "unknown",
                "a",
                {
                    "addresses": ["10.5.2.1"],
                    "conditions": {"ready": True},
                    "hostname": "h",
                    "nodeName": "n",
                    "zone": "z",
                    "hints": {"forZones": [{"name": "z"}, {"name": "y"}]},
                    "targetRef": {"kind": "Pod", "name": "p", "namespace": "odd"},
                },
                {"addresses": ["10.5.2.2"], "zone": ""},
                {"addresses": ["10.5.2.3"], "hints": {}},
                {"addresses": ["10.5.2.4"], "hints": {"forNodes": [{"name": "n"}]}},
                {"addresses": ["10.5.2.5"], "deprecatedTopology": {"custom": "t"}},
                annotations={
                    "endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z",
                    "service.cilium.io/weight": "0",
                },
                labels={"other": "label"},
                ports=[
                    {"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": "kubernetes.io/h2c"},
                    {"name": "", "port": 9, "protocol": "SCTP"},
                    {"name": "portless", "protocol": "UDP"},
                    {"name": "bare"},
                ],
            ),
        ]
    ),
    "conditions": Case(
        [
            service("conditioned"),
            slice_of(
                "conditioned",
                "a",
                *(
                    {"addresses": [f"10.5.3.{place}"], "conditions": conditions, "zone": "z"}
                    for place, conditions in enumerate(
                        [
                            {},
                            {"ready": False},
                            {"ready": False, "serving": False},
                            {"ready": False, "serving": True, "terminating": True},
                            {"ready": True, "serving": False},
                            {"ready": True, "terminating": True},
                            {"serving": False},
                            {"terminating": True},
                        ]
                    )
                ),
            ),
        ]
    ),
    "no conditions at all": Case([service("plain"), slice_of("plain", "a", "10.5.0.14")]),
    "no ports": Case(
        [service("no-ports"), slice_of("no-ports", "a", "10.5.0.15", ports=[])],
        {"/services/v1/cluster3/odd/no-ports": "backends without ports"},
    ),
    "one name of two ports, and two zones, of an address in two slices": Case(
        [
            service("doubled"),
            slice_of("doubled", "a", {"addresses": ["10.5.0.30"], "zone": "a"}),
            slice_of(
                "doubled",
                "b",
                {"addresses": ["10.5.0.30"], "zone": "b"},
                ports=[{"name": "http", "port": 9090, "protocol": "TCP"}],
            ),
        ],
        {"/services/v1/cluster3/odd/doubled": "one address in two slices"},
    ),
    "no endpoints": Case([service("no-endpoints"), slice_of("no-endpoints", "a")]),
    "several addresses of an endpoint": Case(
        [service("several"), slice_of("several", "a", {"addresses": ["10.5.0.16", "10.5.0.17"], "zone": "z"})]
    ),
    "names as addresses": Case([service("fqdn"), slice_of("fqdn", "a", "a.example.org", kind="FQDN")]),
    "one port under two names": Case(
        [
            service("names"),
            slice_of(
                "names",
                "a",
                "10.5.0.18",
                ports=[{"name": "b", "port": 80, "protocol": "TCP"}, {"name": "a", "port": 80, "protocol": "TCP"}],
            ),
        ]
    ),
    "nodes and zones of old": Case(
        [
            service("topology"),
            slice_of(
                "topology",
                "a",
                {"addresses": ["10.5.0.19"], "deprecatedTopology": {"kubernetes.io/hostname": "n"}},
                {"addresses": ["10.5.0.20"], "deprecatedTopology": {"topology.kubernetes.io/zone": "z"}},
            ),
        ]
    ),
    **{
        f"in a namespace that says {name}": Case(
            [service("web", namespace=name), slice_of("web", "a", "10.5.0.21", namespace=name)]
        )
        for name in SPELLED
    },
}


def all_cases() -> list[Case]:
    """All of these."""
    return [case for kind in (NODES, IDENTITIES, ENDPOINTS, CILIUM_SLICES, SERVICES) for case in kind.values()]
