"""A first line that is JSON and no header, and a table's name that is none: one error that names the line."""

import pytest

from statedb import InvalidDump, load

from ..statedb.engine.tables import Pod, Pods, database

DAMAGED = {
    "a table without a name": ['{"statedb":1,"tables":[{}]}'],
    "tables that are a number": ['{"statedb":1,"tables":5}'],
    "a table that is a text": ['{"statedb":1,"tables":["pods"]}'],
    "a name that is a list": ['{"statedb":1,"tables":[{"name":["pods"]}]}'],
    "a row of a list of tables": ['{"statedb":1,"tables":[{"name":"pods"}]}', '{"table":["pods"],"row":{"name":"b"}}'],
    "a nest without an end": ["[" * 200_000],
}


@pytest.mark.parametrize("lines", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_dump_is_told_with_its_line(lines: list[str]):
    db = database(Pod("before"))
    with pytest.raises(InvalidDump, match=r"^line \d: "):
        load(db, [*lines, '{"end":0}'])
    assert list(db.snapshot()[Pods]) == ["before"]
