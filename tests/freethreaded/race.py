"""A race of the store on a free-threaded interpreter, where readers and writers run at the same moment.

    python -m tests.freethreaded.race --seconds 300

Needs Python 3.13t or later and ``sortedcontainers``, nothing else: rows are NamedTuples. Writers move rows between
index keys so that sums and counts stay; readers by key, list, index, prefix, network and range must find them kept.
Others make watches of every kind and drop them, wait for some, and follow a stream whose folded changes must be the
snapshot of each batch.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import NamedTuple

from statedb import Database, Index, PrefixIndex, Snapshot, Table, UniqueIndex

ROWS = 60
TAGS = ("blue", "green", "red")
NETWORKS = ("10.0.0.0/8", "10.1.0.0/16", "192.168.0.0/16")


class Item(NamedTuple):
    name: str
    address: str
    tag: str
    network: str
    amount: int


class Items(Table[str, Item], name="items"):
    primary = UniqueIndex[str, Item](lambda item: item.name)
    by_address = UniqueIndex[str, Item](lambda item: item.address)
    by_tag = Index[str, Item](lambda item: (item.tag,))
    by_network = PrefixIndex[str, Item](lambda item: (item.network,))


def item(number: int, turn: int, amount: int) -> Item:
    return Item(f"{number % 4}-{number:03}", f"{number:03}/{turn}", TAGS[turn % 3], NETWORKS[turn % 3], amount)


def move(db: Database, chance: random.Random) -> int:
    """An amount goes from one row to another, and both to other index keys; or one goes and comes again."""
    first, second = chance.sample(range(ROWS), 2)
    amount = chance.randrange(-9, 9)
    with db.write(Items) as txn:
        items = txn[Items]
        a, b = items[item(first, 0, 0).name], items[item(second, 0, 0).name]
        if chance.random() < 0.2:
            items.delete(a.name)
        items.insert(item(first, chance.randrange(999), a.amount - amount))
        items.insert(item(second, chance.randrange(999), b.amount + amount))
        if chance.random() < 0.1:
            txn.abort()
    return 0


def check(snapshot: Snapshot, chance: random.Random) -> int:
    """Read in every way; how many reads were checked."""
    items, by_tag = snapshot[Items], snapshot[Items.by_tag]
    by_address, by_network = snapshot[Items.by_address], snapshot[Items.by_network]
    reads = [
        lambda: sum(row.amount for row in items.values()) == 0,
        lambda: len(list(items)) == len(items) == ROWS,
        lambda: sum(len(by_tag[tag]) for tag in TAGS) == ROWS,
        lambda: len(by_tag.range("a", "z")) == ROWS,
        lambda: sum(len(items.prefix(f"{part}-")) for part in range(4)) == ROWS,
        lambda: len(items.range("1-", "3-")) == ROWS // 2,
        lambda: len(by_network.within("0.0.0.0/0")) == ROWS,
        lambda: by_network.longest("10.1.2.3") == (by_network["10.1.0.0/16"] or by_network["10.0.0.0/8"]),
        lambda: len(by_address.prefix("0")) == ROWS,
        lambda: all(by_address[row.address] is row for row in items.range(limit=3)),
    ]
    chance.shuffle(reads)
    for read in reads:
        assert read()
    return len(reads)


def watch(db: Database, chance: random.Random) -> int:
    """Watches of every kind, most of them dropped at once. A row that has changed must wake the watch on it."""
    snapshot = db.snapshot()
    items, by_tag, by_network = snapshot[Items], snapshot[Items.by_tag], snapshot[Items.by_network]
    name, tag = item(chance.randrange(ROWS), 0, 0).name, chance.choice(TAGS)
    mine, other = items.watch(name), items.watch("nobody")
    asked = [
        items.watch(),
        items.watch_prefix(name[:1]),
        items.watch_range("1-", "3-"),
        by_tag.watch(tag),
        by_network.watch_longest("10.1.2.3"),
        by_network.watch_within("10.0.0.0/8"),
    ]
    chance.shuffle(asked)
    asked[0].wait(chance.random() * 0.001)
    del asked
    if db.snapshot()[Items].get(name) != items.get(name):
        assert mine.wait(60), f"{name} has changed, and its watch does not trip"
    assert not other.tripped, "a watch on a row that nobody writes has tripped"
    return 2


class Follower:
    """Folds a stream into a dict, which must be what the snapshot of each batch has."""

    def __init__(self, db: Database) -> None:
        self.stream = db.changes(Items)
        self.rows: dict[str, Item] = {}

    def follow(self, _: random.Random) -> int:
        batch = self.stream.next(timeout=0.1)
        if batch is None:
            return 0
        for change in batch:
            if change.deleted:
                del self.rows[change.row.name]
            else:
                self.rows[change.row.name] = change.row
        assert self.rows == dict(batch.snapshot[Items]), "the folded changes are not the snapshot of the batch"
        return 1


def grow(_: random.Random) -> int:
    """Networks of more and more lengths in a new table: the longest match grows with them, and never shrinks."""
    db = Database(Items)
    db.insert(Items, Item("0", "0", "red", "10.0.0.0/8", 0))

    def write() -> None:
        for length in range(9, 33):
            db.insert(Items, Item(f"{length}", f"{length}", "red", f"10.0.0.0/{length}", length))

    writer = threading.Thread(target=write)
    writer.start()
    reads = longest = 0
    while longest < 32:
        (row,) = db.snapshot()[Items.by_network].longest("10.0.0.0")
        assert row.amount >= longest, f"a match of {row.amount} bits after one of {longest}"
        longest = row.amount
        reads += 1
    writer.join()
    return reads


class Race:
    """Threads that take turns until the time is over, or one of them fails."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.failures: list[str] = []
        self.reads: list[int] = []
        self._threads: list[threading.Thread] = []

    def start(self, name: str, turn: Callable[[random.Random], int]) -> None:
        def run() -> None:
            chance, reads = random.Random(name), 0
            try:
                while not self.over.is_set():
                    reads += turn(chance)
            except BaseException:
                self.failures.append(f"{name}:\n{traceback.format_exc()}")
                self.over.set()
            self.reads.append(reads)

        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()

    def run(self, seconds: float) -> None:
        self.over.wait(seconds)
        self.over.set()
        for thread in self._threads:
            thread.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        print(f"{sys.executable} is no free-threaded interpreter, or its GIL is on")
        return 69
    db = Database(Items)
    with db.write(Items) as txn:
        txn[Items].insert_all([item(number, number, 0) for number in range(ROWS)])
    first = db.snapshot()
    race = Race()
    for number in range(2):
        race.start(f"writer {number}", lambda chance: move(db, chance))
    for number in range(3):
        race.start(f"reader {number}", lambda chance: check(db.snapshot(), chance))
    race.start("reader of the first snapshot", lambda chance: check(first, chance))
    for number in range(2):
        race.start(f"watcher {number}", lambda chance: watch(db, chance))
    race.start("follower", Follower(db).follow)
    race.start("growing table", grow)
    begun = time.monotonic()
    race.run(given.seconds)
    if race.failures:
        print("\n".join(race.failures))
        return 1
    db.check()
    commits = db.stats()[0].commits
    print(f"{sum(race.reads)} checked reads and {commits} commits in {time.monotonic() - begun:.0f} s: all right")
    return 0


if __name__ == "__main__":
    sys.exit(main())
