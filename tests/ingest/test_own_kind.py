"""A kind of a user's own, through the doors of a backend: all of the backend's promises hold for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ingest import InvalidOptions, KvstoreOptions, OwnedElsewhere, Source, kvstore
from ingest.etcd import Client
from ingest.etcd.local import LocalEtcd
from statedb import Database, Table, UniqueIndex
from statedb.catalog import Rejected, RejectedKey, SourceKey, Sources

ROOT = Path(__file__).parents[2]
OWN = ROOT / "examples" / "own_kind"


class Words(Table[str, str], name="words"):
    primary = UniqueIndex[str, str](lambda word: word)


def words(name: str, value: bytes) -> list[str]:
    return [f"{name}:{word}" for word in value.decode().split()]


def options(etcd: LocalEtcd, **more: Any) -> KvstoreOptions:
    return KvstoreOptions(endpoints=(etcd.endpoint,), retry_min_s=0.02, retry_max_s=0.2, **more)


@pytest.fixture
def db() -> Database:
    return Database(Words, Sources, Rejected)


@pytest.fixture
def source(db: Database, etcd: LocalEtcd) -> Iterator[Source]:
    source = kvstore.source(db, "words/", words, Words, options(etcd))
    yield source
    source.stop()
    assert source.join(10)
    assert source.failure is None


def until(db: Database, rows: list[str]) -> None:
    with db.changes(Words) as stream:
        while list(db.snapshot()[Words]) != rows:
            assert stream.next(timeout=30) is not None, (rows, list(db.snapshot()[Words]))


def test_keys_become_rows_none_one_or_several(db: Database, etcd: LocalEtcd, source: Source, client: Client):
    client.put(b"words/a", b"one two")
    client.put(b"words/b", b"")
    client.put(b"wordsmith", b"not ours")
    source.start()
    assert db.wait_initialized(Words, timeout=30)
    until(db, ["a:one", "a:two"])
    client.put(b"words/b", b"three")
    client.put(b"words/a", b"two")
    until(db, ["a:two", "b:three"])
    client.delete(b"words/a")
    until(db, ["b:three"])
    row = db.snapshot()[Sources][SourceKey("default", "words")]
    assert (row.backend, row.state) == ("kvstore", "synced")


def test_a_value_that_cannot_be_read_keeps_the_last_good_rows(db: Database, source: Source, client: Client):
    client.put(b"words/a", b"one")
    source.start()
    until(db, ["a:one"])
    with db.changes(Rejected) as stream:
        client.put(b"words/a", b"\xff")
        while not (rejected := list(db.snapshot()[Rejected].values())):
            assert stream.next(timeout=30) is not None
    assert rejected[0].key.object == "words/a"
    assert rejected[0].error.startswith("UnicodeDecodeError: ")
    assert list(db.snapshot()[Words]) == ["a:one"]


def test_it_is_the_only_source_of_its_table(db: Database, etcd: LocalEtcd, source: Source):
    source.start()
    with pytest.raises(OwnedElsewhere, match=r"'words'.*'kvstore'"):
        kvstore.source(db, "other/", words, Words, options(etcd)).start()


def test_what_is_wrong_is_told_at_once(db: Database, etcd: LocalEtcd):
    with pytest.raises(InvalidOptions, match="'words' must end with a slash"):
        kvstore.source(db, "words", words, Words, options(etcd))
    with pytest.raises(InvalidOptions, match="leave the option out"):
        kvstore.source(db, "words/", words, Words, options(etcd, tables=("words",)))


def test_the_example(etcd: LocalEtcd, client: Client):
    client.put(b"example.org/certificates/shop/web", b'{"issuer":"ca","notAfter":"2027-01-01","hosts":["shop"]}')
    with subprocess.Popen(
        [sys.executable, str(OWN / "from_etcd.py"), etcd.endpoint],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as running:
        assert running.stdout is not None
        try:
            assert running.stdout.readline() == "+ shop/web 2027-01-01\n"
            client.put(b"example.org/certificates/shop/db", b'{"issuer":"ca"}')
            assert running.stdout.readline().startswith("? example.org/certificates/shop/db Validation")
            client.delete(b"example.org/certificates/shop/web")
            assert running.stdout.readline() == "- shop/web 2027-01-01\n"
        finally:
            running.send_signal(signal.SIGINT)
        assert running.wait(20) == 0


class Pair(msgspec.Struct, frozen=True):
    name: str
    value: str = ""


class Pairs(Table[str, Pair], name="pairs"):
    primary = UniqueIndex[str, Pair](lambda pair: pair.name)


def pair(name: str, value: bytes) -> list[Pair]:
    return [Pair(name, value.decode())]


def of(letter: str) -> Callable[[Pair], bool]:
    return lambda row: row.name.startswith(letter)


def test_two_sources_fill_one_table_and_each_deletes_only_what_it_owns(etcd: LocalEtcd, client: Client):
    db = Database(Pairs, Sources, Rejected)
    for letter in "ab":
        client.put_many([(f"{letter}/{letter}{n}".encode(), b"") for n in range(2)])
    with db.write(Pairs) as txn:  # of before, as a warm start brings them
        txn[Pairs].insert_all([Pair("a0"), Pair("a9"), Pair("b0")])
    sources = [
        kvstore.source(db, f"{letter}/", pair, Pairs, options(etcd), cluster=letter, owns=of(letter)) for letter in "ab"
    ]
    try:
        sources[0].start()
        with db.changes(Sources) as told:
            while not (row := db.snapshot()[Sources][SourceKey("a", "pairs")]).withheld_deletes:
                assert told.next(timeout=30) is not None, row
        sources[0].accept()  # nothing tells from which etcd these rows are
        with db.changes(Pairs) as stream:
            names: set[str] = set()
            while names != {"a0", "a1", "b0"}:
                assert stream.next(timeout=30) is not None, names
                names = set(db.snapshot()[Pairs])
        assert not db.snapshot()[Pairs].initialized, "the second one is not started yet"
        sources[1].start()
        assert db.wait_initialized(Pairs, timeout=30)
        assert set(db.snapshot()[Pairs]) == {"a0", "a1", "b0", "b1"}
        client.put(b"a/b7", b"not its own")
        with db.changes(Rejected) as told:
            while (row := db.snapshot()[Rejected].get(RejectedKey("a", "pairs", "a/b7"))) is None:
                assert told.next(timeout=30) is not None
        assert (
            row.error == "decode gave a row that 'owns' leaves to another source: Pair(name='b7', value='not its own')"
        )
    finally:
        for source in sources:
            source.stop()
            assert source.join(10)


def test_a_second_source_is_refused_where_nothing_says_whose_rows_are_whose(etcd: LocalEtcd):
    db = Database(Pairs, Sources, Rejected)
    first = kvstore.source(db, "a/", pair, Pairs, options(etcd), cluster="a")
    first.start()
    try:
        for owns in (None, of("b")):
            with pytest.raises(OwnedElsewhere, match=r"'pairs' is filled by backend 'kvstore' for cluster 'a'.*'owns'"):
                kvstore.source(db, "b/", pair, Pairs, options(etcd), cluster="b", owns=owns).start()
    finally:
        first.stop()
        assert first.join(10)


def test_a_table_whose_source_is_not_started_yet_is_not_initialized(db: Database, etcd: LocalEtcd):
    source = kvstore.source(db, "words/", words, Words, options(etcd))
    assert not db.wait_initialized(Words, timeout=0)
    source.start()
    assert db.wait_initialized(Words, timeout=30)
    kvstore.source(db, "words/", words, Words, options(etcd))  # it will be refused when it starts
    assert db.snapshot()[Words].initialized
    source.stop()
    assert source.join(10)


def test_a_database_without_the_tables_of_sources_gets_them():
    db = Database()
    source = kvstore.source(db, "words/", words, Words, KvstoreOptions(endpoints=("http://127.0.0.1:1",)))
    assert {table.name for table in db.tables} == {"words", "sources", "rejected"}
    assert repr(source) == "<kvstore source of cluster default: words>"
