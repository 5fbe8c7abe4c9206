"""What an operator sees of a database."""

import threading

import pytest

from statedb import Database, TableStats
from statedb.engine import store as _store
from statedb.engine.history import compact

from .tables import Accounts, Pod, Pods, database, delete, put


def pods(db: Database) -> TableStats:
    (stats,) = [stats for stats in db.stats() if stats.name == "pods"]
    return stats


def test_every_table_in_order():
    assert [stats.name for stats in database().stats()] == ["pods", "accounts"]


def test_rows_revisions_and_commits():
    db = database(Pod("a"), Pod("b"))
    delete(db, "a")
    stats = pods(db)
    assert (stats.rows, stats.revision, stats.commits) == (1, 3, 2)
    assert (stats.initialized, stats.pending_initializers) == (True, ())
    with db.write(Pods) as txn:
        txn[Pods].begin_initializer("x")
    assert pods(db).pending_initializers == ("x",)


def test_nothing_is_kept_where_nobody_holds_anything():
    db = database(Pod("a"))
    for number in range(100):
        put(db, Pod("a", f"n{number}"))
    stats = pods(db)
    assert (stats.held_states, stats.links_kept, stats.changes_kept) == (0, 0, 0)


def test_held_states_and_the_history_kept_for_them():
    db = database(Pod("a"))
    first, twice = db.snapshot(), db.snapshot()
    for number in range(10):
        put(db, Pod("a", f"n{number}"))
    second = db.snapshot()
    put(db, Pod("a", "last"))
    assert (pods(db).held_states, pods(db).links_kept) == (2, 11)
    del first, twice
    assert (pods(db).held_states, pods(db).links_kept) == (1, 1)
    del second
    assert pods(db).held_states == 0


def test_kept_history_is_bounded_while_a_snapshot_sleeps():
    db = database(*[Pod(f"p{number}") for number in range(10)])
    snapshot = db.snapshot()
    most = 0
    for number in range(3000):
        put(db, Pod(f"p{number % 10}", f"n{number}"))
        if number % 100 == 0:
            most = max(most, pods(db).links_kept)
    assert 0 < most < 300
    assert snapshot[Pods]["p0"].node == "n1"


def test_watches_and_those_that_are_waited_for():
    db = database(Pod("a"))
    watches = [db.snapshot()[Pods].watch("a") for _ in range(3)]
    assert (pods(db).watches, pods(db).waiting_watches) == (3, 0)
    thread = threading.Thread(target=watches[0].wait)
    thread.start()
    while pods(db).waiting_watches == 0:
        thread.join(0.001)
    put(db, Pod("a", "n2"))
    thread.join(20)
    assert pods(db).waiting_watches == 0


def test_streams_until_they_are_closed_or_dropped():
    db = database(Pod("a"))
    one, both = db.changes(Pods), db.changes(Pods, Accounts)
    assert pods(db).streams == 2
    one.close()
    assert one.closed
    assert pods(db).streams == 1
    del both
    assert pods(db).streams == 0


def test_who_writes_and_who_waits_for_it():
    db = database()
    assert (pods(db).writer, pods(db).waiting_writers) == ("", 0)
    with db.write(Pods, Accounts):
        assert pods(db).writer == "pods, accounts"
        thread = threading.Thread(target=put, args=(db, Pod("a")))
        thread.start()
        while pods(db).waiting_writers == 0:
            thread.join(0.001)
    thread.join(20)
    assert (pods(db).writer, pods(db).waiting_writers) == ("", 0)


@pytest.mark.parametrize("rounds", [200])
def test_it_may_be_asked_while_others_write(rounds: int):
    db = database()
    thread = threading.Thread(target=lambda: [put(db, Pod(f"p{n % 7}", f"n{n}")) for n in range(rounds)])
    thread.start()
    while thread.is_alive():
        stats = pods(db)
        assert 0 <= stats.rows <= 7
    thread.join()
    assert pods(db).commits == rounds


def test_how_often_writers_waited_and_for_how_long():
    db = database()
    assert (pods(db).waits, pods(db).waited_s) == (0, 0.0)
    with db.write(Pods):
        thread = threading.Thread(target=put, args=(db, Pod("a")))
        thread.start()
        while pods(db).waiting_writers == 0:
            thread.join(0.001)
    thread.join(20)
    assert pods(db).waits == 1
    assert 0 < pods(db).waited_s < 20


def test_time_in_commits_from_the_moment_it_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("STATEDB_CHECK", raising=False)  # what checks commits, times them too
    db = database(Pod("a"))
    assert (pods(db).commits_timed, pods(db).commits_s) == (0, 0.0)
    db.observe()
    for number in range(3):
        put(db, Pod("a", f"n{number}"))
    assert pods(db).commits_timed == 3
    assert 0 < pods(db).commits_s < 20


def test_who_holds_old_states_and_where_they_were_taken():
    db = database(Pod("a"))
    db.observe(origins=True)
    assert db.held() == ()
    snapshot = db.snapshot()
    view = db.snapshot()[Pods]
    put(db, Pod("a", "other"))
    put(db, Pod("b"))
    (held,) = db.held()
    assert (held.table, held.revision, held.commits_behind) == ("pods", 1, 2)
    assert len(held.taken_at) == 2
    for place in held.taken_at:
        assert place.startswith(f"{__file__}:")
        assert place.endswith(" in test_who_holds_old_states_and_where_they_were_taken")
    del snapshot
    assert len(db.held()) == 1
    assert view["a"].node == Pod("a").node
    del view
    assert db.held() == ()


def test_batches_of_a_stream_are_told_by_the_line_that_took_them():
    db = database(Pod("a"))
    db.observe(origins=True)
    with db.changes(Pods) as stream:
        batch = stream.next(timeout=0)
        put(db, Pod("b"))
        (held,) = db.held()
        assert len(held.taken_at) == 1
        assert "in test_batches" in held.taken_at[0]
        del batch
        stream.next(timeout=0)
    assert db.held() == ()


def test_without_observation_it_is_known_what_is_held_and_not_where():
    db = database(Pod("a"))
    snapshot = db.snapshot()
    put(db, Pod("b"))
    assert [(held.table, held.commits_behind, held.taken_at) for held in db.held()] == [("pods", 1, ())]
    assert len(snapshot[Pods]) == 1


@pytest.mark.parametrize(("held", "expected"), [(False, [4, 8, 12, 16, 20, 24, 28, 32, 36]), (True, [4, 12, 36])])
def test_history_is_shortened_after_two_changed_rows_for_each_state_that_was_kept(monkeypatch, held, expected):
    """And not before a fixed number of commits. So with many old snapshots each commit stays cheap."""
    counts: list[int] = []

    def counting(replaced):
        counts.append(commits)
        return compact(replaced)

    monkeypatch.setattr(_store, "_COMPACT_EVERY", 4)
    monkeypatch.setattr(_store, "compact", counting)
    db = database()
    snapshots = []
    for commits in range(1, 40):
        if held:
            snapshots.append(db.snapshot())
        put(db, Pod("a", f"n{commits}"))
    assert counts == expected


def test_an_empty_table_is_at_revision_0():
    empty = database().snapshot()[Pods]
    assert (empty.revision, len(empty)) == (0, 0)
    assert pods(database()).commits == 0
