"""The clients: each keeps all pods by name and by node, and says of each what it sees. Missing packages are told.

What comes ready-made is used as its documentation shows; what has no cache keeps dicts, as its users do.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

Any_: TypeAlias = Any
"""Of packages that may not be there, and whose types are unknown here."""


class Seen:
    """What has come so far. For any thread."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.changes = 0
        self.changed = threading.Condition()

    def pod(self, name: str) -> None:
        """This pod has come, or has changed."""
        with self.changed:
            if name in self.names:
                self.changes += 1
            self.names.add(name)
            self.changed.notify_all()


class Store:
    """Pods in dicts, with an index that is kept by hand."""

    def __init__(self, seen: Seen) -> None:
        self.pods: dict[str, Any] = {}
        self.by_node: dict[str, dict[str, Any]] = {}
        self._seen = seen

    def put(self, name: str, node: str, pod: Any) -> None:
        """A pod, new or changed; its node does not change."""
        self.pods[name] = pod
        self.by_node.setdefault(node, {})[name] = pod
        self._seen.pod(name)


def _table(seen: Seen, kubeconfig: str, *, typed: bool) -> None:
    kubernetes: Any_ = importlib.import_module("ingest.kubernetes")  # here, so that the others need not carry it
    db = importlib.import_module("statedb").Database()
    pods = importlib.import_module("statedb.catalog.kinds").Pods if typed else "pods"
    source = kubernetes.resources(db, pods, options=kubernetes.KubernetesOptions(kubeconfig=kubeconfig))
    (table,) = source.tables
    source.start()
    with db.changes(table) as stream:
        while True:
            for change in stream.next() or ():
                seen.pod(change.row.key.name)


def ours_typed(seen: Seen, kubeconfig: str, url: str, ca: str, token: str) -> None:  # noqa: ARG001
    """Our table of typed rows."""
    _table(seen, kubeconfig, typed=True)


def ours_as_they_come(seen: Seen, kubeconfig: str, url: str, ca: str, token: str) -> None:  # noqa: ARG001
    """Our table of rows as they come."""
    _table(seen, kubeconfig, typed=False)


class _Metadata(msgspec.Struct, rename="camel"):
    name: str
    resource_version: str = ""


class _Spec(msgspec.Struct, rename="camel"):
    node_name: str = ""


class _Pod(msgspec.Struct):
    metadata: _Metadata
    spec: _Spec = msgspec.field(default_factory=_Spec)


class _Versioned(msgspec.Struct, rename="camel"):
    resource_version: str


class _List(msgspec.Struct):
    metadata: _Versioned
    items: list[_Pod]


class _Event(msgspec.Struct):
    object: _Pod


def floor(seen: Seen, kubeconfig: str, url: str, ca: str, token: str) -> None:  # noqa: ARG001
    """By hand, with urllib3 and msgspec, and three fields of a pod."""
    pool: Any_ = importlib.import_module("urllib3").PoolManager(ca_certs=ca)
    headers, store = {"Authorization": f"Bearer {token}"}, Store(seen)
    listed = msgspec.json.decode(pool.request("GET", f"{url}/api/v1/pods", headers=headers).data, type=_List)
    for pod in listed.items:
        store.put(pod.metadata.name, pod.spec.node_name, pod)
    path = f"{url}/api/v1/pods?watch=true&resourceVersion={listed.metadata.resource_version}"
    answer, decode = pool.request("GET", path, headers=headers, preload_content=False), msgspec.json.Decoder(_Event)
    for line in answer:
        pod = decode.decode(line).object
        store.put(pod.metadata.name, pod.spec.node_name, pod)


def _official(kubeconfig: str) -> Any_:
    importlib.import_module("kubernetes.config").load_kube_config(kubeconfig)
    return importlib.import_module("kubernetes.client").CoreV1Api()


def official_watch(seen: Seen, kubeconfig: str, url: str, ca: str, token: str) -> None:  # noqa: ARG001
    """The official client's list and watch."""
    api, store = _official(kubeconfig), Store(seen)
    listed = api.list_pod_for_all_namespaces()
    for pod in listed.items:
        store.put(pod.metadata.name, pod.spec.node_name, pod)
    watch = importlib.import_module("kubernetes.watch").Watch()
    for event in watch.stream(api.list_pod_for_all_namespaces, resource_version=listed.metadata.resource_version):
        pod = event["object"]
        store.put(pod.metadata.name, pod.spec.node_name, pod)


def official_informer(seen: Seen, kubeconfig: str, url: str, ca: str, token: str) -> None:  # noqa: ARG001
    """The official client's informer, which has no indexes."""
    module: Any_ = importlib.import_module("kubernetes.informer")
    informer = module.SharedInformer(_official(kubeconfig).list_pod_for_all_namespaces)
    for kind in (module.ADDED, module.MODIFIED):
        informer.add_event_handler(kind, lambda pod: seen.pod(pod.metadata.name))
    informer.start()
    threading.Event().wait()


def kubernetes_asyncio(seen: Seen, kubeconfig: str, url: str, ca: str, token: str) -> None:  # noqa: ARG001
    """kubernetes_asyncio's list and watch."""
    package: Any_ = importlib.import_module("kubernetes_asyncio")
    store = Store(seen)

    async def follow() -> None:
        await package.config.load_kube_config(kubeconfig)
        async with package.client.ApiClient() as client:
            api = package.client.CoreV1Api(client)
            listed = await api.list_pod_for_all_namespaces()
            for pod in listed.items:
                store.put(pod.metadata.name, pod.spec.node_name, pod)
            version = listed.metadata.resource_version
            async with package.watch.Watch().stream(
                api.list_pod_for_all_namespaces, resource_version=version
            ) as stream:
                async for event in stream:
                    pod = event["object"]
                    store.put(pod.metadata.name, pod.spec.node_name, pod)

    asyncio.run(follow())


def lightkube(seen: Seen, kubeconfig: str, url: str, ca: str, token: str) -> None:  # noqa: ARG001
    """lightkube's list and watch."""
    package: Any_ = importlib.import_module("lightkube")
    pods: Any_ = importlib.import_module("lightkube.resources.core_v1").Pod
    client, store = package.Client(package.KubeConfig.from_file(kubeconfig)), Store(seen)
    listed = client.list(pods, namespace="*")
    for pod in listed:
        store.put(pod.metadata.name, pod.spec.nodeName, pod)
    for _, pod in client.watch(pods, namespace="*", resource_version=listed.resourceVersion):
        store.put(pod.metadata.name, pod.spec.nodeName, pod)


def kr8s(seen: Seen, kubeconfig: str, url: str, ca: str, token: str) -> None:  # noqa: ARG001
    """kr8s's watch, which begins with what is there."""
    package: Any_ = importlib.import_module("kr8s")
    store = Store(seen)
    for _, pod in package.api(kubeconfig=kubeconfig).watch("pods", namespace=package.ALL):
        store.put(pod.name, pod.raw["spec"].get("nodeName", ""), pod)


CLIENTS: dict[str, Callable[[Seen, str, str, str, str], None]] = {
    "ours, typed rows": ours_typed,
    "ours, rows as they come": ours_as_they_come,
    "by hand: urllib3 and msgspec, three fields": floor,
    "lightkube, list and watch": lightkube,
    "kr8s, watch": kr8s,
    "official client, list and watch": official_watch,
    "official client, informer": official_informer,
    "kubernetes_asyncio, list and watch": kubernetes_asyncio,
}
"""By the name in the table. They run until their process ends."""
