"""The ids of the clusters of a mesh, which must be unique. For any thread."""

from __future__ import annotations

import threading


class ClusterIds:
    """The ids in use.

    >>> ids = ClusterIds(1)
    >>> ids.claim("b", 2), ids.claim("c", 2)
    ('', "its id is 2, which cluster 'b' has")
    >>> ids.release("b"); ids.claim("c", 2)
    ''
    """

    def __init__(self, own: int) -> None:
        """``own`` is the id of the local cluster, 0 if it has none."""
        self._own = own
        self._lock = threading.Lock()
        self._by_cluster: dict[str, int] = {}

    def claim(self, cluster: str, cluster_id: int) -> str:
        """Give a cluster an id, in place of the one it had. Returns why that is not possible; nothing changes then."""
        with self._lock:
            if cluster_id == self._own:
                return f"its id is {cluster_id}, which is our own"
            for other, taken in self._by_cluster.items():
                if taken == cluster_id and other != cluster:
                    return f"its id is {cluster_id}, which cluster {other!r} has"
            self._by_cluster[cluster] = cluster_id
            return ""

    def release(self, cluster: str) -> None:
        """The cluster has left: its id is free."""
        with self._lock:
            self._by_cluster.pop(cluster, None)
