"""Events into tables: owned, quiet, converging, no false deletes, initialized; folded tables equal a fresh one."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings, strategies as st

from ingest.errors import OwnedElsewhere
from ingest.events import Bad, Delete, Event, Listed, Upsert
from ingest.reflect import Feed, Reflector
from ingest.status import Status, declare_absent
from statedb import Database, Index, Table, UniqueIndex
from statedb.catalog import Rejected, RejectedKey, SourceKey, SourceRow, Sources


class Key(msgspec.Struct, frozen=True, order=True, gc=False):
    cluster: str
    name: str


class Thing(msgspec.Struct, frozen=True, gc=False):
    key: Key
    value: int = 0


class Part(msgspec.Struct, frozen=True, gc=False):
    key: Key
    value: int = 0


class Things(Table[Key, Thing], name="things"):
    primary = UniqueIndex[Key, Thing](lambda row: row.key)
    by_value = Index[int, Thing](lambda row: (row.value,))


class Parts(Table[Key, Part], name="parts"):
    primary = UniqueIndex[Key, Part](lambda row: row.key)


def thing(name: str, value: int = 0, cluster: str = "c") -> Thing:
    return Thing(Key(cluster, name), value)


def part(name: str, value: int = 0) -> Part:
    return Part(Key("c", name), value)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


THINGS = Feed("things", (Things,))
BOTH = Feed("both", (Things, Parts), mixed=True)


class Rig:
    """A reflector on a database, with a clock that stands still."""

    def __init__(self, *feeds: Feed, db: Database | None = None, backend: str = "test", **options: Any) -> None:
        self.db = db or Database(Things, Parts, Sources, Rejected)
        self.clock = Clock()
        tables = tuple(dict.fromkeys(table for feed in feeds for table in feed.tables))
        self.status = Status(self.db, "c", backend, tables, wall=self.clock, clock=self.clock, **options)
        self.reflector = Reflector(self.db, "c", backend, feeds, self.status, clock=self.clock)
        self.reflector.begin()

    def say(self, *events: Event) -> None:
        for event in events:
            self.reflector.offer(event)
        self.reflector.flush()

    def things(self) -> dict[str, int]:
        return {row.key.name: row.value for row in self.db.snapshot()[Things].values()}

    def parts(self) -> dict[str, int]:
        return {row.key.name: row.value for row in self.db.snapshot()[Parts].values()}

    def rejected(self) -> dict[str, str]:
        self.status.write()
        return {row.key.object: row.error for row in self.db.snapshot()[Rejected].values()}


def up(name: str, *rows: Any, feed: str = "things") -> Upsert:
    return Upsert(feed, name, rows)


# --- the named guarantees ---------------------------------------------------------------------------------------------


def test_owned():
    """A source removes only its own rows: not another cluster's, not what another feed brought."""
    rig = Rig(THINGS, BOTH)
    with rig.db.write(Things) as txn:
        txn[Things].insert(thing("theirs", cluster="other"))
    rig.say(Listed("both", [up("o", thing("x"), part("y"), feed="both")]))
    rig.say(Listed("things", [up("a", thing("a"))]))
    rig.say(Listed("things", []))
    assert [row.key for row in rig.db.snapshot()[Things].values()] == [Key("c", "x"), Key("other", "theirs")]
    assert rig.parts() == {"y": 0}


def test_quiet():
    """Equal rows wake nobody: a re-list of what is there already makes no commit that anybody sees."""
    rig = Rig(THINGS)
    rows = [up(str(i), thing(str(i), i)) for i in range(10)]
    rig.say(Listed("things", rows))
    before = rig.db.snapshot()
    watch = before[Things].watch()
    rig.say(Listed("things", list(reversed(rows))))
    rig.say(*rows)
    rig.say(Delete("things", "unknown"))
    assert not watch.tripped
    assert rig.db.snapshot()[Things].revision == before[Things].revision


