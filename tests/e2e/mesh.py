"""A cluster with an API server, publishers that are processes, each with its etcd, and agents that read those."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from consumers.tables.ipcache import IPCache, IPEntry
from consumers.tables.selectors import Selections
from ingest.etcd import EtcdError
from ingest.etcd.local import LocalEtcd
from statedb import Change, Database, Snapshot, WatchSet
from statedb.agent.client.remote import Remote
from statedb.agent.errors import AgentError
from statedb.agent.process.agent import Agent
from statedb.agent.process.config import parse_config
from statedb.catalog import Backends, Endpoints, Identities, Nodes, Policies, Services, SourceKey, SourceRow, Sources

from ..apiserver.server import READER, ApiServer
from ..ingest.clustermesh.publisher import token
from ..ingest.clusters import name_of
from ..ingest.kube_real import put, remove
from ..ingest.kube_rig import Object, cep
from ..ingest.kvstore_rig import Deletions
from ..waiting import WAIT_S, eventually

ROOT = Path(__file__).parents[2]
CLUSTER = "cluster1"
OFFLOADED = (Nodes, Identities, Endpoints, Services, Backends)
POLICIES_ONLY = [
    {
        "apiGroups": ["cilium.io"],
        "resources": ["ciliumnetworkpolicies", "ciliumclusterwidenetworkpolicies"],
        "verbs": ["list", "watch"],
    },
    {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"]},
]


class Replica:
    """An etcd in memory, as in a pod, and the process that publishes into it. Not started."""

    def __init__(self, mesh: Mesh, number: int) -> None:
        self.etcd = mesh.resources.enter_context(LocalEtcd(arguments=[token()]))
        self._config = mesh.directory / f"publisher-{number}.yaml"
        socket = f"unix:{mesh.directory}/publisher-{number}.sock"
        options = f"etcd: {{endpoints: ['{self.etcd.endpoint}']}}, retry-max-s: 0.5, {mesh.publishing}"
        self._config.write_text(
            f"cluster: {{name: {CLUSTER}, id: 1}}\n"
            f"ingest: {{kubernetes: {{kubeconfig: '{mesh.server.kubeconfig()}', retry-max-s: 0.5}}}}\n"
            f"consumers: [publisher: {{{options}}}]\n"
            f"http: {{listen: '{socket}'}}\n"
            "log-level: error\n"
        )
        self._remote = Remote(socket)
        self._process: subprocess.Popen[bytes] | None = None
        mesh.resources.callback(self.kill_publisher)

    def start(self) -> Self:
        """Both."""
        self.etcd.start()
        self.start_publisher()
        return self

    def start_publisher(self) -> None:
        """Not waited for."""
        command = [sys.executable, "-m", "statedb", "run", "-c", str(self._config)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)

    def kill_publisher(self) -> None:
        """At once: its leases stay until they expire."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def empty(self) -> None:
        """Its pod is another one: an etcd with nothing in it, under the old address."""
        self.etcd.kill()
        self.etcd.forget()
        self.etcd.add_arguments(token())
        self.etcd.start()

    def restart(self) -> None:
        """A new pod: both at once."""
        self.kill_publisher()
        self.empty()
        self.start_publisher()

    def wait_ready(self) -> None:
        """All is published."""
        eventually(self.is_ready, "a publisher that is ready")

    def is_ready(self) -> bool:
        """What its ``/readyz`` says."""
        try:
            self._remote.json("/readyz")
        except AgentError:
            return False
        return True

    def describe(self) -> str:
        """How it is, for people: its process, what it says of itself, what stands in its etcd."""
        process = self._process
        life = "not started" if process is None else f"exit {process.poll()}"
        try:
            said: object = self._remote.probe("/readyz")
        except AgentError as error:
            said = error
        try:
            written = sorted(key.removeprefix("cilium/") for key in self.written())
        except EtcdError as error:
            written = [str(error)]
        return f"{self.etcd.endpoint}: {life}; {said}; {written}"

    def written(self) -> set[str]:
        """What stands in its etcd."""
        with self.etcd.client() as client:
            return {kv.key.decode() for page in client.list(b"cilium/") for kv in page.kvs}


