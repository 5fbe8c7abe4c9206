"""Declaring and registering tables."""

from dataclasses import dataclass
from typing import NamedTuple

import attrs
import msgspec
import pytest

from statedb import (
    Database,
    Index,
    IndexFunctionError,
    InvalidTable,
    PrefixIndex,
    Table,
    TableNotOpen,
    UniqueIndex,
    UnknownTable,
)

from ..tables import Account, Accounts, Pod, Pods, database, put


@pytest.mark.parametrize("name", ["a", "test", "a-b_c9", "a" + "b" * 30])
def test_names_of_tables(name: str):
    class Fine(Table[str, str], name=name):
        primary = UniqueIndex[str, str](lambda row: row)

    assert Fine.name == name


@pytest.mark.parametrize("name", ["", "1a", "Aa", "a" + "b" * 31, "a b", "a.b", "ä", "-a"])
def test_names_that_are_none(name: str):
    with pytest.raises(InvalidTable, match="table name"):

        class Wrong(Table[str, str], name=name):
            primary = UniqueIndex[str, str](lambda row: row)


def test_a_table_needs_a_unique_primary_index():
    with pytest.raises(InvalidTable, match="unique primary index"):

        class Without(Table[str, str], name="none"):
            by_letter = Index[str, str](lambda row: row)

    with pytest.raises(InvalidTable, match="unique primary index"):

        class Multi(Table[str, str], name="multi"):
            primary = Index[str, str](lambda row: row)  # type: ignore[assignment]


def test_an_index_belongs_to_one_table():
    index = UniqueIndex[str, str](lambda row: row)

    class First(Table[str, str], name="first"):
        primary = index

    with pytest.raises(InvalidTable, match="another table"):

        class Second(Table[str, str], name="second"):
            primary = index


def test_the_indexes_of_a_table_are_named_after_their_attributes():
    assert list(Pods.indexes) == ["primary", "by_node", "by_tag", "by_address", "by_network"]
    assert Pods.by_tag.name == "by_tag"


def test_two_tables_of_one_name_and_one_table_twice():
    class Other(Table[str, str], name="pods"):
        primary = UniqueIndex[str, str](lambda row: row)

    db = Database(Pods)
    db.register(Pods)
    with pytest.raises(InvalidTable, match="names are unique"):
        db.register(Other)
    assert db.tables == (Pods,)


def test_a_list_of_tables_is_no_table_and_the_error_says_so():
    db = Database(Pods)
    uses = (db.write, db.changes, lambda table: db.snapshot()[table], lambda table: db.wait_initialized(table))
    for use in uses:
        with pytest.raises(UnknownTable, match=r"\[.*Pods.*\] is not a table; .*\(tables: pods\)"):
            use([Pods])


def test_tables_may_be_registered_at_any_time():
    db = Database(Pods)
    before = db.snapshot()
    db.register(Accounts)
    assert Accounts in db.snapshot()
    assert Accounts not in before
    with pytest.raises(UnknownTable, match="'accounts'"):
        before[Accounts]


def test_a_table_that_is_not_registered():
    db = Database(Accounts)
    for use in (db.write, db.changes, lambda table: db.snapshot()[table]):
        with pytest.raises(UnknownTable, match="'pods'"):
            use(Pods)
    with pytest.raises(UnknownTable):
        db.snapshot()[Pods.by_node]


def test_an_index_that_is_not_open():
    db = database()
    with db.write(Accounts) as txn:
        for thing in (Pods, Pods.by_node):
            with pytest.raises(TableNotOpen, match="'pods'"):
                txn[thing]


class Tuple(NamedTuple):
    key: str


@dataclass(frozen=True)
class Frozen:
    key: str


@attrs.frozen
class Attrs:
    key: str


@pytest.mark.parametrize("kind", [Tuple, Frozen, Attrs])
def test_rows_of_every_frozen_kind(kind: type):
    class Rows(Table[str, kind], name="rows"):  # type: ignore[valid-type]
        primary = UniqueIndex[str, kind](lambda row: row.key)  # type: ignore[valid-type]

    db = Database(Rows)
    with db.write(Rows) as txn:
        txn[Rows].insert(kind("a"))
    assert db.snapshot()[Rows]["a"] == kind("a")


class Mutable(msgspec.Struct):
    key: str


@pytest.mark.parametrize("kind", [Mutable, dict, list])
def test_rows_that_can_be_changed_in_place_are_refused(kind: type):
    with pytest.raises(InvalidTable, match="changed in place"):

        class Rows(Table[str, kind], name="rows"):  # type: ignore[valid-type]
            primary = UniqueIndex[str, kind](lambda row: row.key)  # type: ignore[valid-type]


def test_a_row_has_one_primary_key_and_any_number_of_others():
    db = database(Pod("none"), Pod("one", tags=("a",)), Pod("many", tags=("a", "b", "b")))
    by_tag = db.snapshot()[Pods.by_tag]
    assert [row.name for row in by_tag["a"]] == ["many", "one"]
    assert [row.name for row in by_tag["b"]] == ["many"]
    put(db, Pod("many", tags=("c",)))  # a key that stood twice leaves no trace
    assert db.snapshot()[Pods.by_tag]["b"] == ()
    db.check()


def test_tables_are_classes_and_never_made():
    with pytest.raises(TypeError, match="use the class itself"):
        Pods()


def test_a_prefix_index_is_an_index_like_any_other():
    assert isinstance(Pods.by_network, PrefixIndex)
    db = database(Pod("a", networks=("10.0.0.0/8",)))
    assert db.snapshot()[Pods.by_network]["10.0.0.0/8"] == (Pod("a", networks=("10.0.0.0/8",)),)
    assert Account(1).number == 1


def test_a_table_that_does_not_say_its_types_takes_rows_of_every_frozen_kind():
    class Untold(Table, name="untold"):  # type: ignore[type-arg]
        primary = UniqueIndex(lambda row: getattr(row, "key", None))

    db = Database(Untold)
    with db.write(Untold) as txn:
        txn[Untold].insert(Tuple("a"))
        txn[Untold].insert(Frozen("b"))
        with pytest.raises(InvalidTable, match="changed in place"):
            txn[Untold].insert(Mutable("c"))
    assert list(db.snapshot()[Untold].values()) == [Tuple("a"), Frozen("b")]
    assert Untold.key_of(Tuple("a")) == "a"
    with pytest.raises(IndexFunctionError, match="'primary' has no key for 5"):
        Untold.key_of(5)
