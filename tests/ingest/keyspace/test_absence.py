"""How a key went: a deleter, or its lease."""

import pytest

from ingest.belief import Absence
from ingest.etcd import Client
from ingest.keyspace.absence import explain


def test_a_deleter_is_told_from_the_end_of_a_lease(client: Client):
    living, ended = client.grant(600), client.grant(600)
    client.put(b"deleted", b"v", living)
    client.put(b"without a lease", b"v")
    client.put(b"expired", b"v", ended)
    known = client.put(b"x", b"v").revision
    client.delete(b"deleted")
    client.delete(b"without a lease")
    client.revoke(ended)
    went = explain(client, [(key, known) for key in (b"deleted", b"without a lease", b"expired", b"never there")])
    assert went == {
        b"deleted": Absence.DELETED,
        b"without a lease": Absence.DELETED,
        b"expired": Absence.EXPIRED,
        b"never there": Absence.UNEXPLAINED,
    }


@pytest.mark.parametrize("number", [1, 250])
def test_what_is_compacted_cannot_be_explained_and_the_rest_can(client: Client, number: int):
    """Of many deletes at once, in requests of a bounded size."""
    revisions = [client.put(b"k/%d" % each, b"v").revision for each in range(number)]
    last = [(b"k/%d" % each, client.delete_prefix(b"k/%d" % each) and revisions[each]) for each in (0,)]
    now = client.get(b"x").header.revision
    client.compact(now)
    kept = [(b"k/%d" % each, now) for each in range(1, number)]
    client.delete_prefix(b"k/")
    went = explain(client, [(b"k/0", revisions[0]), *kept])
    assert went.pop(b"k/0") is Absence.UNEXPLAINED
    assert last
    assert set(went.values()) <= {Absence.DELETED}
    assert len(went) == number - 1


def test_a_compacted_key_was_deleted_if_no_lease_of_the_prefix_has_ended(client: Client):
    """A delete that was compacted before its watch told of it was in doubt for a whole lease time."""
    living, ended = client.grant(600), client.grant(600)
    known = client.put(b"k", b"v", living).revision
    client.delete(b"k")
    client.compact(client.put(b"x", b"v").revision)
    keys = [(b"k", known)]
    assert explain(client, keys, {0, living}) == {b"k": Absence.DELETED}
    assert explain(client, keys, {living, ended}) == {b"k": Absence.DELETED}
    client.revoke(ended)
    assert explain(client, keys, {living, ended}) == {b"k": Absence.UNEXPLAINED}
    assert explain(client, keys) == {b"k": Absence.UNEXPLAINED}
    assert explain(client, keys, range(1000)) == {b"k": Absence.UNEXPLAINED}
