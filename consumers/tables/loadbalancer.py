"""Services of the local cluster with their backends in all clusters: where the traffic of each frontend may go.

A service of the local cluster uses its own backends. If it includes external backends, it also uses those of each
remote cluster with backends of the same service name, unless that cluster's service is not shared. A remote cluster
that exports only endpoint slices has backends and no service. Services of remote clusters have no frontend here.

A frontend uses the backends of its family, its protocol and one of its port names. An unnamed frontend uses backends of
any name, and an unnamed backend serves all frontends. Among these the ready ones are used; if there are none, those
that are terminating but still serving. Affinity prefers the backends of the local cluster, or those of the others, as
long as any of them are ready (cilium/cilium pkg/loadbalancer and pkg/clustermesh). Knows neither etcd nor Kubernetes.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from statedb import Database, Index, Snapshot, Table, UniqueIndex
from statedb.catalog import Backend, Backends, Frontend, Service, Services

from ..running.derivation import Derivation, derive
from ..running.follower import Report
from ..running.source_snapshot import SourceSnapshot
from .precedence import precedence


class LoadBalancerKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """Namespace and name. Services of the same name in several clusters share a row."""

    namespace: str
    name: str


class LoadBalancerBackend(msgspec.Struct, frozen=True, order=True, gc=False):
    """A backend. ``ready`` is false for a backend that is terminating but still serving."""

    ip: str
    port: int
    protocol: str
    port_names: tuple[str, ...]
    cluster: str
    ready: bool = True
    node: str = ""
    hostname: str = ""
    zone: str = ""
    zone_hints: tuple[str, ...] = ()


class LoadBalancerFrontend(msgspec.Struct, frozen=True, order=True, gc=False):
    """A frontend, with all names of its port, and the backends that it uses now."""

    ip: str
    port: int
    protocol: str
    port_names: tuple[str, ...]
    backends: tuple[LoadBalancerBackend, ...]


class LoadBalancer(msgspec.Struct, frozen=True, gc=False):
    """One service. A headless one has backends and no frontends. ``backends``: all that may be used."""

    key: LoadBalancerKey
    frontends: tuple[LoadBalancerFrontend, ...]
    backends: tuple[LoadBalancerBackend, ...]
    clusters: tuple[str, ...]
    """The clusters whose backends are used, whether or not they have any."""


class LoadBalancers(Table[LoadBalancerKey, LoadBalancer], name="loadbalancer"):
    """One row for each service of the local cluster."""

    primary = UniqueIndex[LoadBalancerKey, LoadBalancer](lambda row: row.key)
    by_frontend = Index[tuple[str, int, str], LoadBalancer](
        lambda row: tuple([(each.ip, each.port, each.protocol) for each in row.frontends])
    )


def backends_of(snapshot: Snapshot, ip: str, port: int, protocol: str) -> tuple[LoadBalancerBackend, ...] | None:
    """The backends of a frontend, which may be empty; None if there is no such frontend.

    If two services have the same frontend, which should not happen, the first by name is used.
    """
    for row in snapshot[LoadBalancers.by_frontend][ip, port, protocol]:
        for frontend in row.frontends:
            if (frontend.ip, frontend.port, frontend.protocol) == (ip, port, protocol):
                return frontend.backends
    return None


def derive_loadbalancer(
    db: Database, cluster: str, *, report: Report | None = None
) -> Derivation[LoadBalancerKey, LoadBalancer]:
    """Maintain the table ``LoadBalancers`` for the services of this cluster."""

    def compute(snapshot: SourceSnapshot, key: LoadBalancerKey) -> LoadBalancer | None:
        services = {each.key.cluster: each for each in snapshot[Services.by_name][key.namespace, key.name]}
        own = services.get(cluster)
        if own is None:
            return None
        backends = snapshot[Backends.by_name][key.namespace, key.name]
        used = {cluster}
        if own.include_external:
            used |= {*services, *[each.key.cluster for each in backends]}
            used -= {name for name, each in services.items() if name != cluster and not each.shared}
        found = _merged([each for each in backends if each.key.cluster in used], cluster)
        frontends = tuple([_frontend(own, place, found) for place in sorted({_place(each) for each in own.frontends})])
        return LoadBalancer(key, frontends, tuple(found), tuple(sorted(used)))

    return derive(
        db,
        LoadBalancers,
        compute,
        {
            Services: lambda _, service: [LoadBalancerKey(service.key.namespace, service.key.name)],
            Backends: lambda _, backend: [LoadBalancerKey(backend.key.namespace, backend.key.service)],
        },
        name="loadbalancer",
        report=report,
    )


def _place(frontend: Frontend) -> tuple[str, int, str]:
    return frontend.ip, frontend.port, frontend.protocol


def _merged(backends: Iterable[Backend], cluster: str) -> list[LoadBalancerBackend]:
    """The backends that may take traffic, sorted. If several have one address, the strongest claim wins (`precedence`).

    The winner is chosen even while it takes no traffic, so that a remote cluster never serves an address of ours.
    """
    claims: dict[tuple[str, int, str], Backend] = {}

    def strength(backend: Backend) -> tuple[int, str]:
        return precedence(cluster, backend.key.cluster, backend.source), backend.key.cluster

    for backend in backends:
        place = (backend.key.ip, backend.key.port, backend.key.protocol)
        other = claims.get(place)
        if other is None or strength(backend) < strength(other):
            claims[place] = backend
    return sorted([_of_row(backend) for backend in claims.values() if _takes_traffic(backend)])


def _takes_traffic(backend: Backend) -> bool:
    return backend.ready or (backend.serving and backend.terminating)


def _of_row(backend: Backend) -> LoadBalancerBackend:
    key = backend.key
    return LoadBalancerBackend(
        key.ip,
        key.port,
        key.protocol,
        backend.port_names,
        key.cluster,
        backend.ready,
        backend.node,
        backend.hostname,
        backend.zone,
        backend.zone_hints,
    )


def _frontend(own: Service, place: tuple[str, int, str], backends: list[LoadBalancerBackend]) -> LoadBalancerFrontend:
    ip, port, protocol = place
    names = {each.port_name for each in own.frontends if _place(each) == place}
    fitting = [
        backend
        for backend in backends
        if backend.protocol == protocol
        and (":" in backend.ip) == (":" in ip)
        and _share_a_name(names, backend.port_names)
    ]
    return LoadBalancerFrontend(ip, port, protocol, tuple(sorted(names)), _chosen(own, fitting))


def _share_a_name(of_frontend: set[str], of_backend: Iterable[str]) -> bool:
    named = set(of_backend) - {""}
    return "" in of_frontend or not named or not named.isdisjoint(of_frontend)


def _chosen(own: Service, backends: list[LoadBalancerBackend]) -> tuple[LoadBalancerBackend, ...]:
    """The backends to use, by affinity and readiness."""
    local = [backend for backend in backends if backend.cluster == own.key.cluster]
    remote = [backend for backend in backends if backend.cluster != own.key.cluster]
    groups = {"local": [local, remote], "remote": [remote, local]}.get(own.affinity, [backends])
    for group in groups:
        ready = tuple([backend for backend in group if backend.ready])
        if ready:
            return ready
    return next((tuple(group) for group in groups if group), ())
