"""Cilium's programs as processes, each beside an etcd of the tests."""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from ingest.etcd.local import LocalEtcd, free_port

from ..apiserver.server import ApiServer
from . import binary

WAIT_S = 90.0
CLUSTER, CLUSTER_ID = "cluster3", 3
SHORTEST_LEASE_S = 25
"""Cilium's programs take no shorter one."""


def etcd_config(directory: Path, etcd: LocalEtcd, name: str = "etcd.yaml") -> Path:
    """A file as Cilium's programs read it: where an etcd is."""
    path = directory / name
    path.write_text(f"endpoints: ['{etcd.endpoint}']\n")
    return path


class Process:
    """One program; a context manager, which ends it. Killed, it can be started again."""

    def __init__(self, directory: Path, command: Sequence[str], health_port: int) -> None:
        """``directory`` gets its log. ``health_port`` is where it says whether it is ready."""
        self.log = directory / "log"
        self._command = list(command)
        self._health = f"http://127.0.0.1:{health_port}/readyz"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Not waited for."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True)

    def kill(self) -> None:
        """At once, as a power failure would: its leases stay until they expire."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def stop(self) -> None:
        """In good order."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(30)

    def require_running(self) -> None:
        """AssertionError where it has ended by itself."""
        ended = self._process is None or self._process.poll() is not None
        assert not ended, f"it has ended:\n{self.log_end()}"

    def wait_ready(self) -> None:
        """Until it says that it has written all that was there when it began."""
        end = time.monotonic() + WAIT_S
        while not self._is_ready():
            self.require_running()
            assert time.monotonic() < end, f"not ready:\n{self.log_end()}"
            time.sleep(0.05)

    def log_end(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:]) if self.log.exists() else ""

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(self._health, timeout=5.0) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False


def _common(directory: Path, etcd: LocalEtcd, cluster: str, cluster_id: int, health_port: int) -> list[str]:
    options = f"etcd.config={etcd_config(directory, etcd)},etcd.qps=10000,etcd.bootstrapQps=10000"
    return [
        f"--cluster-name={cluster}",
        f"--cluster-id={cluster_id}",
        f"--kvstore-opt={options}",
        f"--health-port={health_port}",
        f"--shell-sock-path={directory / 'shell.sock'}",
        "--enable-gops=false",
    ]


class ClusterMesh(Process):
    """The real ``clustermesh-apiserver clustermesh``: from an API server into an etcd."""

    def __init__(
        self,
        directory: Path,
        server: ApiServer,
        etcd: LocalEtcd,
        *more: str,
        cluster: str = CLUSTER,
        cluster_id: int = CLUSTER_ID,
    ) -> None:
        """``more`` are options of its command line."""
        directory.mkdir(parents=True, exist_ok=True)
        port = free_port()
        command = [
            str(binary.find(binary.APISERVER)),
            "clustermesh",
            *_common(directory, etcd, cluster, cluster_id, port),
            f"--k8s-kubeconfig-path={server.kubeconfig()}",
            "--k8s-client-qps=1000",
            "--k8s-client-burst=1000",
            *more,
        ]
        super().__init__(directory, command, port)


class KvstoreMesh(Process):
    """The real ``clustermesh-apiserver kvstoremesh``: from the etcds of other clusters into one."""

    def __init__(
        self,
        directory: Path,
        etcd: LocalEtcd,
        remotes: Path,
        *more: str,
        cluster: str = CLUSTER,
        cluster_id: int = CLUSTER_ID,
    ) -> None:
        """``remotes`` is the directory that names the other clusters."""
        directory.mkdir(parents=True, exist_ok=True)
        port = free_port()
        command = [
            str(binary.find(binary.APISERVER)),
            "kvstoremesh",
            *_common(directory, etcd, cluster, cluster_id, port),
            f"--clustermesh-config={remotes}",
            f"--api-serve-addr=127.0.0.1:{free_port()}",
            *more,
        ]
        super().__init__(directory, command, port)