def test_converging():
    """After any outage the table equals the source, in one transaction: readers see the old state or the new."""
    rig = Rig(THINGS)
    rig.say(Listed("things", [up("a", thing("a")), up("b", thing("b")), up("c", thing("c"))]))
    with rig.db.changes(Things) as stream:
        stream.next(timeout=0)
        rig.say(Listed("things", [up("b", thing("b", 7)), up("d", thing("d"))]))
        batch = stream.next(timeout=0)
        assert batch is not None
        assert {(c.row.key.name, c.deleted) for c in batch} == {("a", True), ("c", True), ("b", False), ("d", False)}
        assert stream.next(timeout=0) is None
    assert rig.things() == {"b": 7, "d": 0}


def test_no_false_deletes():
    """A list that is not to be believed deletes nothing; a change stream sees no deletion until it is believed."""
    rig = Rig(THINGS)
    rig.say(Listed("things", [up("a", thing("a")), up("b", thing("b")), up("c", thing("c"))]))
    with rig.db.changes(Things) as stream:
        stream.next(timeout=0)
        rig.say(Listed("things", [up("b", thing("b", 1))], full=False))
        assert rig.reflector.withheld("things") == 2
        rig.say(up("a", thing("a", 2)))
        assert rig.reflector.withheld("things") == 1
        seen = [change for batch in iter(lambda: stream.next(timeout=0), None) for change in batch]
        assert not any(change.deleted for change in seen)
        rig.reflector.release()
        assert [(c.row.key.name, c.deleted) for c in stream.next(timeout=0) or ()] == [("c", True)]
    assert rig.reflector.withheld("things") == 0
    assert rig.things() == {"a": 2, "b": 1}


def test_initialized():
    """A table is initialized after the first full list of all its feeds, never before, and once."""
    rig = Rig(THINGS, BOTH)
    rig.say(up("early", thing("early")))
    assert not rig.db.snapshot()[Things].initialized
    rig.say(Listed("things", [], full=False))
    assert not rig.db.snapshot()[Things].initialized
    rig.say(Listed("things", []))
    assert not rig.db.snapshot()[Things].initialized, "the other feed has not been listed yet"
    assert not rig.db.snapshot()[Parts].initialized
    rig.say(Listed("both", []))
    assert rig.db.snapshot()[Things].initialized
    assert rig.db.snapshot()[Parts].initialized
    revision = rig.db.snapshot()[Things].revision
    rig.say(Listed("both", []), Listed("things", []))
    assert rig.db.snapshot()[Things].revision == revision


# --- batches ----------------------------------------------------------------------------------------------------------


def test_of_an_objects_events_in_a_batch_the_last_one_counts():
    rig = Rig(THINGS)
    with rig.db.changes(Things) as stream:
        stream.next(timeout=0)
        rig.say(up("a", thing("a", 1)), up("b", thing("b")), up("a", thing("a", 2)), Delete("things", "b"))
        assert [(c.row.key.name, c.row.value) for c in stream.next(timeout=0) or ()] == [("a", 2)]


def test_two_feeds_may_speak_of_objects_of_one_name_in_one_batch():
    rig = Rig(THINGS, Feed("parts", (Parts,)))
    rig.say(Upsert("things", "a", (thing("a", 1),)), Upsert("parts", "a", (part("a", 2),)))
    assert rig.things() == {"a": 1}
    assert rig.db.snapshot()[Parts][Key("c", "a")].value == 2
    rig.say(Delete("parts", "a"), Upsert("things", "a", (thing("a", 3),)))
    assert rig.things() == {"a": 3}
    assert not rig.db.snapshot()[Parts]


def test_a_batch_is_one_transaction_over_all_its_tables():
    rig = Rig(BOTH)
    with rig.db.changes(Things) as stream:
        stream.next(timeout=0)
        rig.say(up("o", thing("x", 1), part("y", 1), feed="both"))
        rig.say(up("o", thing("x", 2), part("y", 2), feed="both"))
        batch = stream.next(timeout=0)
        assert batch is not None
        assert [row.value for row in batch.snapshot[Parts].values()] == [2]


