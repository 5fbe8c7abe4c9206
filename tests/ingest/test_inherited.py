"""Rows of before: a model says which of them stay, and what is told of these."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st

from ingest.events import Bad, Delete, Event, Listed, Upsert
from ingest.reflect.inherited import Inherited
from ingest.status import Status
from statedb import Database
from statedb.catalog import Rejected, SourceKey, Sources
from statedb.catalog.wire import PartlyRead

from .test_reflect import BOTH, THINGS, Key, Part, Parts, Rig, Thing, Things, bad_beside_rows_of_before, part, thing, up


def told(rig: Rig) -> tuple[str, int, str]:
    rig.status.write()
    row = rig.db.snapshot()[Sources][SourceKey("c", "things")]
    return row.state, row.withheld_deletes, row.last_error


def beside(*names: str) -> Rig:
    """A source of two feeds that share a table. The table has rows of before."""
    db = Database(Things, Parts, Sources, Rejected)
    with db.write(Things) as txn:
        txn[Things].insert_all([thing(name) for name in names])
    rig = Rig(THINGS, BOTH, db=db)
    rig.status.report("synced")
    return rig


@pytest.mark.parametrize(
    "doubted",
    [Listed("both", [], full=False, doubt="it is another server"), Delete("both", "b", doubt="it is another server")],
)
def test_an_unreadable_object_is_gone_only_where_the_server_is_believed(doubted: Event):
    """A list that was not believed healed it, and the rows that it may have went with that."""
    rig = bad_beside_rows_of_before()
    rig.say(doubted)
    assert rig.things() == {"a": 0, "gone": 0}
    assert told(rig) == ("stale", 1, "withholding 1 deletes: it is another server")
    assert rig.reflector.names("both") == {"b"}
    assert rig.reflector.withheld("both") == 1
    assert rig.rejected() == {"b": "torn"}
    rig.reflector.release("both")
    assert rig.things() == {"a": 0}
    assert told(rig) == ("synced", 0, "")
    assert rig.rejected() == {}


def test_an_unreadable_object_that_is_there_again_is_withheld_no_more():
    rig = bad_beside_rows_of_before()
    rig.say(Listed("both", [], full=False, doubt="it is another server"))
    rig.say(Bad("both", "b", "torn"))
    assert not rig.reflector.is_doubted()
    assert told(rig)[2].startswith("withholding 1 deletes: rows of before")
    rig.say(Upsert("both", "b", (thing("gone", 1),)))
    assert rig.things() == {"a": 0, "gone": 1}
    assert told(rig) == ("synced", 0, "")


def test_a_row_whose_object_can_be_read_again_is_not_deleted_by_a_list_of_others_before_that_is_written():
    rig = bad_beside_rows_of_before()
    with rig.db.changes(Things) as stream:
        stream.next(timeout=0)
        rig.reflector.offer(Upsert("both", "b", (thing("gone", 1),)))
        rig.reflector.offer(Listed("things", [up("a", thing("a"))]))
        assert stream.next(timeout=0) is None
        rig.say()
        batch = stream.next(timeout=0)
        assert batch is not None
        assert [(change.row, change.deleted) for change in batch] == [(thing("gone", 1), False)]


def test_a_row_that_an_object_took_and_gave_up_before_the_last_first_list_is_not_counted():
    """The row was gone, and the source never synced."""
    rig = beside("x")
    rig.say(Listed("things", [up("a", thing("x"))]), Delete("things", "a"))
    rig.say(Listed("both", [Bad("both", "b", "torn")]))
    assert rig.things() == {}
    assert told(rig) == ("synced", 0, "")


def test_an_object_that_is_partly_read_keeps_no_rows_of_before():
    """Its readable parts are all that it has, after a restart as before."""
    rig = beside("gone")
    rig.say(Listed("both", []), Listed("things", [Upsert("things", "a", PartlyRead.of((), ("torn",)))]))
    assert rig.things() == {}
    assert told(rig) == ("synced", 0, "")


class Counted:
    """A key that counts how often it is looked up."""

    lookups = 0

    def __hash__(self) -> int:
        Counted.lookups += 1
        return 1


def test_a_batch_costs_nothing_for_each_row_that_is_kept():
    """Each batch looked at all of them: 100 000 rows for one event."""
    inherited = Inherited([THINGS], Status(Database(Things, Sources, Rejected), "c", "test", (Things,)))
    inherited.begin(Things, [Counted() for _ in range(100)])
    inherited.reject("things", "b")
    inherited.finish([Things])
    Counted.lookups = 0
    for number in range(100):
        changes: dict[Any, Any] = {Things: {number: None}}
        inherited.written([], changes)
        inherited.settle(changes)
    assert Counted.lookups == 0
    assert inherited.keeps(Things, "things", ["b"])


# --- the model --------------------------------------------------------------------------------------------------------

FEEDS: dict[str, tuple[type, ...]] = {"things": (Thing,), "both": (Thing, Part)}
OF = {"a": "things", "b": "things", "c": "both", "d": "both"}
BEFORE: list[Any] = [thing("x", 9), thing("y", 9), part("x", 9)]

_names = st.sampled_from("abcd")
_sets = st.lists(st.builds(thing, st.sampled_from("xyz")) | st.builds(part, st.sampled_from("xyz")), max_size=2)
_doubts = st.sampled_from(["", "its lease ended"])


def _upsert(name: str, rows: list[Any]) -> Upsert:
    return Upsert(OF[name], name, tuple(row for row in rows if type(row) in FEEDS[OF[name]]))


def _bad(name: str) -> Bad:
    return Bad(OF[name], name, "torn")


def _listed(objects: list[Upsert | Bad], feed: str, full: bool) -> Listed:
    return Listed(feed, [each for each in objects if each.feed == feed], full, "" if full else "another server")


_upserts = st.builds(_upsert, _names, _sets)
_steps = st.one_of(
    _upserts,
    _names.map(_bad),
    st.builds(lambda name, doubt: Delete(OF[name], name, doubt), _names, _doubts),
    st.builds(
        _listed,
        st.lists(_upserts | _names.map(_bad), unique_by=lambda each: each.object),
        st.sampled_from(["things", "both"]),
        st.booleans(),
    ),
    st.sampled_from(["flush", "release", "accept"]),
    st.sampled_from(sorted(FEEDS)).map(lambda feed: ("disown", feed)),
)


class Model:
    """What is known of each object, and of each row of before that no object has had yet."""

    def __init__(self) -> None:
        self.rows: dict[str, set[Any]] = {name: set() for name in OF}
        self.unread: set[str] = set()
        self.doubted: set[str] = set()
        self.listed: set[tuple[str, type]] = set()
        self.unconfirmed: set[str] = set()
        self.waiting: dict[str, Upsert | Delete] = {}
        self.before = {(type(row), row.key) for row in BEFORE}
        self.disowned: set[tuple[type, Key]] = set()

    def offer(self, event: Event) -> None:
        if isinstance(event, Listed):
            self.list(event)
        elif isinstance(event, Delete) and event.doubt:
            name = event.object
            if name in self.waiting or self.rows[name] or name in self.unread:
                self.doubted.add(name)
        else:
            self.doubted.discard(event.object)
            if isinstance(event, Bad):
                self.reject(event.object)
            else:
                self.waiting[event.object] = event

    def reject(self, name: str) -> None:
        if not self.rows[name]:
            self.unread.add(name)

    def write(self, event: Upsert | Delete) -> None:
        name = event.object
        self.rows[name] = {(type(row), row.key) for row in event.rows} if isinstance(event, Upsert) else set()
        self.before -= self.rows[name]
        self.unread.discard(name)

    def list(self, event: Listed) -> None:
        objects = {each.object: each for each in event.objects}
        for name in [name for name in self.waiting if OF[name] == event.feed]:
            waiting = self.waiting.pop(name)
            if isinstance(objects.get(name), Bad):
                self.write(waiting)
        known = {name for name in OF if OF[name] == event.feed and (self.rows[name] or name in self.unread)}
        missing = known - objects.keys()
        self.doubted = {name for name in self.doubted if OF[name] != event.feed} | (set() if event.full else missing)
        for name in missing if event.full else ():
            self.write(Delete(event.feed, name))
        for each in objects.values():
            if isinstance(each, Bad):
                self.reject(each.object)
            else:
                self.write(each)
        if event.full:
            self.complete(event.feed)
        else:
            self.unconfirmed.add(event.feed)
        self.settle()

    def complete(self, feed: str) -> None:
        self.listed |= {(feed, kind) for kind in FEEDS[feed]}
        self.unconfirmed.discard(feed)

    def disown(self, feed: str) -> None:
        """Rows that no object of another feed has are rows of before, and all lists of their tables must come."""
        self.flush()
        of_feed = {name for name in OF if OF[name] == feed}
        left = set().union(*(self.rows[name] for name in of_feed))
        self.rows.update({name: set() for name in of_feed})
        orphans = left - set().union(*self.rows.values())
        self.before |= orphans
        self.disowned |= orphans
        self.unread -= of_feed
        self.doubted -= of_feed
        self.unconfirmed.discard(feed)
        self.listed = {(each, kind) for each, kind in self.listed if kind not in FEEDS[feed]}

    def flush(self) -> None:
        for event in self.waiting.values():
            self.write(event)
        self.waiting.clear()
        self.settle()

    def release(self) -> None:
        for name in self.doubted:
            self.waiting[name] = Delete(OF[name], name)
        self.doubted.clear()
        for feed in tuple(self.unconfirmed):
            self.complete(feed)
        self.flush()

    def accept(self) -> None:
        self.flush()
        self.before = {(kind, key) for kind, key in self.before if not self.is_finished(kind)}

    def is_finished(self, kind: type) -> bool:
        return all((feed, kind) in self.listed for feed, kinds in FEEDS.items() if kind in kinds)

    def settle(self) -> None:
        """A row of before goes when all have been listed, and it can be of no object."""
        self.before = {(kind, key) for kind, key in self.before if not self.is_finished(kind) or self.owners(kind)}

    def owners(self, kind: type) -> set[str]:
        return {name for name in self.unread if kind in FEEDS[OF[name]]}


@example(
    [
        Listed("both", []),
        Listed("things", [Bad("things", "a", "torn")]),
        Listed("things", [], False, "another server"),
        "release",
    ]
)
@example(
    [
        Listed("both", []),
        Listed("things", [Bad("things", "a", "torn")]),
        ("disown", "things"),
        Listed("things", [Bad("things", "b", "torn")]),
        Listed("both", [Upsert("both", "c", (thing("x"),))]),
        ("disown", "both"),
        Listed("both", [], False, "another server"),
        Listed("both", []),
    ]
)
@given(st.lists(_steps, max_size=20))
@settings(max_examples=300)
def test_rows_of_before_are_those_that_a_model_keeps(history: list[Any]):
    db = Database(Things, Parts, Sources, Rejected)
    with db.write(Things, Parts) as txn:
        for row in BEFORE:
            txn[Things if isinstance(row, Thing) else Parts].insert(row)
    rig, model = Rig(THINGS, BOTH, db=db), Model()
    rig.status.report("synced")
    for step in history:
        if isinstance(step, str | tuple):
            call, *arguments = (step,) if isinstance(step, str) else step
            getattr(rig.reflector, call)(*arguments)
            getattr(model, call)(*arguments)
        else:
            rig.reflector.offer(step)
            model.offer(step)
            if not isinstance(step, Listed):
                continue
        snapshot = db.snapshot()
        found: dict[Any, Any] = {
            (type(row), row.key): row for row in [*snapshot[Things].values(), *snapshot[Parts].values()]
        }
        claimed = set().union(*model.rows.values())
        assert found.keys() == claimed | model.before
        assert {place for place, row in found.items() if row.value == 9} >= model.before - model.disowned
        for table, kind in ((Things, Thing), (Parts, Part)):
            kept = {key for of, key in model.before if of is kind} if model.is_finished(kind) else set[Key]()
            shown = snapshot[Sources][SourceKey("c", table.name)]
            if kept or shown.withheld_deletes:
                assert shown.state == "stale"
            assert shown.withheld_deletes >= len(kept)
            if not model.doubted and not model.unconfirmed:
                assert shown.withheld_deletes == len(kept)
