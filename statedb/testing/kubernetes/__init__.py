"""A Kubernetes API server in this process, for tests of operators: no cluster, no container, a few milliseconds.

    >>> from statedb.testing.kubernetes import ApiServer
    >>> value = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}}
    >>> with ApiServer() as server:
    ...     stored = server.create(value)
    ...     server.get("configmaps", "a")["data"]
    {'x': '1'}

Any client reaches it at ``server.url`` (HTTP, without authentication): ``KubernetesOptions(server=server.url)``, or the
file that ``server.write_kubeconfig(path)`` writes. It supports discovery, list (pages, selectors, metadata only), watch
(bookmarks, streamed lists, 410), create, replace, merge patch, JSON patch, server-side apply, status, delete with
finalizers, and CustomResourceDefinitions. It can be made to fail: ``fail``, ``forget_history``, ``end_watches``,
``cut``, ``stop`` and ``start``.

It is not a cluster. Nothing is scheduled, deleting an owner does not delete its dependents, schemas are not checked,
and fields that a schema or a controller would set are not set. Server-side apply treats lists as atomic, except
``finalizers`` and ``ownerReferences``. ``managedFields`` are not returned. ``tests/statedb/testing/test_kubernetes.py``
runs the same conversations through this server and the real API server.
"""

from ._refusal import Refusal
from ._resources import Resource
from ._server import ApiServer

__all__ = ["ApiServer", "Refusal", "Resource"]