def test_a_batch_is_due_after_50_ms_or_10_000_rows():
    rig = Rig(THINGS)
    assert not rig.reflector.due
    rig.reflector.offer(up("a", thing("a")))
    assert not rig.reflector.due
    rig.clock.now += 0.051
    assert rig.reflector.due
    rig.reflector.flush()
    assert not rig.reflector.due
    for i in range(9_999):
        rig.reflector.offer(up(str(i), thing(str(i))))
    assert not rig.reflector.due
    rig.reflector.offer(up("last", thing("last")))
    assert rig.reflector.due


def test_a_list_drops_what_its_own_feed_said_before_and_keeps_what_others_said():
    rig = Rig(THINGS, BOTH)
    rig.say(
        up("stale", thing("stale")),
        up("o", thing("x"), feed="both"),
        Listed("things", [up("a", thing("a"))]),
        up("b", thing("b")),
    )
    assert rig.things() == {"a": 0, "b": 0, "x": 0}


def test_rows_of_tables_that_a_feed_does_not_fill_are_left_out():
    rig = Rig(Feed("both", (Parts,), mixed=True))
    rig.say(Listed("both", [up("o", thing("x"), part("y"), feed="both")]))
    assert rig.things() == {}
    assert rig.parts() == {"y": 0}


# --- bad objects ------------------------------------------------------------------------------------------------------


def test_a_bad_object_is_recorded_keeps_its_last_good_rows_and_stops_nobody():
    rig = Rig(THINGS)
    rig.say(Listed("things", [up("a", thing("a", 1)), Bad("things", "b", "no key", "{}")]))
    rig.say(Bad("things", "a", "not JSON", "{"), up("c", thing("c")))
    assert rig.things() == {"a": 1, "c": 0}
    assert rig.rejected() == {"a": "not JSON", "b": "no key"}
    row = rig.db.snapshot()[Rejected][RejectedKey("c", "things", "a")]
    assert (row.excerpt, row.when) == ("{", 1000.0)


def test_a_bad_value_in_a_relist_keeps_the_last_good_rows():
    rig = Rig(THINGS)
    rig.say(Listed("things", [up("a", thing("a", 1)), up("b", thing("b"))]))
    rig.say(Listed("things", [Bad("things", "a", "torn", "")]))
    assert rig.things() == {"a": 1}


def test_good_then_bad_in_one_batch_serves_the_good_one_and_shows_the_bad_one():
    rig = Rig(THINGS)
    rig.say(up("a", thing("a", 1)), Bad("things", "a", "torn", ""))
    assert rig.things() == {"a": 1}
    assert rig.rejected() == {"a": "torn"}
    rig.say(Bad("things", "a", "torn", ""), up("a", thing("a", 2)))
    assert rig.things() == {"a": 2}
    assert rig.rejected() == {}


@pytest.mark.parametrize(
    "cure", [up("a", thing("a")), Delete("things", "a"), Listed("things", []), Listed("things", [up("a", thing("a"))])]
)
def test_a_rejection_goes_when_its_object_heals_or_leaves(cure: Event):
    rig = Rig(THINGS)
    rig.say(Bad("things", "a", "torn", ""))
    assert rig.rejected() == {"a": "torn"}
    rig.say(cure)
    assert rig.rejected() == {}


def test_the_rejected_table_is_capped():
    rig = Rig(THINGS, rejected_max=3)
    rig.say(*(Bad("things", str(i), "torn", "") for i in range(10)))
    assert len(rig.rejected()) == 3
    rig.say(*(up(str(i), thing(str(i))) for i in range(10)))
    assert rig.rejected() == {}
    rig.say(Bad("things", "x", "torn", ""))
    assert rig.rejected() == {"x": "torn"}


def test_a_row_that_the_table_refuses_costs_only_itself():
    rig = Rig(THINGS)
    rig.say(up("a", thing("a")), up("b", Thing(Key("c", "b"), "text")), up("c", thing("c")))  # type: ignore[arg-type]
    assert rig.things() == {"a": 0, "c": 0}
    assert list(rig.rejected()) == ["b"]


