"""Derived tables: kept up incrementally == computed afresh, initialized with their sources, at the cost of changes."""

import gc
import threading
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings, strategies as st

from consumers.running.derivation import Derivation, derive
from consumers.running.names import NameTaken
from consumers.running.source_snapshot import SourceSnapshot
from statedb import Database, Index, Snapshot, Table, TableOwned, UniqueIndex
from statedb.testing import Host, Hosts, Slot, SlotKey, Slots, VirtualClock, check_invariants, histories, play

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
    def compute(cut: SourceSnapshot, tag: str) -> Team | None:
        hosts = cut[Hosts.by_tag][tag]
        return Team(tag, tuple([host.name for host in hosts])) if hosts else None

    return derive(db, Teams, compute, {Hosts: lambda _, host: host.tags}, **options)


def places(db: Database) -> Derivation[SlotKey, Place]:
    def compute(cut: SourceSnapshot, key: SlotKey) -> Place | None:
        slot = cut[Slots].get(key)
        host = cut[Hosts].get(slot.host) if slot is not None and slot.host else None
        return Place(key, host.address or "", slot.amount) if slot is not None and host is not None else None

    def of_host(cut: SourceSnapshot, host: Host) -> list[SlotKey]:
        found = [cut[Slots.by_host].get((zone, host.name)) for zone in ("x", "y")]
        return [slot.key for slot in found if slot is not None]

    return derive(db, Places, compute, {Slots: lambda _, slot: [slot.key], Hosts: of_host})


def sizes(db: Database) -> Derivation[int, Size]:
    """Derived from a derived table."""

    def compute(cut: SourceSnapshot, size: int) -> Size | None:
        tags = tuple([team.tag for team in cut[Teams].values() if len(team.hosts) == size])
        return Size(size, tags) if tags else None

    return derive(db, Sizes, compute, {Teams: lambda _, team: [len(team.hosts)]})


def holds(derivation: Derivation[Any, Any], db: Database) -> None:
    snapshot = db.snapshot()
    assert dict(snapshot[derivation.target].items()) == derivation.compute_all(snapshot)


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

    def compute(cut: SourceSnapshot, tag: str) -> Team | None:
        if broken[0] and tag == "b":
            raise ArithmeticError("no b today")
        hosts = cut[Hosts.by_tag][tag]
        return Team(tag, tuple([host.name for host in hosts])) if hosts else None

    clock = VirtualClock(0.0)
    derivation = Derivation(db, Teams, compute, {Hosts: lambda _, host: host.tags}, clock=clock)
    driver = Driver(derivation, clock)
    play_in(db, Host("h", tags=("a", "b")))
    driver.settle()
    broken[0] = True
    play_in(db, Host("h", tags=("c",)))
    driver.settle()
    assert list(db.snapshot()[Teams]) == ["b", "c"]  # the others go on
    assert derivation.health == "OK, but 1 set aside: key 'b': ArithmeticError: no b today"
    broken[0] = False
    driver.advance(1)
    assert list(db.snapshot()[Teams]) == ["c"]
    assert derivation.health == "OK"


def refuse_poison(tag: str) -> None:
    if tag == "poison":
        raise SystemExit("no such tag")


@pytest.mark.parametrize("where", ["compute", "affected"])
def test_a_row_that_a_function_fails_for_costs_only_itself_and_heals_when_it_is_mended(where: str):
    db = Database(Hosts)

    def compute(sources: SourceSnapshot, tag: str) -> Team | None:
        hosts = sources[Hosts.by_tag][tag]
        if hosts:
            refuse_poison(tag if where == "compute" else "")
        return Team(tag, tuple([host.name for host in hosts])) if hosts else None

    def affected(_: SourceSnapshot, host: Host) -> Iterable[str]:
        for tag in host.tags:
            refuse_poison(tag if where == "affected" else "")
        return host.tags

    derivation = derive(db, Teams, compute, {Hosts: affected})
    driver = Driver(derivation)
    play_in(db, Host("bad", tags=("x", "poison")), Host("good", tags=("y",)))
    driver.settle()
    assert db.snapshot()[Teams].initialized
    assert "y" in db.snapshot()[Teams]
    (name,) = derivation.set_aside()
    assert name == ("key 'poison'" if where == "compute" else "row 'bad' of table 'sample-hosts'")
    play_in(db, Host("good", tags=("z",)))
    driver.settle()
    assert "z" in db.snapshot()[Teams]
    assert "y" not in db.snapshot()[Teams]
    play_in(db, Host("bad", tags=("x", "w")))
    driver.settle()
    assert derivation.set_aside() == {}
    assert dict(db.snapshot()[Teams]) == derivation.compute_all(db.snapshot())
    assert set(db.snapshot()[Teams]) == {"w", "x", "z"}


hosts_by_name = st.builds(Host, st.sampled_from("ab"), tags=st.sets(st.sampled_from(["p", "q", "r"])).map(tuple))
poisoning = st.one_of(
    st.tuples(st.just("put"), hosts_by_name),
    st.tuples(st.just("delete"), st.sampled_from("ab")),
    st.tuples(st.just("poison"), st.sampled_from("pqr")),
    st.tuples(st.just("mend"), st.sampled_from("pqr")),
    st.tuples(st.just("pass"), st.integers(0, 100)),
)


