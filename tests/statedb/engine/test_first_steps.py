"""A first walk through the engine, as a new user would take it."""

import msgspec
import pytest

from statedb import Database, DuplicateKey, Index, PrefixIndex, RowNotFound, Table, UniqueIndex


class PodKey(msgspec.Struct, frozen=True, order=True, gc=False):
    namespace: str
    name: str


class Pod(msgspec.Struct, frozen=True, gc=False):
    key: PodKey
    address: str
    tags: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


class Pods(Table[PodKey, Pod], name="pods"):
    primary = UniqueIndex[PodKey, Pod](lambda pod: pod.key)
    by_address = UniqueIndex[str, Pod](lambda pod: pod.address)
    by_tag = Index[str, Pod](lambda pod: pod.tags)
    by_network = PrefixIndex[str, Pod](lambda pod: pod.networks)


WEB = Pod(PodKey("a", "web"), "1", ("red", "blue"), ("10.0.0.0/8",))
DNS = Pod(PodKey("a", "dns"), "2", ("red",), ("10.1.0.0/16",))
LOG = Pod(PodKey("b", "log"), "3", ("green",), ("10.1.2.0/24",))


@pytest.fixture
def db() -> Database:
    db = Database(Pods)
    with db.write(Pods) as txn:
        for pod in (WEB, DNS, LOG):
            txn[Pods].insert(pod)
    return db


def test_a_transaction_sees_its_own_writes_and_others_see_them_after_it(db: Database) -> None:
    with db.write(Pods) as txn:
        txn[Pods].delete(WEB.key)
        assert list(txn[Pods].values()) == [DNS, LOG]
        assert txn[Pods.by_tag]["red"] == (DNS,)
        assert list(db.snapshot()[Pods].values()) == [DNS, WEB, LOG]
    assert list(db.snapshot()[Pods].values()) == [DNS, LOG]


def test_a_snapshot_stays_as_it_was(db: Database) -> None:
    before = db.snapshot()
    with db.write(Pods) as txn:
        txn[Pods].delete(WEB.key)
        txn[Pods].insert(Pod(DNS.key, "1", ("blue",)))
    assert list(before[Pods].values()) == [DNS, WEB, LOG]
    assert before[Pods.by_tag].keys() == ("blue", "green", "red")
    assert before[Pods.by_address]["1"] == WEB
    assert before[Pods.by_network].longest("10.1.9.9") == (DNS,)
    after = db.snapshot()
    assert after[Pods.by_tag].keys() == ("blue", "green")
    assert after[Pods.by_network].longest("10.1.9.9") == ()
    assert after[Pods.by_network].within("10.0.0.0/8") == (LOG,)


def test_a_unique_index_names_both_rows(db: Database) -> None:
    with db.write(Pods) as txn:
        with pytest.raises(DuplicateKey, match=r"'web'.*'new'"):
            txn[Pods].insert(Pod(PodKey("b", "new"), "1"))
        assert len(txn[Pods]) == 3


def test_a_missing_row_is_a_key_error(db: Database) -> None:
    with pytest.raises(KeyError) as caught:
        db.snapshot()[Pods][PodKey("no", "no")]
    assert isinstance(caught.value, RowNotFound)


def test_a_stream_gives_the_rows_then_what_changes(db: Database) -> None:
    with db.changes(Pods) as stream:
        first = stream.next(timeout=0)
        assert first is not None
        assert [change.row for change in first] == [WEB, DNS, LOG]
        with db.write(Pods) as txn:
            txn[Pods].delete(WEB.key)
        second = stream.next(timeout=0)
        assert second is not None
        assert [(change.row, change.revision, change.deleted) for change in second] == [(WEB, 4, True)]
        assert stream.next(timeout=0) is None


def test_the_key_at_a_position_is_found_in_every_state(db: Database) -> None:
    old = db.snapshot()[Pods]
    with db.write(Pods) as txn:
        txn[Pods].delete(DNS.key)
        assert [txn[Pods].key_at(place) for place in range(3)] == [WEB.key, LOG.key, None]
    assert [db.snapshot()[Pods].key_at(place) for place in range(3)] == [WEB.key, LOG.key, None]
    assert [old.key_at(place) for place in range(4)] == [DNS.key, WEB.key, LOG.key, None]
    with pytest.raises(ValueError, match="0 or more"):
        old.key_at(-1)