# --- ownership and status ---------------------------------------------------------------------------------------------


def test_a_second_owner_of_a_table_is_refused_and_takes_nothing():
    rig = Rig(THINGS, backend="first")
    with pytest.raises(OwnedElsewhere, match=r"'things' of cluster 'c'.*'first'.*'second'"):
        Rig(Feed("both", (Parts, Things), mixed=True), db=rig.db, backend="second")
    assert SourceKey("c", "parts") not in rig.db.snapshot()[Sources]
    Rig(Feed("parts", (Parts,)), db=rig.db, backend="second")


def test_the_next_source_takes_over_the_rows_that_one_left_behind():
    rig = Rig(THINGS)
    rig.say(Listed("things", [up("a", thing("a")), up("b", thing("b"))]))
    rig.status.release()
    assert rig.db.snapshot()[Sources][SourceKey("c", "things")].state == "absent"
    following = Rig(THINGS, db=rig.db)
    assert following.things() == {"a": 0, "b": 0}
    following.say(Listed("things", [up("b", thing("b"))]))
    assert following.things() == {"b": 0}


def test_a_source_that_ends_before_its_first_list_leaves_its_promise_to_the_next():
    rig = Rig(THINGS, backend="first")
    rig.status.release()
    following = Rig(THINGS, db=rig.db, backend="second")
    assert rig.db.snapshot()[Things].pending_initializers == ("second/c",)
    following.status.release()
    last = Rig(THINGS, db=rig.db, backend="second")
    assert not rig.db.snapshot()[Things].initialized
    last.say(Listed("things", [up("a", thing("a"))]))
    assert rig.db.snapshot()[Things].initialized


def test_what_sources_says_of_a_table_is_of_the_same_transaction_as_its_rows():
    rig = Rig(THINGS)

    def told(snapshot: Any) -> tuple[str, int, int]:
        row = snapshot[Sources][SourceKey("c", "things")]
        return row.state, row.rows, row.withheld_deletes

    rig.status.report("synced")
    with rig.db.changes(Things) as stream:
        stream.next(timeout=0)
        rig.say(Listed("things", [up("a", thing("a")), up("b", thing("b"))]))
        batch = stream.next(timeout=0)
        assert batch is not None
        assert told(batch.snapshot) == ("synced", 2, 0)
        rig.say(Listed("things", [up("c", thing("c"))], full=False, doubt="it went back"))
        batch = stream.next(timeout=0)
        assert batch is not None
        assert told(batch.snapshot) == ("stale", 3, 2)
        rig.say(up("a", thing("a", 1)))
        batch = stream.next(timeout=0)
        assert batch is not None
        assert told(batch.snapshot) == ("stale", 3, 1)
        rig.reflector.release()
        batch = stream.next(timeout=0)
        assert batch is not None
        assert told(batch.snapshot) == ("synced", 2, 0)


def test_a_rejected_row_is_in_the_table_in_the_same_transaction_as_the_rows_beside_it():
    rig = Rig(THINGS)
    with rig.db.changes(Things) as stream:
        stream.next(timeout=0)
        rig.say(Bad("things", "b", "torn"), up("a", thing("a")))
        batch = stream.next(timeout=0)
        assert batch is not None
        assert RejectedKey("c", "things", "b") in batch.snapshot[Rejected]


def test_errors_without_a_change_of_state_are_written_at_most_once_a_second():
    rig = Rig(THINGS)
    sources: Callable[[], Any] = lambda: rig.db.snapshot()[Sources][SourceKey("c", "things")]  # noqa: E731
    rig.clock.now += 0.5
    rig.status.report("stale", "gone")
    assert (sources().state, sources().since, sources().last_error) == ("stale", 1000.5, "gone")
    rig.status.report("stale", "still gone")
    rig.status.write_if_due()
    assert sources().last_error == "gone"
    assert rig.status.due_in() == 1.0
    rig.clock.now += 1.0
    rig.status.write_if_due()
    assert sources().last_error == "still gone"
    assert rig.status.due_in() is None


