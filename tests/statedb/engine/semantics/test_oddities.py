"""Faults of the Go original, each with the test that ours does the right thing."""

import gc
import threading

import pytest

from statedb import Database, DuplicateKey, RevisionMismatch, Snapshot, StateDBError, StreamClosed, TransactionClosed

from ....waiting import eventually
from ..tables import Account, Accounts, Pod, Pods, database, delete, names, put


def test_a_stream_read_inside_a_transaction_shows_no_uncommitted_deletion_and_loses_none():
    """There, a deletion of an open transaction was told; when it aborted, the next true deletion was lost."""
    db = database(Pod("d"), Pod("e"))
    with db.changes(Pods) as stream:
        stream.next()
        txn = db.write(Pods)
        txn[Pods].delete("d")
        assert stream.next(0) is None
        txn.abort()
        delete(db, "e")
        assert [(change.row.name, change.deleted) for change in stream.next()] == [("e", True)]


def test_a_stream_opened_inside_a_transaction_tells_the_deletions_of_that_transaction():
    """There, rows deleted before the iterator was made in the same transaction were told as existing, forever."""
    db = database(Pod("a"), Pod("b"))
    with db.write(Pods) as txn:
        txn[Pods].delete("a")
        stream = db.changes(Pods)
        assert names(change.row for change in stream.next()) == ["a", "b"]
    assert [(change.row.name, change.deleted) for change in stream.next()] == [("a", True)]
    stream.close()


def test_reading_a_closed_stream_after_a_change_is_an_error_of_ours():
    """There, it dereferenced nil."""
    db = database(Pod("a"))
    stream = db.changes(Pods)
    stream.next()
    stream.close()
    put(db, Pod("b"))
    with pytest.raises(StreamClosed):
        stream.next()


def test_an_aborted_transaction_does_not_use_up_an_initializer():
    """There, done() in an aborted transaction was spent, and the table never became initialized."""
    db = database()
    with db.write(Pods) as txn:
        token = txn[Pods].begin_initializer("a")
    aborted = db.write(Pods)
    aborted[Pods].finish_initializer(token)
    aborted.abort()
    with db.write(Pods) as txn:
        txn[Pods].finish_initializer(token)
    assert db.snapshot()[Pods].initialized


@pytest.mark.parametrize("tags", [("", "q"), ("q", "")])
def test_an_empty_key_does_not_hide_the_others(tags: tuple[str, ...]):
    """There, a key set whose first key was empty counted as empty."""
    snapshot = database(Pod("a", tags=tags)).snapshot()
    assert names(snapshot[Pods.by_tag]["q"]) == names(snapshot[Pods.by_tag][""]) == ["a"]


def test_a_unique_index_is_unique():
    """There, the last writer took the key, and deleting the other row removed the entry."""
    db = database(Pod("a", address="10.0.0.1"))
    with pytest.raises(DuplicateKey):
        put(db, Pod("b", address="10.0.0.1"))
    put(db, Pod("b", address="10.0.0.2"))
    delete(db, "b")
    assert db.snapshot()[Pods.by_address]["10.0.0.1"].name == "a"


def test_keys_of_any_length():
    """There, primary keys beyond 65535 bytes broke other indexes without a word."""
    long = "x" * 100_000
    db = database(Pod(long, tags=("t", long)), Pod(long + "y", tags=("t",)))
    snapshot = db.snapshot()
    assert len(snapshot[Pods.by_tag]["t"]) == 2
    assert names(snapshot[Pods.by_tag][long]) == [long]
    delete(db, long)
    assert len(db.snapshot()[Pods.by_tag]["t"]) == 1


def test_modify_may_not_change_the_primary_key():
    """There, the row was stored under the old key."""
    db = database(Pod("a"))
    with db.write(Pods) as txn, pytest.raises(StateDBError, match="primary key"):
        txn[Pods].modify("a", lambda row: Pod("b"))
    assert list(db.snapshot()[Pods]) == ["a"]


def test_a_failed_comparison_wakes_nobody():
    """There, a caller who retried in a loop woke every waiter of the table each time."""
    db = database(Pod("a"))
    watch = db.snapshot()[Pods].watch()
    for _ in range(3):
        with db.write(Pods) as txn, pytest.raises(RevisionMismatch):
            txn[Pods].replace(Pod("a", "n2"), at=99)
    assert not watch.tripped


