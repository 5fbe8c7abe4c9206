"""The keys and values in the etcd of a cluster: a pure function of a snapshot, object by object.

An object is published as a unit: a node, an identity, an address, or a service with its backends. It may have several
keys. Sources: converters.go, service_sync.go and namespacers.go in clustermesh-apiserver of cilium/cilium.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

import msgspec

from statedb import Snapshot, Table
from statedb.catalog import (
    Backend,
    Backends,
    Endpoints,
    EndpointSlices,
    Identities,
    NamespaceKey,
    Namespaces,
    Nodes,
    Service,
    ServiceKey,
    Services,
)
from statedb.catalog.wire import cluster_configs, endpoint_slices, identities, ips, keys, nodes, services
from statedb.catalog.wire.addresses import is_ipv6
from statedb.catalog.wire.cluster_configs import ClusterConfig
from statedb.catalog.wire.endpoint_slices import Conditions, EndpointSlice, SliceEndpoint, SlicePort

from .options import PublisherOptions, ServiceForm

Kind = Literal["node", "identity", "ip", "service"]
"""In the order of the first write: an object comes after those that it refers to."""
KINDS: tuple[Kind, ...] = ("node", "identity", "ip", "service")

TABLES: tuple[type[Table[Any, Any]], ...] = (Nodes, Identities, Endpoints, Services, Backends, Namespaces)

OWN_PREFIXES = (
    keys.NODES,
    keys.IDENTITIES,
    keys.IPS,
    keys.SERVICES,
    keys.ENDPOINT_SLICES,
)
"""The prefixes below which the publisher may delete all keys of its cluster."""

_CANARIES = (*OWN_PREFIXES, keys.SERVICE_EXPORTS)
"""The prefixes that have a canary, whether they have keys or not."""
_UNUSED: dict[ServiceForm, frozenset[str]] = {
    "services": frozenset(),
    "services-and-endpointslices": frozenset(),
    "endpointslices-only": frozenset({keys.SERVICES}),
}
"""The prefixes that are not announced, and so have no canary."""
_SERVICE_NAME = "kubernetes.io/service-name"
_SLICE_ENDPOINTS_MAX = 100
_MODES: dict[ServiceForm, str] = {
    "services": cluster_configs.SERVICES_ONLY,
    "services-and-endpointslices": cluster_configs.BOTH,
    "endpointslices-only": cluster_configs.ENDPOINT_SLICES_ONLY,
}


class Object(NamedTuple):
    """One object, identified by the key of its row."""

    kind: Kind
    key: Any  # of the kind's table


class Views(dict[Any, Any]):
    """The views of a snapshot, each made once: for many lookups that costs half of asking the snapshot each time."""

    def __init__(self, snapshot: Snapshot) -> None:
        """No views yet."""
        super().__init__()
        self.snapshot = snapshot
        self.is_global: dict[str, bool] = {}
        """Whether each namespace that was asked for is shared with other clusters."""

    def __missing__(self, table: Any) -> Any:
        view = self[table] = self.snapshot[table]
        return view


class Layout:
    """The layout of one cluster. May be used from any thread."""

    def __init__(self, cluster: str, cluster_id: int, options: PublisherOptions, *, copies: bool = False) -> None:
        """``cluster_id`` is part of the published values. ``copies``: the database has the table `EndpointSlices`."""
        self.tables: tuple[type[Table[Any, Any]], ...] = (*TABLES, EndpointSlices) if copies else TABLES
        self.cluster = cluster
        self.cluster_id = cluster_id
        self._options = options
        self.config_key = keys.join(keys.CLUSTER_CONFIG, cluster)
        unused = _UNUSED[options.export]
        self.canaries = tuple([keys.synced(cluster, prefix) for prefix in _CANARIES if prefix not in unused])
        self._own = frozenset([keys.synced(cluster, prefix) for prefix in _CANARIES]) | {self.config_key}

    def config(self) -> bytes:
        """The value of the cluster config."""
        return cluster_configs.encode(
            ClusterConfig(
                self.cluster_id,
                synced_canaries=True,
                max_connected_clusters=self._options.max_connected_clusters,
                service_exports_enabled=False,
                endpoint_slices=_MODES[self._options.export],
            )
        )

    def objects(self, snapshot: Snapshot) -> Iterator[Object]:
        """All objects that may have keys, in the order of their kinds."""
        tables: tuple[tuple[Kind, Any], ...] = (
            ("node", Nodes),
            ("identity", Identities),
            ("ip", Endpoints),
            ("service", Services),
        )
        for kind, table in tables:
            for key in snapshot[table]:
                if key.cluster == self.cluster:
                    yield Object(kind, key)

    def affected(self, snapshot: Snapshot, table: type[Table[Any, Any]], row: Any) -> Iterable[Object]:
        """The objects whose keys may change when this row changes."""
        key = row.key
        if key.cluster != self.cluster:
            return ()
        if table is Backends or table is EndpointSlices:
            return (Object("service", row.service),)
        if table is Namespaces:
            return self._of_namespace(snapshot, key.name)
        kinds: dict[Any, Kind] = {Nodes: "node", Identities: "identity", Endpoints: "ip", Services: "service"}
        return (Object(kinds[table], key),)

    def entries(self, views: Views, of: Object) -> dict[str, bytes]:
        """The keys of an object and their values; empty if it does not exist or is not shared. Raises WireError."""
        row = views[_TABLE_OF[of.kind]].get(of.key)
        if row is None:
            return {}
        match of.kind:
            case "node":
                value = nodes.encode(msgspec.structs.replace(row, cluster_id=self.cluster_id))
                return {keys.join(keys.NODES, nodes.name(row)): value}
            case "identity":
                if not row.namespace or not self._is_global(views, row.namespace):
                    return {}  # without the label it is unknown whether other clusters may see it
                return {keys.join(keys.IDENTITIES, identities.name(row)): identities.encode(row)}
            case "ip":
                if (row.pod and not row.namespace) or not self._is_global(views, row.namespace):
                    return {}  # a pod without a namespace: it is unknown whether other clusters may see it
                return {f"{keys.IPS}/{ips.name(row)}": ips.encode(row)}
            case "service":
                if not row.shared or not self._is_global(views, row.key.namespace):
                    return {}
                return dict(self._service(views, row))

    def is_own(self, key: str) -> bool:
        """Whether a key in the etcd belongs to our cluster, so that the publisher may delete it."""
        for prefix in OWN_PREFIXES:
            if key.startswith(prefix + "/"):
                name = key[len(prefix) + 1 :]
                return prefix in (keys.IDENTITIES, keys.IPS) or name.startswith(self.cluster + "/")
        return key in self._own

    def _of_namespace(self, snapshot: Snapshot, name: str) -> Iterator[Object]:
        """All objects of a namespace. Rarely needed: when a namespace is added or deleted, or its sharing changes."""
        for identity in snapshot[Identities].values():
            if identity.namespace == name and identity.key.cluster == self.cluster:
                yield Object("identity", identity.key)
        for endpoint in snapshot[Endpoints].values():
            if endpoint.namespace == name and endpoint.key.cluster == self.cluster:
                yield Object("ip", endpoint.key)
        for service in snapshot[Services]:
            if service.namespace == name and service.cluster == self.cluster:
                yield Object("service", service)

    def _is_global(self, views: Views, namespace: str) -> bool:
        """Whether a namespace is shared with other clusters; False before the namespace is known.

        An address without a namespace, such as that of a node's health endpoint, is shared.
        """
        if not namespace:
            return True
        known = views.is_global.get(namespace)
        if known is not None:
            return known
        row = views[Namespaces].get(NamespaceKey(self.cluster, namespace))
        said = False if row is None else row.is_global
        views.is_global[namespace] = found = self._options.default_global_namespace if said is None else said
        return found

    def _service(self, views: Views, row: Service) -> Iterator[tuple[str, bytes]]:
        backends = [each for each in views[Backends.by_service][row.key] if each.ready or each.serving]
        if self._options.export != "endpointslices-only":
            whole = msgspec.structs.replace(row, shared=True, include_external=True, cluster_id=self.cluster_id)
            yield keys.join(keys.SERVICES, services.name(row)), services.encode(whole, backends)
        if self._options.export != "services":
            copies = tuple(views[EndpointSlices.by_service][row.key]) if EndpointSlices in self.tables else ()
            for copy in copies:
                name = f"{copy.key.cluster}/{copy.key.namespace}/{copy.key.name}"
                yield keys.join(keys.ENDPOINT_SLICES, name), endpoint_slices.compressed(copy.message)
            if copies:
                return
            for each in self._slices(row.key, views[Backends.by_service][row.key]):
                yield keys.join(keys.ENDPOINT_SLICES, endpoint_slices.name(each)), endpoint_slices.encode(each)

    def _slices(self, service: ServiceKey, backends: Iterable[Backend]) -> Iterator[EndpointSlice]:
        """Slices made from backends, for a source that has no slices. Backends with the same ports share a slice."""
        ports: dict[str, set[SlicePort]] = {}
        first: dict[str, Backend] = {}
        for each in backends:
            first.setdefault(each.key.ip, each)
            of_ip = ports.setdefault(each.key.ip, set())
            of_ip.update([SlicePort(name, each.key.protocol, each.key.port) for name in each.port_names])
        groups: dict[tuple[str, tuple[SlicePort, ...]], list[str]] = {}
        for ip in sorted(first):
            kind = "IPv6" if is_ipv6(ip) else "IPv4"
            groups.setdefault((kind, tuple(sorted(ports[ip], key=_order))), []).append(ip)
        for (kind, of_group), found in groups.items():
            tag = hashlib.sha256(repr((kind, of_group)).encode()).hexdigest()[:5]
            for start in range(0, len(found), _SLICE_ENDPOINTS_MAX):
                yield EndpointSlice(
                    cluster=self.cluster,
                    cluster_id=self.cluster_id,
                    namespace=service.namespace,
                    name=f"{service.name}-{tag}{start // _SLICE_ENDPOINTS_MAX or ''}",
                    labels=((_SERVICE_NAME, service.name),),
                    address_type=kind,
                    endpoints=tuple([_endpoint(first[ip]) for ip in found[start : start + _SLICE_ENDPOINTS_MAX]]),
                    ports=of_group,
                )


_TABLE_OF: dict[Kind, Any] = {"node": Nodes, "identity": Identities, "ip": Endpoints, "service": Services}


def published(snapshot: Snapshot, layout: Layout) -> dict[str, bytes]:
    """All keys and values of a cluster, computed from scratch. For tests and checks."""
    views = Views(snapshot)
    return {key: value for each in layout.objects(snapshot) for key, value in layout.entries(views, each).items()}


def _order(port: SlicePort) -> tuple[str, str, int]:
    return port.name, port.protocol, port.port or 0


def _endpoint(backend: Backend) -> SliceEndpoint:
    return SliceEndpoint(
        addresses=(backend.key.ip,),
        conditions=Conditions(backend.ready, backend.serving, backend.terminating),
        hostname=backend.hostname,
        node=backend.node,
        zone=backend.zone,
        zone_hints=backend.zone_hints,
    )
