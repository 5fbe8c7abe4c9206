"""Objects that cannot be decoded, in whole or in part: what is wrong, until they are fixed or deleted."""

import msgspec

from statedb import Table, UniqueIndex


class RejectedKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """``object`` is the name of the object in its source: an etcd key, or file, kind and name."""

    cluster: str
    table: str
    object: str


class RejectedRow(msgspec.Struct, frozen=True, gc=False):
    """The error, ``when`` it occurred (Unix seconds), and the beginning of the value."""

    key: RejectedKey
    error: str = ""
    excerpt: str = ""
    when: float = 0.0


class Rejected(Table[RejectedKey, RejectedRow], name="rejected"):
    """One row for each object that cannot be decoded now.

    If only a part is bad, such as one address of a node, the rows of the rest are in their table, and ``error`` names
    the part. Otherwise the last good rows stay in the table.
    """

    primary = UniqueIndex[RejectedKey, RejectedRow](lambda rejected: rejected.key)
