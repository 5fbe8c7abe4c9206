"""What an etcd can go through, and that no row goes which etcd did not delete."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from ingest import TlsOptions
from ingest.etcd import Client, Tls, Unavailable
from ingest.etcd.local import LocalEtcd, free_port
from statedb.catalog import Endpoints

from ...tcp_proxy import TcpProxy
from ...waiting import eventually
from ..clustermesh.publisher import token
from ..etcd.test_security import etcdctl
from ..kvstore_rig import HEARTBEAT, Deletions, Rig, endpoints_in, ip_key, ip_of, put_endpoint, put_endpoints


@pytest.fixture
def running(own_etcd: LocalEtcd) -> Iterator[tuple[Rig, Deletions]]:
    """A source that has 20 endpoints from a server that may be mistreated."""
    with own_etcd.client() as client:
        put_endpoints(client, range(20))
    with Rig(own_etcd.endpoint) as rig, Deletions(rig.db) as deletions:
        rig.until(lambda s: rig.state(s) == "synced" and len(s[Endpoints]) == 20)
        yield rig, deletions


def written_through(client: Client, number: int, identity: int) -> None:
    """Write until the server says that it has it."""

    def is_written() -> bool:
        try:
            if number % 7:
                put_endpoint(client, ip_of(number), identity)
            else:
                client.delete(ip_key(ip_of(number)))
        except Unavailable:
            return False
        return True

    eventually(is_written, "the server")


def test_killed_and_restarted_in_the_middle_of_a_thousand_updates(own_etcd: LocalEtcd):
    with own_etcd.client() as client:
        put_endpoints(client, range(1000))
    halfway = threading.Event()

    def write() -> None:
        with own_etcd.client() as client:
            for number in range(1000):
                if number == 500:
                    halfway.set()
                written_through(client, number, 90_000)

    with Rig(own_etcd.endpoint) as rig, Deletions(rig.db) as deletions:
        rig.synced()
        writer = threading.Thread(target=write)
        writer.start()
        assert halfway.wait(30)
        own_etcd.kill()
        own_etcd.start()
        writer.join(60)
        assert not writer.is_alive()
        with own_etcd.client() as client:
            expected = endpoints_in(client)
        assert len(expected) == 857
        rig.until(lambda s: rig.endpoints(s) == expected and rig.state(s) == "synced")
        assert deletions.now() == {ip_of(number) for number in range(0, 1000, 7)}


def test_frozen_noticed_and_thawed(own_etcd: LocalEtcd):
    with own_etcd.client() as client:
        put_endpoints(client, range(20))
    with Rig(own_etcd.endpoint, keepalive_s=5.0, keepalive_timeout_s=1.0) as rig, Deletions(rig.db) as deletions:
        rig.synced()
        own_etcd.freeze()
        rig.until(lambda s: rig.state(s) == "stale", "the dead connection was noticed")
        own_etcd.thaw()
        with own_etcd.client() as client:
            put_endpoint(client, ip_of(20))
        rig.until(lambda s: len(s[Endpoints]) == 21 and rig.state(s) == "synced")
        assert deletions.now() == set()


def test_restarted_with_an_empty_directory(own_etcd: LocalEtcd, running: tuple[Rig, Deletions]):
    rig, deletions = running
    own_etcd.kill()
    own_etcd.forget()
    own_etcd.start()
    snapshot = rig.until(lambda s: "withholding 20 deletes" in rig.row(s).last_error)
    assert rig.state(snapshot) == "stale"
    assert rig.row(snapshot).withheld_deletes == 20
    with own_etcd.client() as client:  # the writers come back, one after the other
        put_endpoints(client, range(15))
        put_endpoint(client, ip_of(30))
        snapshot = rig.until(lambda s: "withholding 5 deletes" in rig.row(s).last_error and len(s[Endpoints]) == 21)
        assert deletions.now() == set()
        client.delete(ip_key(ip_of(3)))  # a deletion that this server did see counts
        rig.until(lambda s: len(s[Endpoints]) == 20)
        put_endpoints(client, range(15, 20))
        snapshot = rig.until(lambda s: rig.state(s) == "synced")
        assert rig.endpoints(snapshot) == endpoints_in(client)
    assert deletions.now() == {ip_of(3)}


def test_an_operator_may_accept_the_replacement(own_etcd: LocalEtcd, running: tuple[Rig, Deletions]):
    rig, deletions = running
    own_etcd.kill()
    own_etcd.forget()
    own_etcd.start()
    rig.until(lambda s: rig.row(s).withheld_deletes == 20)
    assert deletions.now() == set()
    rig.source.accept()
    rig.until(lambda s: not s[Endpoints] and rig.state(s) == "synced")
    assert len(deletions.now()) == 20


def test_what_the_operator_accepted_does_not_hold_for_a_third_etcd(own_etcd: LocalEtcd, running: tuple[Rig, Deletions]):
    rig, deletions = running
    own_etcd.kill()
    own_etcd.forget()
    own_etcd.start()
    with own_etcd.client() as client:
        put_endpoints(client, range(30, 35))
    rig.until(lambda s: rig.row(s).withheld_deletes == 20 and len(s[Endpoints]) == 25)
    own_etcd.kill()
    rig.until(lambda s: "withholding" not in rig.row(s).last_error)
    rig.source.accept()
    own_etcd.forget()
    own_etcd.start()
    rig.until(lambda s: rig.row(s).withheld_deletes == 25)
    with own_etcd.client() as client:
        for number in range(40, 43):  # each comes with a round of its own, which would carry out what was accepted
            put_endpoints(client, range(number, number + 1))
            rig.until(lambda s, number=number: ip_of(number) in rig.endpoints(s))
    assert deletions.now() == set()
    rig.source.accept()
    rig.until(lambda s: len(s[Endpoints]) == 3 and rig.state(s) == "synced")


def test_what_is_accepted_while_the_etcd_is_away_does_not_hold_for_another_one(
    own_etcd: LocalEtcd, running: tuple[Rig, Deletions]
):
    rig, deletions = running
    own_etcd.kill()
    rig.until(lambda s: rig.state(s) == "stale")
    rig.source.accept()
    own_etcd.forget()
    own_etcd.start()
    rig.until(lambda s: rig.row(s).withheld_deletes == 20)
    with own_etcd.client() as client:
        for number in range(40, 43):  # each comes with a round of its own, which would carry out what was accepted
            put_endpoints(client, range(number, number + 1))
            rig.until(lambda s, number=number: ip_of(number) in rig.endpoints(s))
    assert deletions.now() == set()


@pytest.mark.parametrize("has_own_id", [True, False])
def test_what_is_accepted_during_the_first_list_of_an_etcd_does_not_hold_for_the_next_one(
    own_etcd: LocalEtcd, running: tuple[Rig, Deletions], has_own_id: bool
):
    """Nothing was withheld yet, so the second one was taken for the one that the operator had seen.

    An empty etcd leaves nothing that would tell it from the next empty one, whose id may be the same.
    """
    rig, deletions = running
    judged, broken = rig.source.list_verdict, []

    def breaks_once(*each):
        if not broken:
            broken.append(each)
            rig.source.accept()
            own_etcd.kill()
            own_etcd.forget()
            if has_own_id:
                own_etcd.add_arguments(token())
            own_etcd.start()
            raise Unavailable("the connection broke during the list")
        return judged(*each)

    own_etcd.kill()
    own_etcd.forget()
    rig.source.list_verdict = breaks_once
    own_etcd.launch()  # not waited for: the source may kill it before it has answered us
    rig.until(lambda s: rig.row(s).withheld_deletes == 20 or not len(s[Endpoints]))
    with own_etcd.client() as client:
        for number in range(40, 43):
            put_endpoints(client, range(number, number + 1))
            rig.until(lambda s, number=number: ip_of(number) in rig.endpoints(s))
    assert deletions.now() == set()


def test_what_is_accepted_is_void_where_the_connection_breaks_during_its_list(
    own_etcd: LocalEtcd, running: tuple[Rig, Deletions]
):
    rig, deletions = running
    own_etcd.kill()
    own_etcd.forget()
    own_etcd.start()
    rig.until(lambda s: rig.row(s).withheld_deletes == 20)
    judged, broken = rig.source.list_verdict, []

    def breaks_once(*each):
        if rig.source._believed and not broken:
            broken.append(each)
            own_etcd.kill()
            own_etcd.forget()
            own_etcd.start()
            raise Unavailable("the connection broke during the list")
        return judged(*each)

    rig.source.list_verdict = breaks_once
    rig.source.accept()
    rig.until(lambda _: broken)
    with own_etcd.client() as client:
        put_endpoints(client, range(40, 41))
    rig.until(lambda s: ip_of(40) in rig.endpoints(s))
    assert deletions.now() == set()


def test_a_row_of_before_stays_while_its_key_cannot_be_read(own_etcd: LocalEtcd):
    """A source that does not end keeps it. After a restart it was deleted, and the source was synced."""
    with own_etcd.client() as client:
        put_endpoints(client, range(3))
        with Rig(own_etcd.endpoint) as before:
            before.until(lambda s: len(s[Endpoints]) == 3 and before.state(s) == "synced" and before.row(s).origin)
        client.put(ip_key(ip_of(1)), b"{broken")
        client.delete(ip_key(ip_of(2)))
        with Rig(own_etcd.endpoint, db=before.db) as rig, Deletions(rig.db) as deletions:
            told = rig.until(lambda s: rig.row(s).withheld_deletes == 2)
            assert (rig.state(told), told[Endpoints].initialized) == ("stale", True)
            lists = rig.row(told).relists
            put_endpoint(client, ip_of(3))
            rig.until(lambda s: ip_of(3) in rig.endpoints(s))
            assert rig.row().relists == lists, "it is of no use to list again"
            assert deletions.now() == set()
            put_endpoint(client, ip_of(1))
            rig.until(lambda s: rig.state(s) == "synced")
            assert rig.endpoints().keys() == {ip_of(0), ip_of(1), ip_of(3)}


def test_one_lease_time_after_the_heartbeat_silence_counts(own_etcd: LocalEtcd):
    with own_etcd.client() as client:
        put_endpoints(client, range(20))
    with Rig(own_etcd.endpoint, lease_time_s=0.5) as rig:
        rig.synced()
        own_etcd.kill()
        own_etcd.forget()
        own_etcd.start()
        rig.until(lambda s: rig.row(s).withheld_deletes == 20)
        with own_etcd.client() as client:
            put_endpoints(client, range(10))
            rig.until(lambda s: rig.row(s).withheld_deletes == 10)
            client.put(HEARTBEAT, b"2026-01-01T00:00:00Z")
            snapshot = rig.until(lambda s: rig.state(s) == "synced")
            assert rig.endpoints(snapshot) == endpoints_in(client)


def test_another_history_of_the_same_length_is_not_taken_for_ours(own_etcd: LocalEtcd):
    with own_etcd.client() as client:
        for number in range(20):
            put_endpoint(client, ip_of(number))
    with Rig(own_etcd.endpoint) as rig, Deletions(rig.db) as deletions:
        rig.synced()
        own_etcd.kill()
        own_etcd.forget()
        other = LocalEtcd()  # filled where the source cannot look, and then put in the other one's place
        with other:
            other.start()
            with other.client() as client:
                for number in range(100, 160):
                    put_endpoint(client, ip_of(number))
            url, other.endpoint = other.endpoint, own_etcd.endpoint
            other.stop()
            assert url != other.endpoint
            other.start()
            rig.until(lambda s: rig.row(s).withheld_deletes == 20)
            snapshot = rig.until(lambda s: len(s[Endpoints]) == 80)
            assert rig.state(snapshot) == "stale"
            assert deletions.now() == set()


def test_keys_that_were_deleted_while_we_were_away_go(own_etcd: LocalEtcd, running: tuple[Rig, Deletions]):
    rig, deletions = running
    with own_etcd.client() as client:
        own_etcd.freeze()
        own_etcd.thaw()
        client.delete(ip_key(ip_of(0)))
    own_etcd.kill()
    own_etcd.start()
    rig.until(lambda s: len(s[Endpoints]) == 19 and rig.state(s) == "synced")
    assert deletions.now() == {ip_of(0)}


def test_users_and_passwords(own_etcd: LocalEtcd, tmp_path: Path):
    password = tmp_path / "password"
    password.write_text("wrong secret\n")
    with own_etcd.client() as client:
        put_endpoints(client, range(5))
    etcdctl(own_etcd, "user", "add", "root", "--new-user-password=root")
    etcdctl(own_etcd, "user", "grant-role", "root", "root")
    etcdctl(own_etcd, "user", "add", "agent", "--new-user-password=right")
    etcdctl(own_etcd, "auth", "enable")
    root = ("--user=root:root",)
    with Rig(own_etcd.endpoint, username="agent", password_file=str(password)) as rig:
        snapshot = rig.until(lambda s: "invalid user ID or password" in rig.row(s).last_error)
        assert rig.state(snapshot) == "failed"
        assert "secret" not in rig.row(snapshot).last_error
        password.write_text("right\n")
        rig.until(lambda s: "permission denied; the user needs the right to read cilium/" in rig.row(s).last_error)
        etcdctl(own_etcd, *root, "role", "add", "reader")
        etcdctl(own_etcd, *root, "role", "grant-permission", "reader", "--prefix=true", "read", "cilium/")
        etcdctl(own_etcd, *root, "user", "grant-role", "agent", "reader")
        rig.until(lambda s: rig.state(s) == "synced" and len(s[Endpoints]) == 5)
        own_etcd.kill()  # tokens live in the server's memory
        own_etcd.start()
        with own_etcd.client(login=("root", "root")) as client:
            put_endpoint(client, ip_of(5))
        rig.until(lambda s: rig.state(s) == "synced" and len(s[Endpoints]) == 6)


def test_tls_with_a_client_certificate_that_is_renewed(tmp_path: Path):
    ca = trustme.CA()
    files = {name: tmp_path / f"{name}.pem" for name in ("ca", "server", "server-key", "client", "client-key")}
    server = ca.issue_cert("127.0.0.1")
    ca.cert_pem.write_to_path(str(files["ca"]))
    server.cert_chain_pems[0].write_to_path(str(files["server"]))
    server.private_key_pem.write_to_path(str(files["server-key"]))

    def show(signer: trustme.CA) -> Tls:
        certificate = signer.issue_cert("agent.example", common_name="agent")
        certificate.cert_chain_pems[0].write_to_path(str(files["client"]))
        certificate.private_key_pem.write_to_path(str(files["client-key"]))
        return Tls(ca.cert_pem.bytes(), certificate.cert_chain_pems[0].bytes(), certificate.private_key_pem.bytes())

    good = show(ca)
    arguments = [
        "--client-cert-auth",
        f"--trusted-ca-file={files['ca']}",
        f"--cert-file={files['server']}",
        f"--key-file={files['server-key']}",
    ]
    tls = TlsOptions(ca_file=str(files["ca"]), cert_file=str(files["client"]), key_file=str(files["client-key"]))
    with LocalEtcd(arguments=arguments, secure=True) as etcd:
        etcd.start(good)
        with etcd.client(good) as client:
            put_endpoints(client, range(5))
        show(trustme.CA())
        with Rig(etcd.endpoint, tls=tls) as rig:
            rig.until(lambda s: rig.row(s).last_error != "" and rig.state(s) == "connecting")
            show(ca)
            rig.until(lambda s: rig.state(s) == "synced" and len(s[Endpoints]) == 5)


def test_a_restored_backup_that_was_written_on_is_not_the_server_we_knew(tmp_path: Path):
    """Its revision is past ours when we see it again; what came after the backup is gone, or came in another way."""
    with LocalEtcd(tmp_path / "etcd") as etcd:
        etcd.start()
        with etcd.client() as client:
            put_endpoints(client, range(50))
        etcd.stop()
        shutil.copytree(tmp_path / "etcd" / "data", tmp_path / "backup")
        etcd.start()
        with etcd.client() as client:
            for number in range(50, 60):
                put_endpoint(client, ip_of(number))
        with Rig(etcd.endpoint) as rig, Deletions(rig.db) as deletions:
            rig.until(lambda s: len(s[Endpoints]) == 60)
            rig.synced()
            etcd.stop()
            shutil.rmtree(tmp_path / "etcd" / "data")
            shutil.copytree(tmp_path / "backup", tmp_path / "etcd" / "data")
            url = etcd.endpoint
            etcd.endpoint = f"http://127.0.0.1:{free_port()}"  # where the source cannot look
            etcd.start()
            with etcd.client() as client:
                for number in range(100, 130):
                    put_endpoint(client, ip_of(number), 80_000)
            etcd.stop()
            etcd.endpoint = url
            etcd.start()
            snapshot = rig.until(lambda s: rig.row(s).withheld_deletes == 10)
            assert rig.state(snapshot) == "stale"
            with etcd.client() as client:
                assert set(endpoints_in(client)) <= set(rig.endpoints()), "nothing that it holds is missing"
            assert deletions.now() == set()


def test_an_address_that_turns_to_another_etcd_in_the_midst_of_a_list(own_etcd: LocalEtcd):
    """One client is not one connection: gRPC connects anew by itself, and a proxy may lead elsewhere then."""
    with (
        LocalEtcd(arguments=["--initial-cluster-token=other"]) as other,
        TcpProxy(own_etcd.endpoint) as proxy,
        own_etcd.client() as client,
    ):
        other.start()
        put_endpoints(client, range(200))
        with other.client() as elsewhere:
            for _ in range(50):
                elsewhere.put(b"x", b"y")
        with Rig(proxy.endpoint, page_limit=10, relist_s=0.2) as rig, Deletions(rig.db) as deletions:
            rig.synced()
            listed, turned = Client.list, threading.Event()

            def turning(self, prefix, *arguments):
                for place, page in enumerate(listed(self, prefix, *arguments)):
                    if place == 3 and not turned.is_set():
                        proxy.turn(other.endpoint)
                        turned.set()
                    yield page

            Client.list = turning  # type: ignore[method-assign]
            try:
                assert turned.wait(30)
                rig.until(lambda s: rig.row(s).withheld_deletes == 200, "the other etcd is told from ours")
            finally:
                Client.list = listed  # type: ignore[method-assign]
            assert deletions.now() == set()


def test_a_heartbeat_that_a_restored_etcd_still_has_proves_nothing(own_etcd: LocalEtcd):
    with own_etcd.client() as client:
        put_endpoints(client, range(20))
        client.put(HEARTBEAT, b"t")
    with Rig(own_etcd.endpoint, lease_time_s=0.2) as rig, Deletions(rig.db) as deletions:
        rig.synced()
        own_etcd.kill()
        own_etcd.forget()
        own_etcd.start()
        with own_etcd.client() as client:
            client.put(HEARTBEAT, b"t")
            rig.until(lambda s: rig.row(s).withheld_deletes == 20)
            put_endpoint(client, ip_of(30))
            rig.until(lambda s: ip_of(30) in rig.endpoints(s))
        assert deletions.now() == set()


def test_deletes_that_a_compaction_leaves_unproven_are_carried_out_a_lease_time_after_the_heartbeat(
    own_etcd: LocalEtcd,
):
    """All known keys were deleted or changed. A connection that breaks during the wait does not prolong it."""
    with own_etcd.client() as client, TcpProxy(own_etcd.endpoint) as proxy:
        put_endpoints(client, range(20))
        with Rig(proxy.endpoint, lease_time_s=3.0) as rig, Deletions(rig.db) as deletions:
            rig.until(lambda s: rig.state(s) == "synced" and len(s[Endpoints]) == 20)
            for number in range(10):
                client.delete(ip_key(ip_of(number)))
            rig.until(lambda s: len(s[Endpoints]) == 10)
            proxy.cut()
            rig.until(lambda s: rig.state(s) == "stale")
            client.delete(ip_key(ip_of(10)))
            put_endpoints(client, range(11, 20), identity=70_001)
            client.compact(client.put(b"elsewhere", b"").revision)
            proxy.open()
            rig.until(lambda s: "no longer there to show it" in rig.row(s).last_error)
            assert rig.row().withheld_deletes == 1
            client.put(HEARTBEAT, b"1")
            put_endpoint(client, ip_of(30))
            rig.until(lambda s: ip_of(30) in rig.endpoints(s))
            proxy.cut()
            rig.until(lambda s: "withholding" not in rig.row(s).last_error)
            proxy.open()
            rig.until(lambda s: rig.state(s) == "synced")
            assert rig.endpoints() == endpoints_in(client)
            assert deletions.now() == {ip_of(number) for number in range(11)}


def test_a_delete_is_believed_after_many_others_and_a_compaction_even_without_a_heartbeat(own_etcd: LocalEtcd):
    """The deletions were all that was remembered, and showed nothing any more: this one waited for ever."""
    with own_etcd.client() as client, TcpProxy(own_etcd.endpoint) as proxy:
        put_endpoints(client, range(20))
        with Rig(proxy.endpoint) as rig:
            rig.until(lambda s: rig.state(s) == "synced" and len(s[Endpoints]) == 20)
            for number in range(10):
                client.delete(ip_key(ip_of(number)))
            rig.until(lambda s: len(s[Endpoints]) == 10)
            proxy.cut()
            rig.until(lambda s: rig.state(s) == "stale")
            client.delete(ip_key(ip_of(10)))
            client.compact(client.put(b"elsewhere", b"").revision)
            proxy.open()
            rig.until(lambda s: len(s[Endpoints]) == 9 and rig.state(s) == "synced")
