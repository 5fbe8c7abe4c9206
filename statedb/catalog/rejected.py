"""Objects that cannot be read, wholly or in part: what is wrong with them, until they heal or leave."""

import msgspec

from statedb import Table, UniqueIndex


class RejectedKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """``object`` is the source's own name for it: an etcd key, or file, kind and name."""

    cluster: str
    table: str
    object: str


class RejectedRow(msgspec.Struct, frozen=True, gc=False):
    """Why it was rejected, ``when`` (Unix seconds), and the beginning of its value."""

    key: RejectedKey
    error: str = ""
    excerpt: str = ""
    when: float = 0.0


class Rejected(Table[RejectedKey, RejectedRow], name="rejected"):
    """One row per object that cannot be read now.

    Where a part of it is bad (one address of a node), the rows of the rest are in their table, and ``error`` names the
    part. Otherwise its last good rows stay there.
    """

    primary = UniqueIndex[RejectedKey, RejectedRow](lambda rejected: rejected.key)
