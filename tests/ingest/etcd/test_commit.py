"""Transactions whose refusal is an answer, and leases renewed together, against a real server."""

import pytest

from ingest.etcd import Client
from ingest.etcd.local import LocalEtcd


def test_a_commit_writes_and_deletes_at_one_revision(client: Client):
    client.put(b"old", b"")
    lease = client.grant(60)
    commit = client.commit([(b"a", b"1", lease), (b"b", b"2", 0)], [b"old"])
    assert commit.refusal == ""
    for key in (b"a", b"b"):
        kv = client.get(key).kv
        assert kv is not None
        assert kv.mod_revision == commit.revision
    assert client.get(b"old").kv is None


def test_what_is_too_large_is_refused_and_named(client: Client):
    one = client.commit([(b"a", b"x" * 1_600_000, 0)])
    assert (one.refusal, "too large" in one.reason) == ("too large", True)
    beyond_grpc = client.commit([(b"a", b"x" * 3_000_000, 0)])
    assert beyond_grpc.refusal == "too large"
    many = client.commit([(b"%d" % number, b"", 0) for number in range(200)])
    assert (many.refusal, "too many operations" in many.reason) == ("too many", True)
    assert client.get(b"a").kv is None


def test_a_lease_that_has_ended_is_refused_and_renewal_tells(client: Client):
    live, ended = client.grant(60), client.grant(60)
    client.revoke(ended)
    assert client.commit([(b"a", b"", ended)]).refusal == "no lease"
    assert client.renew_all([live, ended]) == {live: 60, ended: 0}
    assert client.renew_all([]) == {}


def test_a_fence_lets_only_its_holder_write(client: Client):
    client.put(b"leader", b"me")
    assert client.commit([(b"a", b"1", 0)], fence=(b"leader", b"me")).refusal == ""
    client.put(b"leader", b"other")
    assert client.commit([(b"a", b"2", 0)], fence=(b"leader", b"me")).refusal == "fenced"
    client.delete(b"leader")
    assert client.commit([], [b"a"], fence=(b"leader", b"me")).refusal == "fenced"
    kv = client.get(b"a").kv
    assert kv is not None
    assert kv.value == b"1"


@pytest.mark.timeout(60)
def test_a_full_database_takes_deletes_only():
    with LocalEtcd(arguments=["--quota-backend-bytes=1000000"]) as etcd:
        etcd.start()
        with etcd.client() as client:
            client.put(b"a", b"")
            number = 0
            while not (outcome := client.commit([(b"%d" % number, b"x" * 500_000, 0)])).refusal:
                number += 1
            assert outcome.refusal == "no space"
            assert client.delete(b"a") == 1
            assert client.get(b"a").kv is None