def test_each_change_of_state_is_one_line_in_the_log_and_rejected_objects_are_few(caplog: pytest.LogCaptureFixture):
    rig = Rig(BOTH)
    with caplog.at_level("INFO", logger="ingest"):
        rig.clock.now += 2
        rig.status.report("synced")
        rig.clock.now += 3
        rig.status.report("stale", "no route to host")
        rig.status.report("stale", "no route to host")
        rig.clock.now += 1  # tables that change within a second share a line
        rig.status.write_if_due()
        rig.say(*(Bad("both", str(i), "torn") for i in range(30)))
    turns = [record.getMessage() for record in caplog.records if "->" in record.getMessage()]
    assert turns == [
        "test/c parts, things: connecting -> synced after 2.0 s",
        "test/c parts, things: synced -> stale after 3.0 s: no route to host",
    ]
    assert sum("is rejected" in record.getMessage() for record in caplog.records) == 10


@pytest.mark.parametrize("before", [Delete("things", "a"), up("a"), up("a", thing("a", 2))])
def test_a_bad_object_in_a_list_does_not_swallow_what_was_said_of_it_before(before: Event):
    rig = Rig(THINGS)
    rig.say(Listed("things", [up("a", thing("a", 1))]))
    rig.say(before, Listed("things", [Bad("things", "a", "torn")]))
    assert rig.things() == ({"a": 2} if isinstance(before, Upsert) and before.rows else {})
    assert rig.rejected() == {"a": "torn"}


class Looked(dict[str, Any]):
    """Rejected objects that count how often all of them are looked at."""

    looks = 0

    def __iter__(self) -> Iterator[str]:
        self.looks += 1
        return super().__iter__()


def test_an_event_does_not_look_at_all_rejected_objects():
    """It copied the names of all of them."""
    rig = Rig(THINGS)
    rig.say(Bad("things", "a", "torn"))
    looked = rig.status._rejected["things"] = Looked(rig.status._rejected["things"])
    rig.reflector.offer_all("things", [up("b", thing("b")), up("c", thing("c"))])
    rig.say()
    assert rig.things() == {"b": 0, "c": 0}
    assert looked.looks == 0


# --- withheld, and refused --------------------------------------------------------------------------------------------


def test_a_withheld_delete_is_only_counted_and_yields_to_what_the_server_says_now():
    """A restored server has given a pod's address to another pod: its other row stays."""
    rig = Rig(THINGS)
    rig.say(Listed("things", [up("old", thing("x", 1), thing("y", 1))]))
    rig.say(Listed("things", [up("new", thing("x", 2))], full=False, doubt="its UID differs"))
    assert rig.things() == {"x": 2, "y": 1}
    rig.say(Delete("things", "new", doubt="its lease ended"), up("third", thing("x", 3)))
    assert rig.things() == {"x": 3, "y": 1}
    rig.reflector.release()
    assert rig.things() == {"x": 3}


def test_who_waits_for_a_key_gets_it_when_its_holder_becomes_doubtful():
    rig = Rig(THINGS)
    rig.say(Listed("things", [up("a", thing("x", 1)), up("b", thing("x", 2))]))
    assert rig.things() == {"x": 1}
    rig.say(Delete("things", "a", doubt="its lease ended"))
    assert rig.things() == {"x": 2}
    rig.say(Bad("things", "a", "torn"))
    assert rig.things() == {"x": 1}, "there, though it cannot be read"


def test_an_object_that_is_confirmed_yields_no_more():
    rig = Rig(THINGS)
    rig.say(Listed("things", [up("a", thing("x", 1))]))
    rig.say(Delete("things", "a", doubt="its lease ended"))
    rig.say(up("a", thing("x", 1)))
    rig.say(up("b", thing("x", 2)))
    assert rig.things() == {"x": 1}
    assert rig.reflector.withheld("things") == 0


class Certs(Table[str, Thing], name="certs"):
    primary = UniqueIndex[str, Thing](lambda row: row.key.name)
    by_value = UniqueIndex[int, Thing](lambda row: row.value)


