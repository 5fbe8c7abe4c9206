"""TLS, certificates, users and passwords against real servers."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme

from ingest.etcd import (
    Client,
    EtcdError,
    Keepalive,
    PermissionDenied,
    Tls,
    Unauthenticated,
    Unavailable,
    parse_endpoint,
)
from ingest.etcd.local import LocalEtcd, find_binary

from .streams import batches

READER = ("reader", "a secret")


class Secure(NamedTuple):
    etcd: LocalEtcd
    authority: Tls
    """Knows who signed the server, shows no certificate."""
    admin: Tls
    """Shows the certificate of CN root."""
    stranger: Tls
    """Shows a certificate that the server's authority did not sign."""


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    directory = tmp_path_factory.mktemp("tls")
    ca = trustme.CA()
    server = ca.issue_cert("127.0.0.1", "localhost")
    names = {"ca": directory / "ca.pem", "cert": directory / "cert.pem", "key": directory / "key.pem"}
    ca.cert_pem.write_to_path(str(names["ca"]))
    server.cert_chain_pems[0].write_to_path(str(names["cert"]))
    server.private_key_pem.write_to_path(str(names["key"]))
    arguments = [
        "--client-cert-auth",
        f"--trusted-ca-file={names['ca']}",
        f"--cert-file={names['cert']}",
        f"--key-file={names['key']}",
    ]
    authority = Tls(ca.cert_pem.bytes())
    with LocalEtcd(arguments=arguments, secure=True) as etcd:
        admin = _with_certificate(authority, ca)
        etcd.start(admin)
        yield Secure(etcd, authority, admin, _with_certificate(authority, trustme.CA()))


def _with_certificate(tls: Tls, ca: trustme.CA) -> Tls:
    client = ca.issue_cert("client.example", common_name="root")
    return Tls(tls.authorities, client.cert_chain_pems[0].bytes(), client.private_key_pem.bytes())


def etcdctl(etcd: LocalEtcd, *arguments: str) -> None:
    tool = Path(find_binary()).with_name("etcdctl")
    tool.chmod(0o755)
    subprocess.run([str(tool), f"--endpoints={etcd.endpoint}", *arguments], check=True, capture_output=True, timeout=30)


@pytest.fixture(scope="module")
def guarded() -> Iterator[LocalEtcd]:
    """A server with users: root, and a reader of state/."""
    with LocalEtcd() as etcd:
        etcd.start()
        etcdctl(etcd, "user", "add", "root", "--new-user-password=root")
        etcdctl(etcd, "user", "grant-role", "root", "root")
        etcdctl(etcd, "role", "add", "state")
        etcdctl(etcd, "role", "grant-permission", "state", "--prefix=true", "read", "state/")
        etcdctl(etcd, "user", "add", READER[0], f"--new-user-password={READER[1]}")
        etcdctl(etcd, "user", "grant-role", READER[0], "state")
        etcdctl(etcd, "auth", "enable")
        yield etcd


def test_a_certificate_on_both_sides(secure: Secure):
    with secure.etcd.client(secure.admin) as client:
        client.put(b"a", b"1")
        assert client.get(b"a").kv is not None


@pytest.mark.parametrize("who", ["authority", "stranger"])
def test_without_the_right_certificate_there_is_no_connection(secure: Secure, who: str):
    tls: Tls = getattr(secure, who)
    with Client(parse_endpoint(secure.etcd.endpoint), tls=tls, timeout_s=5) as client, pytest.raises(Unavailable):
        client.get(b"a")


def test_a_server_that_nobody_we_trust_signed_is_refused(secure: Secure):
    tls = Tls(trustme.CA().cert_pem.bytes(), secure.admin.certificate, secure.admin.key)
    with Client(parse_endpoint(secure.etcd.endpoint), tls=tls, timeout_s=5) as client, pytest.raises(Unavailable):
        client.get(b"a")


def test_a_user_reads_what_its_role_allows(guarded: LocalEtcd):
    with guarded.client(login=("root", "root")) as root:
        root.put(b"state/1", b"x")
        root.put(b"secret/1", b"x")
    with guarded.client(login=READER) as client:
        assert [kv.key for page in client.list(b"state/") for kv in page.kvs] == [b"state/1"]
        with pytest.raises(PermissionDenied):
            client.get(b"secret/1")
        with pytest.raises(PermissionDenied):
            client.put(b"state/1", b"y")


def test_a_wrong_password_and_no_user_at_all(guarded: LocalEtcd):
    with guarded.client(login=("reader", "wrong")) as client, pytest.raises(Unauthenticated) as raised:
        client.get(b"state/1")
    assert "wrong" not in str(raised.value)
    with guarded.client() as client, pytest.raises(EtcdError, match="user name is empty"):
        client.get(b"state/1")


def test_a_login_where_nobody_asks_for_one(etcd: LocalEtcd):
    with etcd.client(login=("somebody", "x")) as client:
        assert client.get(b"a").kv is None


def test_a_refused_watch_says_so(guarded: LocalEtcd):
    with guarded.client(login=READER) as client:
        with client.watch({b"secret/": 1}) as stream, pytest.raises(PermissionDenied, match="secret/"):
            next(batches(stream))


@pytest.mark.parametrize("blocks", [False, True])
def test_a_login_that_the_server_has_forgotten_is_renewed(guarded: LocalEtcd, blocks: bool):
    with guarded.client(login=READER) as client, guarded.client(login=("root", "root")) as root:
        revision = root.put(b"state/2", b"x").revision
        client.get(b"state/2")
        guarded.stop()  # tokens live in the server's memory
        guarded.start()
        root.put(b"state/3", b"x")
        # A watch that shows a token that has gone is refused in the words of a missing permission.
        with client.watch({b"state/": revision}, blocks=blocks) as stream:
            assert next(batches(stream)).events
        guarded.stop()
        guarded.start()
        assert client.get(b"state/2").kv is not None


def test_keepalive_is_configurable(guarded: LocalEtcd):
    with Client(parse_endpoint(guarded.endpoint), login=READER, keepalive=Keepalive(5, 1)) as client:
        assert client.count(b"state/") >= 0
