"""An exception at every line of the engine: what is committed is whole, what is not is not there, and life goes on."""

import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from statedb import Database, IndexFunctionError, UnknownTable, WriteTransaction
from statedb.engine import commit as _commit, reserve as _reserve, store as _store

from ._helpers import (
    Emptying,
    Hosts,
    Interrupted,
    Lines,
    Port,
    Ports,
    Scene,
    in_a_thread,
    lines_of,
    picture,
    picture_after_the_change,
)

ERRORS = (Interrupted, MemoryError)
both_errors = pytest.mark.parametrize("error", ERRORS)


@pytest.fixture(autouse=True)
def _transactions_may_be_dropped_open():
    """Where ``with db.write(...)`` is broken before the block begins, nobody can close it but its own ``__del__``."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "a write transaction on .* was dropped while open", ResourceWarning)
        yield


AFTER = {kind: picture_after_the_change(kind) for kind in (Scene, Emptying)}


def check_whole(scene: Scene, place: str) -> bool:
    """All that must hold after a broken commit; whether it is visible."""
    scene.db.check()
    now = picture(scene.db.snapshot())
    visible = now == AFTER[type(scene)]
    assert visible or now == scene.before_picture, f"half a commit after an exception at {place}: {now}"
    assert picture(scene.old) == scene.old_picture, place
    tripped = [watch.tripped for watch in scene.concerned]
    assert tripped == [visible] * len(tripped), f"watches after {place}: {tripped}"
    assert not any(watch.tripped for watch in scene.unconcerned), place
    scene.fold()
    assert scene.host_rows == dict(scene.db.snapshot()[Hosts]), place
    return visible


def check_goes_on(scene: Scene, place: str) -> None:
    """The tables are free, and the next commit reads, folds and wakes like any other."""
    assert not _commit._TRIPPING, place
    watch = scene.db.snapshot()[Hosts].watch("e")
    scene.write_from_another_thread()
    assert watch.tripped, place
    assert scene.db.snapshot()[Hosts]["e"].address == "5", place
    scene.db.check()
    scene.fold()
    assert scene.host_rows == dict(scene.db.snapshot()[Hosts]), place
    assert picture(scene.before) == scene.before_picture, place


def break_everywhere(
    prepare: Callable[[Scene], Callable[[], Any]],
    error: type[BaseException],
    *,
    every: bool,
    begin: Callable[[], Scene] = Scene,
) -> list[bool]:
    """Break what ``prepare`` gives at each of its lines in turn; which of the broken commits were visible."""
    scene = begin()
    lines = lines_of(prepare(scene), every=every)
    scene.close()
    visible = []
    for line in lines:
        scene = begin()
        breaking = Lines(line, error=error)
        action = prepare(scene)
        with pytest.raises((error, IndexFunctionError)):
            breaking.run(action)
        del action
        visible.append(check_whole(scene, breaking.broken))
        check_goes_on(scene, breaking.broken)
        scene.close()
    return visible


def a_commit(scene: Scene) -> Callable[[], Any]:
    txn = scene.db.write(Hosts, Ports)
    scene.change(txn)
    return txn.commit


def a_with_block(scene: Scene) -> Callable[[], Any]:
    def action() -> None:
        with scene.db.write(Hosts, Ports) as txn:
            scene.change(txn)

    return action


def an_abort(scene: Scene) -> Callable[[], Any]:
    txn = scene.db.write(Hosts, Ports)
    scene.change(txn)
    return txn.abort


@pytest.mark.parametrize(
    ("error", "every"),
    [
        (Interrupted, True),
        (MemoryError, False),
        pytest.param(MemoryError, True, marks=pytest.mark.stress),
    ],
)
def test_a_commit_broken_at_any_line_is_whole_or_not_there(error, every):
    visible = break_everywhere(a_commit, error, every=every)
    assert visible == sorted(visible), "once the first link is published, every exception leaves the commit visible"
    assert not visible[0]
    assert visible[-1]


@both_errors
@pytest.mark.parametrize("prepare", [a_commit, a_with_block])
def test_a_commit_that_empties_its_tables_broken_at_any_line_is_whole_or_not_there(error, prepare):
    visible = break_everywhere(prepare, error, every=prepare is a_commit, begin=Emptying)
    assert visible == sorted(visible)
    assert not visible[0]
    assert visible[-1]


@both_errors
def test_a_commit_that_compacts_broken_at_any_line_is_whole_or_not_there(error, monkeypatch):
    """The links between old commits are merged while old snapshots and streams stand on them."""

    def prepare(scene: Scene) -> Callable[[], Any]:
        commit = a_commit(scene)
        monkeypatch.setattr(_store, "_COMPACT_EVERY", 1)  # taken back when the next scene begins
        return commit

    def begin() -> Scene:
        monkeypatch.undo()
        return Scene()

    visible = break_everywhere(prepare, error, every=False, begin=begin)
    assert visible == sorted(visible)
    assert visible[-1]


@both_errors
def test_a_whole_with_block_broken_anywhere_is_whole_or_not_there(error):
    visible = break_everywhere(a_with_block, error, every=False)
    assert not visible[0]
    assert visible[-1]


ALONE = {
    "new": lambda db: db.insert(Ports, Port(7, "a")),
    "over another": lambda db: db.insert(Ports, Port(1, "b", amount=5)),
    "to another index key": lambda db: db.insert(Ports, Port(1, "c")),
    "equal": lambda db: db.insert(Ports, Port(1, "b")),
    "deleted": lambda db: db.delete(Ports, 1),
}


@pytest.mark.parametrize("write", ALONE.values(), ids=ALONE)
@both_errors
def test_a_row_written_alone_and_broken_at_any_line_is_there_or_not(error, write):
    for _ in range(2):  # the first time something is remembered about the type of the rows
        scene = Scene()
        lines = lines_of(lambda scene=scene: write(scene.db), every=False)
        after = picture(scene.db.snapshot())
        scene.close()
    outcomes = []
    for line in lines:
        scene = Scene()
        watch = scene.before[Ports].watch()
        breaking = Lines(line, error=error)
        with pytest.raises((error, IndexFunctionError)):
            breaking.run(lambda scene=scene: write(scene.db))
        now = picture(scene.db.snapshot())
        outcomes.append(now == after)
        assert now in (scene.before_picture, after), breaking.broken
        assert watch.tripped == (now != scene.before_picture), breaking.broken
        assert picture(scene.old) == scene.old_picture
        check_goes_on(scene, breaking.broken)
        scene.close()
    assert outcomes == sorted(outcomes)
    assert outcomes[-1]


def test_a_registration_broken_at_any_line_can_be_repeated():
    counted = Database()
    for line in lines_of(lambda: counted.register(Ports)):
        db = Database()
        breaking = Lines(line)
        with pytest.raises(Interrupted):
            breaking.run(lambda db=db: db.register(Ports))
        with suppress(UnknownTable):
            db.write(Ports).abort()  # the database remembers what it found for these tables
        db.register(Ports)
        with db.write(Ports) as txn:
            txn[Ports].insert(Port(1, "a"))
        db.insert(Ports, Port(2, "a"))
        assert dict(db.snapshot()[Ports]) == {number: Port(number, "a") for number in (1, 2)}, breaking.broken
        db.check()


def test_a_wait_for_a_table_broken_at_any_line_leaves_nobody_to_be_woken_in_its_place(monkeypatch):
    """A release wakes the first who waits. One that is not there would be that for good."""
    holding: list[WriteTransaction] = []

    class Gate:
        """The table is freed as soon as somebody waits for it."""

        def __init__(self) -> None:
            self._lock = threading.Lock()
            self.release = self._lock.release

        def acquire(self, timeout: float) -> bool:
            holding.pop().abort()
            return self._lock.acquire(timeout=timeout)

    def begin() -> Scene:
        scene = Scene()
        holding[:] = [in_a_thread(lambda: scene.db.write(Hosts))]
        return scene

    monkeypatch.setattr(_reserve, "Lock", Gate)
    scene = begin()
    lines = lines_of(lambda: scene.db.write(Hosts).abort(), of=_reserve.__file__)
    scene.close()
    for line in lines:
        scene = begin()
        breaking = Lines(line, of=_reserve.__file__)
        with pytest.raises(Interrupted):
            breaking.run(lambda scene=scene: scene.db.write(Hosts).abort())
        assert not scene.db._stores[Hosts].reservation.waiting, breaking.broken
        for txn in holding:
            txn.abort()
        scene.write_from_another_thread()
        scene.close()


@both_errors
def test_an_abort_broken_anywhere_leaves_nothing(error):
    assert not any(break_everywhere(an_abort, error, every=True))
