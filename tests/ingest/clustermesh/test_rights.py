"""What a reader touches: with the users and roles that Cilium makes, on a real etcd that asks for certificates.

The server knows a user by the name in its certificate. A request outside of its role's rights is refused, and the
source would say so and never come to `synced`.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from catalog import Backends, Endpoints, Identities, Nodes, Services
from catalog.wire.cluster_configs import ClusterConfig, encode
from ingest.etcd import Client, PermissionDenied, Tls, parse_endpoint
from ingest.etcd.local import LocalEtcd, find_binary
from ingest.keyspace.connect import Pems, Servers
from tests.ingest.clustermesh.publisher import CANARIES, CONFIG, LITERALS, Rig, cached, token

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
        return Servers(endpoints=(parse_endpoint(self.etcd.endpoint),), pems=Pems(*paths), locked=True)

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


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    guarded = Guarded(tmp_path_factory.mktemp("guarded"))
    with guarded.etcd as etcd:
        etcd.start(guarded.root)
        with etcd.client(guarded.root) as client:
            for key, value in LITERALS.items():
                client.put(key.encode(), value)
                client.put(cached(key).encode(), value)
            for canary in CANARIES:
                client.put(canary.encode(), b"now")
                client.put(canary.replace("cilium/state", "cilium/cache").encode(), b"now")
            client.put(b"cilium/.heartbeat", b"now")
        guarded.users()
        yield guarded


def all_there(rig: Rig) -> list[int]:
    snapshot = rig.synced()
    return [len(snapshot[table]) for table in (Nodes, Identities, Endpoints, Services, Backends)]


def test_a_remote_user_may_not_read_what_a_reader_must_not_ask_for(guarded: Guarded):
    with guarded.client("remote") as client:
        for key in (
            b"cilium/cluster-config/cluster1",
            b"cilium/cache/x",
            b"cilium/.initlock/x",
            b"cilium/synced/other/x",
        ):
            with pytest.raises(PermissionDenied):
                client.get(key)
        with pytest.raises(PermissionDenied):
            list(client.list(b"cilium/cluster-config/"))


def test_a_remote_user_reads_the_state(guarded: Guarded):
    with guarded.client("root") as root:
        root.put(b"cilium/cluster-config/cluster3", CONFIG)
    with Rig(through=guarded.servers("remote")) as rig:
        assert all_there(rig) == [1, 1, 2, 1, 1]


def test_a_local_user_reads_the_cache(guarded: Guarded):
    with guarded.client("root") as root:
        config = ClusterConfig(3, True, cached=True, max_connected_clusters=255)
        root.put(b"cilium/cluster-config/cluster3", encode(config))
    with Rig(through=guarded.servers("local-cluster1")) as rig:
        assert all_there(rig) == [1, 1, 2, 1, 1]


def test_a_local_user_is_refused_the_state_and_told_which_right_it_lacks(guarded: Guarded):
    with guarded.client("root") as root:
        root.put(b"cilium/cluster-config/cluster3", CONFIG)
    with Rig(through=guarded.servers("local-cluster1")) as rig:
        told = "permission denied; the user needs the right to read cilium/state/nodes/v1/cluster3/"
        rig.until(lambda s: told in rig.row("nodes", snapshot=s).last_error)
        assert rig.row("nodes").state == "failed"
