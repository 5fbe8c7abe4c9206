"""Writers, readers, watchers and followers at once: transactions keep an invariant over two tables, others one over the
networks of a third, and everybody who looks must find them kept. A short form always, a long one by `make stress`."""

import asyncio
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
import pytest

from statedb import Database, Index, PrefixIndex, Snapshot, StreamClosed, Table, TableOwned, UniqueIndex, WatchSet, load

from ._helpers import Host, Hosts, Port, Ports, fold_into, in_a_thread

ROWS = 40
TOTAL = 2 * ROWS * 100
TAGS = ("red", "green", "blue")
NETWORKS = ("10.0.0.0/8", "10.1.0.0/16", "192.168.0.0/16")


@pytest.fixture(autouse=True)
def _switch_often() -> Iterator[None]:
    """Threads change places as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def host(number: int, amount: int, turn: int) -> Host:
    """Host rows stand under exactly one tag, and one network; the address changes with every turn."""
    return Host(
        f"{number % 4}-{number:03}",
        f"{number:03}/{turn}",
        (TAGS[turn % 3],),
        (NETWORKS[turn % 3],),
        amount,
    )


RING = ("10.0.0.0/8", "10.0.0.0/12", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3")


class Route(msgspec.Struct, frozen=True, gc=False):
    number: int
    network: str
    turn: int


class Routes(Table[int, Route], name="routes"):
    primary = UniqueIndex[int, Route](lambda route: route.number)
    by_network = PrefixIndex[str, Route](lambda route: (route.network,))


class Note(NamedTuple):
    name: str
    word: str


class Notes(Table[str, Note], name="notes"):
    primary = UniqueIndex[str, Note](lambda note: note.name)
    by_word = Index[str, Note](lambda note: (note.word,))


def filled() -> Database:
    db = Database(Hosts, Ports, Routes, Notes)
    with db.write(Hosts, Ports, Routes) as txn:
        for number in range(len(RING)):
            txn[Routes].insert(route(number, 0))
        for number in range(ROWS):
            txn[Hosts].insert(host(number, 100, number))
            txn[Ports].insert(Port(number, TAGS[number % 3], 100))
    return db


class Race:
    """Threads that run until told to stop; the first exception of any of them stops all, and is kept."""

    def __init__(self, db: Database, number: int) -> None:
        self.db = db
        self.number = number
        self.over = threading.Event()
        self.problems: list[str] = []
        self.counts: dict[str, int] = {}
        self.shared = db.snapshot()
        self._threads: list[threading.Thread] = []

    def start(self, name: str, turn: Callable[[random.Random], Any]) -> None:
        """A thread that takes turns."""

        def run() -> None:
            chance = random.Random(f"{name} {self.number}")
            turns = 0
            try:
                while not self.over.is_set():
                    turn(chance)
                    turns += 1
            except BaseException:
                self.problems.append(f"{name}, turn {turns}:\n{traceback.format_exc()}")
                self.over.set()
            self.counts[name] = turns

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def run(self, seconds: float) -> None:
        """Let them race; then all must come to an end by themselves."""
        self.over.wait(seconds)
        self.over.set()
        deadline = time.monotonic() + 30
        chance = random.Random(self.number)
        for thread in self._threads:
            thread.join(0.2)
            while thread.is_alive() and not self.problems and time.monotonic() < deadline:
                for _ in range(ROWS):  # nobody waits in vain for a commit, of whichever row
                    in_a_thread(lambda: transfer(self.db, chance))
                in_a_thread(lambda: turn_the_ring(self.db, chance))
                thread.join(0.2)
        hanging = [thread.name for thread in self._threads if thread.is_alive()]
        assert not self.problems, "\n".join(self.problems)
        assert not hanging, f"these hang: {hanging}"


# -- who writes -------------------------------------------------------------------------------------------------------


def transfer(db: Database, chance: random.Random) -> None:
    """Move an amount between a host and a port, and move both to other index keys."""
    with db.write(Hosts, Ports) as txn:
        hosts, ports = txn[Hosts], txn[Ports]
        number, other = chance.randrange(ROWS), chance.randrange(ROWS)
        turn, amount = chance.randrange(1000), chance.randrange(-50, 50)
        before, port = hosts[host(number, 0, 0).name], ports[other]
        hosts.insert(host(number, before.amount - amount, turn))
        ports.replace(Port(other, chance.choice(TAGS), port.amount + amount))
        if chance.random() < 0.1:
            transfer_within_hosts(txn, chance)
        if chance.random() < 0.1:
            txn.abort()


def transfer_within_hosts(txn: Any, chance: random.Random) -> None:
    """Delete a row and insert it again with another one's amount: rows come and go within a transaction."""
    hosts = txn[Hosts]
    first, second = (hosts[host(number, 0, 0).name] for number in chance.sample(range(ROWS), 2))
    hosts.delete(first.name)
    hosts.modify(second.name, lambda row: host(int(row.name[2:]), row.amount + first.amount, chance.randrange(1000)))
    hosts.insert(host(int(first.name[2:]), 0, chance.randrange(1000)))


