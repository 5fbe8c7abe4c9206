"""Reading: exact keys, prefixes, ranges, order, sequences that may be run again."""

import pytest
from hypothesis import given, strategies as st

from statedb import Database, Index, InvalidKey, RowNotFound, Table, UniqueIndex

from ..tables import Pod, Pods, database, delete, names, put


def test_a_key_matches_whole():
    db = database(Pod("foobar", "nodefoobar", ("aaa",)))
    snapshot = db.snapshot()
    assert snapshot[Pods].get("foo") is None
    assert snapshot[Pods.by_node]["nodefoo"] == ()
    assert snapshot[Pods.by_tag]["aa"] == ()
    with pytest.raises(RowNotFound):
        snapshot[Pods]["foo"]
    assert snapshot[Pods.by_address].get("x") is None
    with pytest.raises(RowNotFound):
        snapshot[Pods.by_address]["x"]


def test_lists_come_in_primary_key_order():
    db = database(Pod("c"), Pod("a"), Pod("b", "n2"))
    assert names(db.snapshot()[Pods.by_node]["n1"]) == ["a", "c"]


def test_a_prefix_of_a_secondary_key_never_reaches_into_the_primary():
    db = database(Pod("aa", tags=("a",)), Pod("x", tags=("aab",)))
    assert names(db.snapshot()[Pods.by_tag].prefix("aa")) == ["x"]


def test_prefix_and_range_are_ordered_by_index_key_and_then_primary():
    db = database(Pod("z", tags=("b",)), Pod("b", tags=("bb",)), Pod("a", tags=("b",)))
    by_tag = db.snapshot()[Pods.by_tag]
    assert names(by_tag.prefix("b")) == ["a", "z", "b"]
    assert names(by_tag.range("b")) == ["a", "z", "b"]
    assert names(by_tag.range("ba")) == ["b"]


def test_a_row_with_several_matching_keys_comes_once():
    db = database(Pod("a", tags=("t1", "t2")), Pod("b", tags=("t2",)))
    assert names(db.snapshot()[Pods.by_tag].prefix("t")) == ["a", "b"]
    assert names(db.snapshot()[Pods.by_tag].range("t1", "t9")) == ["a", "b"]


def test_ranges_are_half_open_and_may_be_open_at_both_ends():
    db = database(*[Pod(name) for name in ("a", "b", "c", "d")])
    view = db.snapshot()[Pods]
    assert names(view.range("b", "d")) == ["b", "c"]
    assert names(view.range(None, "c")) == ["a", "b"]
    assert names(view.range("bb")) == ["c", "d"]
    assert names(view.range("x")) == []
    assert names(view.range(limit=2)) == ["a", "b"]
    assert names(view.range("b", limit=1)) == ["b"]


def test_the_empty_prefix_is_everything_that_has_a_key():
    db = database(Pod("a", tags=("t",)), Pod("b"))
    snapshot = db.snapshot()
    assert names(snapshot[Pods].prefix("")) == ["a", "b"]
    assert names(snapshot[Pods.by_tag].prefix("")) == ["a"]
    assert names(snapshot[Pods.by_tag].range()) == ["a"]


def test_the_empty_key():
    db = database(Pod("", "", ("", "x")), Pod("a"))
    snapshot = db.snapshot()
    assert snapshot[Pods][""].name == ""
    assert names(snapshot[Pods].prefix("")) == ["", "a"]
    assert names(snapshot[Pods.by_node][""]) == [""]
    assert names(snapshot[Pods.by_tag][""]) == names(snapshot[Pods.by_tag]["x"]) == [""]


def test_numbers_are_ordered_as_numbers():
    class Numbers(Table[int, tuple[int]], name="numbers"):
        primary = UniqueIndex[int, tuple[int]](lambda row: row[0])

    db = Database(Numbers)
    with db.write(Numbers) as txn:
        for number in (300, -1, 2, 1 << 70):
            txn[Numbers].insert((number,))
    assert list(db.snapshot()[Numbers]) == [-1, 2, 300, 1 << 70]


def test_a_view_is_a_mapping():
    db = database(Pod("b"), Pod("a"))
    view = db.snapshot()[Pods]
    assert list(view) == list(view.keys()) == ["a", "b"]
    assert list(view.items()) == [("a", Pod("a")), ("b", Pod("b"))]
    assert (len(view), "a" in view, "x" in view) == (2, True, False)
    assert view.get("x", Pod("default")) == Pod("default")
    assert dict(view) == {"a": Pod("a"), "b": Pod("b")}


def test_sequences_may_be_run_again_and_left_early():
    db = database(*[Pod(f"p{number:02}") for number in range(20)])
    rows = db.snapshot()[Pods].values()
    assert names(rows) == names(rows)
    for row in rows:
        assert row.name == "p00"
        break
    assert len(list(rows)) == 20


def test_the_count_is_of_rows_that_are_there():
    db = database(Pod("a"), Pod("b"))
    delete(db, "a")
    assert len(db.snapshot()[Pods]) == 1


@pytest.mark.parametrize("key", [1, None, ("a",), 1.5])
def test_a_prefix_that_is_none_is_refused(key):
    db = database(Pod("a"))
    if isinstance(key, tuple):
        assert db.snapshot()[Pods].prefix(key) == ()
    else:
        with pytest.raises(InvalidKey):
            db.snapshot()[Pods].prefix(key)


