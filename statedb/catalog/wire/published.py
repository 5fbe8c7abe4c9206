"""Where tables stand in an etcd that any table can be published to: rows, heartbeat and canary of each.

    tables/pods/CLUSTER/NAMESPACE/NAME    a row as JSON; the key is that of the row, its fields between slashes
    tables/.heartbeat/pods                a time, written anew while the writer of this table works; and behind a space
                                          the state of the table at its writer, unless that is in order
    tables/.synced/pods                   the canary: a time, written once all rows of the table are there

A table's name begins with a letter, so that none is called ``.heartbeat``.
"""

PREFIX = "tables/"
"""Where tables stand unless the configuration says otherwise."""


def folder(prefix: str, table: str) -> str:
    """The prefix of a table's rows.

    >>> folder(PREFIX, "pods"), heartbeat(PREFIX, "pods"), canary(PREFIX, "pods")
    ('tables/pods/', 'tables/.heartbeat/pods', 'tables/.synced/pods')
    """
    return f"{prefix}{table}/"


def heartbeat(prefix: str, table: str) -> str:
    """The heartbeat of the one who writes a table."""
    return f"{prefix}.heartbeat/{table}"


def canaries(prefix: str) -> str:
    """The prefix of all canaries."""
    return f"{prefix}.synced/"


def canary(prefix: str, table: str) -> str:
    """The key that says that all rows of a table are there."""
    return canaries(prefix) + table


def doubt_of(beat: bytes) -> str:
    """Why the writer does not vouch for its table, by the value of its heartbeat; empty if it does.

    >>> doubt_of(b"2026-11-29T12:00:00Z"), doubt_of(b"2026-11-29T12:00:00Z stale: no route to host")
    ('', 'stale: no route to host')
    """
    return beat.partition(b" ")[2].decode("utf-8", "backslashreplace")
