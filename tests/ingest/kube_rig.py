"""A kubernetes source on a server, and objects to put there."""

from __future__ import annotations

from typing import Any

from ingest import KubernetesOptions
from ingest.kubernetes import open as open_kubernetes
from ingest.kubernetes.session import KubernetesSource
from statedb import Database, Snapshot
from statedb.catalog import TABLES, SourceKey, SourceRow

from .kvstore_rig import CLUSTER, Rig

Object = dict[str, Any]


class KubeRig(Rig):
    """A running source; a context manager. Waiting is by watches of the tables, never by time."""

    def __init__(self, server: str = "", **options: object) -> None:
        values: dict[str, Any] = {"retry_min_s": 0.02, "retry_max_s": 0.2, "request_timeout_s": 5.0, **options}
        if server:
            values["server"] = server
        self.db = Database(*TABLES)
        source = open_kubernetes(self.db, CLUSTER, 1, KubernetesOptions(**values))
        assert isinstance(source, KubernetesSource)
        self.source: KubernetesSource = source

    def synced(self) -> Snapshot:
        """All tables that the source fills."""
        return self.until(lambda s: all(self.of(t.name, s).state == "synced" for t in self.source.tables), "synced")

    def of(self, table: str, snapshot: Snapshot | None = None) -> SourceRow:
        return (snapshot or self.db.snapshot())[SOURCES][SourceKey(CLUSTER, table)]


SOURCES = next(table for table in TABLES if table.name == "sources")


def cep(ip: str, identity: int = 70_000, name: str = "") -> Object:
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumEndpoint",
        "metadata": {"name": name or f"pod-{ip}", "namespace": "default"},
        "status": {
            "identity": {"id": identity},
            "networking": {"addressing": [{"ipv4": ip}], "node": "172.18.0.2"},
        },
    }


def ces(name: str, ips: list[str], identity: int = 70_000) -> Object:
    return {
        "apiVersion": "cilium.io/v2alpha1",
        "kind": "CiliumEndpointSlice",
        "metadata": {"name": name},
        "namespace": "default",
        "endpoints": [
            {
                "name": f"pod-{ip}",
                "id": identity,
                "networking": {"addressing": [{"ipv4": ip}], "node": "172.18.0.2"},
            }
            for ip in ips
        ],
    }


def node(name: str, ip: str = "172.18.0.2") -> Object:
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNode",
        "metadata": {"name": name},
        "spec": {"addresses": [{"type": "InternalIP", "ip": ip}]},
    }


def identity(number: int, app: str = "web") -> Object:
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumIdentity",
        "metadata": {"name": str(number)},
        "security-labels": {"k8s:app": app, "k8s:io.kubernetes.pod.namespace": "default"},
    }


def namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def policy(name: str, namespace: str = "default") -> Object:
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"endpointSelector": {"matchLabels": {"app": "web"}}, "ingress": [{"fromEndpoints": [{}]}]},
    }


def clusterwide(name: str) -> Object:
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumClusterwideNetworkPolicy",
        "metadata": {"name": name},
        "spec": {"nodeSelector": {}, "egress": [{}]},
    }


def service(name: str, *, shared: bool = True, ip: str = "10.96.0.10") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": "default",
            "annotations": {"service.cilium.io/global": "true" if shared else "false"},
        },
        "spec": {"clusterIP": ip, "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
    }


def endpoint_slice(name: str, service: str, ips: list[str]) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [ip]} for ip in ips],
    }
