"""An object of each of Cilium's kinds, as the CRDs describe them, for whoever writes to an API server."""

from __future__ import annotations

from typing import Any

IDENTITIES = "/apis/cilium.io/v2/ciliumidentities"
NODES = "/apis/cilium.io/v2/ciliumnodes"
ENDPOINTS = "/apis/cilium.io/v2/namespaces/default/ciliumendpoints"
SLICES = "/apis/cilium.io/v2alpha1/ciliumendpointslices"
POLICIES = "/apis/cilium.io/v2/namespaces/default/ciliumnetworkpolicies"
CLUSTERWIDE = "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies"


def identity(name: str, app: str = "web") -> dict[str, Any]:
    return _of(
        "CiliumIdentity", name, **{"security-labels": {"k8s:app": app, "k8s:io.kubernetes.pod.namespace": "default"}}
    )


def node(name: str, address: str = "172.18.0.2") -> dict[str, Any]:
    spec = {
        "addresses": [{"ip": address, "type": "InternalIP"}, {"ip": "fc00:c111::2", "type": "InternalIP"}],
        "bootid": "570d3fd1-93db-4862-ba99-6a3c2c10c38f",
        "health": {"ipv4": "10.244.0.134", "ipv6": "fd00:10:244::d812"},
        "ingress": {"ipv4": "10.244.0.200"},
        "encryption": {"key": 7},
        "ipam": {
            "podCIDRs": ["10.244.0.0/24", "fd00:10:244::/64"],
            "pools": {"allocated": [{"pool": "default", "cidrs": ["10.1.0.0/24"]}], "requested": []},
        },
    }
    return _of("CiliumNode", name, spec=spec)


def endpoint(name: str, address: str = "10.244.2.74") -> dict[str, Any]:
    status = {
        "id": 1482,
        "identity": {"id": 199475, "labels": ["k8s:app=web"]},
        "networking": {"addressing": [{"ipv4": address, "ipv6": "fd00:10:244:2::e024"}], "node": "172.18.0.2"},
        "encryption": {"key": 5},
        "named-ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "service-account": "default",
        "state": "ready",
        "health": {"overallHealth": "OK"},  # not in our schema, kept all the same
    }
    return _of("CiliumEndpoint", name, status=status)


def endpoint_slice(name: str, *endpoints: str) -> dict[str, Any]:
    each = {
        "id": 199475,
        "encryption": {"key": 5},
        "networking": {"addressing": [{"ipv4": "10.244.2.74"}], "node": "172.18.0.2"},
        "named-ports": [],
        "service-account": "default",
        "pod-uid": "5f0b3c9e-0c5b-4a53-8f0b-d4a0a1d9f7aa",
    }
    return {
        **_of("CiliumEndpointSlice", name, namespace="default", endpoints=[{**each, "name": one} for one in endpoints]),
        "apiVersion": "cilium.io/v2alpha1",
    }


def policy(name: str, app: str = "web") -> dict[str, Any]:
    return _of("CiliumNetworkPolicy", name, spec=_rule(app))


def clusterwide_policy(name: str, app: str = "web") -> dict[str, Any]:
    return _of("CiliumClusterwideNetworkPolicy", name, specs=[_rule(app), _rule("another")])


def _rule(app: str) -> dict[str, Any]:
    return {
        "endpointSelector": {"matchLabels": {"app": app}},
        "ingress": [{"fromEndpoints": [{}], "toPorts": [{"ports": [{"port": "80", "protocol": "TCP"}]}]}],
    }


def _of(kind: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "cilium.io/v2", "kind": kind, "metadata": {"name": name, "labels": {"of": "test"}}, **fields}
