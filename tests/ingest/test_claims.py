"""Claims folded step by step equal a fresh computation, whatever the order of the steps."""

from typing import Any

from hypothesis import given, settings, strategies as st

from ingest.reflect.claims import Claims

NOTHING: dict[int, Any] = {}
"""A table that is never written: all steps go into one set of changes."""

OBJECTS = ["a", "b", "c", "d"]
FEEDS = ["f", "g"]

row_lists = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), max_size=3).map(tuple)
names = st.sampled_from(OBJECTS)
upserts = st.tuples(st.just("upsert"), st.sampled_from(FEEDS), names, row_lists)
deletes = st.tuples(st.just("delete"), st.sampled_from(FEEDS), names, st.none())
lists = st.tuples(
    st.just("list"), st.sampled_from(FEEDS), st.none(), st.lists(st.tuples(names, row_lists), unique_by=lambda o: o[0])
)
doubts = st.tuples(st.just("doubt"), st.sampled_from(FEEDS), st.none(), st.lists(names, unique=True))
histories = st.lists(upserts | deletes | lists | doubts, max_size=25)

Row = tuple[int, int]


def preference(row: Row) -> int:
    return row[1] // 2


class Model:
    """The same by brute force: the present rows of every object, and the objects in doubt."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[int, Row]] = {}
        self.doubted: set[str] = set()

    def upsert(self, name: str, rows: tuple[Row, ...]) -> None:
        new: dict[int, Row] = {}
        for row in rows:
            new.setdefault(row[0], row)
        self.rows[name] = new

    def delete(self, name: str) -> None:
        del self.rows[name]
        self.doubted.discard(name)

    def holder(self, key: int) -> str:
        claimants = [name for name, rows in self.rows.items() if key in rows]
        return min(claimants, key=lambda name: (name in self.doubted, preference(self.rows[name][key]), name))

    def table(self) -> dict[int, Row]:
        keys = {key for rows in self.rows.values() for key in rows}
        return {key: self.rows[self.holder(key)][key] for key in keys}


def apply(
    claims: Claims[int, Row], model: Model, step: Any, changes: dict[int, Row | None] | None = None
) -> dict[int, Row | None]:
    kind, feed, name, value = step
    changes = {} if changes is None else changes
    if kind == "list":
        listed = [(f"{feed}{name}", rows) for name, rows in value]
        present = {name for name, _ in listed}
        gone = [name for name in model.rows if name[0] == feed and name not in present]
        for each in gone:
            model.delete(each)
        for each, rows in listed:
            model.upsert(each, rows)
        claims.relist(feed, gone, listed, changes)
    elif kind == "doubt":
        doubted = {f"{feed}{name}" for name in value}
        model.doubted = {each for each in model.doubted if each[0] != feed}
        model.doubted |= {each for each in doubted if model.rows.get(each)}
        claims.doubt(feed, doubted, changes)
    elif kind == "upsert":
        model.upsert(feed + name, value)
        claims.claim(feed, feed + name, value, changes)
    else:
        if feed + name in model.rows:
            model.delete(feed + name)
        claims.withdraw(feed, feed + name, changes)
    return changes


def fold(table: dict[int, Row], changes: dict[int, Row | None]) -> None:
    for key, row in changes.items():
        if row is None:
            table.pop(key, None)
        else:
            table[key] = row


@given(histories)
@settings(max_examples=300)
def test_folded_changes_equal_a_fresh_computation(history: list[Any]):
    table: dict[int, Row] = {}
    claims, model = Claims[int, Row](lambda row: row[0], table.get, preference), Model()
    for step in history:
        fold(table, apply(claims, model, step))
        assert table == model.table()
        assert len(claims) == len(table)
        for key in range(5):
            assert (key in claims) == (key in table)
            if key in table:
                assert claims.holder(key) == model.holder(key)
        for feed in FEEDS:
            assert set(claims.names(feed)) == {name for name, rows in model.rows.items() if rows and name[0] == feed}


@given(histories)
@settings(max_examples=100)
def test_one_set_of_changes_may_go_through_many_steps(history: list[Any]):
    model, changes = Model(), dict[int, Row | None]()
    claims = Claims[int, Row](lambda row: row[0], NOTHING.get, preference)
    for step in history:
        apply(claims, model, step, changes)
    assert {key: row for key, row in changes.items() if row is not None} == model.table()


@given(histories)
@settings(max_examples=100)
def test_nothing_is_left_behind_when_every_object_has_gone(history: list[Any]):
    model, changes = Model(), dict[int, Row | None]()
    claims = Claims[int, Row](lambda row: row[0], NOTHING.get, preference)
    for step in history:
        apply(claims, model, step, changes)
    for feed in FEEDS:
        for name in OBJECTS:
            claims.withdraw(feed, feed + name, changes)
    assert not claims._holders
    assert not claims._waiting
    assert not any(claims._keys.values())


@given(histories, st.randoms(use_true_random=False))
@settings(max_examples=100)
def test_after_a_restart_the_rows_are_the_same(history: list[Any], random: Any):
    """What an agent has seen in any order is what one that begins now reads in another."""
    model = Model()
    for step in history:
        apply(Claims[int, Row](lambda row: row[0], NOTHING.get, preference), model, step)
    model.doubted.clear()
    names = list(model.rows)
    random.shuffle(names)
    changes: dict[int, Row | None] = {}
    claims = Claims[int, Row](lambda row: row[0], NOTHING.get, preference)
    for name in names:
        claims.claim(name[0], name, tuple(model.rows[name].values()), changes)
    assert changes == model.table()


def claims_of(*steps: tuple[str, tuple[Row, ...]]) -> Claims[int, Row]:
    table: dict[int, Row] = {}
    claims = Claims[int, Row](lambda row: row[0], table.get)
    for name, rows in steps:
        changes: dict[int, Row | None] = {}
        claims.claim("f", name, rows, changes)
        fold(table, changes)
    return claims


def test_the_first_by_name_holds_a_key_and_the_next_is_promoted():
    claims = claims_of(("b", ((1, 1),)), ("c", ((1, 2),)), ("a", ((1, 0),)))
    changes: dict[int, Row | None] = {}
    assert claims.holder(1) == "a"
    claims.claim("f", "b", ((1, 7),), changes)
    assert changes == {}, "a waiting claimant's update is only remembered"
    claims.withdraw("f", "a", changes)
    assert changes == {1: (1, 7)}
    claims.withdraw("f", "b", changes)
    claims.withdraw("f", "c", changes)
    assert changes == {1: None}


def test_a_key_that_moves_between_objects_in_one_batch_is_taken_over_and_never_deleted():
    for order in (("from", "to"), ("to", "from")):
        claims = claims_of(("from", ((1, 0), (2, 0))), ("to", ((3, 0),)))
        after = {"from": ((2, 0),), "to": ((3, 0), (1, 0))}
        changes: dict[int, Row | None] = {}
        for name in order:
            claims.claim("f", name, after[name], changes)
        assert changes[1] == (1, 0)
        assert claims.holder(1) == "to"
