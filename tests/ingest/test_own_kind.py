"""A kind of a user's own, through the doors of a backend: all of the backend's promises hold for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest import InvalidOptions, KvstoreOptions, OwnedElsewhere, Source, kvstore
from ingest.etcd import Client
from ingest.etcd.local import LocalEtcd
from statedb import Database, Table, UniqueIndex
from statedb.catalog import Rejected, SourceKey, Sources

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
