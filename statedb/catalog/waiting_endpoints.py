"""Endpoints whose address another object has in `Endpoints`, so that they have no row there.

Not among the tables that every deployment has: it is filled only for those who publish. Other clusters see only some
namespaces; where the object that has the address is in none of those, they see one that waits. Nearly always empty.
"""

import msgspec

from statedb import Index, Table, UniqueIndex

from .endpoints import Endpoint, EndpointKey


class WaitingEndpointKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """``object`` is what claims the address, by its name at the source. Those of one address sort as they would win."""

    cluster: str
    ip: str
    object: str


class WaitingEndpoint(msgspec.Struct, frozen=True, gc=False):
    """``endpoint`` is the row that the object would have in `Endpoints`."""

    key: WaitingEndpointKey
    endpoint: Endpoint


class WaitingEndpoints(Table[WaitingEndpointKey, WaitingEndpoint], name="waiting-endpoints"):
    """One row per object and address that it claims and does not have."""

    primary = UniqueIndex[WaitingEndpointKey, WaitingEndpoint](lambda row: row.key)
    by_address = Index[EndpointKey, WaitingEndpoint](lambda row: (row.endpoint.key,))
