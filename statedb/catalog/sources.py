"""The state of the sources of all tables. It is a table, so it can be watched like any other."""

import msgspec

from statedb import Table, UniqueIndex


class SourceKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """Every table of every cluster has exactly one source."""

    cluster: str
    table: str


class SourceRow(msgspec.Struct, frozen=True, gc=False):
    """The state of one source for one table.

    ``state`` is absent, connecting, syncing, synced, stale or failed, and ``since`` when (Unix seconds). ``rows``
    counts the rows that it owns, ``withheld_deletes`` those that it would delete if it could trust what it sees.
    ``relists`` counts how many times it had to list again. ``origin`` identifies the server that the rows are from, in
    a format of the backend. A warm start takes it from the dump.
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
    """One row for each table of a cluster."""

    primary = UniqueIndex[SourceKey, SourceRow](lambda source: source.key)
