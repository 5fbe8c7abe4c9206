"""What somebody is told who tries to write where one reads."""

import pytest

from statedb import Database, Table, UniqueIndex


class Names(Table[str, str], name="names"):
    primary = UniqueIndex[str, str](lambda name: name)


def test_who_writes_to_a_snapshot_is_told_how_to_write():
    view = Database(Names).snapshot()[Names]
    for name in ("insert", "delete", "clear"):
        with pytest.raises(AttributeError, match=rf"is read-only; write with .*txn\[T\]\.{name}\("):
            getattr(view, name)
    with pytest.raises(AttributeError, match="TableView has no attribute 'rows'"):
        getattr(view, "rows")  # noqa: B009 - a type checker knows it
    assert not hasattr(view, "insert")
