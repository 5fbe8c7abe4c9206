"""The keys of an etcd to which any table can be published: rows, heartbeat and canary of each table.

    tables/pods/CLUSTER/NAMESPACE/NAME    a row as JSON; the key has the fields of the row's key, separated by slashes
    tables/.heartbeat/pods                a time, renewed while the writer of this table runs; and after a space the
                                          state of the table at its writer, unless it is synced there
    tables/.synced/pods                   the canary: a time, written after all rows of the table

The name of a table begins with a letter, so none is called ``.heartbeat``.
"""

PREFIX = "tables/"
"""The default prefix of all tables."""


def folder(prefix: str, table: str) -> str:
    """The prefix of a table's rows.

    >>> folder(PREFIX, "pods"), heartbeat(PREFIX, "pods"), canary(PREFIX, "pods")
    ('tables/pods/', 'tables/.heartbeat/pods', 'tables/.synced/pods')
    """
    return f"{prefix}{table}/"


def heartbeat(prefix: str, table: str) -> str:
    """The heartbeat key of the writer of a table."""
    return f"{prefix}.heartbeat/{table}"


def canaries(prefix: str) -> str:
    """The prefix of all canaries."""
    return f"{prefix}.synced/"


def canary(prefix: str, table: str) -> str:
    """The canary key of a table. It tells that all rows of the table are written."""
    return canaries(prefix) + table


def doubt_of(beat: bytes) -> str:
    """Why the writer does not vouch for its table, by the value of its heartbeat; empty if it does.

    >>> doubt_of(b"2026-11-29T12:00:00Z"), doubt_of(b"2026-11-29T12:00:00Z stale: no route to host")
    ('', 'stale: no route to host')
    """
    return beat.partition(b" ")[2].decode("utf-8", "backslashreplace")
