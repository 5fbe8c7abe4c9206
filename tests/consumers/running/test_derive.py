"""Derived tables: kept up incrementally == computed afresh, initialized with their sources, at the cost of changes."""

import gc
import threading
from typing import Any

import msgspec
from hypothesis import given, settings, strategies as st

from consumers.running.derivation import Cut, Derivation, derive
from statedb import Database, Index, Table, UniqueIndex
from statedb.testing import Host, Hosts, Slot, SlotKey, Slots, check_invariants, histories, play

from .driving import Driver

SOON = 20.0


class Team(msgspec.Struct, frozen=True, gc=False):
    """All hosts of a tag."""

    tag: str
    hosts: tuple[str, ...]


class Teams(Table[str, Team], name="teams"):
    primary = UniqueIndex[str, Team](lambda team: team.tag)
    by_host = Index[str, Team](lambda team: team.hosts)


class Place(msgspec.Struct, frozen=True, gc=False):
    """A slot with what its host says: a join."""

    key: SlotKey
    address: str
    amount: int


class Places(Table[SlotKey, Place], name="places"):
    primary = UniqueIndex[SlotKey, Place](lambda place: place.key)


class Size(msgspec.Struct, frozen=True, gc=False):
    size: int
    tags: tuple[str, ...]


class Sizes(Table[int, Size], name="sizes"):
    primary = UniqueIndex[int, Size](lambda size: size.size)


def teams(db: Database, **options: Any) -> Derivation[str, Team]:
    def compute(cut: Cut, tag: str) -> Team | None:
        hosts = cut[Hosts.by_tag][tag]
        return Team(tag, tuple([host.name for host in hosts])) if hosts else None

    return derive(db, Teams, compute, {Hosts: lambda _, host: host.tags}, **options)


def places(db: Database) -> Derivation[SlotKey, Place]:
    def compute(cut: Cut, key: SlotKey) -> Place | None:
        slot = cut[Slots].get(key)
        host = cut[Hosts].get(slot.host) if slot is not None and slot.host else None
        return Place(key, host.address or "", slot.amount) if slot is not None and host is not None else None

    def of_host(cut: Cut, host: Host) -> list[SlotKey]:
        found = [cut[Slots.by_host].get((zone, host.name)) for zone in ("x", "y")]
        return [slot.key for slot in found if slot is not None]

    return derive(db, Places, compute, {Slots: lambda _, slot: [slot.key], Hosts: of_host})


def sizes(db: Database) -> Derivation[int, Size]:
    """Derived from a derived table."""

    def compute(cut: Cut, size: int) -> Size | None:
        tags = tuple([team.tag for team in cut[Teams].values() if len(team.hosts) == size])
        return Size(size, tags) if tags else None

    return derive(db, Sizes, compute, {Teams: lambda _, team: [len(team.hosts)]})


def holds(derivation: Derivation[Any, Any], db: Database) -> None:
    snapshot = db.snapshot()
    assert dict(snapshot[derivation.target].items()) == derivation.afresh(snapshot)


# -- the equation --------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(history=histories(max_size=12), rests=st.lists(st.booleans(), min_size=12, max_size=12))
def test_kept_up_incrementally_equals_computed_afresh(history, rests):
    db = Database(Hosts, Slots)
    derivations = [teams(db), places(db), sizes(db)]
    drivers = [Driver(derivation) for derivation in derivations]
    for writes, rest in zip(history, rests):
        play([writes], db)
        if rest:
            for derivation, driver in zip(derivations, drivers):
                driver.settle()
                holds(derivation, db)
    for derivation, driver in zip(derivations, drivers):
        driver.settle()
        holds(derivation, db)
        assert db.snapshot()[derivation.target].initialized
    check_invariants(db)


def test_what_the_functions_say_is_what_the_table_holds():
    db = Database(Hosts, Slots)
    driver = Driver(teams(db))
    play_in(db, Host("a", tags=("red", "blue")), Host("b", tags=("red",)))
    driver.settle()
    assert dict(db.snapshot()[Teams].items()) == {"red": Team("red", ("a", "b")), "blue": Team("blue", ("a",))}
    play_in(db, Host("a", tags=("green",)))  # what it was in before is computed anew as well
    driver.settle()
    assert dict(db.snapshot()[Teams].items()) == {"red": Team("red", ("b",)), "green": Team("green", ("a",))}
    with db.write(Hosts) as txn:
        txn[Hosts].clear()
    driver.settle()
    assert not db.snapshot()[Teams]


def play_in(db: Database, *rows: Host) -> None:
    with db.write(Hosts) as txn:
        for row in rows:
            txn[Hosts].insert(row)


def test_a_reader_sees_the_function_of_one_state_at_any_time():
    """One tag wanders from host to host; whoever looks at the derived table finds it at exactly one."""
    db = Database(Hosts)
    names = ["a", "b", "c"]
    play_in(db, Host("a", tags=("the tag",)), Host("b"), Host("c"))
    derivation = teams(db)
    wrong: list[Any] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            team = db.snapshot()[Teams].get("the tag")
            if team is None or len(team.hosts) != 1:
                wrong.append(team)

    with derivation:
        assert derivation.wait_applied(timeout=SOON)
        reader = threading.Thread(target=look)
        reader.start()
        for number in range(300):
            play_in(db, Host(names[number % 3]), Host(names[(number + 1) % 3], tags=("the tag",)))
        assert derivation.wait_applied(timeout=SOON)
        done.set()
        reader.join()
    assert not wrong
    holds(derivation, db)


