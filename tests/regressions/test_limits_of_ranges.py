"""A range with a limit reads what it needs of an old snapshot, and refuses limits that mean nothing."""

import pytest

from statedb import Database

from ..statedb.engine.tables import Pod, Pods, database, delete, put

NAMES = [f"p{number:02d}" for number in range(40)]


def names(view, start, limit):
    return [pod.name for pod in view.range(start, limit=limit)]


@pytest.mark.parametrize("start", [None, "p00", "p07", "p25x", "p39", "z"])
@pytest.mark.parametrize("limit", [0, 1, 3, 10, 39, 40, 1000])
def test_a_limited_range_of_an_old_snapshot_is_the_beginning_of_the_whole_one(start: str | None, limit: int):
    db = database(*map(Pod, NAMES))
    old = db.snapshot()[Pods]
    for name in NAMES[3:30:2]:
        delete(db, name)
    for name in NAMES[::7]:
        put(db, Pod(name, "elsewhere"))
    for number in range(20):
        put(db, Pod(f"p{number:02d}x"))
    assert names(old, start, limit) == [name for name in NAMES if start is None or name >= start][:limit]


def test_in_a_transaction_too():
    db = database(*map(Pod, NAMES))
    with db.write(Pods) as txn:
        for name in NAMES[:35]:
            txn[Pods].delete(name)
        txn[Pods].insert(Pod("p36x"))
        assert names(txn[Pods], None, 3) == ["p35", "p36", "p36x"]
        assert names(txn[Pods], "p36", 1) == ["p36"]


def test_where_every_row_is_gone_meanwhile():
    db = database(*map(Pod, NAMES))
    old = db.snapshot()[Pods]
    for name in NAMES:
        delete(db, name)
    assert names(old, "p01", 2) == ["p01", "p02"]


@pytest.mark.parametrize("limit", [-1, -100])
def test_a_limit_below_zero_is_refused(limit: int):
    db: Database = database(Pod("a"))
    view = db.snapshot()[Pods]
    with pytest.raises(ValueError, match="0 or more"):
        view.range(limit=limit)
    with pytest.raises(ValueError, match="0 or more"):
        db.snapshot()[Pods.by_node].range(limit=limit)
