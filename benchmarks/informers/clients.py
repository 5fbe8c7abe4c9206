"""The clients: each keeps all pods by name and by node, and says of each what it sees. Missing packages are told.

What comes ready-made is used as its documentation shows; what has no cache keeps dicts, as its users do.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from .seen import Seen, Store

CLUSTER = "default"
"""The cluster in our keys."""

Any_: TypeAlias = Any
"""Of packages that may not be there, and whose types are unknown here."""


@dataclass(frozen=True)
class Server:
    """Where the API server is, and what to show there: a kubeconfig, or its parts."""

    kubeconfig: str
    url: str
    ca: str
    token: str


def _table(seen: Seen, server: Server, *, typed: bool) -> None:
    kubernetes: Any_ = importlib.import_module("ingest.kubernetes")  # here, so that the others need not carry it
    db = importlib.import_module("statedb").Database()
    pods = importlib.import_module("statedb.catalog.kinds").Pods if typed else "pods"
    source = kubernetes.resources(db, pods, options=kubernetes.KubernetesOptions(kubeconfig=server.kubeconfig))
    (table,) = source.tables
    key: Any_ = importlib.import_module("statedb.catalog").ObjectKey
    seen.by_name = lambda name: db.snapshot()[table].get(key(CLUSTER, "default", name))
    seen.by_node = lambda node: db.snapshot()[table.by_node][node]
    source.start()
    with db.changes(table) as stream:
        while True:
            for change in stream.next() or ():
                seen.pod(change.row.key.name, change.row.version)


def ours_typed(seen: Seen, server: Server) -> None:
    """Our table of typed rows."""
    _table(seen, server, typed=True)


def ours_as_they_come(seen: Seen, server: Server) -> None:
    """Our table of rows as they come."""
    _table(seen, server, typed=False)


class _Metadata(msgspec.Struct, rename="camel"):
    name: str
    resource_version: str


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


def floor(seen: Seen, server: Server) -> None:
    """By hand, with urllib3 and msgspec, and three fields of a pod."""
    pool: Any_ = importlib.import_module("urllib3").PoolManager(ca_certs=server.ca)
    headers, store = {"Authorization": f"Bearer {server.token}"}, Store(seen)
    listed = msgspec.json.decode(pool.request("GET", f"{server.url}/api/v1/pods", headers=headers).data, type=_List)
    for pod in listed.items:
        store.put(pod.metadata.name, pod.spec.node_name, pod.metadata.resource_version, pod)
    path = f"{server.url}/api/v1/pods?watch=true&resourceVersion={listed.metadata.resource_version}"
    answer, decode = pool.request("GET", path, headers=headers, preload_content=False), msgspec.json.Decoder(_Event)
    for line in answer:
        pod = decode.decode(line).object
        store.put(pod.metadata.name, pod.spec.node_name, pod.metadata.resource_version, pod)


def _official(kubeconfig: str) -> Any_:
    importlib.import_module("kubernetes.config").load_kube_config(kubeconfig)
    return importlib.import_module("kubernetes.client").CoreV1Api()


def official_watch(seen: Seen, server: Server) -> None:
    """The official client's list and watch."""
    api, store = _official(server.kubeconfig), Store(seen)
    listed = api.list_pod_for_all_namespaces()
    for pod in listed.items:
        store.put(pod.metadata.name, pod.spec.node_name, pod.metadata.resource_version, pod)
    watch = importlib.import_module("kubernetes.watch").Watch()
    for event in watch.stream(api.list_pod_for_all_namespaces, resource_version=listed.metadata.resource_version):
        pod = event["object"]
        store.put(pod.metadata.name, pod.spec.node_name, pod.metadata.resource_version, pod)


def official_informer(seen: Seen, server: Server) -> None:
    """The official client's informer, which has no indexes."""
    module: Any_ = importlib.import_module("kubernetes.informer")
    informer = module.SharedInformer(_official(server.kubeconfig).list_pod_for_all_namespaces)
    for kind in (module.ADDED, module.MODIFIED):
        informer.add_event_handler(kind, lambda pod: seen.pod(pod.metadata.name, pod.metadata.resource_version))
    seen.by_name = lambda name: informer.cache.get_by_key(f"default/{name}")
    informer.start()
    threading.Event().wait()


