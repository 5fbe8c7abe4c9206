"""Remote clusters come, change and go with the files of a directory; on real servers."""

import re
import threading
from pathlib import Path
from typing import Self

import pytest
import trustme

from ingest.clustermesh.remotes import RemoteClusters
from ingest.etcd import Tls
from ingest.etcd.local import LocalEtcd
from statedb.catalog import Endpoints, Nodes, Rejected, SourceKey, Sources
from statedb.catalog.wire.cluster_configs import ClusterConfig

from ..kvstore_rig import Deletions
from .publisher import CLUSTER, Publisher, Tables, beating, options, token

DIRECTORY = SourceKey("*", "*")


class Mesh(Tables):
    """A directory that is watched; a context manager."""

    def __init__(self, directory: Path, own_id: int = 1, **values: object) -> None:
        super().__init__()
        self.directory = directory
        chosen = {**{field: getattr(options(), field) for field in options().__struct_fields__}, **values}
        chosen["directory"] = str(directory)
        self.remotes = RemoteClusters(self.db, "cluster1", own_id, type(options())(**chosen))

    def __enter__(self) -> Self:
        self.remotes.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.remotes.stop()
        assert self.remotes.join(10)
        assert self.remotes.failure is None

    def write(self, name: str, text: str) -> None:
        temporary = self.directory / f".{name}"
        temporary.write_text(text)
        temporary.replace(self.directory / name)

    def rejections(self) -> dict[str, str]:
        rows = self.db.snapshot()[Rejected].values()
        return {Path(row.key.object).name: row.error for row in rows if row.key.cluster == "*"}


@pytest.fixture
def filled(server: LocalEtcd) -> LocalEtcd:
    with Publisher(server) as publisher:
        publisher.publish(range(5))
    return server


def at(etcd: LocalEtcd) -> str:
    return f"endpoints: ['{etcd.endpoint}']\n"


def clusters_there(mesh: Mesh) -> set[str]:
    return {row.key.cluster for row in mesh.db.snapshot()[Endpoints].values()}


def test_clusters_come_and_go_with_their_files(filled: LocalEtcd, tmp_path: Path):
    with Mesh(tmp_path) as mesh:
        assert mesh.db.snapshot()[Sources][DIRECTORY].state == "synced"
        mesh.write(CLUSTER, at(filled))
        mesh.synced()
        assert mesh.numbers() == set(range(5))
        assert mesh.db.snapshot()[Sources][DIRECTORY].rows == 1
        (tmp_path / CLUSTER).unlink()
        mesh.until(lambda s: not s[Endpoints] and len(s[Sources]) == 1)
        mesh.write(CLUSTER, at(filled))  # again, its id is free
        mesh.synced()
        assert mesh.numbers() == set(range(5))


def test_what_is_no_configuration_is_passed_over(filled: LocalEtcd, tmp_path: Path):
    (tmp_path / "common-etcd-client.crt").write_text("-----BEGIN CERTIFICATE-----")
    (tmp_path / "cluster1").write_text(at(filled))  # our own cluster
    (tmp_path / ".hidden").write_text(at(filled))
    (tmp_path / "folder").mkdir()
    with Mesh(tmp_path) as mesh:
        mesh.write(CLUSTER, at(filled))
        mesh.synced()
        assert [source.cluster for source in mesh.remotes.clusters] == [CLUSTER]
        assert mesh.rejections() == {}


def test_a_bad_file_is_told_and_a_running_cluster_goes_on(filled: LocalEtcd, tmp_path: Path):
    (tmp_path / "cluster9").write_text("endpoints: []")
    (tmp_path / "not.a.name").write_text(at(filled))
    with Mesh(tmp_path) as mesh, Deletions(mesh.db) as deletions:
        mesh.write(CLUSTER, at(filled))
        mesh.synced()
        for text in ("", "endpoints: [", "nothing: 1"):
            mesh.write(CLUSTER, text)
            mesh.until(lambda s: CLUSTER in mesh.rejections())
            mesh.write(CLUSTER, at(filled))
            mesh.until(lambda s: CLUSTER not in mesh.rejections())
        rejections = mesh.rejections()
        assert rejections["cluster9"] == "endpoints: the list is empty; name at least one"
        assert rejections["not.a.name"].startswith("the file is named as no cluster can be")
        with Publisher(filled) as publisher:
            publisher.endpoints([5])
        mesh.until(lambda s: mesh.numbers(s) == set(range(6)))
        assert deletions.now() == set()


def test_a_changed_file_connects_anew_and_keeps_the_rows(filled: LocalEtcd, other_server: LocalEtcd, tmp_path: Path):
    with (
        Publisher(other_server) as publisher,
        beating(publisher),
        Mesh(tmp_path) as mesh,
        Deletions(mesh.db) as deletions,
    ):
        publisher.publish(range(1, 7))
        mesh.write(CLUSTER, at(filled))
        mesh.synced()
        mesh.write(CLUSTER, at(other_server))
        mesh.until(lambda s: mesh.numbers(s) == set(range(1, 7)))
        mesh.synced()
        assert deletions.now() == {"10.3.0.0"}
        states = [row.last_error for row in mesh.db.snapshot()[Sources].values()]
        assert not any(states)


