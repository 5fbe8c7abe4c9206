"""An exception at every line of staging: the transaction is as it was before the call, and usable."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from statedb import Database, DuplicateKey, TransactionClosed
from statedb.engine.overlay import Overlay

from ._helpers import Host, Hosts, Interrupted, Lines, Port, Ports, Scene, lines_of, picture

A, B = Host("a", "8", ("red", "white"), ("10.3.0.0/16",)), Host("new", "9", ("white",), ("10.4.0.0/16",))

CALLS: dict[str, Callable[[Any], Any]] = {
    "insert a new row": lambda txn: txn[Hosts].insert(B),
    "insert over a row": lambda txn: txn[Hosts].insert(A),
    "insert several": lambda txn: txn[Hosts].insert_all([A, B]),
    "insert several new rows": lambda txn: txn[Ports].insert_all(
        [Port(number, "abe"[number % 3]) for number in range(77, 81)]
    ),
    "insert several over rows": lambda txn: txn[Ports].insert_all([Port(number, "b", 7) for number in (0, 1, 4, 5)]),
    "replace": lambda txn: txn[Hosts].replace(A),
    "modify": lambda txn: txn[Hosts].modify("a", lambda _: A),
    "delete": lambda txn: txn[Hosts].delete("a"),
    "delete several": lambda txn: txn[Ports].delete_all(list(txn[Ports].values())),
    "clear": lambda txn: txn[Hosts].clear(),
    "begin an initializer": lambda txn: txn[Hosts].begin_initializer("source"),
}


def state_of(txn: Any) -> dict[str, Any]:
    """What the transaction shows, and whom it believes to own the unique keys."""
    source = txn[Hosts]._source
    (claims,), (index,) = source.claims, source.store.unique_indexes
    owners = {key: claims[key] if key in claims else index.entries.get(key) for key in "12346789"}
    ports = txn[Ports]._source
    staged = [dict(each) for each in (source.redo, source.before, ports.redo, ports.before)]
    return {**picture(txn), "owners": owners, "staged": staged}


def opened(staged: bool, read_before: bool) -> tuple[Scene, Any]:
    """A transaction with or without something staged on the rows in question, and with or without a layer to read."""
    scene = Scene()
    txn = scene.db.write(Hosts, Ports)
    if staged:
        txn[Hosts].insert(Host("a", "7", ("green",), ("10.5.0.0/16",)))
        txn[Hosts].insert(Host("new", "6", ("green",)))
    if read_before:
        picture(txn)
    return scene, txn


@pytest.mark.parametrize("read_before", [False, True], ids=["", "read before"])
@pytest.mark.parametrize("staged", [False, True], ids=["", "staged before"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_broken_call_leaves_the_transaction_as_before(call, staged, read_before):
    scene, txn = opened(staged, read_before)
    before = state_of(txn)
    txn.abort()
    scene.close()
    scene, txn = opened(staged, read_before)
    lines = lines_of(lambda: call(txn))
    done = state_of(txn)
    txn.commit()
    after = picture(scene.db.snapshot())
    scene.close()
    complete = []
    for line in lines:
        scene, txn = opened(staged, read_before)
        breaking = Lines(line)
        with pytest.raises(Interrupted):
            breaking.run(lambda txn=txn: call(txn))
        state = state_of(txn)
        assert state in (before, done), breaking.broken
        complete.append(state == done)
        if state == before:
            with pytest.raises(DuplicateKey):
                txn[Hosts].insert(Host("thief", "7" if staged else "1"))  # the unique key of row a
            call(txn)
        txn.commit()
        scene.db.check()
        assert picture(scene.db.snapshot()) == after, breaking.broken
        assert picture(scene.old) == scene.old_picture
        scene.fold()
        assert scene.host_rows == dict(scene.db.snapshot()[Hosts])
        scene.close()
    assert complete.count(True) <= 1, "only where nothing is left but to return"


@pytest.mark.parametrize("staged", [False, True], ids=["", "staged before"])
def test_the_first_rows_of_a_table_are_all_staged_or_none_where_the_call_is_broken(staged):
    """The first row tells the types of the keys; then the others are staged together."""

    def opened() -> Any:
        txn = Database(Ports).write(Ports)
        if staged:  # and gone again, so that no type is known
            txn[Ports].insert(Port(1, "c"))
            txn[Ports].delete(1)
        return txn

    def insert(txn: Any) -> Any:
        return txn[Ports].insert_all([Port(number, "ab"[number % 2]) for number in range(6)])

    def state(txn: Any) -> Any:
        ports = txn[Ports]
        return dict(ports._source.redo), ports.revision, len(ports), ports.range(), txn[Ports.by_host]["b"]

    for _ in range(2):  # the first time something is remembered about the types
        txn = opened()
        before = state(txn)
        lines = lines_of(lambda txn=txn: insert(txn))
        done = state(txn)
        txn.abort()
    for line in lines:
        txn = opened()
        assert state(txn) == before
        breaking = Lines(line)
        with pytest.raises(Interrupted):
            breaking.run(lambda txn=txn: insert(txn))
        left = state(txn)
        txn.abort()
        assert left in (before, done), breaking.broken


@pytest.mark.parametrize("staged", [False, True], ids=["", "staged before"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_whose_undoing_is_broken_too_commits_nothing_that_is_not_whole(monkeypatch, call, staged):
    """Ctrl-C twice, or no memory for the undoing either: the caller goes on and commits."""
    unstage = Overlay.unstage
    chance = random.Random(2)
    scene, txn = opened(staged, True)
    lines = lines_of(lambda: call(txn), every=False)
    txn.abort()
    scene.close()
    refused = []
    for line in lines:
        scene, txn = opened(staged, True)
        places: list[str] = []

        def broken(overlay: Overlay, rows: Any, places: list[str] = places) -> None:
            breaking = Lines(chance.randrange(9))
            try:
                breaking.run(lambda: unstage(overlay, rows))
            finally:
                places.append(breaking.broken)

        monkeypatch.setattr(Overlay, "unstage", broken)
        with pytest.raises(Interrupted):
            Lines(line).run(lambda txn=txn: call(txn))
        monkeypatch.undo()
        try:
            txn.commit()
        except TransactionClosed:
            refused.append(line)
        assert bool(refused and refused[-1] == line) == any(places)
        scene.db.check()
        assert picture(scene.old) == scene.old_picture, places
        assert picture(scene.before) == scene.before_picture, places
        scene.fold()
        assert scene.host_rows == dict(scene.db.snapshot()[Hosts]), places
        scene.write_from_another_thread()
        scene.close()
    assert refused or call is CALLS["begin an initializer"]