def test_a_row_refused_by_a_unique_index_is_written_when_the_reason_goes():
    certs = Feed("certs", (Certs,))
    rig = Rig(certs, db=Database(Certs, Sources, Rejected))
    rig.say(up("x", thing("x", 9), feed="certs"))
    rig.say(up("y", thing("y", 9), feed="certs"))
    assert list(rig.rejected()) == ["y"]
    rig.say(Delete("certs", "x"))
    assert [row.key.name for row in rig.db.snapshot()[Certs].values()] == ["y"]
    assert rig.rejected() == {}


def test_a_row_refused_for_a_row_of_somebody_else_is_tried_again_every_second():
    certs = Feed("certs", (Certs,))
    rig = Rig(certs, db=Database(Certs, Sources, Rejected))
    rig.say(Listed("certs", []))
    with rig.db.write(Certs) as txn:
        txn[Certs].insert(thing("theirs", 9))
    rig.say(up("y", thing("y", 9), feed="certs"))
    assert list(rig.rejected()) == ["y"]
    with rig.db.write(Certs) as txn:
        txn[Certs].delete("theirs")
    rig.clock.now += 1.0
    rig.say()
    assert [row.key.name for row in rig.db.snapshot()[Certs].values()] == ["y"]
    assert rig.rejected() == {}


def test_rows_of_before_that_a_doubtful_list_leaves_out_are_withheld():
    db = Database(Things, Parts, Sources, Rejected)
    with db.write(Things) as txn:
        txn[Things].insert_all([thing("a"), thing("b")])
    rig = Rig(THINGS, db=db)

    def withheld() -> tuple[int, str]:
        row = db.snapshot()[Sources][SourceKey("c", "things")]
        return row.withheld_deletes, row.last_error

    rig.status.report("synced")
    rig.say(Listed("things", [up("a", thing("a"))], full=False, doubt="it is another server"))
    assert rig.things() == {"a": 0, "b": 0}
    assert withheld() == (1, "withholding 1 deletes: it is another server")
    assert rig.reflector.withheld("things") == 1
    assert not db.snapshot()[Things].initialized
    rig.say(Listed("things", [up("a", thing("a")), up("b", thing("b"))], full=False, doubt="it is another server"))
    assert withheld() == (0, "")
    assert db.snapshot()[Things].initialized, "it leaves nothing out: nobody has to vouch for it"


def bad_beside_rows_of_before() -> Rig:
    """Rows of before, and first lists with objects that cannot be read: one of them may be that of the row "gone"."""
    db = Database(Things, Parts, Sources, Rejected)
    with db.write(Things, Parts) as txn:
        txn[Things].insert_all([thing("a"), thing("gone")])
        txn[Parts].insert(part("gone"))
    rig = Rig(THINGS, BOTH, db=db)
    rig.status.report("synced")
    rig.say(Listed("both", [Bad("both", "b", "torn")]), Listed("things", [up("a", thing("a"))]))
    assert rig.things() == {"a": 0, "gone": 0}
    assert db.snapshot()[Things].initialized
    row = db.snapshot()[Sources][SourceKey("c", "things")]
    assert (row.state, row.withheld_deletes) == ("stale", 1)
    assert row.last_error == (
        "withholding 1 deletes: rows of before, perhaps of objects that cannot be read; table 'rejected' names these"
    )
    assert not rig.reflector.has_inherited, "the server has said all that it has"
    return rig


