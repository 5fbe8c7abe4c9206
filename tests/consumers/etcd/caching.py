"""The cache of a mesh on real servers: remote clusters of a directory, and the etcd that they are copied into."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Self

from consumers.etcd.meshcache import MeshCache, MeshCacheOptions, open_meshcache
from ingest.clustermesh.remotes import RemoteClusters
from ingest.etcd import Client, parse_endpoint
from ingest.etcd.local import LocalEtcd, find_binary

from ...ingest.clustermesh.publisher import Tables, options

MESHCACHE = ("meshcache", "meshcache-secret")
ROOT = ("root", "root-secret")
BELOW = ("cilium/.heartbeat", "cilium/cluster-config/", "cilium/synced/")


class Cacher(Tables):
    """A directory of remote clusters and the cache that is written from it; a context manager."""

    def __init__(self, directory: Path, cache: LocalEtcd, login: tuple[str, str] | None = None, **values: Any) -> None:
        super().__init__()
        self.directory = directory
        directory.mkdir(exist_ok=True)
        remote = options()
        chosen = {field: getattr(remote, field) for field in remote.__struct_fields__} | {"directory": str(directory)}
        self.remotes = RemoteClusters(self.db, "cluster1", 1, type(remote)(**chosen), mirror=True)
        self.endpoint = parse_endpoint(cache.endpoint)
        self.login = login
        defaults = {"heartbeat_s": 0.2, "retry_min_s": 0.02, "retry_max_s": 0.2, "grace_s": 0.0}
        self.cache: MeshCache = open_meshcache(self.db, self.connect, MeshCacheOptions(**(defaults | values)))

    def connect(self) -> Client:
        return Client(self.endpoint, login=self.login, timeout_s=5.0)

    def names(self, cluster: str, *etcds: LocalEtcd) -> Self:
        """Name a cluster in the directory."""
        temporary = self.directory / f".{cluster}"
        temporary.write_text(f"endpoints: {[etcd.endpoint for etcd in etcds]}\n")
        temporary.replace(self.directory / cluster)
        return self

    def __enter__(self) -> Self:
        self.remotes.start()
        self.cache.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cache.stop()
        self.remotes.stop()
        assert self.cache.join(10)
        assert self.remotes.join(10)
        assert self.cache.crash is None
        assert self.remotes.failure is None


def etcdctl(etcd: LocalEtcd, *arguments: str) -> None:
    tool = Path(find_binary()).with_name("etcdctl")
    tool.chmod(0o755)
    command = [str(tool), f"--endpoints={etcd.endpoint}", *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def guard(etcd: LocalEtcd, user: str, prefixes: tuple[str, ...]) -> None:
    """A user who may read and write below prefixes, and root; from now on nobody else."""
    for name in ("root", user):
        etcdctl(etcd, "user", "add", f"{name}:{name}-secret")
    etcdctl(etcd, "role", "add", user)
    for prefix in prefixes:
        etcdctl(etcd, "role", "grant-permission", user, "--prefix=true", "readwrite", prefix)
    etcdctl(etcd, "user", "grant-role", user, user)
    etcdctl(etcd, "user", "grant-role", "root", "root")
    etcdctl(etcd, "auth", "enable")
