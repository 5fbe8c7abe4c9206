"""A compound key with a field that cannot be ordered is refused by the writer; it must not fail in a reader's sort."""

from enum import Enum

import pytest

from statedb import Database, InvalidKey, Table, UniqueIndex


class Colour(Enum):
    RED = 1
    BLUE = 2


class Things(Table[object, tuple[object, ...]], name="things"):
    primary = UniqueIndex[object, tuple[object, ...]](lambda row: row[0])


@pytest.mark.parametrize("field", [Colour.RED, object(), ("b", Colour.RED)], ids=["enum", "object", "nested"])
def test_it_is_refused_where_it_is_written(field: object) -> None:
    db = Database(Things)
    with db.write(Things) as txn, pytest.raises(InvalidKey):
        txn[Things].insert((("a", field),))
