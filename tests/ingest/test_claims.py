"""Claims folded step by step equal a fresh computation, and the first claimant stays."""

from typing import Any

from hypothesis import given, settings, strategies as st

from ingest.reflect.claims import Claims

OBJECTS = ["a", "b", "c", "d"]
FEEDS = ["f", "g"]

row_lists = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), max_size=3).map(tuple)
names = st.sampled_from(OBJECTS)
upserts = st.tuples(st.just("upsert"), st.sampled_from(FEEDS), names, row_lists)
deletes = st.tuples(st.just("delete"), st.sampled_from(FEEDS), names, st.none())
lists = st.tuples(
    st.just("list"), st.sampled_from(FEEDS), st.none(), st.lists(st.tuples(names, row_lists), unique_by=lambda o: o[0])
)
histories = st.lists(upserts | deletes | lists, max_size=25)

Row = tuple[int, int]


class Model:
    """The same by brute force: an ordered list of claimants for every key."""

    def __init__(self) -> None:
        self.queues: dict[int, list[str]] = {}
        self.rows: dict[str, dict[int, Row]] = {}

    def upsert(self, name: str, rows: tuple[Row, ...]) -> None:
        new: dict[int, Row] = {}
        for row in rows:
            new.setdefault(row[0], row)
        for key in self.rows.get(name, {}):
            if key not in new:
                self.queues[key].remove(name)
        for key in new:
            queue = self.queues.setdefault(key, [])
            if name not in queue:
                queue.append(name)
        self.rows[name] = new

    def delete(self, name: str) -> None:
        self.upsert(name, ())
        del self.rows[name]

    def table(self) -> dict[int, Row]:
        return {key: self.rows[queue[0]][key] for key, queue in self.queues.items() if queue}


def apply(claims: Claims[int, Row], model: Model, step: Any) -> dict[int, Row | None]:
    kind, feed, name, value = step
    changes: dict[int, Row | None] = {}
    if kind == "list":
        listed = [(f"{feed}{name}", rows) for name, rows in value]
        present = {name for name, _ in listed}
        gone = [name for name in model.rows if name[0] == feed and name not in present]
        for each in gone:
            model.delete(each)
        for each, rows in listed:
            model.upsert(each, rows)
        claims.relist(feed, gone, listed, changes)
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
    claims, model, table = Claims[int, Row](lambda row: row[0]), Model(), dict[int, Row]()
    for step in history:
        fold(table, apply(claims, model, step))
        assert table == model.table()
        assert len(claims) == len(table)
        for key in range(5):
            assert (key in claims) == (key in table)
            if key in table:
                assert claims.holder(key) == model.queues[key][0]
        for feed in FEEDS:
            assert set(claims.names(feed)) == {name for name, rows in model.rows.items() if rows and name[0] == feed}


@given(histories)
@settings(max_examples=100)
def test_one_set_of_changes_may_go_through_many_steps(history: list[Any]):
    claims, model, changes = Claims[int, Row](lambda row: row[0]), Model(), dict[int, Row | None]()
    for step in history:
        changes.update(apply(claims, model, step))
    assert {key: row for key, row in changes.items() if row is not None} == model.table()


@given(histories)
@settings(max_examples=100)
def test_nothing_is_left_behind_when_every_object_has_gone(history: list[Any]):
    claims, model = Claims[int, Row](lambda row: row[0]), Model()
    for step in history:
        apply(claims, model, step)
    changes: dict[int, Row | None] = {}
    for feed in FEEDS:
        for name in OBJECTS:
            claims.withdraw(feed, feed + name, changes)
    assert not claims._holders
    assert not claims._waiting
    assert not any(claims._keys.values())


def claims_of(*steps: tuple[str, tuple[Row, ...]]) -> Claims[int, Row]:
    claims = Claims[int, Row](lambda row: row[0])
    for name, rows in steps:
        claims.claim("f", name, rows, {})
    return claims


def test_the_first_claimant_stays_and_the_next_is_promoted():
    claims = claims_of(("old", ((1, 0),)), ("new", ((1, 1),)), ("newest", ((1, 2),)))
    changes: dict[int, Row | None] = {}
    claims.claim("f", "new", ((1, 7),), changes)
    assert changes == {}, "a waiting claimant's update is only remembered"
    claims.withdraw("f", "old", changes)
    assert changes == {1: (1, 7)}
    claims.withdraw("f", "new", changes)
    claims.withdraw("f", "newest", changes)
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


def test_over_a_relist_incumbents_keep_their_order_and_newcomers_follow_in_list_order():
    claims = claims_of(("b", ((1, 1),)), ("a", ((1, 0),)))
    changes: dict[int, Row | None] = {}
    claims.relist("f", (), [("z", ((1, 9),)), ("a", ((1, 0),)), ("b", ((1, 1),)), ("y", ((1, 8),))], changes)
    order = []
    for _ in range(4):
        holder = claims.holder(1)
        assert holder is not None
        order.append(holder)
        claims.withdraw("f", holder, changes)
    assert order == ["b", "a", "z", "y"]
