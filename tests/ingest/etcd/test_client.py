"""The client's calls against a real server."""

import threading

import pytest

from ingest.etcd import Client, Closed, Compacted, EtcdError, FutureRevision, Unavailable, parse_endpoint, range_end
from ingest.etcd.local import LocalEtcd, free_port


def keys_of(client: Client, prefix: bytes, **options: int) -> list[bytes]:
    return [kv.key for page in client.list(prefix, **options) for kv in page.kvs]


def test_a_key_is_written_read_and_deleted(client: Client):
    assert client.get(b"a").kv is None
    written = client.put(b"a", b"1")
    found = client.get(b"a")
    assert found.kv is not None
    assert (found.kv.key, found.kv.value, found.kv.mod_revision) == (b"a", b"1", written.revision)
    assert found.header.cluster_id == written.cluster_id != 0
    assert client.delete(b"a") == 1
    assert client.delete(b"a") == 0
    assert client.get(b"a").kv is None


def test_an_older_revision_can_be_read(client: Client):
    first = client.put(b"a", b"1").revision
    client.put(b"a", b"2")
    kv = client.get(b"a", first).kv
    assert kv is not None
    assert kv.value == b"1"
    with pytest.raises(FutureRevision):
        client.get(b"a", first + 1000)


def test_a_prefix_ends_where_its_keys_end(client: Client):
    for key in (b"a", b"a.", b"a/", b"a/1", b"a/\xff\xff", b"a0", b"b"):
        client.put(key, b"")
    assert keys_of(client, b"a/") == [b"a/", b"a/1", b"a/\xff\xff"]
    assert keys_of(client, b"") == [b"a", b"a.", b"a/", b"a/1", b"a/\xff\xff", b"a0", b"b"]
    assert client.count(b"a") == 6
    assert range_end(b"a\xff\xff") == b"b"


@pytest.mark.parametrize("limit", [1, 3, 4, 9, 10, 11])
def test_pages_hold_every_key_once(client: Client, limit: int):
    keys = [b"p/%02d" % number for number in range(10)]
    client.put_many([(key, b"v") for key in keys])
    pages = list(client.list(b"p/", limit))
    assert [kv.key for page in pages for kv in page.kvs] == keys
    assert all(len(page.kvs) <= limit for page in pages)
    assert [page.more for page in pages] == [True] * (len(pages) - 1) + [False]


def test_all_pages_show_one_revision(client: Client):
    client.put_many([(b"p/%d" % number, b"old") for number in range(6)])
    pages = client.list(b"p/", 2)
    first = next(pages)
    client.put(b"p/5", b"new")
    client.put(b"p/6", b"new")
    client.delete(b"p/3")
    rest = [kv for page in pages for kv in page.kvs]
    assert [kv.key for kv in rest] == [b"p/2", b"p/3", b"p/4", b"p/5"]
    assert {kv.value for kv in rest} == {b"old"}
    assert first.revision < client.get(b"p/5").header.revision


def test_nothing_gives_one_empty_page(client: Client):
    (page,) = client.list(b"nothing/")
    assert (len(page.kvs), page.more) == (0, False)
    assert page.revision == client.get(b"x").header.revision


def test_a_compaction_between_two_pages_says_so(client: Client):
    client.put_many([(b"p/%d" % number, b"old") for number in range(4)])
    pages = client.list(b"p/", 2)
    next(pages)
    revision = client.put(b"q", b"").revision
    client.compact(revision)
    with pytest.raises(Compacted):
        next(pages)


def test_create_and_replace_compare_first(client: Client):
    assert client.create(b"a", b"1")
    assert not client.create(b"a", b"2")
    kv = client.get(b"a").kv
    assert kv is not None
    assert client.replace(b"a", b"3", kv.mod_revision)
    assert not client.replace(b"a", b"4", kv.mod_revision)
    now = client.get(b"a").kv
    assert now is not None
    assert now.value == b"3"


def test_keys_go_with_their_lease(client: Client):
    lease = client.grant(60)
    client.put(b"a", b"1", lease)
    kv = client.get(b"a").kv
    assert kv is not None
    assert kv.lease == lease
    assert client.renew(lease) == 60
    client.revoke(lease)
    assert client.get(b"a").kv is None
    assert client.renew(lease) == 0
    with pytest.raises(EtcdError, match="lease not found"):
        client.put(b"a", b"1", lease)


def test_a_server_that_is_not_there_is_named():
    endpoint = f"http://127.0.0.1:{free_port()}"
    with Client(parse_endpoint(endpoint), timeout_s=5) as client, pytest.raises(Unavailable, match=endpoint):
        client.get(b"a")


def test_a_closed_client_says_so(etcd: LocalEtcd):
    client = etcd.client()
    client.get(b"a")
    client.close()
    client.close()
    with pytest.raises(Closed):
        client.get(b"a")
    with pytest.raises(Closed):
        client.watch({b"a": 1})


def test_many_keys_are_read_each_at_its_revision(client: Client):
    first = client.put(b"a", b"1", client.grant(60)).revision
    second = client.put(b"a", b"2").revision
    kvs = client.get_many([(b"a", first), (b"a", second), (b"b", second), (b"a", second + 1000)])
    assert [kv and kv.mod_revision for kv in kvs] == [first, second, None, None]
    assert kvs[0] is not None
    assert kvs[0].lease
    client.compact(second)
    assert [kv and kv.mod_revision for kv in client.get_many([(b"a", first), (b"a", second)])] == [None, second]
    assert client.get_many([]) == []


def test_a_server_survives_that_reads_of_many_keys_are_broken_off(own_etcd: LocalEtcd):
    """etcd 3.5.1 crashed when a transaction that only reads was cancelled, as a client that is closed does."""
    with own_etcd.client() as other:
        revision = other.put_many([(b"%03d" % number, b"") for number in range(100)]).revision
        keys = [(b"%03d" % number, revision) for number in range(100)]

        def close_after(client: Client, reads: int) -> None:
            for _ in range(reads):
                other.get(b"000")
            client.close()

        for attempt in range(60):
            client = own_etcd.client()
            client.get(b"000")
            closer = threading.Thread(target=close_after, args=(client, attempt % 20))
            closer.start()
            with pytest.raises(Closed):
                while True:
                    client.get_many(keys)
            closer.join()
    assert own_etcd.is_running


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://127.0.0.1:2379", "http://127.0.0.1:2379"),
        ("https://etcd.example:1/", "https://etcd.example:1"),
        ("http://etcd", "http://etcd:2379"),
        ("http://[::1]:2379", "http://[::1]:2379"),
    ],
)
def test_addresses(text: str, shown: str):
    assert str(parse_endpoint(text)) == shown


@pytest.mark.parametrize(
    "text", ["", "127.0.0.1:2379", "ftp://a:1", "http://", "http://a:b", "http://a:99999", "http://a/b"]
)
def test_a_bad_address_is_refused(text: str):
    with pytest.raises(ValueError):
        parse_endpoint(text)


@pytest.mark.parametrize("text", ["http://root:hunter2@127.0.0.1:2379", "root:hunter2@127.0.0.1:2379", "hunter2@["])
def test_no_secret_in_the_refusal_of_an_address_with_a_user(text: str):
    with pytest.raises(ValueError, match="password-file") as raised:
        parse_endpoint(text)
    assert "hunter2" not in str(raised.value)
