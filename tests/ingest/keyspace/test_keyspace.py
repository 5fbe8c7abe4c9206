"""Lists and watches of prefixes: what a list has told is not turned back by older events of the watch."""

import pytest

from ingest.belief import Absence, Verdict, Yes
from ingest.etcd import DELETE, Client, Unavailable, WatchBatch, WatchEvent
from ingest.keyspace.keyspace import Keyspace
from ingest.keyspace.kind import Kind
from ingest.keyspace.prefix import Prefix
from ingest.reflect import Feed, Reflector
from ingest.status import Status
from statedb import Database
from statedb.catalog import TABLES, Endpoints
from statedb.catalog.wire import ips, keys

from ..etcd.streams import batches
from ..kvstore_rig import CLUSTER, ip_key, ip_of, put_endpoint

KIND = Kind(keys.IPS + "/", (Endpoints,), lambda name, value: tuple(filter(None, (ips.decode(CLUSTER, name, value),))))


class Believing:
    """A judge that believes everything."""

    needs_causes = False

    def explains_lists(self, prefix: Prefix) -> bool:
        return False

    def list_verdict(self, prefix: Prefix, revision: int) -> Verdict:
        return Yes()

    def verdict(self, prefix: Prefix, absence: Absence) -> Verdict:
        return Yes()


def test_a_list_after_which_no_witness_is_left_deletes_nothing(client: Client):
    """The judge has judged the server before the list; nothing shows that this one gave it."""
    db = Database(*TABLES)
    reflector = Reflector(
        db, CLUSTER, "test", [Feed(KIND.prefix, KIND.tables)], Status(db, CLUSTER, "test", (Endpoints,))
    )
    reflector.begin()
    keyspace = Keyspace([KIND], reflector, 1000, Believing(), lambda: False)
    (prefix,) = keyspace.prefixes.values()
    for n in range(3):
        put_endpoint(client, ip_of(n))
    keyspace.begin(client.get(prefix.key).header)
    keyspace.list(client, prefix)
    for n in range(3):
        last = put_endpoint(client, ip_of(n), 70_001)
    client.delete(ip_key(ip_of(0)))
    client.compact(last)
    with pytest.raises(Unavailable, match="may have been replaced while it was listed: the keys that changed last"):
        keyspace.list(client, prefix)
    assert len(db.snapshot()[Endpoints]) == 3
    put_endpoint(client, ip_of(0), 70_001)
    keyspace.list(client, prefix)  # it leaves nothing out
    assert {row.identity for row in db.snapshot()[Endpoints].values()} == {70_001}


def test_events_older_than_the_list_are_passed_over(client: Client):
    db = Database(*TABLES)
    status = Status(db, CLUSTER, "test", (Endpoints,))
    reflector = Reflector(db, CLUSTER, "test", [Feed(KIND.prefix, KIND.tables)], status)
    reflector.begin()
    keyspace = Keyspace([KIND], reflector, 1000, Believing(), lambda: False)
    (prefix,) = keyspace.prefixes.values()
    start = put_endpoint(client, ip_of(1)) + 1
    with client.watch({prefix.key: start}) as stream:
        client.delete(ip_key(ip_of(1)))
        put_endpoint(client, ip_of(1), 70_001)
        last = put_endpoint(client, ip_of(2))
        keyspace.list(client, prefix)
        assert prefix.known == last
        revision = db.snapshot()[Endpoints].revision
        events: list[WatchEvent] = []
        for batch in batches(stream):
            events += batch.events
            if len(events) >= 3:
                break
    assert events[0].type == DELETE
    for event in events:  # one at a time, as they may come
        keyspace._on_batch(client, prefix, WatchBatch(prefix.key, [event], event.kv.mod_revision + 1))
        reflector.flush()
        assert db.snapshot()[Endpoints].revision == revision
        assert prefix.known == last