class Pairs(Table[tuple[bytes, bytes], tuple[bytes, bytes]], name="pairs"):
    primary = UniqueIndex[tuple[bytes, bytes], tuple[bytes, bytes]](lambda row: row)
    by_second = Index[bytes, tuple[bytes, bytes]](lambda row: (row[1],))


@given(st.lists(st.tuples(st.binary(max_size=3), st.binary(max_size=3)), max_size=20), st.binary(max_size=2))
def test_any_bytes_are_ordered_by_secondary_and_then_primary(rows: list[tuple[bytes, bytes]], prefix: bytes):
    db = Database(Pairs)
    with db.write(Pairs) as txn:
        for row in rows:
            txn[Pairs].insert(row)
    snapshot = db.snapshot()
    assert list(snapshot[Pairs]) == sorted(set(rows))
    by_second = sorted(set(rows), key=lambda row: (row[1], row))
    assert list(snapshot[Pairs.by_second].range()) == by_second
    assert list(snapshot[Pairs.by_second].prefix(prefix)) == [row for row in by_second if row[1].startswith(prefix)]
    assert list(snapshot[Pairs].prefix((prefix,))) == [row for row in sorted(set(rows)) if row[0] == prefix]


def test_a_stale_snapshot_answers_every_question_as_it_did():
    db = database(*[Pod(f"p{n}", f"n{n % 3}", (f"t{n % 2}",)) for n in range(9)])
    old = db.snapshot()
    expected = (names(old[Pods.by_node]["n1"]), names(old[Pods].prefix("p1")), names(old[Pods.by_tag].prefix("t")))
    for n in range(300):
        put(db, Pod(f"p{n % 12}", f"n{n % 5}", (f"t{n % 7}",)))
    assert (
        names(old[Pods.by_node]["n1"]),
        names(old[Pods].prefix("p1")),
        names(old[Pods.by_tag].prefix("t")),
    ) == expected


def test_a_range_that_ends_before_it_begins_is_empty():
    view = database(Pod("a"), Pod("b")).snapshot()[Pods]
    assert view.range("b", "a") == view.range("a", "a") == view.range("c", "d") == view.range(limit=0) == ()


def test_a_unique_index_is_read_in_its_own_order():
    db = database(Pod("a", address="3"), Pod("b", address="1"), Pod("c", address="11"), Pod("d"))
    by_address = db.snapshot()[Pods.by_address]
    assert by_address.keys() == ("1", "11", "3")
    assert names(by_address.prefix("1")) == ["b", "c"]
    assert names(by_address.range("11")) == ["c", "a"]
    assert names(by_address.range(limit=1)) == ["b"]
    assert ("1" in by_address, "2" in by_address) == (True, False)


def test_the_primary_index_may_be_asked_like_any_other():
    db = database(Pod("b"), Pod("a"))
    primary = db.snapshot()[Pods.primary]
    assert (primary["a"], primary.get("x"), primary.keys()) == (Pod("a"), None, ("a", "b"))
    assert names(primary.range("b")) == names(primary.prefix("b")) == ["b"]


def test_limits_count_rows_and_not_what_is_gone():
    db = database(*[Pod(f"p{number}", tags=("t",)) for number in range(20)])
    old = db.snapshot()
    delete(db, *[f"p{number}" for number in range(19)])
    put(db, *[Pod(f"o{number}", tags=("t",)) for number in range(5)])
    assert names(old[Pods].range("p", limit=3)) == ["p0", "p1", "p10"]
    assert names(old[Pods.by_tag].range(limit=3)) == ["p0", "p1", "p10"]
    assert names(db.snapshot()[Pods].range("p", limit=3)) == ["p19"]
    with db.write(Pods) as txn:
        txn[Pods].delete("o0")
        txn[Pods].insert(Pod("n"))
        assert names(txn[Pods].range(limit=3)) == ["n", "o1", "o2"]


@pytest.mark.parametrize("empty", [True, False], ids=["empty table", "other rows"])
@pytest.mark.parametrize(("name", "node"), [("", "n"), ("a", ""), ("", "")])
def test_an_empty_primary_key_an_empty_secondary_key_and_both(empty: bool, name: str, node: str):
    db = database(*([] if empty else [Pod("other", "elsewhere")]))
    put(db, Pod(name, node))
    for view in (db.snapshot(), txn := db.write(Pods)):
        assert view[Pods][name] == view[Pods.by_node][node][0] == Pod(name, node)
        assert Pod(name, node) in view[Pods].prefix(name)
        assert Pod(name, node) in view[Pods.by_node].prefix(node)
    txn.abort()


def test_a_key_of_another_type_is_not_there():
    view = database(Pod("1")).snapshot()[Pods]
    assert view.get(1) is None  # type: ignore[call-overload]
    assert 1 not in view


@pytest.mark.parametrize(
    "ask",
    [
        lambda snapshot: snapshot[Pods].range(1),
        lambda snapshot: snapshot[Pods].range(None, 1.5),
        lambda snapshot: snapshot[Pods].prefix(b"a"),
        lambda snapshot: snapshot[Pods.by_tag].range(1),
        lambda snapshot: snapshot[Pods.by_tag].prefix(b"t"),
        lambda snapshot: snapshot[Pods.primary].range(1),
    ],
)
def test_a_bound_of_another_type_is_refused_and_named(ask):
    db = database(Pod("a", tags=("t",)))
    stale = db.snapshot()
    put(db, Pod("b"))
    for snapshot in (stale, db.snapshot()):
        with pytest.raises(InvalidKey, match=r"table 'pods', index '(primary|by_tag)'.*own type"):
            ask(snapshot)