def route(number: int, turn: int) -> Route:
    """One of a ring of networks within each other: every route stands at one, and moves inwards with each turn."""
    return Route(number, RING[(number + turn) % len(RING)], turn)


def turn_the_ring(db: Database, chance: random.Random) -> None:
    """Move all routes on by one. Alone on its table: it does not wait for the transfers, nor they for it."""
    with db.write(Routes) as txn:
        routes = txn[Routes]
        turn = routes[0].turn + 1
        if chance.random() < 0.3:
            routes.clear()
        for number in chance.sample(range(len(RING)), len(RING)):
            routes.insert(route(number, turn))
        assert names_at(txn) == [[(number - turn) % len(RING)] for number in range(len(RING))]


def turn_everything(db: Database, chance: random.Random) -> None:
    """All tables at once: for these commits the tables' revisions must be seen to move together."""
    with db.write(Routes, Ports, Hosts) as txn:
        turn = txn[Routes][0].turn + 1
        for number in range(len(RING)):
            txn[Routes].insert(route(number, turn))
        for name in (host(number, 0, 0).name for number in chance.sample(range(ROWS), 2)):
            row = txn[Hosts][name]
            txn[Hosts].replace(host(int(name[2:]), row.amount, chance.randrange(1000)))
        if chance.random() < 0.2:
            txn.abort()


def names_at(view: Any) -> list[list[int]]:
    """Which routes stand at which network of the ring."""
    by_network = view[Routes.by_network]
    return [[row.number for row in by_network[network]] for network in RING]