class Mesh:
    """A cluster at an API server, and whoever is started for it; a context manager. The objects are removed at the end.

    Agents may not read offloaded kinds there.
    """

    def __init__(
        self, server: ApiServer, directory: Path, *, publishing: str = "heartbeat-s: 1", reading: str = ""
    ) -> None:
        """``publishing``: more options of the publishers, as YAML; ``reading``: of the agents."""
        self.server = server
        self.directory = directory
        self.publishing = publishing
        self.reading = reading
        self.resources = ExitStack()
        self.endpoints: dict[str, int] = {}
        """What the API server holds: address -> identity."""
        self.removed: set[str] = set()
        self.replicas: list[Replica] = []
        self._objects: dict[tuple[str, str, str], Object] = {}

    def __enter__(self) -> Self:
        self.server.grant(READER, POLICIES_ONLY)
        return self

    def __exit__(self, *_: object) -> None:
        self.resources.close()
        for value in self._objects.values():
            remove(self.server, value)

    def replica(self) -> Replica:
        """One more, not started."""
        self.replicas.append(Replica(self, len(self.replicas) + 1))
        return self.replicas[-1]

    def agent(self, *endpoints: str) -> Reader:
        """An agent that reads these etcds, and policies only of the API server. It runs."""
        return self.resources.enter_context(Reader(self, endpoints))

    def put(self, *values: Object) -> None:
        """Create or replace objects."""
        for value in values:
            put(self.server, value)
            self._objects[name_of(value)] = value

    def remove(self, value: Object) -> None:
        """Delete an object."""
        remove(self.server, value)
        del self._objects[name_of(value)]

    def pods(self, *numbers: int, identity: int = 70_000) -> None:
        """Endpoints come or change."""
        for number in numbers:
            ip = f"10.0.{number >> 8}.{number & 255}"
            self.put(cep(ip, identity))
            self.endpoints[ip] = identity

    def pods_go(self, *numbers: int) -> None:
        """Endpoints go."""
        for number in numbers:
            ip = f"10.0.{number >> 8}.{number & 255}"
            self.remove(cep(ip))
            del self.endpoints[ip]
            self.removed.add(ip)


class Reader:
    """An agent with its consumers; a context manager. It remembers every deletion that a consumer could see."""

    def __init__(self, mesh: Mesh, endpoints: tuple[str, ...]) -> None:
        ingest = (
            f"clustermesh: {{endpoints: {list(endpoints)}, retry-min-s: 0.02, retry-max-s: 0.3, {mesh.reading}}}, "
            f"kubernetes: {{kubeconfig: '{mesh.server.kubeconfig(READER)}', tables: [policies]}}"
        )
        self._mesh = mesh
        self.agent = Agent(
            parse_config(
                f"cluster: {{name: {CLUSTER}, id: 1}}\ningest: {{{ingest}}}\n"
                "consumers: [ipcache, selectors, loadbalancer]\nhttp: {listen: '127.0.0.1:0'}\n"
            )
        )
        self.db: Database = self.agent.db
        self.deletions = Deletions(self.db)
        self._ipcache = self.db.changes(IPCache)
        self._withdrawn: set[str] = set()
        self._thread = threading.Thread(target=self._follow)

    def __enter__(self) -> Self:
        self.deletions.__enter__()
        self._thread.start()
        self.agent.__enter__()
        return self

    def __exit__(self, *arguments: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Once or more."""
        if self._thread.is_alive():
            self.agent.__exit__(None, None, None)
            self._ipcache.close()
            self._thread.join(10)
            self.deletions.__exit__()

    def row(self, snapshot: Snapshot | None = None) -> SourceRow:
        """What ``sources`` says of the endpoints."""
        return (snapshot or self.db.snapshot())[Sources][SourceKey(CLUSTER, Endpoints.name)]

    def until(self, holds: Callable[[Snapshot], bool], what: str) -> Snapshot:
        """The first snapshot that fulfils a condition."""
        end = time.monotonic() + WAIT_S
        while not holds(snapshot := self.db.snapshot()):
            watches = [snapshot[table].watch() for table in (*OFFLOADED, Policies, Sources, IPCache, Selections)]
            if not WatchSet(*watches).wait(timeout=max(0.0, end - time.monotonic())):
                raise AssertionError(f"{what} did not come; {self._describe(snapshot)}")
        return snapshot

    def converge(self) -> None:
        """Tables and the consumers' tables tell what the API server holds; nobody has seen a false delete."""
        wanted = self._mesh.endpoints

        def holds(snapshot: Snapshot) -> bool:
            table = {row.key.ip: row.identity for row in snapshot[Endpoints].values()}
            cache = {row.network: row.identity for row in snapshot[IPCache].values() if row.pod}
            return self.row(snapshot).state == "synced" and table == wanted == cache

        self.until(holds, "what the API server holds")
        self.require_no_false_delete()

    def require_no_false_delete(self) -> None:
        """Whatever was deleted until now had been removed at the API server."""
        assert self.deletions.now() <= self._mesh.removed
        assert self._withdrawn <= self._mesh.removed

    def _describe(self, snapshot: Snapshot) -> str:
        """What is there and what should be, here and at each replica."""
        table = {row.key.ip: row.identity for row in snapshot[Endpoints].values()}
        cache = {row.network: row.identity for row in snapshot[IPCache].values() if row.pod}
        said = [
            f"{self.row(snapshot)}",
            f"at the API server {self._mesh.endpoints}",
            f"table {table}",
            f"ipcache {cache}",
        ]
        return "\n".join([*said, *[replica.describe() for replica in self._mesh.replicas]])

    def _follow(self) -> None:
        for batch in self._ipcache:
            for change in batch:
                self._note(change)

    def _note(self, change: Change[str, IPEntry]) -> None:
        if change.deleted and change.row.pod:
            self._withdrawn.add(change.row.network)
