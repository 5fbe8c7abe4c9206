"""The tables that every deployment has. Each module has the row, the key and the table of one kind.

Rows hold only immutable values: text, numbers, tuples and frozen structs. Mappings are sorted tuples of pairs,
addresses are canonical text. Secondary indexes are never unique, so that one bad object cannot abort a transaction.
``statedb.catalog.wire`` has the formats of these rows in etcd and in Kubernetes. ``statedb.catalog.kinds`` has typed
rows for the common resources of Kubernetes.
"""

from typing import Any

from statedb import Table

from .backends import Backend, BackendKey, Backends
from .endpoint_slices import EndpointSliceCopy, EndpointSliceKey, EndpointSlices
from .endpoints import Endpoint, EndpointKey, Endpoints, NamedPort
from .identities import Identities, Identity, IdentityKey
from .mirror import Mirror, Mirrored, MirrorKey
from .namespaces import Namespace, NamespaceKey, Namespaces
from .nodes import Node, NodeAddress, NodeKey, Nodes
from .objects import Object, ObjectHead, ObjectKey, Objects, Owner, objects_table
from .policies import Entity, Policies, Policy, PolicyKey, Requirement, Selector
from .rejected import Rejected, RejectedKey, RejectedRow
from .services import Frontend, Service, ServiceKey, Services
from .sources import SourceKey, SourceRow, Sources

TABLES: tuple[type[Table[Any, Any]], ...] = (
    Nodes,
    Identities,
    Endpoints,
    Services,
    Backends,
    Namespaces,
    Policies,
    Sources,
    Rejected,
)
"""Every table of the catalog except `Mirror`, `EndpointSlices` and `Objects` (Any: of many key and row types)."""

__all__ = [
    "TABLES",
    "Backend",
    "BackendKey",
    "Backends",
    "Endpoint",
    "EndpointKey",
    "EndpointSliceCopy",
    "EndpointSliceKey",
    "EndpointSlices",
    "Endpoints",
    "Entity",
    "Frontend",
    "Identities",
    "Identity",
    "IdentityKey",
    "Mirror",
    "MirrorKey",
    "Mirrored",
    "NamedPort",
    "Namespace",
    "NamespaceKey",
    "Namespaces",
    "Node",
    "NodeAddress",
    "NodeKey",
    "Nodes",
    "Object",
    "ObjectHead",
    "ObjectKey",
    "Objects",
    "Owner",
    "Policies",
    "Policy",
    "PolicyKey",
    "Rejected",
    "RejectedKey",
    "RejectedRow",
    "Requirement",
    "Selector",
    "Service",
    "ServiceKey",
    "Services",
    "SourceKey",
    "SourceRow",
    "Sources",
    "objects_table",
]
