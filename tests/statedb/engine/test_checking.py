"""`STATEDB_CHECK=1`: all invariants after every commit, however made; what is damaged is found by the next."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings

from statedb import Database, load
from statedb.testing import Hosts, Model, Slots, Writes, assert_same, histories, play

from .tables import Account, Accounts, Pod, Pods, database, put


class Counted(Database):
    """Counts how often it was checked."""

    checks = 0

    def check(self) -> None:
        self.checks += 1
        super().check()


@pytest.fixture
def _checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATEDB_CHECK", "1")


def explicit(db: Database) -> None:
    txn = db.write(Pods)
    txn[Pods].insert(Pod("a"))
    txn.commit()


def of_both(db: Database) -> None:
    with db.write(Accounts, Pods) as txn:
        txn[Pods].insert(Pod("a"))
        txn[Accounts].insert(Account(1))


def of_an_initializer(db: Database) -> None:
    with db.write(Pods) as txn:
        txn[Pods].begin_initializer("x")


COMMITS: dict[str, Callable[[Database], Any]] = {
    "a block": lambda db: put(db, Pod("a")),
    "by hand": explicit,
    "of two tables": of_both,
    "of an initializer": of_an_initializer,
    "of a dump": lambda db: load(db, list(database(Pod("b")).dump())),
}


@pytest.mark.usefixtures("_checked")
@pytest.mark.parametrize("commit", COMMITS.values(), ids=COMMITS)
def test_every_commit_is_checked_once(commit: Callable[[Database], Any]) -> None:
    db = Counted(Pods, Accounts)
    for number in range(1, 3):
        if number == 2:
            put(db, Pod("between"))
            db = Counted(Pods, Accounts)  # each database for itself
        commit(db)
        assert db.checks == 1
    db.write(Pods).abort()
    assert db.checks == 1


@pytest.mark.parametrize("value", ["0", ""])
def test_without_it_nothing_is_checked(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("STATEDB_CHECK", value)
    db = Counted(Pods, Accounts)
    for commit in COMMITS.values():
        if commit is not of_an_initializer:
            commit(db)
    db.observe()
    put(db, Pod("c"))
    assert db.checks == 0


DAMAGES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a row is lost": (lambda store: store.rows.pop("a"), "rows"),
    "a revision is doubled": (lambda store: store.revisions.__setitem__("a", 2), "two rows share a revision"),
    "a revision is too high": (lambda store: store.revisions.__setitem__("a", 99), "revisions"),
    "an entry is lost": (lambda store: store.indexes[0].entries.pop("n1"), "index 'by_node' holds"),
    "an entry is too much": (lambda store: store.indexes[1].entries.__setitem__("t", "a"), "index 'by_tag' holds"),
    "a row is another's": (lambda store: store.rows.__setitem__("a", Pod("z")), "is stored under 'a'"),
    "the order of keys is wrong": (lambda store: store.order._sorted.add("zz"), "order"),
    "the order of rows is wrong": (lambda store: store.row_list._list.reverse(), "in order"),
}


@pytest.mark.usefixtures("_checked")
@pytest.mark.parametrize(("damage", "problem"), DAMAGES.values(), ids=DAMAGES)
def test_what_is_damaged_is_found_by_the_next_commit(damage: Callable[[Any], Any], problem: str) -> None:
    db = database(Pod("a"), Pod("b"), *[Pod(f"p{number:02}") for number in range(20)])
    snapshot = db.snapshot()
    assert len(list(snapshot[Pods])) == 22  # in order: from now on the list of rows is kept
    assert snapshot[Pods].first() == Pod("a")  # and here the order of keys
    del snapshot
    damage(db._stores[Pods])
    with pytest.raises(AssertionError, match=f"^table 'pods': .*{problem}"):
        put(db, Pod("c"))
    assert "c" in db.snapshot()[Pods]  # the commit was made; what is told is what was found after it
    with db.write(Accounts, Pods) as txn:  # and nothing stays locked
        txn.abort()


def commits(writes: Writes, outcomes: list[Any]) -> int:
    """How often a transaction committed: alone each step did, but for an insert that was refused."""
    if writes.ending == "alone":
        refused = [isinstance(outcome, type) for outcome in outcomes]
        return sum(step.kind != "insert" or not no for step, no in zip(writes.steps, refused, strict=True))
    return int(writes.ending == "commit")


@pytest.mark.usefixtures("_checked")
def test_every_history_is_checked_all_along() -> None:
    @given(histories())
    @settings(max_examples=30)
    def check(history: Any) -> None:
        db, model = Counted(Hosts, Slots), Model(Hosts, Slots)
        expected = 0
        for writes in history:
            outcomes = play([writes], db)
            assert outcomes == play([writes], model)
            expected += commits(writes, outcomes)
            assert db.checks == expected
        assert_same(db.snapshot(), model.snapshot())

    check()
