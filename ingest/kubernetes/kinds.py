"""The resources of a cluster with Cilium, with their decoders and tables."""

from __future__ import annotations

from functools import partial

from statedb import Database
from statedb.catalog import Backends, Endpoints, EndpointSlices, Identities, Namespaces, Nodes, Policies, Services
from statedb.catalog.wire import crds

from .. import objects
from ..errors import InvalidOptions
from ..source import AnyTable
from .options import KubernetesOptions
from .resource_spec import Resource

TABLES: tuple[AnyTable, ...] = (Nodes, Identities, Endpoints, Services, Backends, Namespaces, Policies)
"""All tables that an API server can fill. `EndpointSlices` come with `Backends`, if the database has them."""

_CILIUM = "cilium.io"
_DISCOVERY = "discovery.k8s.io"
SERVICES, SLICES = "services", f"endpointslices.{_DISCOVERY}"
"""The two resources that are joined before they become rows."""


def resources(cluster: str, cluster_id: int, *, endpoint_slices: bool, copies: bool = False) -> tuple[Resource, ...]:
    """All resources. With ``endpoint_slices``, CiliumEndpointSlices replace CiliumEndpoints.

    ``copies``: slices are also copied to `EndpointSlices`.
    """
    endpoints = (
        Resource(
            _CILIUM,
            "v2alpha1",
            "ciliumendpointslices",
            (Endpoints,),
            lambda value: crds.endpoint_slice_of_cilium(value, cluster),
        )
        if endpoint_slices
        else Resource(_CILIUM, "v2", "ciliumendpoints", (Endpoints,), lambda value: crds.endpoint(value, cluster))
    )
    of_slices: tuple[AnyTable, ...] = (Backends, EndpointSlices) if copies else (Backends,)
    return (
        Resource(_CILIUM, "v2", "ciliumnodes", (Nodes,), lambda value: crds.node(value, cluster, cluster_id)),
        Resource(_CILIUM, "v2", "ciliumidentities", (Identities,), partial(objects.identity, cluster)),
        endpoints,
        Resource(
            "",
            "v1",
            SERVICES,
            (Services, *of_slices),
            lambda value: crds.service(value, cluster, cluster_id),
            mixed=True,
        ),
        Resource(
            _DISCOVERY,
            "v1",
            "endpointslices",
            of_slices,
            lambda value: (
                crds.whole_endpoint_slice(value, cluster, cluster_id) if copies else crds.endpoint_slice(value, cluster)
            ),
        ),
        Resource("", "v1", "namespaces", (Namespaces,), lambda value: (crds.namespace(value, cluster),)),
        Resource(_CILIUM, "v2", "ciliumnetworkpolicies", (Policies,), lambda value: (crds.policy(value),)),
        Resource(_CILIUM, "v2", "ciliumclusterwidenetworkpolicies", (Policies,), lambda value: (crds.policy(value),)),
    )


def chosen(
    found: tuple[Resource, ...], names: tuple[str, ...] | None
) -> tuple[tuple[Resource, ...], tuple[AnyTable, ...]]:
    """The resources that the named tables need, and these tables; all without names.

    Backends need Services and slices. Copies of slices come with the backends. Raises InvalidOptions.
    """
    own = tuple([table for each in found for table in each.tables if table is EndpointSlices])[:1]
    if names is None:
        return found, (*TABLES, *own)
    by_name = {table.name: table for table in TABLES}
    for name in names:
        if name not in by_name:
            raise InvalidOptions(f"tables: kubernetes carries no table {name!r}; it carries {', '.join(by_name)}")
    if not names:
        raise InvalidOptions("tables: name at least one, or leave the option out to fill all")
    tables = tuple(by_name[name] for name in dict.fromkeys(names))
    if Backends in tables:
        tables += own
    return tuple([each for each in found if any(table in tables for table in each.tables)]), tables


def wanted(
    db: Database, cluster_name: str, cluster_id: int, options: KubernetesOptions, own: tuple[Resource, ...]
) -> tuple[tuple[Resource, ...], tuple[AnyTable, ...]]:
    """The resources to follow and the tables to fill. Raises InvalidOptions."""
    own_tables = tuple(dict.fromkeys([table for each in own for table in each.tables]))
    if not reads_catalog(options, own):
        return own, own_tables
    copies = EndpointSlices in db.tables
    found = resources(cluster_name, cluster_id, endpoint_slices=options.endpoint_slices, copies=copies)
    catalog, tables = chosen(found, options.tables)
    return (*catalog, *own), (*tables, *own_tables)


def reads_catalog(options: KubernetesOptions, own: tuple[Resource, ...]) -> bool:
    """Whether any of Cilium's resources are read."""
    return not own or options.tables is not None
