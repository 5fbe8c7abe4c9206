"""What may happen to a small cluster at an API server. Nobody but the history itself changes these objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from ingest.etcd.local import LocalEtcd

from ..apiserver.server import ApiServer
from . import objects
from .comparing import held
from .kubernetes import put_all, remove_all
from .objects import GLOBAL, Object

NAMESPACES = ("tale-a", "tale-b")
"""The history's own."""

_pods = st.integers(0, 3)
_ips = st.integers(1, 5)
_numbers = st.integers(0, 3)
_flags = st.booleans()
_namespaces = st.sampled_from(NAMESPACES)

step: Any = st.one_of(
    st.tuples(st.just("node"), _numbers, st.lists(_ips, max_size=2, unique=True), _ips),
    st.tuples(st.just("no node"), _numbers),
    st.tuples(st.just("identity"), _numbers, _namespaces, st.sampled_from(["web", "db"])),
    st.tuples(st.just("no identity"), _numbers),
    st.tuples(st.just("pod"), _namespaces, _pods, _ips, _numbers),
    st.tuples(st.just("no pod"), _namespaces, _pods),
    st.tuples(st.just("service"), _namespaces, _numbers, _flags, _ips),
    st.tuples(st.just("no service"), _namespaces, _numbers),
    st.tuples(st.just("slice"), _namespaces, _numbers, _numbers, st.lists(_ips, max_size=3, unique=True), _flags),
    st.tuples(st.just("no slice"), _namespaces, _numbers),
    st.tuples(st.just("global"), _namespaces, st.sampled_from([None, "true", "false"])),
)


class Cluster:
    """What is at the API server of the history's objects. Two pods never end a round with one address."""

    def __init__(self, server: ApiServer, writers: tuple[LocalEtcd, LocalEtcd]) -> None:
        """``writers``: where the writers write."""
        self._server = server
        self._etcds = writers
        self._there: dict[tuple[str, ...], Object] = {}
        self._rounds = 0
        put_all(server, [objects.namespace(name) for name in NAMESPACES])

    def clear(self) -> None:
        """Everything goes, and namespaces say nothing."""
        remove_all(self._server, self._there.values())
        self._there.clear()
        for name in NAMESPACES:
            self.do("global", name, None)

    def do(self, what: str, *arguments: Any) -> None:
        """One step."""
        if what == "global":
            name, says = arguments
            path = f"/api/v1/namespaces/{name}"
            found = self._server.rest().get(path)
            found["metadata"]["annotations"] = objects.namespace(name, says)["metadata"]["annotations"]
            self._server.rest().replace(path, found)
        elif what.startswith("no "):
            self._remove((what.removeprefix("no "), *map(str, arguments)))
        else:
            self._put(what, _MAKERS[what](*arguments))

    def finish(self) -> Callable[[], bool]:
        """The round is over. The answer says whether both writers have seen it, by marks of each kind."""
        self._rounds += 1
        number = self._rounds % 200 + 10
        marks = [
            objects.node("tale-mark", addresses=objects.addresses(f"172.20.0.{number}")),
            objects.labelled("197999", {objects.NAMESPACE_LABEL: "default", "k8s:round": str(number)}),
            objects.endpoint("tale-mark", "10.7.255.1", namespace="default", node=f"172.20.0.{number}"),
            objects.service("tale-mark", namespace="default", selector={"round": str(number)}),
            objects.slice_of("tale-mark", "a", f"10.7.254.{number}", namespace="default"),
        ]
        put_all(self._server, marks)

        def seen() -> bool:
            return all(_shows(held(etcd), number) for etcd in self._etcds)

        return seen

    def _put(self, kind: str, value: Object) -> None:
        name = (kind, *_name_of(kind, value))
        if kind == "pod":
            self._take_over(name, value)
        put_all(self._server, [value])
        self._there[name] = value

    def _take_over(self, name: tuple[str, ...], value: Object) -> None:
        """The pods that had its address go: before it comes, or behind it."""
        ip = _ip_of(value)
        for other, there in list(self._there.items()):
            if other[0] == "pod" and other != name and _ip_of(there) == ip:
                self._remove(other)

    def _remove(self, name: tuple[str, ...]) -> None:
        value = self._there.pop(name, None)
        if value is not None:
            remove_all(self._server, [value])


def _name_of(kind: str, value: Object) -> tuple[str, ...]:
    metadata = value["metadata"]
    number = metadata["name"].rpartition("-")[2] if kind != "identity" else str(int(metadata["name"]) - 197_000)
    return (metadata["namespace"], number) if "namespace" in metadata else (number,)


def _ip_of(value: Object) -> str:
    return str(value["status"]["networking"]["addressing"][0]["ipv4"])


def _shows(found: dict[str, bytes], number: int) -> bool:
    wanted = {
        "cilium/state/nodes/v1/cluster3/tale-mark": b"172.20.0.%d" % number,
        "cilium/state/identities/v1/id/197999": b"round=%d;" % number,
        "cilium/state/ip/v1/default/10.7.255.1": b"172.20.0.%d" % number,
        "cilium/state/services/v1/cluster3/default/tale-mark": b'"round":"%d"' % number,
    }
    shown = all(text in found.get(key, b"") for key, text in wanted.items())
    return shown and b"10.7.254.%d" % number in found["cilium/state/services/v1/cluster3/default/tale-mark"]


def _node(number: int, ips: list[int], network: int) -> Object:
    found = objects.addresses(*(f"172.20.1.{ip}" for ip in ips))
    return objects.node(f"tale-{number}", addresses=found, ipam={"podCIDRs": [f"10.{network}.0.0/24"]})


def _identity(number: int, namespace: str, app: str) -> Object:
    return objects.labelled(str(197_000 + number), {objects.NAMESPACE_LABEL: namespace, "k8s:app": app})


def _pod(namespace: str, number: int, ip: int, identity: int) -> Object:
    return objects.endpoint(f"tale-{number}", f"10.7.0.{ip}", namespace=namespace, identity={"id": 197_000 + identity})


def _service(namespace: str, number: int, is_global: bool, port: int) -> Object:
    annotations = {GLOBAL: "true" if is_global else "false"}
    ports = [{"name": "http", "port": 80 + port, "protocol": "TCP"}]
    return objects.service(f"tale-{number}", annotations, namespace=namespace, ports=ports)


def _slice(namespace: str, number: int, of_service: int, ips: list[int], ready: bool) -> Object:
    endpoints = [
        {"addresses": [f"10.7.{number}.{ip}"], "conditions": {"ready": ready, "serving": True}, "zone": "z"}
        for ip in ips
    ]
    found = objects.slice_of(f"tale-{of_service}", "a", *endpoints, namespace=namespace)
    found["metadata"]["name"] = f"tale-slice-{number}"
    return found


_MAKERS: dict[str, Callable[..., Object]] = {
    "node": _node,
    "identity": _identity,
    "pod": _pod,
    "service": _service,
    "slice": _slice,
}
