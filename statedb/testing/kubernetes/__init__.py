"""An API server of Kubernetes in this process, for tests of operators: no cluster, no container, some milliseconds.

    >>> from statedb.testing.kubernetes import ApiServer
    >>> value = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}}
    >>> with ApiServer() as server:
    ...     stored = server.create(value)
    ...     server.get("configmaps", "a")["data"]
    {'x': '1'}

Any client reaches it at ``server.url`` (HTTP, without a login): ``KubernetesOptions(server=server.url)``, or the file
that ``server.write_kubeconfig(path)`` writes. It speaks discovery, list (pages, selectors, metadata only), watch
(bookmarks, streamed lists, 410), create, replace, merge patch, JSON patch, server-side apply, status, delete with
finalizers, and CustomResourceDefinitions. It can be made to fail: ``fail``, ``forget_history``, ``end_watches``,
``cut``, ``stop`` and ``start``.

It is no cluster: nothing is scheduled, no owner takes its children along, no schema is checked, and nothing is filled
in that a schema or a controller would fill in. Lists inside objects are applied as a whole, but ``finalizers`` and
``ownerReferences``. ``managedFields`` are not shown. The same conversations run through this and the real API server in
``tests/statedb/testing/test_kubernetes.py``.
"""

from ._refusal import Refusal
from ._resources import Resource
from ._server import ApiServer

__all__ = ["ApiServer", "Refusal", "Resource"]