class Clerk:
    """Alone on its table, beside all others: what the others do not do, each with its answer."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.rows: dict[str, Note] = {}

    def turn(self, chance: random.Random) -> None:
        turns = [self.write_alone, self.write_many, self.own, self.follow, self.watch, self.look, self.in_a_task]
        chance.choice(turns)(chance)
        assert dict(self.db.snapshot()[Notes]) == self.rows

    def note(self, chance: random.Random) -> Note:
        return Note(chance.choice(("a", "b", "ba", "c")), chance.choice(("red", "green")))

    def write_alone(self, chance: random.Random) -> None:
        note = self.note(chance)
        watch = self.db.snapshot()[Notes].watch_range("a", "z")
        assert self.db.insert(Notes, note) == self.rows.get(note.name)
        assert watch.tripped == (self.rows.get(note.name) != note)
        self.rows[note.name] = note
        if chance.random() < 0.5:
            assert self.db.delete(Notes, note.name) == self.rows.pop(note.name)

    def write_many(self, chance: random.Random) -> None:
        note = self.note(chance)
        with self.db.write(Notes) as txn:
            notes = txn[Notes]
            watch = notes.watch_range("b", None)
            notes.insert(note)
            self.rows[note.name] = note
            assert list(notes.keys()) == sorted(self.rows)
            gone = notes.prefix("b")
            assert notes.delete_all(gone) == len(gone)
            assert not watch.tripped
        self.rows = {name: row for name, row in self.rows.items() if not name.startswith("b")}

    def own(self, chance: random.Random) -> None:
        note = self.note(chance)
        with self.db.own(Notes, name="clerk") as owner:
            with pytest.raises(TableOwned):
                self.db.insert(Notes, note)
            self.db.insert(Notes, note, owner=owner)
        self.rows[note.name] = note

    def follow(self, chance: random.Random) -> None:
        with self.db.changes(Notes) as one, self.db.changes(Notes, Hosts) as several:
            for batch in one:
                assert {change.row.name: change.row for change in batch} == self.rows
                break
            for both in several:
                assert len(both[Hosts]) == ROWS
                break
            assert not one.closed
            assert not several.closed
        assert one.closed
        assert several.closed

    def watch(self, chance: random.Random) -> None:
        note = self.note(chance)
        view = self.db.snapshot()[Notes]
        first, second = view.watch(note.name), view.watch_prefix("")
        watches = WatchSet(first, second)
        watches.discard(second)
        second.trip()
        assert second.tripped
        assert watches.wait(0) == set()
        watches.clear()
        assert not list(watches)

    def look(self, chance: random.Random) -> None:
        self.db.register(Notes)
        self.db.wait_initialized(Notes)
        assert self.db.table("notes") is Notes
        assert len(self.db.stats()) == len(self.db.tables) == 4
        assert self.db.held() is not None
        snap = self.db.snapshot()
        assert Notes in snap
        assert len(list(snap)) == len(snap) == 4
        assert list(snap[Notes].keys()) == sorted(self.rows)

    def in_a_task(self, chance: random.Random) -> None:
        note = self.note(chance)

        async def task() -> None:
            await self.db.wait_initialized_async(Notes)
            async with self.db.write_async(Notes) as txn:
                txn[Notes].insert(note)

        asyncio.run(task())
        self.rows[note.name] = note


# -- who reads --------------------------------------------------------------------------------------------------------


def check_state(snap: Snapshot, chance: random.Random) -> None:
    """Every kind of read, in any order; all must tell of the same state."""
    checks = [check_sum, check_indexes, check_networks, check_ring, check_prefixes, check_ranges, check_revisions]
    chance.shuffle(checks)
    for check in checks:
        check(snap)


def check_sum(snap: Snapshot) -> None:
    hosts, ports = list(snap[Hosts].values()), list(snap[Ports].values())
    assert len(hosts) == len(snap[Hosts]) == ROWS
    assert sum(row.amount for row in hosts) + sum(row.amount for row in ports) == TOTAL
    assert [row.name for row in hosts] == sorted(row.name for row in hosts)


def check_indexes(snap: Snapshot) -> None:
    by_tag, by_address = snap[Hosts.by_tag], snap[Hosts.by_address]
    listed = [row for tag in TAGS for row in by_tag[tag]]
    assert sorted(listed, key=Hosts.primary) == list(snap[Hosts].values())
    assert sorted(row.name for row in by_tag.range("a", "z")) == sorted(row.name for row in listed)
    for row in listed[:5]:
        assert by_address[row.address] == row == snap[Hosts][row.name]
    assert len(by_address.prefix("0")) == ROWS
    by_host = snap[Ports.by_host]
    assert sum(map(len, map(by_host.get, by_host.keys()))) == ROWS


def check_networks(snap: Snapshot) -> None:
    view = snap[Hosts.by_network]
    by_size = {network: view[network] for network in NETWORKS}
    assert sum(map(len, by_size.values())) == ROWS
    assert view.longest("10.1.1.1") == (by_size["10.1.0.0/16"] or by_size["10.0.0.0/8"])
    assert len(view.covering("10.1.1.1")) == len(view.within("10.0.0.0/8")) == ROWS - len(by_size["192.168.0.0/16"])


def check_ring(snap: Snapshot) -> None:
    """Every network of the ring has its one route, all of one turn: they were moved together."""
    rows = list(snap[Routes].values())
    (turn,) = {row.turn for row in rows}
    stand = [(number - turn) % len(RING) for number in range(len(RING))]
    view = snap[Routes.by_network]
    assert names_at(snap) == [[number] for number in stand]
    assert [row.number for row in view.covering(RING[-1])] == stand
    assert [row.number for row in view.within(RING[0])] == stand
    assert [row.number for row in view.longest("10.1.2.3")] == stand[-1:]
    assert [row.number for row in view.longest("10.1.99.1")] == stand[2:3]


def check_prefixes(snap: Snapshot) -> None:
    """Rows under prefixes of index keys: all of them, in their order, each once."""
    by_address, by_tag = snap[Hosts.by_address], snap[Hosts.by_tag]
    parts = [row for digit in "0123" for row in by_address.prefix(digit)]
    assert [row.address for row in parts] == sorted(row.address for row in snap[Hosts].values())
    assert [row.name for row in by_tag.prefix("r")] == [row.name for row in by_tag["red"]]
    assert len(by_tag.prefix("")) == len(snap[Hosts].prefix("")) == ROWS


def check_ranges(snap: Snapshot) -> None:
    hosts = snap[Hosts]
    rows = list(hosts.values())
    assert [row for lead in "0123" for row in hosts.prefix(lead)] == rows
    assert list(hosts.range("1", None, limit=7)) == [row for row in rows if row.name >= "1"][:7]


def check_revisions(snap: Snapshot) -> None:
    hosts = snap[Hosts]
    entries = hosts.since(0)
    revisions = [entry.revision for entry in entries]
    assert len(set(revisions)) == len(revisions) == ROWS
    assert max(revisions) <= hosts.revision
    assert hosts.entry(entries[0].row.name) == entries[0]


def check_dump(db: Database) -> None:
    """A dump that is written while others write is of one instant, and can be loaded."""
    again = Database(Hosts, Ports, Routes, Notes)
    loaded = load(again, db.dump())
    assert loaded == 2 * ROWS + len(RING) + len(again.snapshot()[Notes])
    check_state(again.snapshot(), random.Random(0))


# -- who waits and follows --------------------------------------------------------------------------------------------


def watch_a_sum(db: Database, over: threading.Event) -> None:
    """A row differs later: then its watch has tripped. It has not: then the row is as it was."""
    snap = db.snapshot()
    name = host(7, 0, 0).name
    before, tag = snap[Hosts][name], snap[Hosts.by_tag]["red"]
    row, listed, table = snap[Hosts].watch(name), snap[Hosts.by_tag].watch("red"), snap[Hosts].watch()
    over.wait(0.001)
    later = db.snapshot()
    changed = (
        later[Hosts][name] != before,
        later[Hosts.by_tag]["red"] != tag,
        later[Hosts].revision != snap[Hosts].revision,
    )
    for watch, differs in zip((row, listed, table), changed, strict=True):
        assert not differs or watch.wait(20), "a watch is lost"


def wait_for_a_commit(db: Database, over: threading.Event) -> None:
    """Writers write all the time: whoever waits for any change of a table is woken, and not by the end of its time."""
    watch = db.snapshot()[Hosts].watch()
    began = time.monotonic()
    while not watch.wait(10) and not over.is_set():
        pass
    assert time.monotonic() - began < 10 or over.is_set(), "a watch tripped, or should have, and woke nobody"


def watch_networks(db: Database, over: threading.Event) -> None:
    """As above, for what covers an address, what is within a network, and who stands at one."""
    view = db.snapshot()[Routes.by_network]
    before = (view.covering("10.1.2.3"), view.within(RING[1]), view[RING[2]])
    watches = (view.watch_longest("10.1.2.3"), view.watch_within(RING[1]), view.watch(RING[2]))
    beside = view.watch_within("192.168.0.0/16")
    over.wait(0.001)
    later = db.snapshot()[Routes.by_network]
    after = (later.covering("10.1.2.3"), later.within(RING[1]), later[RING[2]])
    for watch, old, new in zip(watches, before, after, strict=True):
        assert old == new or watch.wait(20), "a watch of networks is lost"
    assert not beside.tripped


class Keeper:
    """Keeps a set of watches over all tables; what it is handed out has tripped, and is asked for anew."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.set = WatchSet(settle=0.0005)

    def turn(self, chance: random.Random) -> None:
        snap = self.db.snapshot()
        while len(self.set) < 12:
            self.set.add(
                snap[Hosts].watch(host(chance.randrange(ROWS), 0, 0).name),
                snap[Hosts.by_tag].watch_prefix(chance.choice("rgb")),
                snap[Ports].watch(chance.randrange(ROWS)),
                snap[Routes.by_network].watch_longest("10.1.2.3"),
            )
        tripped = self.set.wait(20)
        assert tripped, "all of a set of watches are lost"
        assert all(watch.tripped for watch in tripped)
        assert not any(watch in self.set for watch in tripped)