@example(
    [
        ("put", Host("b", tags=("q", "r", "p"))),
        *(("poison", tag) for tag in "pqr"),
        ("delete", "b"),  # its function fails for the row as it was: what it affected is still to be computed
        ("mend", "r"),
    ]
)
@example(
    [
        ("poison", "p"),
        ("put", Host("b", tags=("p",))),  # set aside, and yet in the rows of other keys
        ("put", Host("a", tags=("p",))),
        ("mend", "p"),
        ("pass", 96),
        ("poison", "p"),
        ("delete", "b"),
    ]
)
@given(st.lists(poisoning, max_size=25))
def test_whatever_fails_meanwhile_the_table_is_right_once_all_is_mended(history: list[tuple[str, Any]]):
    db = Database(Hosts)
    poison: set[str] = set()
    clock = VirtualClock(0.0)

    def compute(sources: SourceSnapshot, tag: str) -> Team | None:
        if tag in poison:
            raise ValueError(tag)
        hosts = sources[Hosts.by_tag][tag]
        return Team(tag, tuple([host.name for host in hosts])) if hosts else None

    def affected(_: SourceSnapshot, host: Host) -> Iterable[str]:
        if host.tags and poison.issuperset(host.tags):
            raise ValueError(host.name)
        return host.tags

    derivation = Derivation(db, Teams, compute, {Hosts: affected}, clock=clock, retry_max_s=5.0, retry_for_s=1e9)
    driver = Driver(derivation, clock)
    for what, value in history:
        match what:
            case "put":
                play_in(db, value)
            case "delete":
                with db.write(Hosts) as txn:
                    txn[Hosts].delete(value)
            case "poison":
                poison.add(value)
            case "mend":
                poison.discard(value)
            case _:
                driver.advance(value)
        driver.settle()
    poison.clear()
    driver.advance(10)
    assert derivation.set_aside() == {}
    assert dict(db.snapshot()[Teams]) == naive_teams(db.snapshot())


def naive_teams(snapshot: Snapshot) -> dict[str, Team]:
    tags = {tag for host in snapshot[Hosts].values() for tag in host.tags}
    hosts = list(snapshot[Hosts].values())
    return {tag: Team(tag, tuple([host.name for host in hosts if tag in host.tags])) for tag in tags}


def test_a_key_that_fails_for_long_is_given_up_until_it_changes():
    db = Database(Hosts)
    tries: list[str] = []
    clock = VirtualClock(0.0)

    def compute(_: SourceSnapshot, tag: str) -> Team | None:
        tries.append(tag)
        raise ValueError(tag)

    affected = {Hosts: lambda _, host: host.tags}
    derivation = Derivation(db, Teams, compute, affected, clock=clock, retry_min_s=1.0, retry_max_s=1.0, retry_for_s=10)
    driver = Driver(derivation, clock)
    play_in(db, Host("a", tags=("x",)))
    driver.advance(100)
    assert 10 <= len(tries) <= 12
    assert "key 'x'" in derivation.health
    play_in(db, Host("b", tags=("x",)))
    driver.settle()
    assert 11 <= len(tries) <= 13


def test_nobody_else_writes_a_derived_table_while_its_derivation_lives():
    db = Database(Hosts)
    derivation = teams(db)
    with pytest.raises(TableOwned, match="derive teams"):
        db.write(Teams)
    with pytest.raises(NameTaken, match="derive teams"):
        teams(db)
    with pytest.raises(TableOwned, match="derive teams"):
        teams(db, name="another")
    with derivation:
        assert derivation.wait_applied(timeout=SOON)
        with pytest.raises(TableOwned, match="derive teams"):
            db.write(Teams)
    with db.write(Teams) as txn:
        txn[Teams].insert(Team("left over", ()))
    with teams(db) as derivation:
        assert derivation.wait_applied(timeout=SOON)
        assert dict(db.snapshot()[Teams]) == {}


def test_one_that_was_never_started_gives_its_table_back():
    db = Database(Hosts)
    teams(db).stop()
    derivation = teams(db)
    del derivation
    gc.collect()
    with db.write(Teams):
        pass


def test_only_what_a_change_affects_is_computed():
    db = Database(Hosts)
    asked: list[str] = []

    def compute(cut: SourceSnapshot, tag: str) -> Team | None:
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
    derivation = derive(db, Teams, lambda cut, tag: cut[Slots] and None, {Hosts: lambda _, host: host.tags})
    play_in(db, Host("a", tags=("red",)))
    driver = Driver(derivation)
    driver.settle()
    assert "'sample-slots' is not among the sources" in derivation.health


def test_a_row_of_another_key_is_refused():
    db = Database(Hosts)
    derivation = derive(db, Teams, lambda cut, tag: Team("other", ()), {Hosts: lambda _, host: host.tags})
    play_in(db, Host("a", tags=("red",)))
    driver = Driver(derivation)
    driver.settle()
    assert "derived table 'teams': compute returned the row of key 'other' for key 'red'" in derivation.health


def test_it_holds_the_history_of_its_sources_only():
    db = Database(Hosts, Slots)
    Driver(teams(db)).settle()
    for number in range(1000):
        with db.write(Slots) as txn:
            txn[Slots].insert(Slot(SlotKey("x", number)))
    gc.collect()  # the dropped driver is a cycle: Python 3.13 may end it amid a commit, whose state it then keeps
    assert not db.held()
