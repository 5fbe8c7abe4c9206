"""A second exception, while a commit is being brought to its end after the first: the next writer finishes it."""

import random
from dataclasses import dataclass
from typing import Any

import pytest

from statedb import Database, Table, UniqueIndex
from statedb.engine.commit import CommitPlan

from ._helpers import (
    Emptying,
    Host,
    Hosts,
    Interrupted,
    Lines,
    Ports,
    Scene,
    in_a_thread,
    lines_of,
    picture,
    picture_after_the_change,
)

FINISH = CommitPlan.finish


class Torn:
    """Breaks the first and the second attempt to finish a commit, each at a line of its own; the later ones go well."""

    def __init__(self, *lines: int) -> None:
        self.lines = list(lines)
        self.places: list[str] = []

    def __call__(self, plan: CommitPlan) -> None:
        if not self.lines:
            FINISH(plan)
            return
        breaking = Lines(self.lines.pop(0))
        try:
            breaking.run(lambda: FINISH(plan))
        finally:
            self.places.append(breaking.broken)


def torn(monkeypatch: Any, kind: type[Scene], first: int, second: int) -> tuple[Scene, Torn]:
    """A scene whose commit was broken twice, and how."""
    scene = kind()
    txn = scene.db.write(Hosts, Ports)
    scene.change(txn)
    breaking = Torn(first, second)
    with monkeypatch.context() as patch:
        patch.setattr(CommitPlan, "finish", lambda plan: breaking(plan))
        with pytest.raises(Interrupted):
            txn.commit()
    txn.abort()  # must not free what is half done
    return scene, breaking


def finish_lines(kind: type[Scene]) -> list[int]:
    """One occurrence of each line that finishing runs through."""
    lines: list[int] = []
    scene = kind()
    txn = scene.db.write(Hosts, Ports)
    scene.change(txn)
    with pytest.MonkeyPatch.context() as patch:

        def counted(plan: CommitPlan) -> None:
            lines.extend(lines_of(lambda: FINISH(plan), every=False))

        patch.setattr(CommitPlan, "finish", counted)
        txn.commit()
    scene.close()
    return lines


KINDS = (Scene, Emptying)
LINES = {kind: finish_lines(kind) for kind in KINDS}
AFTER = {kind: picture_after_the_change(kind) for kind in KINDS}


def check_torn(scene: Scene, places: list[str]) -> None:
    """Readers are right at once; the next writer finds the commit whole, and whoever waited for it is told."""
    assert picture(scene.db.snapshot()) in (scene.before_picture, AFTER[type(scene)]), places
    assert picture(scene.old) == scene.old_picture, places
    assert picture(scene.before) == scene.before_picture, places


@pytest.mark.parametrize("second", ["at once", "at the same line", "somewhere"])
@pytest.mark.parametrize("who", ["another thread", "this thread"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_commit_torn_twice_is_right_for_readers_and_finished_by_the_next_writer(monkeypatch, kind, second, who):
    chance = random.Random(1)
    visible = []
    for first in LINES[kind]:
        again = {"at once": 0, "at the same line": first, "somewhere": chance.choice(LINES[kind])}[second]
        scene, breaking = torn(monkeypatch, kind, first, again)
        check_torn(scene, breaking.places)

        def write(scene: Scene = scene) -> None:
            with scene.db.write(Hosts) as txn:
                visible.append(picture(scene.db.snapshot()) == AFTER[kind])
                txn[Hosts].insert(Host("e", "5", ("red",)))

        in_a_thread(write) if who == "another thread" else write()
        scene.write_from_another_thread()
        scene.db.check()
        assert scene.db.snapshot()[Hosts]["e"], breaking.places
        if visible[-1]:
            assert all(watch.wait(0) for watch in scene.concerned), breaking.places
        assert picture(scene.old) == scene.old_picture, breaking.places
        scene.fold()
        assert scene.host_rows == dict(scene.db.snapshot()[Hosts]), breaking.places
        scene.close()
    assert visible[-1]


@dataclass(frozen=True, eq=False)
class Incomparable:
    name: str

    def __eq__(self, other: object) -> bool:
        raise ArithmeticError

    __hash__ = object.__hash__


class Incomparables(Table[str, Incomparable], name="incomparables"):
    primary = UniqueIndex[str, Incomparable](lambda row: row.name)


def test_rows_that_cannot_be_compared_count_as_different():
    """The watch has to compare, after the commit is visible: nothing may fail there, so it trips."""
    db = Database(Incomparables)
    with db.write(Incomparables) as txn:
        txn[Incomparables].insert(Incomparable("a"))
    watch = db.snapshot()[Incomparables].watch("a")
    row = Incomparable("a")
    with db.write(Incomparables) as txn:
        txn[Incomparables].insert(row, force=True)
    assert db.snapshot()[Incomparables]["a"] is row
    assert watch.tripped
    with db.write(Incomparables) as txn:
        txn[Incomparables].delete("a")
    assert len(db.snapshot()[Incomparables]) == 0
