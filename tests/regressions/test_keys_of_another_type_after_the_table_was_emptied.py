"""A snapshot that still shows the old keys must not notice that an emptied table takes keys of another type."""

from contextlib import suppress

import pytest

from statedb import Database, Index, InvalidKey, Snapshot, Table, UniqueIndex


class Things(Table[object, tuple[object, ...]], name="things"):
    primary = UniqueIndex[object, tuple[object, ...]](lambda row: row[0])
    by_rest = Index[object, tuple[object, ...]](lambda row: row[1:])


A, B = ("a", "k"), ("b", "l")
READS = {
    "range": (lambda snapshot: snapshot[Things].range("a", "z"), (A, B)),
    "prefix": (lambda snapshot: snapshot[Things].prefix("a"), (A,)),
    "index range": (lambda snapshot: snapshot[Things.by_rest].range("a", "z"), (A, B)),
    "index prefix": (lambda snapshot: snapshot[Things.by_rest].prefix("k"), (A,)),
    "index keys": (lambda snapshot: snapshot[Things.by_rest].keys(), ("k", "l")),
}


@pytest.fixture
def old() -> Snapshot:
    db = Database(Things)
    with db.write(Things) as txn:
        txn[Things].insert(A)
        txn[Things].insert(B)
    snapshot = db.snapshot()
    with db.write(Things) as txn:
        txn[Things].clear()
    with suppress(InvalidKey), db.write(Things) as txn:  # refusing it would be as right
        txn[Things].insert((1, 2))
    return snapshot


@pytest.mark.parametrize(("read", "answer"), READS.values(), ids=list(READS))
def test_an_old_snapshot_reads_in_order_as_before(old: Snapshot, read, answer) -> None:
    assert read(old) == answer


def test_a_type_that_was_only_in_an_aborted_transaction_is_forgotten() -> None:
    db = Database(Things)
    txn = db.write(Things)
    txn[Things].insert(A)
    txn.abort()
    with db.write(Things) as txn:
        txn[Things].insert((1, 2))
    assert list(db.snapshot()[Things]) == [1]