class CutFollower:
    """Folds a stream of several tables; every batch is one cut, and the sums over the tables hold in each."""

    def __init__(self, db: Database, since: Snapshot) -> None:
        self.stream = db.changes(Hosts, Ports, Routes, since=since)
        self.rows: dict[Any, dict[Any, Any]] = {table: dict(since[table]) for table in (Hosts, Ports, Routes)}

    def turn(self, chance: random.Random) -> None:
        batch = self.stream.next(timeout=0.05)
        if batch is None:
            return
        self.fold(batch)
        if chance.random() < 0.2:
            assert self.rows == {table: dict(batch.snapshot[table]) for table in self.rows}
            time.sleep(chance.random() * 0.01)

    def fold(self, batch: Any) -> None:
        for table, rows in self.rows.items():
            fold_into(rows, batch[table], table.primary)
        hosts, ports, routes = self.rows.values()
        assert sum(row.amount for row in hosts.values()) + sum(row.amount for row in ports.values()) == TOTAL
        assert len({row.turn for row in routes.values()}) == 1

    def finish(self, db: Database) -> None:
        while (batch := self.stream.next(timeout=0)) is not None:
            self.fold(batch)
        snap = db.snapshot()
        assert self.rows == {table: dict(snap[table]) for table in self.rows}
        self.stream.close()


