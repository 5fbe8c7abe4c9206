"""What objects say of themselves, in a debugger and in logs: what they are, and the one thing that matters of them."""

from collections.abc import Callable
from typing import Any

import pytest

from statedb import Database, Index, Table, UniqueIndex, WriteTransaction

from .tables import Account, Accounts, Pod, Pods, database, put


def scene() -> tuple[Database, WriteTransaction]:
    db = database(Pod("a"), Pod("b", networks=("10.0.0.0/8",)))
    return db, db.write(Accounts)


SAYS: dict[str, Callable[[Database, WriteTransaction], Any]] = {
    "<Database pods, accounts>": lambda db, txn: db,
    "<Snapshot pods@2, accounts@0>": lambda db, txn: db.snapshot(),
    "<TableView pods: 2 rows at revision 2>": lambda db, txn: db.snapshot()[Pods],
    "<TableWriter accounts: 0 rows at revision 0>": lambda db, txn: txn[Accounts],
    "<IndexView pods.by_tag>": lambda db, txn: db.snapshot()[Pods.by_tag],
    "<PrefixIndexView pods.by_network>": lambda db, txn: db.snapshot()[Pods.by_network],
    "<UniqueIndexView pods.by_address>": lambda db, txn: db.snapshot()[Pods.by_address],
    "<PrimaryIndexView pods>": lambda db, txn: db.snapshot()[Pods.primary],
    "<WriteTransaction on accounts, open>": lambda db, txn: txn,
    "<Watch waiting>": lambda db, txn: db.snapshot()[Pods].watch(),
    "<ChangeStream of pods, open>": lambda db, txn: db.changes(Pods),
    "<TablesStream of pods, accounts, open>": lambda db, txn: db.changes(Pods, Accounts),
    "<ChangeBatch of 2>": lambda db, txn: db.changes(Pods).next(),
    "<TablesBatch pods: 2, accounts: 0>": lambda db, txn: db.changes(Pods, Accounts).next(),
    "<Initializer etcd>": lambda db, txn: txn[Accounts].begin_initializer("etcd"),
    "<Index pods.by_tag>": lambda db, txn: Pods.by_tag,
    "<UniqueIndex pods.primary>": lambda db, txn: Pods.primary,
}


@pytest.mark.parametrize("text", SAYS)
def test_what_it_is(text: str) -> None:
    db, txn = scene()
    with txn:
        assert repr(SAYS[text](db, txn)) == text


def test_what_became_of_it() -> None:
    db, txn = scene()
    txn.commit()
    watch, stream = db.snapshot()[Pods].watch(), db.changes(Pods)
    put(db, Pod("c"))
    stream.close()
    assert repr(watch) == "<Watch tripped>"
    assert repr(stream) == "<ChangeStream of pods, closed>"
    assert repr(txn) == "<WriteTransaction on accounts, committed>"


def test_a_batch_is_a_sequence() -> None:
    db = database(*[Pod(name) for name in "abc"])
    batch = db.changes(Pods).next()
    assert batch is not None
    assert [change.row.name for change in (batch[0], batch[-1], *batch[1:])] == ["a", "c", "b", "c"]
    assert batch[1] in batch


class Loose(Table[str, str], name="loose"):
    """Its functions give lists, of which the second is not always of the first one's type."""

    primary = UniqueIndex[str, str](lambda row: row)
    by_letter = Index[str, str](lambda row: list(row))  # type: ignore[arg-type, return-value]
    by_size = Index[Any, str](lambda row: [len(row)] if row != "odd" else ["none"])


def test_index_functions_may_give_lists() -> None:
    db = Database(Loose)
    with db.write(Loose) as txn:
        for row in ("ab", "abc", "ba", "bc"):
            txn[Loose].insert(row)
        with pytest.raises(TypeError, match="'none' is str, but the others are int"):
            txn[Loose].insert("odd")
    snapshot = db.snapshot()
    assert snapshot[Loose.by_letter]["a"] == ("ab", "abc", "ba")
    assert snapshot[Loose.by_size][2] == ("ab", "ba", "bc")
    db.check()


def test_accounts_stand_beside() -> None:
    db, txn = scene()
    with txn:
        txn[Accounts].insert(Account(1))
        assert repr(txn[Accounts]) == "<TableWriter accounts: 1 rows at revision 1>"
    assert repr(db.snapshot()) == "<Snapshot pods@2, accounts@1>"
