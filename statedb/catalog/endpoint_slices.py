"""Complete endpoint slices of shared services, as they are written to the etcd of a cluster mesh.

This table is not in every deployment: it is filled only for those who publish slices. All others read `Backends`, which
has the same endpoints if they take traffic.
"""

import msgspec

from statedb import Index, Table, UniqueIndex

from .services import ServiceKey


class EndpointSliceKey(msgspec.Struct, frozen=True, gc=False, order=True):
    """``name`` is the name of the Kubernetes object."""

    cluster: str
    namespace: str
    name: str


class EndpointSliceCopy(msgspec.Struct, frozen=True, gc=False):
    """A slice with all its endpoints, labels and annotations.

    ``message`` is the value in etcd before compression (`statedb.catalog.wire.endpoint_slices.read` decodes it).
    """

    key: EndpointSliceKey
    service: ServiceKey
    message: bytes


class EndpointSlices(Table[EndpointSliceKey, EndpointSliceCopy], name="endpointslices"):
    """The slices of all services that are shared."""

    primary = UniqueIndex[EndpointSliceKey, EndpointSliceCopy](lambda row: row.key)
    by_service = Index[ServiceKey, EndpointSliceCopy](lambda row: (row.service,))
