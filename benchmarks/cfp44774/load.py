"""The load: what Cilium's operator and users write to the API server, at a rate, each write through its front door.

A pod is an endpoint in the CiliumEndpointSlice of its namespace. With each deployment come its identity, its service
and the service's EndpointSlice; a policy for each namespace and the nodes are there from the beginning.
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import msgspec

from tests.apiserver.server import ApiServer

from ..harness import require
from .plan import CLUSTER, Deployment, Plan, node_ip, node_name

Object = dict[str, Any]
"""JSON."""

IDENTITIES = "/apis/cilium.io/v2/ciliumidentities"
SLICES = "/apis/cilium.io/v2alpha1/ciliumendpointslices"
_NODES = "/apis/cilium.io/v2/ciliumnodes"
_WRITERS = 4
_NAMESPACE_LABEL = "k8s:io.kubernetes.pod.namespace"


class _Metadata(msgspec.Struct, rename={"version": "resourceVersion"}):
    version: str = ""


class _Written(msgspec.Struct):
    metadata: _Metadata


class Writer:
    """One user of the API server on one connection that stays. For one thread."""

    def __init__(self, server: ApiServer) -> None:
        parts = urlsplit(server.url)
        trust = ssl.create_default_context(cafile=str(server.ca))
        self._connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=60, context=trust)
        self._headers = {"Authorization": f"Bearer {server.token()}", "Content-Type": "application/json"}

    def send(self, method: str, path: str, what: Object | None = None) -> str:
        """One write that must succeed; the version that it gave the object."""
        body = None if what is None else msgspec.json.encode(what)
        self._connection.request(method, path, body, self._headers)
        answer = self._connection.getresponse()
        said = answer.read()
        require(answer.status < 400, f"{method} {path}: {answer.status} {said[:300]!r}")
        return msgspec.json.decode(said, type=_Written).metadata.version


class Load:
    """All that is written in a run. ``created`` says when the write of each pod was begun, and ``accepted`` its end."""

    def __init__(self, server: ApiServer, plan: Plan) -> None:
        self._plan = plan
        self._lanes = [ThreadPoolExecutor(1, thread_name_prefix="load") for _ in range(_WRITERS)]
        self._writers = [Writer(server) for _ in range(_WRITERS)]
        self._slices: dict[str, dict[int, Deployment]] = {}
        self._versions: dict[str, str] = {}
        self.created: dict[str, float] = {}
        self.accepted: dict[str, float] = {}

    def prepare(self) -> None:
        """What is there before the first pod: namespaces, policies, nodes."""
        plan = self._plan
        names = [f"ns-{number}" for number in range(plan.namespaces)]
        self._all("POST", [("/api/v1/namespaces", _object("Namespace", "v1", name)) for name in names])
        path = "/apis/cilium.io/v2/namespaces/{}/ciliumnetworkpolicies"
        self._all("POST", [(path.format(name), _policy()) for name in names])
        self._all("POST", [(_NODES, _node(number)) for number in range(plan.nodes)])

    def create(self, deployments: Sequence[Deployment]) -> float:
        """Make them at the rate; the pods a second that it came to."""
        begun = time.monotonic()
        self._each(self._create, deployments)
        return len(deployments) * len(deployments[0].ips) / (time.monotonic() - begun)

    def delete(self, deployments: Sequence[Deployment]) -> None:
        """Delete them at the same rate."""
        self._each(self._delete, deployments)

    def close(self) -> None:
        """No more writes."""
        for lane in self._lanes:
            lane.shutdown()

    # -- one deployment ------------------------------------------------------------------------------------------------

    def _create(self, deployment: Deployment) -> None:
        writer = self._writers[self._lane_of(deployment)]
        namespace, name = deployment.namespace, deployment.name
        writer.send("POST", IDENTITIES, _identity(deployment))
        writer.send("POST", f"/api/v1/namespaces/{namespace}/services", _service(name))
        writer.send("POST", f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices", _slice_of(deployment))
        standing = self._slices.setdefault(namespace, {})
        standing[deployment.number] = deployment
        begun = time.monotonic()
        self.created.update(dict.fromkeys(deployment.ips, begun))
        self._write_slice(writer, namespace)
        self.accepted.update(dict.fromkeys(deployment.ips, time.monotonic()))

    def _delete(self, deployment: Deployment) -> None:
        writer = self._writers[self._lane_of(deployment)]
        namespace, name = deployment.namespace, deployment.name
        standing = self._slices[namespace]
        del standing[deployment.number]
        if standing:
            self._write_slice(writer, namespace)
        else:
            del self._versions[namespace]
            writer.send("DELETE", f"{SLICES}/ces-{namespace}")
        writer.send("DELETE", f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/{name}")
        writer.send("DELETE", f"/api/v1/namespaces/{namespace}/services/{name}")
        writer.send("DELETE", f"{IDENTITIES}/{deployment.identity}")

    def _write_slice(self, writer: Writer, namespace: str) -> None:
        """All pods of a namespace, as they are now."""
        whole = _cilium_slice(namespace, self._slices[namespace].values(), self._plan.nodes)
        version = self._versions.get(namespace)
        if version is None:
            self._versions[namespace] = writer.send("POST", SLICES, whole)
        else:
            whole["metadata"]["resourceVersion"] = version
            self._versions[namespace] = writer.send("PUT", f"{SLICES}/ces-{namespace}", whole)

    # -- at a rate -----------------------------------------------------------------------------------------------------

    def _paced(self, deployments: Sequence[Deployment]) -> Iterator[Deployment]:
        begun, step = time.monotonic(), len(deployments[0].ips) / self._plan.pods_a_second
        for number, each in enumerate(deployments):
            time.sleep(max(0.0, begun + number * step - time.monotonic()))
            yield each

    def _each(self, write: Callable[[Deployment], None], deployments: Sequence[Deployment]) -> None:
        """A namespace's writes stay in order: they have one lane. Raises what a write raised."""
        futures = [self._lanes[self._lane_of(each)].submit(write, each) for each in self._paced(deployments)]
        for future in futures:
            future.result()

    def _lane_of(self, deployment: Deployment) -> int:
        return (deployment.number % self._plan.namespaces) % _WRITERS

    def _all(self, method: str, writes: list[tuple[str, Object]]) -> None:
        for path, what in writes:
            self._writers[0].send(method, path, what)