@pytest.mark.parametrize(
    ("cure", "left"),
    [
        ([Upsert("both", "b", (thing("gone", 1), part("gone", 1)))], {"a": 0, "gone": 1}),
        ([Upsert("both", "b", (thing("other"),))], {"a": 0, "other": 0}),
        ([Delete("both", "b")], {"a": 0}),
        ([Listed("both", [])], {"a": 0}),
        ([Listed("both", [Bad("both", "b", "torn in another way")]), Delete("both", "b")], {"a": 0}),
    ],
)
def test_a_row_of_before_stays_as_long_as_it_may_be_of_an_object_that_cannot_be_read(
    cure: list[Event], left: dict[str, int]
):
    """It was deleted, and the source was synced. Without the restart the object would have kept it."""
    rig = bad_beside_rows_of_before()
    rig.say(up("c", thing("c")), Bad("both", "b", "torn"), Delete("things", "c"))
    assert rig.things() == {"a": 0, "gone": 0}
    rig.say(*cure)
    assert rig.things() == left
    assert rig.parts() == ({"gone": 1} if "gone" in left else {})
    rows = rig.db.snapshot()[Sources].values()
    assert [(row.state, row.withheld_deletes) for row in rows] == [("synced", 0), ("synced", 0)]


@pytest.mark.parametrize("end", [Reflector.accept, Reflector.drain])
def test_a_row_of_before_that_may_be_of_an_unreadable_object_goes_where_it_is_accepted(end: Callable[..., None]):
    rig = bad_beside_rows_of_before()
    end(rig.reflector)
    assert rig.things() == ({"a": 0} if end is Reflector.accept else {})
    assert rig.parts() == {}
    assert rig.db.snapshot()[Sources][SourceKey("c", "things")].withheld_deletes == 0


def test_an_unreadable_object_that_has_rows_keeps_no_others():
    db = Database(Things, Parts, Sources, Rejected)
    with db.write(Things) as txn:
        txn[Things].insert_all([thing("a"), thing("gone")])
    rig = Rig(THINGS, BOTH, db=db)
    rig.say(Listed("things", [up("a", thing("a"))]), Bad("things", "a", "torn"), Listed("both", []))
    assert rig.things() == {"a": 0}


def test_a_doubtful_first_list_finishes_its_table_when_it_is_believed():
    db = Database(Things, Parts, Sources, Rejected)
    with db.write(Things) as txn:
        txn[Things].insert(thing("before"))
    rig = Rig(THINGS, db=db)
    rig.say(Listed("things", [up("a", thing("a"))], full=False, doubt="its revision went back"))
    assert rig.things() == {"a": 0, "before": 0}
    assert not db.snapshot()[Things].initialized
    rig.reflector.release("things")
    assert rig.things() == {"a": 0}
    assert db.snapshot()[Things].initialized


def test_the_origin_of_rows_is_not_handed_on_through_a_backend_that_has_none():
    """Its rows are newer than the version that the first backend saved, so they are no longer from there."""
    db = Database(Things, Parts, Sources, Rejected)
    of_rows = SourceRow(SourceKey("c", "things"), "first", origin="server 1")
    with db.write(Sources) as txn:
        txn[Sources].insert(of_rows)
    kept = Rig(THINGS, db=db, backend="first")
    assert db.snapshot()[Sources][of_rows.key].origin == "server 1"
    kept.status.release()
    Rig(THINGS, db=db, backend="second").status.release()
    assert db.snapshot()[Sources][of_rows.key].origin == ""


def test_tables_without_a_source_are_declared_absent():
    rig = Rig(THINGS)
    declare_absent(rig.db, "c", [Things, Parts])
    states = {row.key.table: row.state for row in rig.db.snapshot()[Sources].values()}
    assert states == {"things": "connecting", "parts": "absent"}
    Rig(Feed("parts", (Parts,)), db=rig.db, backend="second")


# --- folded tables equal a fresh computation --------------------------------------------------------------------------

row_sets = st.lists(
    st.builds(thing, st.sampled_from("xyz"), st.integers(0, 2)) | st.builds(part, st.sampled_from("xyz")), max_size=3
)
names = st.sampled_from(["a", "b", "c"])
upserts = st.builds(lambda name, rows: Upsert("both", name, tuple(rows)), names, row_sets)
steps = st.one_of(
    upserts,
    st.builds(lambda name, doubt: Delete("both", name, doubt), names, st.sampled_from(["", "its lease ended"])),
    st.builds(lambda name: Bad("both", name, "torn"), names),
    st.builds(
        lambda events, full: Listed("both", events, full),
        st.lists(upserts | names.map(lambda name: Bad("both", name, "torn")), unique_by=lambda e: e.object),
        st.booleans(),
    ),
    st.just("flush"),
)


