"""Write transactions: what they lock, see, and leave behind."""

import gc
import threading
import warnings
from random import Random

import pytest

from statedb import Database, NestedWrite, Table, TransactionClosed, UniqueIndex

from .._helpers import Port, Ports
from ..tables import Account, Accounts, Pod, Pods, database, names, put


def test_one_table_named_twice():
    db = database()
    with db.write(Pods, Pods) as txn:
        txn[Pods].insert(Pod("a"))
    assert "a" in db.snapshot()[Pods]


def test_new_rows_beside_replaced_ones_that_keep_their_index_keys_enter_the_indexes():
    db = Database(Ports)
    with db.write(Ports) as txn:
        txn[Ports].insert(Port(1, "a"))
    with db.write(Ports) as txn:
        txn[Ports].insert(Port(1, "a", amount=7))
        txn[Ports].insert(Port(2, "a"))
        txn[Ports].insert(Port(3, "b"))
    by_host = db.snapshot()[Ports.by_host]
    assert list(by_host["a"]) == [Port(1, "a", amount=7), Port(2, "a")]
    assert list(by_host["b"]) == [Port(3, "b")]


def test_no_table_at_all():
    db = database(Pod("a"))
    watch = db.snapshot()[Pods].watch()
    with db.write() as txn:
        assert txn.commit()[Pods].revision == 1
    assert not watch.tripped


def test_many_writers_on_random_tables_never_wait_in_a_circle():
    tables = []
    for number in range(4):

        class Numbered(Table[int, Account], name=f"t{number}"):
            primary = UniqueIndex[int, Account](lambda row: row.number)

        tables.append(Numbered)
    db = Database(*tables)

    def work(seed: int) -> None:
        random = Random(seed)
        for _ in range(100):
            chosen = random.sample(tables, random.randint(1, 4))
            with db.write(*chosen) as txn:
                for table in chosen:
                    old = txn[table].get(1)
                    txn[table].insert(Account(1, (old.balance if old else 0) + 1))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert sum(db.snapshot()[table][1].balance for table in tables) == sum(
        db.snapshot()[table].revision for table in tables
    )


def test_reads_in_a_transaction_see_its_own_writes():
    db = database(Pod("a"), Pod("b"))
    with db.write(Pods) as txn:
        pods = txn[Pods]
        pods.insert(Pod("c", "n2", ("t",)))
        pods.delete("a")
        assert names(pods.values()) == ["b", "c"]
        assert (pods.get("a"), pods.get("c"), len(pods), pods.revision) == (None, Pod("c", "n2", ("t",)), 2, 4)
        assert names(pods.prefix("c")) == names(pods.range("bb")) == ["c"]
        assert names(txn[Pods.by_node]["n2"]) == names(txn[Pods.by_tag]["t"]) == ["c"]
        assert names(txn[Pods.by_node]["n1"]) == ["b"]
        outside = db.snapshot()[Pods]
        assert (names(outside.values()), outside.revision) == (["a", "b"], 2)


def test_an_abort_discards_everything_and_trips_nothing():
    db = database(Pod("a"))
    before = db.snapshot()[Pods]
    watch = before.watch()
    txn = db.write(Pods)
    txn[Pods].insert(Pod("b"))
    txn[Pods].begin_initializer("x")
    txn.abort()
    after = db.snapshot()[Pods]
    assert (list(after), after.revision, after.initialized) == (["a"], before.revision, True)
    assert not watch.tripped


def test_an_abort_after_the_commit_does_nothing_and_a_second_commit_gives_the_same():
    db = database()
    txn = db.write(Pods)
    txn[Pods].insert(Pod("a"))
    first = txn.commit()
    txn.abort()
    put(db, Pod("b"))
    assert list(txn.commit()[Pods]) == list(first[Pods]) == ["a"]


def test_a_commit_after_an_abort_is_an_error():  # upstream it does nothing: a caller would believe the rows are in
    txn = database().write(Pods)
    txn.abort()
    txn.abort()
    with pytest.raises(TransactionClosed, match="aborted"):
        txn.commit()


