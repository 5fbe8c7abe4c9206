"""Where tables stand in an etcd that any table can be published to: rows, heartbeat and canary of each.

    tables/pods/CLUSTER/NAMESPACE/NAME    a row as JSON; the key is that of the row, its fields between slashes
    tables/.heartbeat/pods                a time, written anew while the writer of this table works
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
