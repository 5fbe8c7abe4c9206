"""What somebody is told who tries to write where one reads."""

import pytest

from statedb import Database, Table, TableView, TableWriter, UniqueIndex


class Names(Table[str, str], name="names"):
    primary = UniqueIndex[str, str](lambda name: name)


def test_who_writes_to_a_snapshot_is_told_how_to_write():
    view = Database(Names).snapshot()[Names]
    for name in ("insert", "delete", "clear"):
        with pytest.raises(AttributeError, match=rf"is read-only; write with .*txn\[T\]\.{name}\("):
            getattr(view, name)
        assert not hasattr(view, name)
    with pytest.raises(AttributeError, match="'TableView' object has no attribute 'rows'"):
        getattr(view, "rows")  # noqa: B009 - a type checker knows it


def test_reading_an_attribute_of_a_view_needs_no_hook():
    for kind in (TableView, TableWriter):  # with a hook, CPython 3.11 does not specialize access to attributes
        assert not {"__getattr__", "__getattribute__"} & {name for base in kind.__mro__[:-1] for name in vars(base)}