@pytest.mark.parametrize("close", ["commit", "abort"])
@pytest.mark.parametrize(
    "use",
    [
        lambda pods: pods.insert(Pod("b")),
        lambda pods: pods.replace(Pod("a")),
        lambda pods: pods.modify("a", lambda row: row),
        lambda pods: pods.delete("a"),
        lambda pods: pods.clear(),
        lambda pods: pods.get("a"),
        lambda pods: pods["a"],
        lambda pods: list(pods.values()),
        lambda pods: pods.prefix("a"),
        lambda pods: len(pods),
        lambda pods: pods.begin_initializer("x"),
    ],
)
def test_a_closed_transaction_answers_nothing(close: str, use):
    db = database(Pod("a"))
    txn = db.write(Pods)
    pods = txn[Pods]
    getattr(txn, close)()
    with pytest.raises(TransactionClosed):
        use(pods)
    with pytest.raises(TransactionClosed):
        txn[Pods]
    assert list(db.snapshot()[Pods]) == ["a"]


def test_a_commit_gives_the_snapshot_with_it_and_with_what_others_committed_meanwhile():
    db = database()
    txn = db.write(Pods)
    with db.write(Accounts) as other:
        other[Accounts].insert(Account(1))
    txn[Pods].insert(Pod("a"))
    snapshot = txn.commit()
    assert (list(snapshot[Pods]), list(snapshot[Accounts])) == (["a"], [1])


def test_an_empty_commit_changes_nothing():
    db = database(Pod("a"))
    watch = db.snapshot()[Pods].watch()
    with db.write(Pods) as txn:
        txn[Pods].get("a")
    assert db.snapshot()[Pods].revision == 1
    assert not watch.tripped


def test_watches_trip_when_every_table_is_visible():
    db = database(Pod("a"))
    watch = db.snapshot()[Pods].watch()
    seen = []

    def wait() -> None:
        watch.wait()
        seen.append(db.snapshot()[Accounts].get(1))

    thread = threading.Thread(target=wait)
    thread.start()
    with db.write(Accounts, Pods) as txn:
        txn[Pods].insert(Pod("b"))
        txn[Accounts].insert(Account(1))
    thread.join(20)
    assert seen == [Account(1)]


def test_rows_may_be_deleted_while_they_are_iterated():
    db = database(*[Pod(f"p{number}") for number in range(20)])
    with db.write(Pods) as txn:
        for row in txn[Pods].values():
            txn[Pods].delete(row.name)
        for name in txn[Pods]:
            raise AssertionError(name)
    with db.write(Pods) as txn:
        rows = txn[Pods].values()
        txn[Pods].insert(Pod("new"))
        assert list(rows) in ([], [Pod("new")])
        assert list(rows) == list(rows)


def test_a_transaction_that_is_dropped_open_aborts_and_warns():
    db = database(Pod("a"))
    txn = db.write(Pods)
    txn[Pods].insert(Pod("b"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del txn
        gc.collect()
    assert [warning.category for warning in caught] == [ResourceWarning]
    put(db, Pod("c"))
    assert list(db.snapshot()[Pods]) == ["a", "c"]


def test_a_nested_write_of_one_thread_raises_and_names_the_holder():
    db = database()
    with db.write(Pods, Accounts):
        with pytest.raises(NestedWrite, match="pods, accounts"):
            db.write(Accounts)
    put(db, Pod("a"))


def test_a_call_that_fails_leaves_the_transaction_as_it_was():
    db = database(Pod("a", address="10.0.0.1"))
    with db.write(Pods) as txn:
        txn[Pods].insert(Pod("b"))
        with pytest.raises(Exception, match=r"10\.0\.0\.1"):
            txn[Pods].insert(Pod("c", address="10.0.0.1"))
        with pytest.raises(ZeroDivisionError):
            txn[Pods].modify("a", lambda row: 1 / 0)
        assert names(txn[Pods].values()) == ["a", "b"]
    assert list(db.snapshot()[Pods]) == ["a", "b"]