class Model:
    """The present rows of every object, and those that are withheld: now, and when rows were written last."""

    def __init__(self) -> None:
        self.yielding: set[str] = set()
        self.rows: dict[str, dict[Any, Any]] = {}
        self.bad: set[str] = set()
        self.doubted: set[str] = set()

    def put(self, name: str, rows: tuple[Any, ...]) -> None:
        new: dict[Any, Any] = {}
        for row in rows:
            new.setdefault((type(row), row.key), row)
        self.rows[name] = new

    def step(self, event: Event) -> None:
        match event:
            case Upsert(_, name, rows):
                self.put(name, rows)
                self.bad.discard(name)
                self.doubted.discard(name)
            case Bad(_, name):
                self.bad.add(name)
                self.doubted.discard(name)
            case Delete(_, name):
                self.put(name, ())
                self.bad.discard(name)
                self.doubted.discard(name)
            case Listed(_, events, full):
                missing = {n for n, rows in self.rows.items() if rows} - {e.object for e in events}
                if full:
                    for name in missing:
                        self.put(name, ())
                self.doubted = set() if full else missing
                self.bad = set()
                for each in events:
                    self.step(each)
                self.settle()

    def settle(self) -> None:
        """Rows are written."""
        self.yielding = set(self.doubted)

    def table(self) -> dict[Any, Any]:
        keys = {key for rows in self.rows.values() for key in rows}
        return {key: self.rows[self.holder(key)][key] for key in keys}

    def holder(self, key: Any) -> str:
        claimants = [name for name, rows in self.rows.items() if key in rows]
        return min(claimants, key=lambda name: (name in self.yielding, name))


@example(
    [
        Listed(
            "both",
            [
                Upsert("both", "b", (Thing(Key("c", "z"), 2),)),
                Upsert("both", "c", (Thing(Key("c", "z"), 0),)),
            ],
            False,
        ),
        Listed("both", [], False),
        Bad("both", "c", "torn"),  # there, though it cannot be read: it takes the key from the one in doubt
        "flush",
    ]
)
@given(st.lists(steps, max_size=30))
@settings(max_examples=200)
def test_folded_tables_equal_a_fresh_computation(history: list[Any]):
    rig, model = Rig(BOTH), Model()
    streams = {Things: rig.db.changes(Things), Parts: rig.db.changes(Parts)}
    folded: dict[Any, Any] = {}
    unflushed: dict[str, Event] = {}

    def settle() -> None:
        for name, event in unflushed.items():
            model.put(name, event.rows if isinstance(event, Upsert) else ())
        unflushed.clear()
        model.settle()

    for step in history:
        if step == "flush":
            rig.say()
            settle()
        else:
            rig.reflector.offer(step)
            if isinstance(step, Listed):
                bad = {event.object for event in step.objects if isinstance(event, Bad)}
                for name in [name for name in unflushed if name in bad]:
                    event = unflushed[name]
                    model.put(name, event.rows if isinstance(event, Upsert) else ())
                unflushed.clear()
                model.step(step)
            elif isinstance(step, Bad):
                model.step(step)
            elif isinstance(step, Delete) and step.doubt:
                if step.object in unflushed or model.rows.get(step.object):
                    model.doubted.add(step.object)
            else:
                model.bad.discard(step.object)
                model.doubted.discard(step.object)
                unflushed.pop(step.object, None)
                unflushed[step.object] = step
        for table, stream in streams.items():
            for batch in iter(lambda s=stream: s.next(timeout=0), None):
                for change in batch:
                    key = (table.row_type, change.row.key)
                    if change.deleted:
                        del folded[key]
                    else:
                        folded[key] = change.row
        assert folded == model.table()
        assert rig.reflector.withheld("both") == len(model.doubted)
    assert set(rig.rejected()) == model.bad
    for stream in streams.values():
        stream.close()
