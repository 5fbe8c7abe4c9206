"""The named guarantees of the engine, each as a test of its name. Those of ingest are in tests/ingest."""

import asyncio
import gc
import threading
import weakref

import pytest

from statedb import Database, WatchSet

from .tables import Account, Accounts, Pod, Pods, database, delete, names, put


def everything(snapshot) -> tuple:
    view = snapshot[Pods]
    return (
        list(view.items()),
        view.revision,
        view.initialized,
        [view.entry(name) for name in ("a", "b", "z")],
        view.prefix("a"),
        view.range("a", "c"),
        view.since(0),
        list(snapshot[Pods.by_node].keys()),
        snapshot[Pods.by_node]["n1"],
        snapshot[Pods.by_tag].prefix("t"),
        snapshot[Pods.by_address].get("10.0.0.1"),
        snapshot[Pods.by_network].longest("10.1.2.3"),
        snapshot[Pods.by_network].within("10.0.0.0/8"),
    )


def test_snapshot_frozen():
    """A snapshot reads the same forever."""
    db = database(
        Pod("a", tags=("t1",), address="10.0.0.1", networks=("10.0.0.0/8",)), Pod("b", networks=("10.1.0.0/16",))
    )
    snapshot = db.snapshot()
    before = everything(snapshot)
    put(db, Pod("a", "n2"), Pod("z", tags=("t2",), address="10.0.0.1"))
    delete(db, "b")
    with db.write(Pods) as txn:
        txn[Pods].begin_initializer("later")
        txn[Pods].clear()
    assert everything(snapshot) == before


def test_snapshot_whole():
    """A snapshot shows all tables at one instant: never one half of a transaction."""
    db = Database(Pods, Accounts)
    stop = threading.Event()

    def write() -> None:
        for number in range(1, 2000):
            with db.write(Pods, Accounts) as txn:
                txn[Pods].insert(Pod("a", f"n{number}"))
                txn[Accounts].insert(Account(1, number))
        stop.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not stop.is_set():
        snapshot = db.snapshot()
        pod, account = snapshot[Pods].get("a"), snapshot[Accounts].get(1)
        if pod is None or account is None:
            assert pod is account
        else:
            assert pod.node == f"n{account.balance}"
    writer.join()


def test_write_atomic():
    """All of a transaction is visible, or nothing."""
    db = database(Pod("a"))
    before = everything(db.snapshot())
    with pytest.raises(ZeroDivisionError), db.write(Pods) as txn:
        txn[Pods].insert(Pod("b"))
        txn[Pods].delete("a")
        raise ZeroDivisionError
    assert everything(db.snapshot()) == before


def test_write_isolated():
    """Nobody sees a transaction's writes before its commit; the transaction does not see later ones of others."""
    db = database(Pod("a"))
    with db.write(Pods) as txn:
        txn[Pods].insert(Pod("b"))
        txn[Pods].delete("a")
        assert names(db.snapshot()[Pods].values()) == ["a"]
        assert names(txn[Pods].values()) == ["b"]
        with db.write(Accounts) as other:  # another table is free
            other[Accounts].insert(Account(1))
    assert names(db.snapshot()[Pods].values()) == ["b"]


