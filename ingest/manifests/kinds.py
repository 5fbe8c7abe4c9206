"""The kinds of objects in manifests, their tables, and how services are joined with their backends."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from statedb.catalog import (
    Backend,
    Backends,
    Endpoints,
    EndpointSliceCopy,
    Identities,
    Namespaces,
    Nodes,
    Policies,
    Service,
    ServiceKey,
    Services,
)
from statedb.catalog.wire import PartlyRead, crds, faults_of

from .. import objects
from ..events import Bad, Upsert
from ..source import AnyTable
from .files import Kind, Kinds

TABLES: tuple[AnyTable, ...] = (Nodes, Identities, Endpoints, Services, Backends, Namespaces, Policies)
"""All tables that manifests can fill."""

_CILIUM = "cilium.io"
_OF_SLICES = (Backend, EndpointSliceCopy)
_UNUSED = (
    "CiliumBGPAdvertisement",
    "CiliumBGPClusterConfig",
    "CiliumBGPNodeConfig",
    "CiliumBGPNodeConfigOverride",
    "CiliumBGPPeerConfig",
    "CiliumCIDRGroup",
    "CiliumClusterwideEnvoyConfig",
    "CiliumEgressGatewayPolicy",
    "CiliumEnvoyConfig",
    "CiliumExternalWorkload",
    "CiliumGatewayClassConfig",
    "CiliumL2AnnouncementPolicy",
    "CiliumLoadBalancerIPPool",
    "CiliumLocalRedirectPolicy",
    "CiliumNodeConfig",
    "CiliumPodIPPool",
)


def kinds(cluster: str, cluster_id: int, *, copies: bool = False) -> Kinds:
    """How the objects of each kind are decoded. ``copies``: slices are also copied into `EndpointSlices`."""
    policy = Kind(Policies.name, lambda value: (crds.policy(value),), typed=True)
    return {
        **{(_CILIUM, kind): None for kind in _UNUSED},
        (_CILIUM, "CiliumNode"): Kind(Nodes.name, lambda value: crds.node(value, cluster, cluster_id)),
        (_CILIUM, "CiliumIdentity"): Kind(Identities.name, partial(objects.identity, cluster)),
        (_CILIUM, "CiliumEndpoint"): Kind(Endpoints.name, lambda value: crds.endpoint(value, cluster)),
        (_CILIUM, "CiliumEndpointSlice"): Kind(
            Endpoints.name, lambda value: crds.endpoint_slice_of_cilium(value, cluster)
        ),
        (_CILIUM, "CiliumNetworkPolicy"): policy,
        (_CILIUM, "CiliumClusterwideNetworkPolicy"): policy,
        ("", "Namespace"): Kind(Namespaces.name, lambda value: (crds.namespace(value, cluster),)),
        ("", "Service"): Kind(Services.name, lambda value: crds.service(value, cluster, cluster_id)),
        ("discovery.k8s.io", "EndpointSlice"): Kind(
            Backends.name,
            lambda value: (
                crds.whole_endpoint_slice(value, cluster, cluster_id) if copies else crds.endpoint_slice(value, cluster)
            ),
        ),
    }


def is_slice(event: Upsert | Bad) -> bool:
    """Whether an object is a slice, whose rows belong to its service."""
    return isinstance(event, Upsert) and bool(event.rows) and type(event.rows[0]) in _OF_SLICES


def join_services(events: Mapping[str, Upsert | Bad], good: Mapping[str, Upsert]) -> dict[str, Upsert | Bad]:
    """Move the backends in the events from the rows of the slices to the rows of their service.

    A slice counts only while its service exists, and its copy only while the service is shared. ``good`` has the last
    good events of objects that are bad now.
    """
    slices: dict[ServiceKey, list[tuple[Backend, ...]]] = {}
    copies: dict[ServiceKey, list[EndpointSliceCopy]] = {}
    for name, event in events.items():
        rows = good[name].rows if isinstance(event, Bad) and name in good else getattr(event, "rows", ())
        if rows and type(rows[0]) in _OF_SLICES:
            slices.setdefault(rows[0].service, []).append(tuple([row for row in rows if type(row) is Backend]))
            copies.setdefault(rows[0].service, []).extend([row for row in rows if type(row) is EndpointSliceCopy])
    joined: dict[str, Upsert | Bad] = {}
    for name, event in events.items():
        if isinstance(event, Upsert) and event.rows:
            first = event.rows[0]
            if type(first) is Service:
                own = [first, *crds.join(first, slices.get(first.key, ()))]
                own += copies.get(first.key, ()) if first.shared else ()
                event = Upsert(event.feed, name, PartlyRead.of(own, faults_of(event.rows)), event.table)
            elif is_slice(event):
                event = Upsert(event.feed, name, PartlyRead.of((), faults_of(event.rows)), event.table)
        joined[name] = event
    return joined