# -- initialization ------------------------------------------------------------------------------------------------


def test_it_is_initialized_when_its_sources_are_and_not_before():
    db = Database(Hosts, Slots)
    with db.write(Hosts, Slots) as txn:
        token = txn[Slots].begin_initializer("source")
        txn[Hosts].insert(Host("a", address="1"))
        txn[Slots].insert(Slot(SlotKey("x", 1), "a"))
    driver = Driver(places(db))
    assert not db.snapshot()[Places].initialized
    driver.settle()
    assert not db.snapshot()[Places].initialized
    assert not db.snapshot()[Places]
    with db.write(Slots) as txn:
        txn[Slots].finish_initializer(token)
    driver.settle()
    assert db.snapshot()[Places].initialized
    assert len(db.snapshot()[Places]) == 1


def test_a_table_derived_from_a_derived_one_waits_for_it():
    db = Database(Hosts)
    play_in(db, Host("a", tags=("red",)))
    first = Driver(teams(db))
    second = Driver(sizes(db))
    second.settle()
    assert not db.snapshot()[Sizes].initialized
    first.settle()
    second.settle()
    assert dict(db.snapshot()[Sizes].items()) == {1: Size(1, ("red",))}


def test_an_empty_table_derived_from_empty_ones_is_initialized():
    db = Database(Hosts)
    Driver(teams(db)).settle()
    assert db.snapshot()[Teams].initialized


def test_rows_that_an_earlier_one_left_behind_go():
    db = Database(Hosts)
    play_in(db, Host("a", tags=("red",)))
    first = Driver(teams(db))
    first.settle()
    first.close()
    play_in(db, Host("a", tags=("blue",)))
    second = Driver(teams(db))
    second.settle()
    assert list(db.snapshot()[Teams]) == ["blue"]


# -- failing, and costs --------------------------------------------------------------------------------------------


def test_a_function_that_fails_leaves_the_table_as_it_was_and_is_tried_again():
    db = Database(Hosts)
    broken = [False]

    def compute(cut: Cut, tag: str) -> Team | None:
        if broken[0] and tag == "b":
            raise ArithmeticError("no b today")
        hosts = cut[Hosts.by_tag][tag]
        return Team(tag, tuple([host.name for host in hosts])) if hosts else None

    derivation = derive(db, Teams, compute, {Hosts: lambda _, host: host.tags}, report=lambda _: None)
    driver = Driver(derivation)
    play_in(db, Host("h", tags=("a", "b")))
    driver.settle()
    broken[0] = True
    play_in(db, Host("h", tags=("c",)))
    driver.settle()
    assert list(db.snapshot()[Teams]) == ["a", "b"]
    assert derivation.health == "failing, 1 tries: ArithmeticError: no b today"
    broken[0] = False
    driver.advance(1)
    assert list(db.snapshot()[Teams]) == ["c"]


def test_only_what_a_change_affects_is_computed():
    db = Database(Hosts)
    asked: list[str] = []

    def compute(cut: Cut, tag: str) -> Team | None:
        asked.append(tag)
        hosts = cut[Hosts.by_tag][tag]
        return Team(tag, tuple([host.name for host in hosts])) if hosts else None

    driver = Driver(derive(db, Teams, compute, {Hosts: lambda _, host: host.tags}))
    play_in(db, *[Host(f"h{number}", tags=(f"t{number}",)) for number in range(100)])
    driver.settle()
    asked.clear()
    play_in(db, Host("h7", tags=("t8",)), Host("h9", tags=("t8",)))
    driver.settle()
    assert sorted(asked) == ["t7", "t8", "t9"]


def test_rows_that_come_out_equal_wake_nobody():
    db = Database(Hosts)
    driver = Driver(teams(db))
    play_in(db, Host("a", tags=("red",)))
    driver.settle()
    watch = db.snapshot()[Teams].watch()
    play_in(db, Host("a", tags=("red",), amount=1))
    driver.settle()
    assert not watch.tripped


def test_a_table_that_is_not_named_as_a_source_cannot_be_read():
    db = Database(Hosts, Slots)
    told: list[Any] = []
    derivation = derive(
        db, Teams, lambda cut, tag: cut[Slots] and None, {Hosts: lambda _, host: host.tags}, report=told.append
    )
    play_in(db, Host("a", tags=("red",)))
    Driver(derivation).settle()
    assert "'sample-slots' is not among the sources" in str(told[0].error)


def test_a_row_of_another_key_is_refused():
    db = Database(Hosts)
    told: list[Any] = []
    derivation = derive(
        db, Teams, lambda cut, tag: Team("other", ()), {Hosts: lambda _, host: host.tags}, report=told.append
    )
    play_in(db, Host("a", tags=("red",)))
    Driver(derivation).settle()
    assert str(told[0].error) == "derived table 'teams': compute gave the row of key 'other' when asked for 'red'"


def test_it_holds_the_history_of_its_sources_only():
    db = Database(Hosts, Slots)
    Driver(teams(db)).settle()
    for number in range(1000):
        with db.write(Slots) as txn:
            txn[Slots].insert(Slot(SlotKey("x", number)))
    gc.collect()  # the dropped driver is a cycle: Python 3.13 may end it amid a commit, whose state it then keeps
    assert not db.held()