def test_write_serial():
    """Transactions on a table happen one after the other: no update is lost."""
    db = Database(Accounts)
    with db.write(Accounts) as txn:
        txn[Accounts].insert(Account(1))

    def deposit() -> None:
        for _ in range(500):
            with db.write(Accounts) as txn:
                txn[Accounts].modify(1, lambda account: Account(1, account.balance + 1))

    threads = [threading.Thread(target=deposit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert db.snapshot()[Accounts][1].balance == 2000


def test_watch_never_lost():
    """Whatever changes after the snapshot that a watch was asked of trips it, however the two interleave."""
    db = database(Pod("a"))
    rounds = 2000

    def write() -> None:
        for number in range(rounds):
            put(db, Pod("a", f"n{number}"))

    writer = threading.Thread(target=write)
    writer.start()
    seen = ""
    while seen != f"n{rounds - 1}":
        view = db.snapshot()[Pods]
        seen = view["a"].node
        if seen != f"n{rounds - 1}":
            assert view.watch("a").wait(20)
    writer.join()


def test_watch_once():
    """A watch trips once, and stays tripped."""
    db = database(Pod("a"))
    watch = db.snapshot()[Pods].watch("a")
    put(db, Pod("a", "n2"))
    assert watch.tripped
    put(db, Pod("a", "n1"))
    assert watch.tripped
    assert watch.wait(0)
    assert watch.wait()


def test_watch_exact():
    """A watch trips for what it names, and for nothing else."""
    db = database(Pod("a", tags=("t1",), networks=("10.0.0.0/8",)), Pod("b"))
    snapshot = db.snapshot()
    concerned = [
        snapshot[Pods].watch("b"),
        snapshot[Pods].watch_prefix("b"),
        snapshot[Pods].watch(),
        snapshot[Pods.by_node].watch("n1"),
        snapshot[Pods.by_tag].watch("t2"),
        snapshot[Pods.by_network].watch_longest("10.1.2.3"),
        snapshot[Pods.by_address].watch("10.0.0.9"),
    ]
    others = [
        snapshot[Pods].watch("a"),
        snapshot[Pods].watch("bb"),
        snapshot[Pods].watch_prefix("bb"),
        snapshot[Pods.by_node].watch("n2"),
        snapshot[Pods.by_tag].watch("t1"),
        snapshot[Pods.by_tag].watch("t"),
        snapshot[Pods.by_network].watch_longest("11.0.0.1"),
        snapshot[Pods.by_address].watch("10.0.0.8"),
        snapshot[Accounts].watch(),
    ]
    put(db, Pod("b", tags=("t2",), address="10.0.0.9", networks=("10.1.0.0/16",)))
    assert [watch.tripped for watch in concerned] == [True] * len(concerned)
    assert [watch.tripped for watch in others] == [False] * len(others)
    quiet = db.snapshot()[Pods].watch()
    put(db, Pod("a", tags=("t1",), networks=("10.0.0.0/8",)))  # an equal row is no change
    delete(db, "not there")
    assert not quiet.tripped


def test_watch_born_tripped_when_stale():
    """A watch asked of an old snapshot is tripped already where what it names has changed since."""
    db = database(Pod("a"), Pod("b"))
    snapshot = db.snapshot()
    put(db, Pod("a", "n2"))
    assert snapshot[Pods].watch("a").tripped
    assert snapshot[Pods.by_node].watch("n1").tripped
    assert snapshot[Pods.by_node].watch("n2").tripped
    assert not snapshot[Pods].watch("b").tripped


def test_watch_any_thread():
    """Threads and tasks of any loop may wait for one watch, and any thread may trip it."""
    db = database(Pod("a"))
    watch = db.snapshot()[Pods].watch("a")
    woken = []
    ready = threading.Barrier(4)

    def wait() -> None:
        ready.wait()
        woken.append(watch.wait(20))

    def run() -> None:
        async def wait_in_task() -> None:
            ready.wait()
            await watch
            woken.append(True)

        asyncio.run(wait_in_task())

    threads = [threading.Thread(target=target) for target in (wait, run, run)]
    for thread in threads:
        thread.start()
    ready.wait()
    put(db, Pod("a", "n2"))
    for thread in threads:
        thread.join(20)
    assert woken == [True, True, True]
    assert WatchSet(watch).wait(0)


def test_changes_ordered():
    """Changes come in the order of their revisions, deletions among them."""
    db = Database(Pods)
    with db.changes(Pods) as stream:
        stream.next()
        put(db, Pod("a"), Pod("b"), Pod("c"))
        delete(db, "b")
        put(db, Pod("a", "n2"))
        revisions = [change.revision for change in stream.next()]
    assert revisions == sorted(revisions)
    assert len(revisions) == 2


def test_changes_unique():
    """A stream tells each change once: nothing comes again, across batches and across an abort."""
    db = database(Pod("a"))
    with db.changes(Pods) as stream:
        assert names(change.row for change in stream.next()) == ["a"]
        assert stream.next(0) is None
        txn = db.write(Pods)
        txn[Pods].delete("a")
        txn.abort()
        assert stream.next(0) is None
        put(db, Pod("b"))
        assert names(change.row for change in stream.next()) == ["b"]
        assert stream.next(0) is None


def test_changes_coalesced():
    """A row that changed several times comes once, as it is now; one that came and went does not come."""
    db = database(Pod("a"))
    with db.changes(Pods) as stream:
        stream.next()
        for number in range(5):
            put(db, Pod("a", f"n{number}"), Pod("b"))
        delete(db, "b")
        (change,) = stream.next()
        assert (change.row, change.deleted) == (Pod("a", "n4"), False)
        delete(db, "a")
        put(db, Pod("a", "back"))
        (change,) = stream.next()
        assert (change.row, change.deleted) == (Pod("a", "back"), False)


def test_changes_complete():
    """Folded changes are the snapshot, at every batch."""
    db = database(Pod("a"), Pod("b"))
    folded: dict[str, Pod] = {}
    with db.changes(Pods) as stream:
        for number in range(60):
            put(db, Pod(f"p{number % 7}", f"n{number}"))
            if number % 3 == 0:
                delete(db, f"p{(number + 3) % 7}")
            if number % 5 == 0:
                batch = stream.next()
                for change in batch:
                    if change.deleted:
                        del folded[change.row.name]
                    else:
                        folded[change.row.name] = change.row
                assert folded == dict(batch.snapshot[Pods].items())


def test_changes_closed_streams_hold_nothing_back():
    """A closed or dropped stream keeps no row alive."""

    db = database(Pod("a"))
    kept, dropped = db.changes(Pods), db.changes(Pods)
    commit = weakref.ref(db.snapshot()._pins[Pods])
    kept.next()
    put(db, Pod("a", "n2"))
    assert commit() is not None
    kept.close()
    del dropped
    gc.collect()
    assert commit() is None