def _object(kind: str, version: str, name: str, **fields: Any) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **fields}


def _policy() -> Object:
    """Whoever is in the team may come in: a selector that every new identity of the namespace answers to."""
    rule = {"endpointSelector": {}, "ingress": [{"fromEndpoints": [{"matchLabels": {"team": "load"}}]}]}
    return _object("CiliumNetworkPolicy", "cilium.io/v2", "team", spec=rule)


def _node(number: int) -> Object:
    spec = {
        "addresses": [{"ip": node_ip(number), "type": "InternalIP"}],
        "ipam": {"podCIDRs": [f"10.{128 + (number >> 8)}.{number & 255}.0/24"]},
    }
    return _object("CiliumNode", "cilium.io/v2", node_name(number), spec=spec)


def _identity(deployment: Deployment) -> Object:
    labels = {
        "k8s:app": deployment.name,
        "k8s:team": "load",
        "k8s:io.cilium.k8s.policy.cluster": CLUSTER,
        _NAMESPACE_LABEL: deployment.namespace,
    }
    return _object("CiliumIdentity", "cilium.io/v2", str(deployment.identity), **{"security-labels": labels})


def _cilium_slice(namespace: str, deployments: Iterable[Deployment], nodes: int) -> Object:
    endpoints = [
        {
            "name": f"{each.name}-{place}",
            "id": each.identity,
            "networking": {"addressing": [{"ipv4": ip}], "node": node_ip((each.number + place) % nodes)},
            "service-account": "default",
        }
        for each in deployments
        for place, ip in enumerate(each.ips)
    ]
    return _object(
        "CiliumEndpointSlice", "cilium.io/v2alpha1", f"ces-{namespace}", namespace=namespace, endpoints=endpoints
    )


def _service(name: str) -> Object:
    metadata = {"name": name, "annotations": {"service.cilium.io/global": "true"}}
    ports = [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]
    spec = {"ports": ports, "selector": {"app": name}, "clusterIP": "None"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _slice_of(deployment: Deployment) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": deployment.name, "labels": {"kubernetes.io/service-name": deployment.name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [ip], "conditions": {"ready": True}} for ip in deployment.ips],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }
