"""Services of one cluster with their backends in all clusters: which addresses a frontend's traffic may go to.

A service of the local cluster (others have no address here) uses its own backends, and where it includes external ones
those of every cluster that shares a service of its name. A frontend takes the backends of its family, its protocol and
one of its port names; an unnamed frontend takes those of any. Of these, ready ones are used, and where there are none
the terminating ones that still serve; affinity prefers the local cluster's or the others' as long as they have ready
ones. Knows neither etcd nor Kubernetes.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from statedb import Database, Index, Snapshot, Table, UniqueIndex
from statedb.catalog import Backend, Backends, Frontend, Service, Services

from ..running.derivation import Cut, Derivation, derive
from ..running.follower import Report
from .precedence import rank


class LoadBalancerKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """Services of one name in several clusters are one."""

    namespace: str
    name: str


class LoadBalancerBackend(msgspec.Struct, frozen=True, order=True, gc=False):
    """Where traffic may go. ``ready`` is false for one that terminates and still serves."""

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
    """Where traffic comes in, under all names of the port, and the backends that it goes to now."""

    ip: str
    port: int
    protocol: str
    port_names: tuple[str, ...]
    backends: tuple[LoadBalancerBackend, ...]


class LoadBalancer(msgspec.Struct, frozen=True, gc=False):
    """One service. A headless one has backends and no frontends. ``backends`` are all that may ever be used."""

    key: LoadBalancerKey
    frontends: tuple[LoadBalancerFrontend, ...]
    backends: tuple[LoadBalancerBackend, ...]
    clusters: tuple[str, ...]
    """Those whose backends take part, whether they have any or not."""


class LoadBalancers(Table[LoadBalancerKey, LoadBalancer], name="loadbalancer"):
    """One row per service of the local cluster."""

    primary = UniqueIndex[LoadBalancerKey, LoadBalancer](lambda row: row.key)
    by_frontend = Index[tuple[str, int, str], LoadBalancer](
        lambda row: tuple([(each.ip, each.port, each.protocol) for each in row.frontends])
    )


def backends_of(snapshot: Snapshot, ip: str, port: int, protocol: str) -> tuple[LoadBalancerBackend, ...] | None:
    """The backends of a frontend, none where it has none now; None where there is no such frontend.

    Two services that claim one frontend should not be; the first one by name has it.
    """
    for row in snapshot[LoadBalancers.by_frontend][ip, port, protocol]:
        for frontend in row.frontends:
            if (frontend.ip, frontend.port, frontend.protocol) == (ip, port, protocol):
                return frontend.backends
    return None


def derive_loadbalancer(
    db: Database, cluster: str, *, report: Report | None = None
) -> Derivation[LoadBalancerKey, LoadBalancer]:
    """Keeps the table ``LoadBalancers`` for the services of this cluster."""

    def compute(cut: Cut, key: LoadBalancerKey) -> LoadBalancer | None:
        everywhere = cut[Services.by_name][key.namespace, key.name]
        own = next((service for service in everywhere if service.key.cluster == cluster), None)
        if own is None:
            return None
        used = [service for service in everywhere if service is own or (own.include_external and service.shared)]
        found = _merged([each for service in used for each in cut[Backends.by_service][service.key]], cluster)
        frontends = tuple([_frontend(own, place, found) for place in sorted({_place(each) for each in own.frontends})])
        return LoadBalancer(key, frontends, tuple(found), tuple(sorted([service.key.cluster for service in used])))

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
    """Those that may take traffic, in order; of several with one address the local one, else the strongest source's."""
    claims: dict[tuple[str, int, str], Backend] = {}

    def strength(backend: Backend) -> tuple[bool, int, str]:
        return backend.key.cluster != cluster, rank(backend.source), backend.key.cluster

    for backend in backends:
        if not (backend.ready or backend.serving):
            continue
        place = (backend.key.ip, backend.key.port, backend.key.protocol)
        other = claims.get(place)
        if other is None or strength(backend) < strength(other):
            claims[place] = backend
    return sorted([_of_row(backend) for backend in claims.values()])


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
        and ("" in names or not names.isdisjoint(backend.port_names))
    ]
    return LoadBalancerFrontend(ip, port, protocol, tuple(sorted(names)), _chosen(own, fitting))


def _chosen(own: Service, backends: list[LoadBalancerBackend]) -> tuple[LoadBalancerBackend, ...]:
    """The backends to use: by affinity, those that are ready before those that only still serve."""
    local = [backend for backend in backends if backend.cluster == own.key.cluster]
    remote = [backend for backend in backends if backend.cluster != own.key.cluster]
    groups = {"local": [local, remote], "remote": [remote, local]}.get(own.affinity, [backends])
    for group in groups:
        ready = tuple([backend for backend in group if backend.ready])
        if ready:
            return ready
    return next((tuple(group) for group in groups if group), ())
