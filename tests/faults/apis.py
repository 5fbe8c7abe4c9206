"""Sites whose truth stands at an API server: a real one, and the one that can be made to misbehave."""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from ingest import KubernetesOptions, Source
from ingest.kubernetes import open as open_kubernetes

from ..apiserver.rest import Refused, eventually
from ..apiserver.server import ApiServer
from ..ingest.kube_fake import PATHS, FakeApi
from ..ingest.kube_rig import cep
from ..ingest.kvstore_rig import CLUSTER
from ..tcp_proxy import TcpProxy
from .site import Site

_COLLECTION = "/apis/cilium.io/v2/namespaces/default/ciliumendpoints"
_STORED = b"/registry/cilium.io/ciliumendpoints/default/pod-"
_PAGE = 100
_beats = itertools.count()
_BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
_SERVICE_ACCOUNTS = {
    "metadata": {"name": "service-accounts"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:serviceaccounts:default"}],
}


class ApiSite(Site):
    """Its endpoints are CiliumEndpoints."""

    doubt: ClassVar[str] = "UID"
    refusal: ClassVar[str] = "credentials"

    def quick(self) -> dict[str, Any]:
        return {
            "retry_min_s": 0.02,
            "retry_max_s": 0.2,
            "request_timeout_s": 3.0,
            "connect_timeout_s": 3.0,
            "page_limit": 20,
        }

    def open(self) -> Source:
        return open_kubernetes(self.db, CLUSTER, 1, KubernetesOptions(**self.options))

    def start_proxy(self, url: str, by_name: bool) -> str:
        """Between reader and server; the host and port that the reader is told."""
        proxy = self.resources.enter_context(TcpProxy(url))
        self.proxies.append(proxy)
        if not by_name:
            return f"127.0.0.1:{proxy.port}"
        self._at = self.resources.enter_context(_resolving("localhost"))
        return f"localhost:{proxy.port}"

    def move(self) -> None:
        (old,) = self.proxies
        new = TcpProxy(old.target, address="127.0.0.2", port=old.port)
        self.resources.enter_context(new)
        self.proxies.append(new)
        self._at[0] = "127.0.0.2"
        old.cut()

    def mend(self) -> None:
        self.proxies[-1].mend()

    def vouch(self) -> str:
        """Of whichever table deletes are withheld: those that have nothing to withhold take no harm."""
        self.until(self._is_told, "the doubt about another cluster")
        self.source.accept()
        return "by the operator's `statedb sources accept`"

    def _is_told(self, snapshot: Any) -> bool:
        row = self.row(snapshot)
        return row.withheld_deletes == len(self.rows(snapshot).keys() - self.truth.keys()) and "UID" in row.last_error


class KubernetesSite(ApiSite):
    """A real kube-apiserver."""

    backend: ClassVar[str] = "kubernetes"

    def build(self, replicas: int, by_name: bool) -> None:
        self.server = self.resources.enter_context(ApiServer())
        self.server.start()
        place = self.start_proxy(self.server.url, by_name)
        self._token = self.directory / "token"
        self._token.write_text(self.server.token())
        self.options |= {
            "server": f"https://{place}",
            "ca_file": str(self.server.ca),
            "token_file": str(self._token),
        }

    def store(self, changes: dict[str, int | None]) -> None:
        held = {_name(item) for item in self.server.rest().get(_COLLECTION)["items"]}
        known = {ip: identity for ip, identity in changes.items() if f"pod-{ip}" in held}
        self._create({ip: identity for ip, identity in changes.items() if identity is not None and ip not in known})
        for ip in [ip for ip, identity in known.items() if identity is None]:
            self.server.rest().delete(f"{_COLLECTION}/pod-{ip}")
        self._replace({ip: identity for ip, identity in known.items() if identity is not None})

    def _create(self, changes: dict[str, int]) -> None:
        rest = self.server.rest()
        for ip, identity in changes.items():
            rest.create(_COLLECTION, cep(ip, identity))

    def _replace(self, changes: dict[str, int]) -> None:
        """Past the API server, in its store: only so ten thousand updates come in a few seconds."""
        with self.server.etcd.client() as client:
            stored = {kv.key: kv.value for page in client.list(_STORED) for kv in page.kvs}
            written = []
            for ip, identity in changes.items():
                key = _STORED + ip.encode()
                value = json.loads(stored[key])
                value["status"]["identity"]["id"] = identity
                written.append((key, json.dumps(value).encode()))
            for start in range(0, len(written), _PAGE):
                client.put_many(written[start : start + _PAGE])

    def beat(self) -> None:
        """One endpoint changes in what no table has."""
        path = f"{_COLLECTION}/pod-{min(self.truth)}"
        endpoint = self.server.rest().get(path)
        endpoint["metadata"]["annotations"] = {"beat": str(next(_beats))}
        self.server.rest().replace(path, endpoint)

    def kill(self) -> None:
        self.server.kill()

    def start(self) -> None:
        self.server.start()

    def empty(self, *, other: bool = False) -> None:
        self.server.restart_empty()

    def refill(self) -> None:
        self.store(dict(self.truth))

    def compact(self) -> None:
        self.server.kill()  # its own cache of watches would know what its store has forgotten
        self.server.compact()
        self.server.start()

    def guard(self) -> None:
        # the reader is a service account, whose token ends with it
        self.server.rest().create(_BINDINGS, _SERVICE_ACCOUNTS)
        self._token.write_text(self.server.service_account_token("first"))

    def expire(self) -> None:
        token = self._token.read_text()  # the server remembers for some seconds that it was good
        self.server.rest().delete("/api/v1/namespaces/default/serviceaccounts/first")
        eventually(lambda: self._require_refused(token), unless=AssertionError)
        self.cut()
        self.mend()

    def _require_refused(self, token: str) -> None:
        try:
            self.server.rest(token=token).get("/api")
        except Refused as error:
            if error.status == 401:
                return
        raise AssertionError("the token is good")

    def renew(self) -> None:
        self._token.write_text(self.server.service_account_token("second"))


class FakeApiSite(ApiSite):
    """The API server of the tests, for what a real one does not do on demand."""

    backend: ClassVar[str] = "kubernetes (fake server)"

    def build(self, replicas: int, by_name: bool) -> None:
        self.api = self.resources.enter_context(FakeApi())
        place = self.start_proxy(self.api.url, by_name)
        self._token = self.directory / "token"
        self._token.write_text("first")
        self.options |= {"server": f"http://{place}", "token_file": str(self._token)}

    def store(self, changes: dict[str, int | None]) -> None:
        for ip, identity in changes.items():
            if identity is None:
                self.api.remove(cep(ip))
            else:
                self.api.put(cep(ip, identity))

    def kill(self) -> None:
        self.api.kill()

    def start(self) -> None:
        self.api.start()

    def empty(self, *, other: bool = False) -> None:
        self.api.kill()
        self.api.replace()
        self.api.start()

    def refill(self) -> None:
        self.store(dict(self.truth))

    def compact(self) -> None:
        self.api.compact()

    def guard(self) -> None:
        self.api.tokens = {"first"}

    def expire(self) -> None:
        self.api.tokens = {"second"}
        self.api.cut()

    def renew(self) -> None:
        self._token.write_text("second")

    def half_write(self) -> bool:
        self.api.half_line(2)
        self.api.half_answer(2)
        return True

    def refuse(self) -> None:
        """Too many requests, and an error of its own."""
        self.api.fail("list", PATHS["CiliumEndpoint"], status=429, times=2, headers={"Retry-After": "1"})
        self.api.fail("watch", PATHS["CiliumEndpoint"], status=503, times=2)


def _name(item: Any) -> str:
    return str(item["metadata"]["name"])


@contextmanager
def _resolving(name: str) -> Iterator[list[str]]:
    """The machine's resolver gives for this name what the list says."""
    at = ["127.0.0.1"]
    real = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **more: Any) -> Any:
        return real(at[0] if host == name else host, *arguments, **more)

    socket.getaddrinfo = resolve
    try:
        yield at
    finally:
        socket.getaddrinfo = real