@pytest.mark.parametrize("narrower", [["10.1.0.0/24"], ["10.1.0.0/24", "10.1.1.0/24"], ["10.1.2.3"]], ids=len)
def test_the_longest_match_of_a_network_covers_it(narrower: list[str]):
    """There, a more specific entry was found, or none where the tree branched below."""
    rows = [Pod(text, networks=(text,)) for text in ("10.0.0.0/8", *narrower)]
    view = database(*rows).snapshot()[Pods.by_network]
    assert names(view.longest("10.1.0.0/16")) == names(view.covering("10.1.0.0/16")) == ["10.0.0.0/8"]


def test_nothing_is_within_a_network_that_does_not_hold_it():
    """There, the last node of the search was not checked."""
    db = database(Pod("10.0.0.0/8", networks=("10.0.0.0/8",)))
    assert db.snapshot()[Pods.by_network].within("192.168.0.0/16") == ()


def test_waiters_are_woken_when_the_tables_are_free():
    """There, ten thousand waiters were notified under the tables' locks."""
    db = database(Pod("a"))
    watch = db.snapshot()[Pods].watch("a")
    written: list[object] = []

    class Writes:
        """A waker that needs the table that tripped it."""

        def wake(self) -> None:
            with db.write(Pods) as txn:
                written.append(txn[Pods].insert(Pod("from the waker")))

    assert watch._registry.attach(watch, Writes())
    put(db, Pod("a", "n2"))
    assert written == [None]
    assert "from the waker" in db.snapshot()[Pods]


def test_a_stream_that_is_never_read_does_not_keep_every_deletion():
    """There, a tracker that never read kept every tombstone forever."""
    db = database()
    stream = db.changes(Pods)
    for number in range(3000):
        put(db, Pod(f"p{number}"))
        delete(db, f"p{number}")
    commits = [link for link in gc.get_objects() if type(link).__name__ == "Commit"]
    assert len(commits) < 2000
    assert [len(batch) for batch in (stream.next(), stream.next(0)) if batch is not None] == [0]
    stream.close()


def test_reading_a_closed_transaction_is_an_error_of_ours():
    """There, reads, deleting everything and change iterators of a closed transaction dereferenced nil."""
    for close in ("commit", "abort"):
        txn = database(Pod("a")).write(Pods)
        pods, by_tag = txn[Pods], txn[Pods.by_tag]
        getattr(txn, close)()
        for use in (pods.values, pods.clear, lambda pods=pods: pods.get("a"), lambda by_tag=by_tag: by_tag["t"]):
            with pytest.raises(TransactionClosed):
                list(use())


class Counted(Database):
    """Counts how often somebody looks at it."""

    looks = 0

    def snapshot(self) -> Snapshot:
        self.looks += 1
        return super().snapshot()


def test_who_follows_a_table_where_nothing_happens_waits_and_does_not_run_in_circles():
    """There, an iterator asked with the snapshot of before gave nothing and a closed channel: a loop without a rest."""
    db = Counted(Pods, Accounts)
    batches: list[int] = []
    stream = db.changes(Pods)
    stream.next()
    thread = threading.Thread(target=lambda: batches.extend(len(batch) for batch in stream))
    thread.start()
    eventually(lambda: any(stats.waiting_watches for stats in db.stats()), "the wait", pause_s=0.001)
    looks = db.looks
    for number in range(200):
        with db.write(Accounts, Pods) as txn:
            txn[Accounts].insert(Account(number))
            txn[Pods].delete("none")
    assert db.looks == looks
    put(db, Pod("a"))
    eventually(lambda: batches, "the change", pause_s=0.001)
    stream.close()
    thread.join(20)
    assert batches == [1]
    assert db.looks - looks < 10


def test_a_stream_may_be_closed_inside_a_transaction_on_its_table():
    """There, closing opens a transaction on the table, and waits forever where the caller writes it."""
    db = database(Pod("a"))
    stream = db.changes(Pods)
    with db.write(Pods) as txn:
        txn[Pods].delete("a")
        stream.close()
    assert len(db.snapshot()[Pods]) == 0


def test_a_watch_of_a_row_is_not_tripped_by_a_comparison_that_failed_nor_by_its_neighbours():
    """There, both woke it: channels belong to nodes of the tree, and a failed write dirties them."""
    db = database(Pod("ab", tags=("t",)))
    snapshot = db.snapshot()
    watches = [snapshot[Pods].watch("ab"), snapshot[Pods].watch("abc"), snapshot[Pods.by_tag].watch("tt")]
    for name in ("a", "aba", "abcd", ""):
        put(db, Pod(name, tags=("ttt", "")))
        delete(db, name)
    with db.write(Pods) as txn, pytest.raises(RevisionMismatch):
        txn[Pods].delete("ab", at=99)
    assert [watch.tripped for watch in watches] == [False] * 3
