"""What a reader of several etcds behind one address needs of the client: single keys, prefixes that are added later."""

from ingest.etcd import PUT, Client
from ingest.etcd.watch import WatchStream

from .streams import batches, until_ready


def next_keys(stream: WatchStream, count: int) -> list[tuple[bytes, int, bytes]]:
    seen: list[tuple[bytes, int, bytes]] = []
    for batch in batches(stream):
        seen += [(batch.prefix, event.type, event.kv.key) for event in batch.events]
        if len(seen) >= count:
            return seen
    raise AssertionError


def test_a_single_key_is_followed_without_those_that_begin_like_it(client: Client):
    start = client.get(b"x").header.revision + 1
    with client.watch({b"a": start, b"b": start}, keys=(b"a",)) as stream:
        client.put(b"a1", b"")
        client.put(b"b1", b"")
        client.put(b"a", b"")
        assert sorted(next_keys(stream, 2)) == [(b"a", PUT, b"a"), (b"b", PUT, b"b1")]


def test_a_prefix_is_added_to_a_running_watch_from_its_own_revision_on(client: Client):
    start = client.get(b"x").header.revision + 1
    with client.watch({b"a/": start}) as stream:
        until_ready(stream)
        client.put(b"b/1", b"")
        second = client.put(b"b/2", b"").revision
        stream.add(b"b/", second)
        assert not stream.ready
        client.put(b"a/1", b"")
        client.put(b"b/3", b"")
        got = next_keys(stream, 3)
        assert [key for prefix, _, key in got if prefix == b"b/"] == [b"b/2", b"b/3"]
        assert [key for prefix, _, key in got if prefix == b"a/"] == [b"a/1"]
        assert stream.ready
