"""Keys whose own code raises, at every call of it: staging is undone, a commit goes forward, a read is repeated.

What tracing does at every line (`test_injection.py`), users' keys do at every hash and comparison, without tracing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, NamedTuple, Self

import pytest

from statedb import Database, Index, Table, UniqueIndex

from ._helpers import Interrupted, in_a_thread


class Fuse:
    """Burns down by one at every hash and comparison of a key; then the key raises, and the next length is lit."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def burn(self) -> None:
        if self.lengths:
            self.lengths[0] -= 1
            if self.lengths[0] < 0:
                del self.lengths[0]
                raise Interrupted

    def blows(self, action: Callable[[], Any], *lengths: int) -> bool:
        """Run the action with the fuse lit; whether it blew."""
        self.lengths = list(lengths)
        try:
            action()
        except Interrupted:
            return True
        finally:
            self.lengths = []
        return False


FUSE = Fuse()


class Key(tuple[str]):
    """A text in a tuple, with hashing and comparing of its own."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        return super().__new__(cls, (text,))

    def __hash__(self) -> int:
        FUSE.burn()
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        FUSE.burn()
        return super().__eq__(other)

    def __lt__(self, other: Any) -> bool:
        FUSE.burn()
        return super().__lt__(other)


class Row(NamedTuple):
    key: Key
    alias: Key | None
    tags: tuple[Key, ...] = ()
    amount: int = 0


class Plain(Table[Key, Row], name="plain"):
    primary = UniqueIndex[Key, Row](lambda row: row.key)
    by_tag = Index[Key, Row](lambda row: row.tags)


class Aliased(Table[Key, Row], name="aliased"):
    primary = UniqueIndex[Key, Row](lambda row: row.key)
    by_alias = UniqueIndex[Key, Row](lambda row: row.alias)
    by_tag = Index[Key, Row](lambda row: row.tags)


TABLES = (Plain, Aliased)


def row(name: str, alias: str | None, *tags: str, amount: int = 0) -> Row:
    return Row(Key(name), Key(alias) if alias else None, tuple(map(Key, tags)), amount)


def filled(table: Any) -> Database:
    db = Database(table)
    with db.write(table) as txn:
        for each in (row("a", "1", "x"), row("b", "2", "x", "y"), row("c", "3", "z"), row("d", None)):
            txn[table].insert(each)
    list(db.snapshot()[table].values())  # from now on the table keeps its order
    return db


def shown(view: Any, table: Any) -> dict[str, Any]:
    """Everything that a snapshot or transaction shows."""
    rows, by_tag = view[table], view[table.by_tag]
    shows = {
        "rows": list(rows.items()),
        "since": rows.since(0),
        "count": (len(rows), rows.revision),
        "got": [rows.get(Key(name)) for name in "abcden"],
        "tags": {key: by_tag[key] for key in by_tag.keys()},  # noqa: SIM118 - a view of an index is no mapping
        "range": rows.range(Key("b"), limit=2),
    }
    if table is Aliased:
        by_alias = view[table.by_alias]
        shows["aliases"] = {key: by_alias[key] for key in by_alias.keys()}  # noqa: SIM118
    return shows


# -- staging ----------------------------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[Any], Any]] = {
    "insert a new row": lambda rows: rows.insert(row("n", "9", "x", "w")),
    "insert over a row": lambda rows: rows.insert(row("a", "8", "w")),
    "insert over a staged row": lambda rows: rows.insert(row("b", "8", "w")),
    "insert where one was deleted": lambda rows: rows.insert(row("c", "3", "z")),
    "force an equal row": lambda rows: rows.insert(row("d", None), force=True),
    "take a key that was given up": lambda rows: rows.insert(row("d", "3")),
    "replace": lambda rows: rows.replace(row("a", "1", "y")),
    "modify a staged row": lambda rows: rows.modify(Key("b"), lambda old: old._replace(alias=Key("2"))),
    "delete": lambda rows: rows.delete(Key("a")),
    "delete a staged row": lambda rows: rows.delete(Key("b")),
}


def opened(table: Any, read_before: bool) -> tuple[Database, Any]:
    """A transaction that has changed one row and deleted another."""
    db = filled(table)
    txn = db.write(table)
    txn[table].insert(row("b", "7", "y", amount=1))
    txn[table].delete(Key("c"))
    if read_before:
        shown(txn, table)
    return db, txn


@pytest.mark.parametrize("read_before", [False, True], ids=["", "read before"])
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_that_a_key_breaks_leaves_the_transaction_as_before(call: Any, table: Any, read_before: bool) -> None:
    db, txn = opened(table, read_before)
    before, committed = shown(txn, table), shown(db.snapshot(), table)
    call(txn[table])
    done = shown(txn, table)
    txn.commit()
    after = shown(db.snapshot(), table)
    for length in count():
        db, txn = opened(table, read_before)
        blown = FUSE.blows(lambda txn=txn: call(txn[table]), length)  # type: ignore[misc]
        state = shown(txn, table)
        assert state in ((before, done) if blown else (done,)), length
        assert shown(db.snapshot(), table) == committed, length
        if state == before:
            call(txn[table])
        txn.commit()
        db.check()
        assert shown(db.snapshot(), table) == after, length
        if not blown:
            break
    assert length > 2, "the key was never asked"


# -- committing -------------------------------------------------------------------------------------------------------


def staged(table: Any) -> tuple[Database, Any]:
    """A transaction that inserts, changes, exchanges and deletes."""
    db = filled(table)
    txn = db.write(table)
    rows = txn[table]
    rows.delete(Key("c"))
    rows.insert(row("n", "3", "x", "z"))
    rows.insert(row("a", None, "w"))
    rows.insert(row("b", "1", "x", amount=1))
    return db, txn


@pytest.mark.parametrize("again", [(), (0,), (5,), (0, 0)], ids=["once", "twice", "twice, later", "three times"])
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_commit_that_a_key_breaks_is_whole_or_not_there_and_the_next_writer_finds_it_so(
    table: Any, again: tuple[int, ...]
) -> None:
    db, txn = staged(table)
    before = shown(db.snapshot(), table)
    txn.commit()
    after = shown(db.snapshot(), table)
    outcomes: list[bool] = []
    for length in count():
        db, txn = staged(table)
        old, watch = db.snapshot(), db.snapshot()[table].watch(Key("n"))
        blown = FUSE.blows(txn.commit, length, *again)
        txn.abort()  # does nothing to what is closed, nor to what is half done
        assert shown(db.snapshot(), table) in (before, after), length
        assert shown(old, table) == before, length

        def write(db: Database = db) -> bool:
            with db.write(table):
                return shown(db.snapshot(), table) == after

        outcomes.append(in_a_thread(write))
        db.check()
        assert watch.tripped == outcomes[-1], length
        assert shown(old, table) == before, length
        if not blown:
            break
    assert outcomes[-1]
    assert len(outcomes) > 10, "the keys were hardly asked"


# -- reading ----------------------------------------------------------------------------------------------------------

READS: dict[str, Callable[[Any, Any], Any]] = {
    "values": lambda view, table: list(view[table].values()),
    "range": lambda view, table: view[table].range(Key("b"), limit=2),
    "get": lambda view, table: view[table].get(Key("c")),
    "list by index": lambda view, table: view[table.by_tag][Key("x")],
    "keys of an index": lambda view, table: view[table.by_tag].keys(),
    "range of an index": lambda view, table: view[table.by_tag].range(Key("x")),
}


@pytest.fixture(params=["newest", "old", "transaction"])
def view_and_table(request: Any) -> Iterator[tuple[Any, Any]]:
    db, txn = staged(Plain)
    if request.param == "transaction":
        yield txn, Plain
        txn.abort()
    else:
        old = db.snapshot()
        txn.commit()
        yield (old if request.param == "old" else db.snapshot()), Plain


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_read_that_a_key_breaks_may_be_repeated(view_and_table: tuple[Any, Any], read: Any) -> None:
    view, table = view_and_table
    for length in count():
        if not FUSE.blows(lambda length=length: read(view, table), length):  # type: ignore[misc]
            break
    expected = shown(view, table)
    assert shown(view, table) == expected
    names = [row.key[0] for row in view[table].values()]
    assert names == sorted(names)
    assert read(view, table) == read(view, table)


def test_an_order_that_a_comparison_broke_is_built_anew() -> None:
    """New keys are sorted in when somebody reads in order; where that raises, the next reader sorts all of them."""
    for length in count():
        db = Database(Plain)
        names = [f"{number:03}" for number in range(60)]
        with db.write(Plain) as txn:
            for name in names[:50]:
                txn[Plain].insert(row(name, None))
        assert len(list(db.snapshot()[Plain])) == 50
        with db.write(Plain) as txn:
            for name in names[50:53]:
                txn[Plain].insert(row(name, None))
            txn[Plain].delete(Key("007"))
        blown = FUSE.blows(lambda db=db: list(db.snapshot()[Plain]), length)  # type: ignore[misc]
        assert [key[0] for key in db.snapshot()[Plain]] == [*names[:7], *names[8:53]]
        db.check()
        if not blown:
            break
    assert length > 20
