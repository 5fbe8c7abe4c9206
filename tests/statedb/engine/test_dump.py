"""Dumps: what was written is what is loaded; what is no dump loads nothing."""

import json
import tracemalloc
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import attrs
import pytest
from hypothesis import given, strategies as st

from ingest.manifests import ManifestsOptions, open as open_manifests
from statedb import Database, InvalidDump, Snapshot, Table, UniqueIndex, load
from statedb.catalog import TABLES

from ...test_examples import EXAMPLES
from .tables import Account, Accounts, Pod, Pods, database, put

pods = st.builds(
    Pod,
    name=st.text(max_size=4),
    node=st.text(max_size=3),
    tags=st.lists(st.text(max_size=3), max_size=2).map(tuple),
    networks=st.lists(st.sampled_from(["10.0.0.0/8", "fd00::/8"]), max_size=2).map(tuple),
)


def rows(snapshot: Snapshot) -> dict[str, list[object]]:
    return {table.name: list(snapshot[table].values()) for table in snapshot}


@given(st.lists(pods, max_size=10), st.lists(st.integers(-5, 5), max_size=5))
def test_what_was_dumped_is_loaded(some: list[Pod], numbers: list[int]):
    db = database(*some)
    with db.write(Accounts) as txn:
        for number in numbers:
            txn[Accounts].insert(Account(number, number * 2))
    again = Database(Accounts, Pods)
    lines = list(db.snapshot().dump())
    assert load(again, lines) == len(db.snapshot()[Pods]) + len(db.snapshot()[Accounts])
    assert rows(again.snapshot()) == {name: rows(db.snapshot())[name] for name in ("accounts", "pods")}
    again.check()


def test_the_lines_are_json_and_the_first_says_what_comes():
    lines = [json.loads(line) for line in database(Pod("a"), Pod("b")).snapshot().dump()]
    assert lines[0]["tables"][0] == {
        "name": "pods",
        "fields": ["name", "node", "tags", "address", "networks"],
        "rows": 2,
        "revision": 2,
    }
    assert [line.get("revision") for line in lines[1:-1]] == [1, 2]
    assert lines[-1] == {"end": 2}


def test_a_dump_is_of_its_snapshot_while_writers_go_on():
    db = database(*[Pod(f"p{number}") for number in range(10)])
    lines = db.snapshot().dump()
    first = next(lines)
    put(db, Pod("p3", "changed"), Pod("new"))
    again = database()
    load(again, [first, *lines])
    assert {row.node for row in again.snapshot()[Pods].values()} == {"n1"}
    assert len(again.snapshot()[Pods]) == 10


class Tuple(NamedTuple):
    key: str
    size: int


@dataclass(frozen=True)
class Frozen:
    key: str
    size: int


@attrs.frozen
class Attrs:
    key: str
    size: int


def test_a_reader_that_stops_in_the_middle_holds_no_list_of_all_rows():
    db = Database(Pods)
    with db.write(Pods) as txn:
        txn[Pods].insert_all([Pod(f"pod-{number}") for number in range(20_000)])
    sum(1 for _ in db.dump())  # what the table keeps in order for all readers
    tracemalloc.start()
    try:
        readers = [db.dump() for _ in range(5)]
        for reader in readers:
            next(islice(reader, 10, None))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 5 * 20_000  # bytes: less than one for each row


@pytest.mark.parametrize("kind", [Tuple, Frozen, Attrs])
def test_flat_rows_of_every_kind(kind: type):
    class Things(Table[str, kind], name="things"):  # type: ignore[valid-type]
        primary = UniqueIndex[str, kind](lambda row: row.key)  # type: ignore[valid-type]

    db, again = Database(Things), Database(Things)
    with db.write(Things) as txn:
        txn[Things].insert(kind("a", 1))
    load(again, db.snapshot().dump())
    assert list(again.snapshot()[Things].values()) == [kind("a", 1)]


class Address(NamedTuple):
    ip: str
    ports: tuple[int, ...] = ()


class Nested(NamedTuple):
    key: str
    address: Address
    more: tuple[Address, ...] = ()


@dataclass(frozen=True)
class Typed:
    key: str
    tags: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    by_number: tuple[dict[int, str], ...] = ()
    raw: bytes = b""


@attrs.frozen
class TypedAttrs:
    key: str
    tags: tuple[tuple[str, int], ...] = ()


@pytest.mark.parametrize(
    "row",
    [
        Nested("a", Address("10.0.0.1", (80, 443)), (Address("10.0.0.2"),)),
        Typed("a", ("x", "y"), frozenset({"n"}), ({1: "one"},), b"\xff"),
        TypedAttrs("a", (("x", 1),)),
    ],
    ids=lambda row: type(row).__name__,
)
def test_nested_rows_come_back_as_their_types_say(row):
    table = table_of(type(row))
    db, again = Database(table), Database(table)
    db.insert(table, row)
    load(again, db.dump())
    (found,) = again.snapshot()[table].values()
    assert found == row
    assert type(found) is type(row)
    assert [type(field) for field in _fields(found)] == [type(field) for field in _fields(row)]


def _fields(row) -> list:
    return list(row) if isinstance(row, tuple) else [getattr(row, name) for name in type(row).__annotations__]


def table_of(kind):
    class Things(Table[str, kind], name="things"):
        primary = UniqueIndex[str, kind](lambda row: row.key)

    return Things