class Follower:
    """Folds a stream batch by batch; at every one its rows must be those of the batch's own snapshot."""

    def __init__(self, db: Database, table: Any) -> None:
        self.table = table
        self.stream = db.changes(table)
        self.rows: dict[Any, Any] = {}

    def turn(self, chance: random.Random) -> None:
        batch = self.stream.next(timeout=0.05)
        if batch is None:
            return
        fold_into(self.rows, batch, self.table.primary)
        if chance.random() < 0.2:
            assert self.rows == dict(batch.snapshot[self.table])
            time.sleep(chance.random() * 0.01)

    def finish(self, db: Database) -> None:
        while (batch := self.stream.next(timeout=0)) is not None:
            fold_into(self.rows, batch, self.table.primary)
        assert self.rows == dict(db.snapshot()[self.table])
        self.stream.close()
        with pytest.raises(StreamClosed):
            self.stream.next(timeout=0)


def race(seconds: float, number: int = 0) -> Race:
    db = filled()
    race = Race(db, number)
    first = db.snapshot()
    followers = [Follower(db, Hosts), Follower(db, Ports), Follower(db, Hosts), Follower(db, Routes)]
    cuts = [CutFollower(db, first), CutFollower(db, first)]

    def read_shared(chance: random.Random) -> None:
        check_state(race.shared, chance)
        if chance.random() < 0.3:
            race.shared = db.snapshot()

    for number in range(3):
        race.start(f"writer {number}", lambda chance: transfer(db, chance))
    for number in range(2):
        race.start(f"writer of routes {number}", lambda chance: turn_the_ring(db, chance))
    race.start("writer of everything", lambda chance: turn_everything(db, chance))
    for number in range(2):
        race.start(f"reader of new snapshots {number}", lambda chance: check_state(db.snapshot(), chance))
        race.start(f"reader of a shared snapshot {number}", read_shared)
    race.start("reader of the first snapshot", lambda chance: check_state(first, chance))
    race.start("watcher", lambda _: watch_a_sum(db, race.over))
    race.start("watcher of networks", lambda _: watch_networks(db, race.over))
    race.start("keeper of a set", Keeper(db).turn)
    race.start("clerk", Clerk(db).turn)
    race.start("dumper", lambda _: check_dump(db))
    race.start("waiter", lambda _: wait_for_a_commit(db, race.over))
    for number, follower in enumerate(followers):
        race.start(f"follower {number}", follower.turn)
    for number, cut in enumerate(cuts):
        race.start(f"follower of all tables {number}", cut.turn)
    race.run(seconds)
    db.check()
    for follower in [*followers, *cuts]:
        follower.finish(db)
    check_state(db.snapshot(), random.Random(0))
    check_state(first, random.Random(0))
    assert all(first[Hosts][host(number, 0, 0).name].amount == 100 for number in range(ROWS))
    return race


def test_everybody_at_once_for_a_moment():
    counts = race(5).counts
    assert all(counts.values()), counts


@pytest.mark.stress
@pytest.mark.parametrize("number", range(6))
def test_everybody_at_once_for_minutes(number):
    """Several shorter races: each begins with a young database, and ends with all its checks."""
    race(50, number)
