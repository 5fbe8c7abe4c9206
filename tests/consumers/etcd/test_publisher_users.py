"""Users and roles that the publisher makes: who may read what, on a real etcd that asks for certificates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.etcd import Client, PermissionDenied, Unauthenticated, Unavailable
from statedb.agent.errors import StartError
from statedb.agent.process.agent import Agent
from statedb.agent.process.config import parse_config
from statedb.catalog import Endpoints

from ...ingest.clustermesh.guarded import Guarded
from ...ingest.clustermesh.publisher import Rig, token
from ...ingest.clusters import write_directory
from ...ingest.kube_rig import cep, namespace
from ...waiting import WAIT_S, eventually

CLUSTER = "cluster3"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    """Certificates are asked for, and nobody is a user yet."""
    directory = tmp_path / "pki"
    directory.mkdir()
    one = Guarded(directory)
    with one.etcd as etcd:
        etcd.start(one.root)
        yield one


def publishing(guarded: Guarded, directory: Path, users: str) -> Agent:
    files = directory / "manifests"
    files.mkdir(exist_ok=True)
    write_directory([namespace("default"), cep("10.3.0.1", 3 << 16)], files)
    guarded.certificate(f"admin-{CLUSTER}")
    tls = ", ".join(
        f"{option}: '{guarded.directory / name}'"
        for option, name in (
            ("ca-file", "ca.pem"),
            ("cert-file", f"admin-{CLUSTER}.pem"),
            ("key-file", f"admin-{CLUSTER}-key.pem"),
        )
    )
    return Agent(
        parse_config(
            f"cluster: {{name: {CLUSTER}, id: 3}}\nhttp: {{listen: '127.0.0.1:0'}}\n"
            f"ingest: {{manifests: {{directory: '{files}'}}}}\n"
            f"consumers: [publisher: {{etcd: {{endpoints: ['{guarded.etcd.endpoint}'], tls: {{{tls}}}}},"
            f" heartbeat-s: 0.5, retry-max-s: 0.2, users: {users}}}]\n"
        )
    )


def may(client: Client, prefix: str) -> bool:
    try:
        list(client.list(prefix.encode()))
    except (PermissionDenied, Unauthenticated):
        return False
    except Unavailable:  # users change this moment: "auth: revision in header is old"
        return False
    return True


def allowed(guarded: Guarded, name: str) -> list[str]:
    """What somebody with this certificate may list."""
    prefixes = [".heartbeat", "state/", "cache/", "cluster-config/", f"synced/{CLUSTER}/", "synced/"]
    with guarded.client(name) as client:
        return [prefix for prefix in prefixes if may(client, f"cilium/{prefix}")]


def test_who_may_read_what(guarded: Guarded, tmp_path: Path):
    with publishing(guarded, tmp_path, "{remotes: [remote, remote-cluster2]}") as agent:
        assert agent.wait_synced(WAIT_S)
        (publisher,) = agent.consumers
        eventually(lambda: publisher.ready, "the publisher")
        for remote in ("remote", "remote-cluster2"):
            assert allowed(guarded, remote) == [".heartbeat", "state/", f"synced/{CLUSTER}/"]
            with guarded.client(remote) as client:
                assert client.get(f"cilium/cluster-config/{CLUSTER}".encode()).kv is not None
                with pytest.raises(PermissionDenied):
                    client.put(b"cilium/state/x", b"")
        assert allowed(guarded, f"local-{CLUSTER}") == [
            ".heartbeat",
            "cache/",
            "cluster-config/",
            f"synced/{CLUSTER}/",
            "synced/",
        ]
        assert allowed(guarded, "stranger") == []
        with Rig(through=guarded.servers("remote")) as rig:
            assert [row.key.ip for row in rig.synced()[Endpoints].values()] == ["10.3.0.1"]


def test_the_file_of_users_is_followed_and_an_emptied_etcd_has_its_users_again(guarded: Guarded, tmp_path: Path):
    file = tmp_path / "users.yaml"
    file.write_text("users: [{name: remote-cluster2, role: remote}]\n")
    with publishing(guarded, tmp_path, f"{{users-file: '{file}'}}") as agent:
        (publisher,) = agent.consumers
        eventually(lambda: publisher.ready, "the publisher")
        assert "state/" in allowed(guarded, "remote-cluster2")
        file.write_text("users: [{name: remote-cluster4}]\n")
        eventually(lambda: "state/" in allowed(guarded, "remote-cluster4"), "a new user")
        assert allowed(guarded, "remote-cluster2") == []
        file.write_text("users: [{name: remote-cluster4, role: root}]\n")
        eventually(lambda: "users-file" in publisher.health, "what is wrong with the file")
        assert publisher.health.startswith("OK, but users-file")
        assert "'root'" in publisher.health
        assert "state/" in allowed(guarded, "remote-cluster4")
        guarded.etcd.kill()
        guarded.etcd.forget()
        guarded.etcd.add_arguments(token())
        guarded.etcd.start(guarded.root)
        # until the publisher has come to it, whoever shows a certificate of its authority may read what is not there
        wanted = [".heartbeat", "state/", f"synced/{CLUSTER}/"]
        eventually(lambda: allowed(guarded, "remote-cluster4") == wanted, "its users")


def test_without_a_certificate_of_our_own_we_would_lock_ourselves_out(tmp_path: Path):
    text = (
        f"cluster: {{name: c, id: 1}}\ningest: {{manifests: {{directory: '{tmp_path}'}}}}\n"
        "consumers: [publisher: {etcd: {endpoints: ['http://127.0.0.1:1']}, users: {}}]\n"
    )
    with pytest.raises(
        StartError, match=r"users: .*set etcd\.tls\.cert-file and key-file to a certificate for admin-c"
    ):
        Agent(parse_config(text))
