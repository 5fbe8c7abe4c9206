"""Endpoint slices of shared services, whole, as they go into the etcd of a cluster mesh.

Not among the tables that every deployment has: it is filled only for those who publish slices. Everybody else reads
`Backends`, which tell the same of the endpoints that take traffic.
"""

import msgspec

from statedb import Index, Table, UniqueIndex

from .services import ServiceKey


class EndpointSliceKey(msgspec.Struct, frozen=True, gc=False, order=True):
    """``name`` is that of the Kubernetes object."""

    cluster: str
    namespace: str
    name: str


class EndpointSliceCopy(msgspec.Struct, frozen=True, gc=False):
    """A slice with all its endpoints, labels and annotations.

    ``message`` is the value in etcd before compression (`statedb.catalog.wire.endpoint_slices.read` takes it apart).
    """

    key: EndpointSliceKey
    service: ServiceKey
    message: bytes


class EndpointSlices(Table[EndpointSliceKey, EndpointSliceCopy], name="endpointslices"):
    """The slices of all services that are shared."""

    primary = UniqueIndex[EndpointSliceKey, EndpointSliceCopy](lambda row: row.key)
    by_service = Index[ServiceKey, EndpointSliceCopy](lambda row: (row.service,))