def test_a_named_tuple_has_names_in_a_dump_and_may_lack_those_with_a_default():
    table = table_of(Nested)
    db, again = Database(table), Database(table)
    db.insert(table, Nested("a", Address("10.0.0.1")))
    head, line, end = db.dump()
    assert json.loads(line)["row"] == {"key": "a", "address": ["10.0.0.1", []], "more": []}
    load(again, [head, line.replace(b',"more":[]', b""), end])
    assert again.snapshot()[table]["a"] == Nested("a", Address("10.0.0.1"))
    with pytest.raises(InvalidDump, match="line 2: table 'things': TypeError: Nested has no field less"):
        load(again, [head, line.replace(b'"more"', b'"less"'), end])


@dataclass(frozen=True)
class Untyped:
    key: str
    tags: tuple = ()


@dataclass(frozen=True)
class More(Untyped):
    extra: int = 0


UNTYPED = (Untyped("a", (("x",),)), More("a", (), 1), Tuple("a", True))


@pytest.mark.parametrize("row", UNTYPED, ids=["a tuple in a tuple", "a subclass", "a bool for an int"])
def test_a_row_that_would_not_come_back_is_refused_when_it_is_dumped(row):
    table = table_of(Tuple if isinstance(row, Tuple) else Untyped)
    db = Database(table)
    db.insert(table, row)
    lines = db.dump()
    next(lines)
    with pytest.raises(
        TypeError, match=r"table 'things': .* (would be loaded as|cannot be loaded again).* pass a decoder to"
    ):
        next(lines)
    again = Database(table)
    assert load(again, db.dump(decoder=lambda table, value: row), lambda table, value: row) == 1
    assert again.snapshot()[table]["a"] is row


def test_a_row_that_json_does_not_know_is_an_error_and_no_line():
    class Values(Table[str, tuple[str, object]], name="values"):
        primary = UniqueIndex[str, tuple[str, object]](lambda row: row[0])

    db = Database(Values)
    with db.write(Values) as txn:
        txn[Values].insert(("a", 1))
        txn[Values].insert(("b", frozenset("x")))
    lines = db.dump()
    assert json.loads(next(lines))["tables"][0]["fields"] is None
    assert json.loads(next(lines))["row"] == ["a", 1]
    with pytest.raises(TypeError, match=r"would be loaded as \('b', \['x'\]\)"):
        next(lines)


@pytest.mark.parametrize("value", ["\ud800", 2**70, -(2**70), 2**64 - 1, float("inf"), 1e22, 5e-324])
def test_what_msgspec_has_no_json_for_comes_back_too(value: object):
    class Pairs(Table[str, tuple[str, object]], name="pairs"):
        primary = UniqueIndex[str, tuple[str, object]](lambda row: row[0])

    db, again = Database(Pairs), Database(Pairs)
    db.insert(Pairs, ("a", value))
    assert load(again, db.dump()) == 1
    assert again.snapshot()[Pairs]["a"] == ("a", value)
    assert type(again.snapshot()[Pairs]["a"][1]) is type(value)


def test_plain_values_are_rows_too():
    class Pairs(Table[str, tuple[str, int]], name="pairs"):
        primary = UniqueIndex[str, tuple[str, int]](lambda row: row[0])

    class Texts(Table[str, str], name="texts"):
        primary = UniqueIndex[str, str](lambda row: row)

    db, again = Database(Pairs, Texts), Database(Pairs, Texts)
    with db.write(Pairs, Texts) as txn:
        txn[Pairs].insert(("a", 1))
        txn[Texts].insert("b")
    assert load(again, db.dump()) == 2
    assert rows(again.snapshot()) == {"pairs": [("a", 1)], "texts": ["b"]}


def test_a_decoder_of_ones_own():
    again = database()
    load(again, database(Pod("a", "n1")).snapshot().dump(), lambda table, value: Pod(value["name"], "decoded"))
    assert again.snapshot()[Pods]["a"] == Pod("a", "decoded")


def test_a_whole_cluster():
    db, again = Database(*TABLES), Database(*TABLES)
    source = open_manifests(db, "cluster1", 1, ManifestsOptions(directory=str(EXAMPLES / "cluster")))
    source.start()
    assert db.wait_initialized(timeout=30)
    source.stop()
    assert source.join(10)
    assert load(again, db.snapshot().dump()) > 100
    assert rows(again.snapshot()) == rows(db.snapshot())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda lines: lines[:-1], "is incomplete"),
        (lambda lines: lines[:1] + lines[2:], "line 3: 2 rows were written, but the dump has 1"),
        (lambda lines: lines[1:], "line 1: not a dump"),
        (lambda lines: [], "line 1: not JSON"),
        (lambda lines: [b"[]\n"], "line 1: not a JSON object"),
        (lambda lines: [lines[0].replace(b'"pods"', b'"pids"'), *lines[1:]], "table 'pids' is not in this database"),
        (lambda lines: [*lines[:2], b'{"table":"nope","row":1}\n', *lines[2:]], "line 3: not a row of a table"),
        (lambda lines: [*lines[:2], b'{"table":"pods","row":{"nam":1}}\n'], "line 3: table 'pods': ValidationError"),
        (lambda lines: [*lines[:2], b"{half"], "line 3: not JSON"),
        (lambda lines: [*lines, b"\n", *lines], "line 6: data after the end of the dump"),
        (lambda lines: [b'{"statedb":1,"tables":[{"name":"pods"},{"name":"pods"}]}', *lines[1:]], "named twice (pods,"),
    ],
)
def test_what_is_no_dump_loads_nothing(change, told: str):
    lines = list(database(Pod("a"), Pod("b")).snapshot().dump())
    db = database(Pod("before"))
    with pytest.raises(InvalidDump) as raised:
        load(db, change(lines))
    assert told in str(raised.value)
    assert list(db.snapshot()[Pods]) == ["before"]