def test_a_directory_that_is_gone_says_nothing_about_its_clusters(filled: LocalEtcd, tmp_path: Path):
    directory = tmp_path / "mesh"
    directory.mkdir()
    with Mesh(directory) as mesh, Deletions(mesh.db) as deletions:
        mesh.write(CLUSTER, at(filled))
        mesh.synced()
        directory.rename(tmp_path / "away")
        mesh.until(lambda s: s[Sources][DIRECTORY].state == "stale")
        with Publisher(filled) as publisher:
            publisher.endpoints([5])
        mesh.until(lambda s: 5 in mesh.numbers(s))
        (tmp_path / "away").rename(directory)
        mesh.until(lambda s: s[Sources][DIRECTORY].state == "synced")
        assert deletions.now() == set()


def test_a_file_that_is_away_for_a_moment_is_not_gone(filled: LocalEtcd, tmp_path: Path):
    with Mesh(tmp_path, rescan_s=3600) as mesh, Deletions(mesh.db) as deletions:
        mesh.write(CLUSTER, at(filled))
        mesh.remotes._scan()
        mesh.synced()
        for _ in range(3):  # as some editors write
            (tmp_path / CLUSTER).unlink()
            mesh.remotes._scan()
            mesh.write(CLUSTER, at(filled))
            mesh.remotes._scan()
        assert len(mesh.remotes.clusters) == 1
        assert deletions.now() == set()
        (tmp_path / CLUSTER).unlink()
        mesh.remotes._scan()
        mesh.remotes._scan()
        assert not mesh.remotes.clusters
        mesh.until(lambda s: not s[Endpoints])


def test_a_mounted_directory_changes_at_once_and_an_unmounted_one_is_an_outage(filled: LocalEtcd, tmp_path: Path):
    def mount(number: int, **contents: str) -> None:
        generation = tmp_path / f"..{number}"
        generation.mkdir()
        for name, text in contents.items():
            (generation / name).write_text(text)
        link = tmp_path / "..link"
        link.symlink_to(generation.name)
        link.replace(tmp_path / "..data")

    mount(1, cluster3=at(filled))
    with Mesh(tmp_path) as mesh:
        mesh.synced()
        mount(2, cluster3=at(filled) + "# changed\n")
        (tmp_path / "..data").unlink()
        mesh.until(lambda s: s[Sources][DIRECTORY].state == "stale")
        assert mesh.numbers() == set(range(5))
        mount(3)
        mesh.until(lambda s: not s[Endpoints])


def test_two_clusters_with_one_id_are_told_apart(filled: LocalEtcd, other_server: LocalEtcd, tmp_path: Path):
    with Publisher(other_server) as publisher:
        publisher.put(("cilium/cluster-config/cluster4", b'{"id":3,"capabilities":{}}'))
        publisher.put(("cilium/state/nodes/v1/cluster4/n", b'{"Name":"n","Cluster":"cluster4","ClusterID":4}'))
        publisher.beat()
        with Mesh(tmp_path) as mesh:
            mesh.write(CLUSTER, at(filled))
            mesh.synced()
            mesh.write("cluster4", at(other_server))
            told = "cilium/cluster-config/cluster4: its id is 3, which cluster 'cluster3' has"
            mesh.until(lambda s: mesh.row("nodes", "cluster4", s).last_error == told)
            assert mesh.row("nodes", "cluster4").state == "failed"
            publisher.put(("cilium/cluster-config/cluster4", b'{"id":4,"capabilities":{}}'))
            mesh.synced("cluster4")
            assert {row.key.cluster for row in mesh.db.snapshot()[Nodes].values()} == {"cluster4"}


def test_a_host_alias_stands_for_a_name_that_nobody_resolves(filled: LocalEtcd, tmp_path: Path):
    port = filled.endpoint.rpartition(":")[2]
    text = f"endpoints: ['http://no.such.name.invalid:{port}']\n"
    with Mesh(tmp_path) as mesh:
        mesh.write(CLUSTER, text)
        mesh.until(lambda s: mesh.row(snapshot=s).last_error != "")
        mesh.write(CLUSTER, text + "cilium-host-aliases: [{hostname: no.such.name.invalid, ips: [127.0.0.1]}]\n")
        mesh.synced()


