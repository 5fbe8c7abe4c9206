"""A real etcd that asks for certificates, and users as Cilium makes them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import trustme

from ingest.etcd import Client, Tls, parse_endpoint
from ingest.etcd.local import LocalEtcd, find_binary
from ingest.keyspace.connect import PemFiles, Servers

from .publisher import token

PREFIXES = {
    "remote": ("cilium/.heartbeat", "cilium/state/", "cilium/synced/cluster3/"),
    "local": ("cilium/.heartbeat", "cilium/cache/", "cilium/cluster-config/", "cilium/synced/"),
}
"""What the roles may read, by prefix (pkg/kvstore/etcdinit); remote may read its one cluster config besides."""


class Guarded:
    """A server with users for the names in certificates, filled with a cluster's state and a copy of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._ca = trustme.CA()
        self._ca.cert_pem.write_to_path(str(directory / "ca.pem"))
        server = self._ca.issue_cert("127.0.0.1")
        server.cert_chain_pems[0].write_to_path(str(directory / "server.pem"))
        server.private_key_pem.write_to_path(str(directory / "server-key.pem"))
        self.etcd = LocalEtcd(
            secure=True,
            arguments=[
                "--client-cert-auth",
                f"--trusted-ca-file={directory / 'ca.pem'}",
                f"--cert-file={directory / 'server.pem'}",
                f"--key-file={directory / 'server-key.pem'}",
                token(),
            ],
        )
        self.root = self.certificate("root")

    def certificate(self, name: str) -> Tls:
        made = self._ca.issue_cert("client.example", common_name=name)
        made.cert_chain_pems[0].write_to_path(str(self.directory / f"{name}.pem"))
        made.private_key_pem.write_to_path(str(self.directory / f"{name}-key.pem"))
        return Tls(self._ca.cert_pem.bytes(), made.cert_chain_pems[0].bytes(), made.private_key_pem.bytes())

    def servers(self, name: str) -> Servers:
        self.certificate(name)
        paths = [str(self.directory / each) for each in ("ca.pem", f"{name}.pem", f"{name}-key.pem")]
        return Servers(endpoints=(parse_endpoint(self.etcd.endpoint),), pems=PemFiles(*paths), locked=True)

    def etcdctl(self, *arguments: str) -> None:
        tool = Path(find_binary()).with_name("etcdctl")
        tool.chmod(0o755)
        files = {"cacert": "ca.pem", "cert": "root.pem", "key": "root-key.pem"}
        options = [f"--{option}={self.directory / name}" for option, name in files.items()]
        command = [str(tool), f"--endpoints={self.etcd.endpoint}", *options, *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=30)

    def users(self) -> None:
        for user, role in (("root", "root"), ("remote", "remote"), ("local-cluster1", "local")):
            self.etcdctl("user", "add", user, "--no-password")
            if role != "root":
                self.etcdctl("role", "add", role)
                for prefix in PREFIXES[role]:
                    self.etcdctl("role", "grant-permission", role, "--prefix=true", "read", prefix)
            self.etcdctl("user", "grant-role", user, role)
        self.etcdctl("role", "grant-permission", "remote", "read", "cilium/cluster-config/cluster3")
        self.etcdctl("auth", "enable")

    def client(self, name: str) -> Client:
        return self.etcd.client(self.certificate(name))
