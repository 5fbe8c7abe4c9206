"""Our publisher on an API server: in this process, or in one of its own that can be killed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from consumers.etcd.publisher import Publisher, PublisherOptions, open_publisher
from ingest import KubernetesOptions
from ingest.etcd import Client, parse_endpoint
from ingest.etcd.local import LocalEtcd
from ingest.kubernetes import open as open_kubernetes
from statedb import Database
from statedb.agent.client.remote import Remote
from statedb.agent.errors import AgentError
from statedb.catalog import TABLES, EndpointSlices, Rejected

from ..apiserver.server import ApiServer
from .peers import CLUSTER, CLUSTER_ID, WAIT_S

ROOT = Path(__file__).parents[2]


class Ours:
    """In this process; a context manager."""

    def __init__(
        self,
        server: ApiServer,
        etcd: LocalEtcd,
        *,
        cluster: str = CLUSTER,
        cluster_id: int = CLUSTER_ID,
        slices: bool = False,
        **options: Any,
    ) -> None:
        """``slices``: read CiliumEndpointSlices. ``options`` are the publisher's."""
        self.db = Database(*TABLES, EndpointSlices)
        reading = KubernetesOptions(kubeconfig=str(server.kubeconfig()), endpoint_slices=slices, retry_max_s=0.5)
        self._source = open_kubernetes(self.db, cluster, cluster_id, reading)
        endpoint = parse_endpoint(etcd.endpoint)
        writing = PublisherOptions(**({"heartbeat_s": 1.0, "retry_max_s": 0.5} | options))
        self.publisher: Publisher = open_publisher(
            self.db, cluster, cluster_id, lambda: Client(endpoint, timeout_s=10.0), writing
        )

    def __enter__(self) -> Self:
        self._source.start()
        self.publisher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.publisher.stop()
        self._source.stop()
        assert self.publisher.join(30)
        assert self._source.join(30)
        assert self.publisher.crash is None

    def wait_ready(self) -> None:
        """Until all that was there is written."""
        assert self.publisher.wait_ready(WAIT_S), self.publisher.health

    def rejected(self) -> dict[str, str]:
        """What was refused, by the last part of its name: the reason."""
        return {row.key.object: row.error for row in self.db.snapshot()[Rejected].values()}


class OursAsProcess:
    """``statedb run`` with a publisher; a context manager."""

    def __init__(self, directory: Path, server: ApiServer, etcd: LocalEtcd, options: str = "heartbeat-s: 1") -> None:
        """``options`` are the publisher's, as YAML."""
        directory.mkdir(parents=True, exist_ok=True)
        self._config = directory / "agent.yaml"
        socket = f"unix:{directory}/agent.sock"
        publisher = f"etcd: {{endpoints: ['{etcd.endpoint}']}}, retry-max-s: 0.5, {options}"
        self._config.write_text(
            f"cluster: {{name: {CLUSTER}, id: {CLUSTER_ID}}}\n"
            f"ingest: {{kubernetes: {{kubeconfig: '{server.kubeconfig()}', retry-max-s: 0.5}}}}\n"
            f"consumers: [publisher: {{{publisher}}}]\n"
            f"http: {{listen: '{socket}'}}\n"
            "log-level: error\n"
        )
        self._remote = Remote(socket)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Not waited for."""
        command = [sys.executable, "-m", "statedb", "run", "-c", str(self._config)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)

    def kill(self) -> None:
        """At once: its leases stay until they expire."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def require_running(self) -> None:
        """AssertionError where it has ended by itself."""
        status = None if self._process is None else self._process.poll()
        assert status is None, f"our publisher has ended with status {status}"

    def wait_ready(self) -> None:
        """Until all that was there is written."""
        end = time.monotonic() + WAIT_S
        while not self._is_ready():
            self.require_running()
            assert time.monotonic() < end, "our publisher is not ready"
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            self._remote.json("/readyz")
        except AgentError:
            return False
        return True