def kubernetes_asyncio(seen: Seen, server: Server) -> None:
    """kubernetes_asyncio's list and watch."""
    package: Any_ = importlib.import_module("kubernetes_asyncio")
    store = Store(seen)

    async def follow() -> None:
        await package.config.load_kube_config(server.kubeconfig)
        async with package.client.ApiClient() as client:
            api = package.client.CoreV1Api(client)
            listed = await api.list_pod_for_all_namespaces()
            for pod in listed.items:
                store.put(pod.metadata.name, pod.spec.node_name, pod.metadata.resource_version, pod)
            version = listed.metadata.resource_version
            async with package.watch.Watch().stream(
                api.list_pod_for_all_namespaces, resource_version=version
            ) as stream:
                async for event in stream:
                    pod = event["object"]
                    store.put(pod.metadata.name, pod.spec.node_name, pod.metadata.resource_version, pod)

    asyncio.run(follow())


def lightkube(seen: Seen, server: Server) -> None:
    """lightkube's list and watch."""
    package: Any_ = importlib.import_module("lightkube")
    pods: Any_ = importlib.import_module("lightkube.resources.core_v1").Pod
    client, store = package.Client(package.KubeConfig.from_file(server.kubeconfig)), Store(seen)
    listed = client.list(pods, namespace="*")
    for pod in listed:
        store.put(pod.metadata.name, pod.spec.nodeName, pod.metadata.resourceVersion, pod)
    types: Any_ = importlib.import_module("lightkube.types")

    def again(_error: Exception, _count: int) -> Any_:
        return types.OnErrorResult(types.OnErrorAction.RETRY, sleep=0.5)

    for _, pod in client.watch(pods, namespace="*", resource_version=listed.resourceVersion, on_error=again):
        store.put(pod.metadata.name, pod.spec.nodeName, pod.metadata.resourceVersion, pod)


def kr8s(seen: Seen, server: Server) -> None:
    """kr8s's watch, which begins with what is there."""
    package: Any_ = importlib.import_module("kr8s")
    store = Store(seen)
    for _, pod in package.api(kubeconfig=server.kubeconfig).watch("pods", namespace=package.ALL):
        store.put(pod.name, pod.raw["spec"].get("nodeName", ""), pod.raw["metadata"]["resourceVersion"], pod)


def kopf(seen: Seen, server: Server) -> None:
    """An operator of kopf with two indexes."""
    package: Any_ = importlib.import_module("kopf")

    async def login(**_: Any) -> Any_:
        return package.ConnectionInfo(server=server.url, ca_path=server.ca, token=server.token)

    async def by_name(name: str, body: Any_, **_: Any) -> Any_:
        return {name: body}

    async def by_node(spec: Any_, body: Any_, **_: Any) -> Any_:
        return {spec.get("nodeName", ""): body}

    async def event(name: str, meta: Any_, by_name: Any_, by_node: Any_, **_: Any) -> None:
        seen.by_name = lambda name: list(by_name.get(name, ()))
        seen.by_node = lambda node: list(by_node.get(node, ()))
        seen.pod(name, meta["resourceVersion"])

    registry, settings = package.OperatorRegistry(), package.OperatorSettings()
    package.on.login(registry=registry)(login)
    package.on.event("pods", registry=registry)(event)
    for each in (by_name, by_node):
        package.index("pods", id=each.__name__, registry=registry)(each)
    settings.posting.enabled = False
    asyncio.run(package.operator(registry=registry, settings=settings, clusterwide=True, standalone=True))


CLIENTS: dict[str, Callable[[Seen, Server], None]] = {
    "ours, typed rows": ours_typed,
    "ours, rows as they come": ours_as_they_come,
    "by hand: urllib3 and msgspec, three fields": floor,
    "lightkube, list and watch": lightkube,
    "kr8s, watch": kr8s,
    "official client, list and watch": official_watch,
    "official client, informer": official_informer,
    "kubernetes_asyncio, list and watch": kubernetes_asyncio,
    "kopf, indexes of an operator": kopf,
}
"""By the name in the table. They run until their process ends."""