class Secured:
    """A server whose clients show certificates, and the files of one client."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = trustme.CA()
        server = self.ca.issue_cert("mesh.example", "127.0.0.1")
        self.path("server.crt").write_bytes(server.cert_chain_pems[0].bytes())
        self.path("server.key").write_bytes(server.private_key_pem.bytes())
        self.path("ca.crt").write_bytes(self.ca.cert_pem.bytes())
        self.show(self.ca)
        self.arguments = [
            "--client-cert-auth",
            f"--trusted-ca-file={self.path('ca.crt')}",
            f"--cert-file={self.path('server.crt')}",
            f"--key-file={self.path('server.key')}",
            token(),
        ]

    def path(self, name: str) -> Path:
        return self.directory / name

    def show(self, signer: trustme.CA) -> Tls:
        certificate = signer.issue_cert("agent.example", common_name="remote-cluster1")
        tls = Tls(self.ca.cert_pem.bytes(), certificate.cert_chain_pems[0].bytes(), certificate.private_key_pem.bytes())
        assert tls.certificate is not None
        assert tls.key is not None
        self.path("client.key").write_bytes(tls.key)
        self.path("client.crt").write_bytes(tls.certificate)
        return tls

    def file(self, endpoint: str) -> str:
        port = endpoint.rpartition(":")[2]
        return (
            f"endpoints: ['https://mesh.example:{port}']\ntrusted-ca-file: ca.crt\ncert-file: client.crt\n"
            "key-file: client.key\ncilium-host-aliases: [{hostname: mesh.example, ips: [127.0.0.1]}]\n"
        )


def test_renewed_certificates_are_taken_up_by_a_new_connection_if_they_are_in_order(tmp_path: Path):
    secured = Secured(tmp_path)
    with LocalEtcd(arguments=secured.arguments, secure=True) as etcd:
        tls = secured.show(secured.ca)
        etcd.start(tls)
        with etcd.client(tls) as client:
            client.put(b"cilium/cluster-config/cluster3", b'{"id":3,"capabilities":{}}')
            client.put(b"cilium/state/ip/v1/default/10.3.0.1", b'{"IP":"10.3.0.1","ID":196608}')
            with Mesh(tmp_path, renewal_s=0.05) as mesh, Deletions(mesh.db) as deletions:
                mesh.write(CLUSTER, secured.file(etcd.endpoint))
                mesh.synced()
                relists = mesh.row().relists
                secured.path("client.crt").write_text("no certificate")
                mesh.until(lambda s: "renewed credentials are not used: cert-file" in mesh.row(snapshot=s).last_error)
                assert mesh.row().state == "synced"
                assert mesh.row().relists == relists
                client.put(b"cilium/state/ip/v1/default/10.3.0.2", b'{"IP":"10.3.0.2","ID":196608}')
                mesh.until(lambda s: mesh.numbers(s) == {1, 2})
                secured.show(secured.ca)
                mesh.until(lambda s: mesh.row(snapshot=s).relists > relists and not mesh.row(snapshot=s).last_error)
                mesh.synced()
                assert deletions.now() == set()


def test_a_missing_certificate_is_told_and_waited_for(tmp_path: Path):
    secured = Secured(tmp_path)
    with LocalEtcd(arguments=secured.arguments, secure=True) as etcd:
        tls = secured.show(secured.ca)
        etcd.start(tls)
        with etcd.client(tls) as client:
            client.put(b"cilium/cluster-config/cluster3", b'{"id":3,"capabilities":{}}')
        key = secured.path("client.key").read_bytes()
        secured.path("client.key").unlink()
        with Mesh(tmp_path) as mesh:
            mesh.write(CLUSTER, secured.file(etcd.endpoint))
            mesh.until(lambda s: mesh.rejections().get(CLUSTER, "").startswith("key-file: "))
            secured.path("client.key").write_bytes(key)
            mesh.synced()
            mesh.until(lambda s: not mesh.rejections())


def test_clusters_that_went_leave_no_thread(tmp_path: Path):
    with Mesh(tmp_path) as mesh:
        for number in range(20):
            mesh.write(f"c{number}", "endpoints: ['http://127.0.0.1:1']")
        mesh.until(lambda s: len(s[Sources]) == 1 + 20 * 5)
        clusters = mesh.remotes.clusters
        assert len(clusters) == 20
        for path in tmp_path.iterdir():
            path.unlink()
        mesh.until(lambda s: len(s[Sources]) == 1)
        assert all(source.join(10) for source in clusters)
        assert not [thread for thread in threading.enumerate() if re.fullmatch("clustermesh c[0-9]+", thread.name)]


def test_another_max_of_clusters_is_another_range_of_identities(server: LocalEtcd, tmp_path: Path):
    with Publisher(server) as publisher:
        publisher.beat()
        publisher.configure(ClusterConfig(300, max_connected_clusters=511))
        publisher.endpoints(range(3), identity=300 << 15)
        with Mesh(tmp_path, max_connected_clusters=511) as mesh:
            mesh.write(CLUSTER, at(server))
            mesh.synced()
            assert mesh.numbers() == {0, 1, 2}
