"""How the sources of the tables are doing: a table like any other, so that it can be watched like any other."""

import msgspec

from statedb import Table, UniqueIndex


class SourceKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """Every table of every cluster has exactly one source."""

    cluster: str
    table: str


class SourceRow(msgspec.Struct, frozen=True, gc=False):
    """The state of one source for one table.

    ``state``: absent, connecting, syncing, synced, stale or failed; ``since`` when (Unix seconds). ``rows`` are those
    that it owns, ``withheld_deletes`` those that it would remove if it could trust what it sees. ``relists`` counts
    how often it had to list anew. ``origin`` identifies the place that the rows are from, in words of the backend; a
    warm start takes it from the dump.
    """

    key: SourceKey
    backend: str = ""
    state: str = "absent"
    since: float = 0.0
    last_error: str = ""
    rows: int = 0
    withheld_deletes: int = 0
    relists: int = 0
    origin: str = ""


class Sources(Table[SourceKey, SourceRow], name="sources"):
    """One row per table of a cluster."""

    primary = UniqueIndex[SourceKey, SourceRow](lambda source: source.key)
