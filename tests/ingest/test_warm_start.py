"""Rows of before, and then a source: after its first full list all is as if they had never been."""

from __future__ import annotations

from typing import Any

from hypothesis import given, strategies as st

from ingest.events import Bad, Delete, Event, Listed, Upsert
from statedb import Database
from statedb.catalog import Rejected, SourceKey, Sources
from statedb.testing import fold

from .test_reflect import BOTH, THINGS, Parts, Rig, Things, part, thing

names = st.sampled_from("abcd")
values = st.integers(0, 2)
inherited = st.lists(st.tuples(names, values), max_size=5)


def rows_of(name: str, keys: list[str], value: int, feed: str) -> tuple[Any, ...]:
    return tuple([thing(key, value) for key in keys] + ([part(name, value)] if feed == "both" else []))


def upserts(feed: str) -> st.SearchStrategy[Upsert]:
    return st.builds(
        lambda name, keys, value: Upsert(feed, f"{feed}/{name}", rows_of(name, keys, value, feed)),
        names,
        st.lists(names, max_size=2, unique=True),
        values,
    )


def events(feed: str) -> st.SearchStrategy[Event]:
    name = names.map(lambda name: f"{feed}/{name}")
    return st.one_of(
        upserts(feed),
        st.builds(Delete, st.just(feed), name),
        st.builds(Bad, st.just(feed), name, st.just("broken")),
    )


def lists(feed: str) -> st.SearchStrategy[Event]:
    unique = st.lists(upserts(feed), max_size=4, unique_by=lambda event: event.object)
    return st.builds(Listed, st.just(feed), unique)


def tables(db: Database) -> dict[str, Any]:
    snapshot = db.snapshot()
    shown = {table.name: list(snapshot[table].values()) for table in (Things, Parts, Rejected)}
    sources = [(row.key, row.state, row.rows, row.withheld_deletes) for row in snapshot[Sources].values()]
    return {**shown, "sources": sources, "initialized": [snapshot[table].initialized for table in (Things, Parts)]}


@given(
    inherited,
    st.lists(events("things") | events("both"), max_size=4),
    st.permutations(["things", "both"]).flatmap(lambda order: st.tuples(*map(lists, order))),
    st.lists(events("things") | events("both") | lists("things") | lists("both"), max_size=4),
)
def test_a_warm_start_then_sync_is_a_cold_start_then_sync(before, early, first, later):
    cold = Rig(THINGS, BOTH)
    db = Database(Things, Parts, Sources, Rejected)
    others = [thing("foreign", 1, cluster="other")]
    with db.write(Things, Parts) as txn:
        txn[Things].insert_all([*[thing(name, value) for name, value in before], *others])
        txn[Parts].insert_all([part(name, value) for name, value in before])
    with db.changes(Things) as stream:
        folded: dict[Any, Any] = {}
        warm = Rig(THINGS, BOTH, db=db)
        for rig in (cold, warm):
            rig.say(*early)
            if before:
                assert not rig.db.snapshot()[Things].initialized
        standing = db.snapshot()[Things]
        entries = {key: standing.entry(key) for key in standing}
        for rig in (cold, warm):
            rig.say(*first)
        synced = db.snapshot()[Things]
        for key, entry in entries.items():  # quiet: a row that is as it was was not written
            if entry is not None and not early and synced.get(key) == entry.row:
                assert synced.entry(key) == entry
        for rig in (cold, warm):
            rig.say(*later)
            rig.status.report("synced")
        while (batch := stream.next(0)) is not None:
            fold(batch, folded, Things)
        assert folded == dict(db.snapshot()[Things])
    with cold.db.write(Things) as txn:
        txn[Things].insert_all(others)
    assert tables(warm.db) == tables(cold.db)


def test_the_table_is_stale_until_its_first_full_list():
    db = Database(Things, Parts, Sources, Rejected)
    with db.write(Things) as txn:
        txn[Things].insert(thing("a", 1))
    rig = Rig(THINGS, BOTH, db=db)

    def row(table: str) -> tuple[str, str]:
        found = db.snapshot()[Sources][SourceKey("c", table)]
        return found.state, found.last_error

    assert row("things") == ("stale", "earlier rows, not confirmed by this source yet: connecting")
    assert row("parts") == ("connecting", "")
    rig.status.report("syncing", "", [Things, Parts])
    assert row("things") == ("stale", "earlier rows, not confirmed by this source yet: syncing")
    rig.status.report("connecting", "no route to host")
    assert row("things") == ("stale", "earlier rows, not confirmed by this source yet: no route to host")
    assert not db.snapshot()[Things].initialized
    rig.say(Listed("things", []), Listed("both", []))
    rig.status.report("synced")
    assert row("things") == ("synced", "")
    assert rig.things() == {}
    rig.status.report("connecting", "gone")
    assert row("things") == ("connecting", "gone"), "an outage later is told as always"
