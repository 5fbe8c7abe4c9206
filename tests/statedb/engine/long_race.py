"""The long race: reads of every kind, each checked, while writers commit and others abort what they write.

Every turn moves one row of a small table to other index keys, the next row at the next turn; a commit takes one turn
or several. What the table holds at a turn is known: whoever reads must find all of it, and nothing else, by key, list,
index, prefix, network and range. Reads come from threads, from ``__del__`` wherever the collector runs, and from a
signal handler every millisecond. Uses what the first version of the store had too.

    python -m tests.statedb.engine.long_race --reads 10000000
"""

from __future__ import annotations

import argparse
import gc
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple

from statedb import Database, Index, PrefixIndex, Snapshot, StateDBError, Table, UniqueIndex

FREE_THREADED = not getattr(sys, "_is_gil_enabled", lambda: True)()
ROWS = 8
TAGS = ("blue", "green", "red")
RING = ("10.0.0.0/8", "10.0.0.0/12", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32")
NUMBERS = list(range(ROWS))
ALWAYS = ("threads", "finalizers", "commits")
"""What a race of any length has; a short one may end before a handler's turn, or before an abort."""


class Row(NamedTuple):
    name: str
    number: int
    turn: int
    tag: str
    network: str
    code: str


class Rows(Table[str, Row], name="rows"):
    primary = UniqueIndex[str, Row](lambda row: row.name)
    by_code = UniqueIndex[str, Row](lambda row: row.code)
    by_tag = Index[str, Row](lambda row: (row.tag,))
    by_network = PrefixIndex[str, Row](lambda row: (row.network,))


def name_of(number: int) -> str:
    return f"{number % 2}/{number}"


def own_turn(number: int, turn: int) -> int:
    """The turn at which a row moved last."""
    return turn - (turn - number) % ROWS


def row_of(number: int, turn: int) -> Row:
    """The row as it is at a turn of the table."""
    own = own_turn(number, turn)
    return Row(name_of(number), number, own, TAGS[own % 3], RING[own % 5], f"{own % 7}-{own:09}")


class Expected:
    """What every read gives at a turn, by the numbers of the rows."""

    def __init__(self, turn: int) -> None:
        rows = [row_of(number, turn) for number in NUMBERS]
        self.by_tag = {tag: sorted(row.number for row in rows if row.tag == tag) for tag in TAGS}
        self.by_network = {net: sorted(row.number for row in rows if row.network == net) for net in RING}
        deepest = [net for net in RING if self.by_network[net]][-1]
        self.longest = self.by_network[deepest]
        self.by_code = [row.number for row in sorted(rows, key=lambda row: row.code)]


PERIOD = ROWS * 3 * 5 * 7
"""After so many turns all keys but those of ``by_code`` come again, and these in the same order."""
EXPECTED = [Expected(PERIOD + turn) for turn in range(PERIOD)]


def numbers(rows: Any, turn: int) -> list[int]:
    """The numbers of rows, all as they are at a turn."""
    for row in rows:
        own = own_turn(row.number, turn)
        assert row.turn == own, f"row {row.number} of turn {row.turn} and not {own}, at turn {turn}"
    return sorted([row.number for row in rows])


def check(snapshot: Snapshot, chance: random.Random) -> int:
    """One read of each kind, in any order; how many there were."""
    rows = snapshot[Rows]
    turn = max([rows[name_of(number)].turn for number in NUMBERS])
    expected = EXPECTED[turn % PERIOD]
    by_tag, by_network, by_code = snapshot[Rows.by_tag], snapshot[Rows.by_network], snapshot[Rows.by_code]
    number, tag, network = chance.randrange(ROWS), chance.choice(TAGS), chance.choice(RING)
    reads: list[tuple[Callable[[], Any], Any]] = [
        (lambda: rows[name_of(number)], row_of(number, turn)),
        (lambda: numbers(rows.values(), turn), NUMBERS),
        (lambda: numbers(by_tag[tag], turn), expected.by_tag[tag]),
        (lambda: numbers(by_tag.range("b", "h"), turn), sorted(expected.by_tag["blue"] + expected.by_tag["green"])),
        (lambda: numbers(rows.prefix("1/"), turn), NUMBERS[1::2]),
        (lambda: numbers(rows.range("0/", "1/"), turn), NUMBERS[::2]),
        (lambda: numbers(rows.range("0/3", limit=3), turn), [1, 4, 6]),
        (lambda: numbers(by_network[network], turn), expected.by_network[network]),
        (lambda: numbers(by_network.longest("10.1.2.3"), turn), expected.longest),
        (lambda: numbers(by_network.within("10.0.0.0/8"), turn), NUMBERS),
        (lambda: by_code[row_of(number, turn).code].number, number),
        (lambda: [row.number for row in by_code.prefix("")], expected.by_code),
    ]
    chance.shuffle(reads)
    for read, right in reads:
        found = read()
        assert found == right, f"{found}, and not {right}, at turn {turn}"
    return len(reads)


class Long:
    """The threads, the garbage and the handler, until enough was read or somebody failed."""

    def __init__(self, reads: int) -> None:
        self.db = Database(Rows)
        with self.db.write(Rows) as txn:
            for number in NUMBERS:
                txn[Rows].insert(row_of(number, PERIOD))
        self.wanted = reads
        self.over = threading.Event()
        self.failures: list[str] = []
        self._counted: dict[tuple[str, int], int] = {}
        self.under_way: Any = None
        self.end = float("inf")
        self.kept = [self.db.snapshot()]
        self._threads: list[threading.Thread] = []

    def count(self, who: str, number: int) -> None:
        """Add to what was counted, of this thread alone: a number that two threads add to loses what one adds."""
        key = who, threading.get_ident()
        self._counted[key] = self._counted.get(key, 0) + number

    @property
    def counts(self) -> dict[str, int]:
        """How many reads were checked so far, by who read, and how many commits and aborts there were."""
        totals = dict.fromkeys(("threads", "finalizers", "handlers", "commits", "aborts"), 0)
        for (who, _), number in self._counted.copy().items():
            totals[who] += number
        return totals

    @property
    def reads(self) -> int:
        """How many were checked so far, whoever read."""
        counts = self.counts
        return counts["threads"] + counts["finalizers"] + counts["handlers"]

    def failed(self, who: str) -> None:
        self.failures.append(f"after {self.reads} checked reads, {who}:\n{traceback.format_exc()}")
        self.over.set()

    def start(self, name: str, turn: Callable[[random.Random], None]) -> None:
        def run() -> None:
            chance = random.Random(name)
            try:
                while not self.over.is_set():
                    turn(chance)
            except BaseException:
                self.failed(name)

        self._threads.append(threading.Thread(target=run, name=name, daemon=True))
        self._threads[-1].start()

    def write(self, chance: random.Random) -> None:
        """Take one turn or several; other threads may abort that at any moment."""
        txn = self.db.write(Rows)
        try:
            self.under_way = txn
            rows = txn[Rows]
            turn = max([row.turn for row in rows.values()])
            last = turn + chance.choice((1, 1, 1, 1, 2, 5, ROWS))
            moved = {each % ROWS for each in range(turn + 1, last + 1)}
            if len(moved) == ROWS and chance.random() < 0.5:
                rows.clear()
            for number in chance.sample(sorted(moved), len(moved)):
                rows.insert(row_of(number, last))
            txn.commit()
            self.count("commits", 1)
        except StateDBError:  # it was aborted
            self.count("aborts", 1)
        finally:
            txn.abort()

    def abort(self, chance: random.Random) -> None:
        """At once where the transaction was found open, or a little later.

        Sleeps where none is open: a loop that only looks took a quarter of the processor, and with it of the reads.
        """
        txn = self.under_way
        if txn is None:
            time.sleep(chance.random() * 0.0005)
            return
        if chance.random() < 0.5:
            time.sleep(chance.random() * 0.0005)
        txn.abort()
        self.under_way = None

    def read(self, chance: random.Random) -> None:
        """A new state, or an old one that several look at.

        The collector runs after another number of allocations each time: with one number it would run at the same
        few places, where the most objects are alive.
        """
        gc.set_threshold(chance.randrange(20, 400), 20, 100)
        if FREE_THREADED and chance.random() < 0.05:
            gc.collect()  # the collector there waits for many more objects than this race has
        if chance.random() < 0.05:
            self.kept = [*self.kept[-4:], self.db.snapshot()]
        snapshot = self.db.snapshot() if chance.random() < 0.6 else chance.choice(self.kept)
        self.count("threads", check(snapshot, chance))
        if self.reads >= self.wanted and all(self.counts[who] for who in ALWAYS):
            self.over.set()
        if time.monotonic() >= self.end:  # looked at by every reader: the main thread may be long in its finalizers
            self.over.set()

    def handle(self, _: int, __: FrameType | None) -> None:
        if self.over.is_set():
            return
        try:
            self.count("handlers", check(self.db.snapshot(), random.Random(self.counts["handlers"])))
        except BaseException:
            self.failed("a signal handler")
        finally:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.002))

    def run(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds
        for _ in range(3):
            Garbage(self)  # before the threads: these may have read everything before this one has its next turn
        for number in range(2):
            self.start(f"writer {number}", self.write)
            self.start(f"aborter {number}", self.abort)
        for number in range(3):
            self.start(f"reader {number}", self.read)
        chance = random.Random(0)
        while not self.over.is_set():
            self.read(chance)  # in the main thread, which the handler interrupts
        for thread in self._threads:
            thread.join(60)
            if thread.is_alive():
                self.failures.append(f"after {self.reads} checked reads {thread.name} hangs")


class Garbage:
    """A cycle that reads the store when it is collected, wherever that may be, and leaves another one."""

    def __init__(self, long: Long) -> None:
        self.long = long
        self.cycle = self

    def __del__(self) -> None:
        long = self.long
        if not long.over.is_set():
            try:
                chance = random.Random(long.counts["finalizers"])
                long.count("finalizers", check(long.db.snapshot(), chance))
            except BaseException:
                long.failed("a finalizer")
            Garbage(long)


def tell(long: Long) -> None:
    """Print every minute how far it is."""
    begun = time.monotonic()
    while not long.over.wait(60):
        print(f"{long.reads} checked reads after {time.monotonic() - begun:.0f} s", flush=True)


def race(reads: int, seconds: float, *, progress: bool = False) -> Long:
    """Race until so much was read, at the shortest switch interval; call it in the main thread."""
    long = Long(reads)
    if progress:
        threading.Thread(target=tell, args=(long,), name="progress", daemon=True).start()
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    handler = signal.signal(signal.SIGALRM, long.handle)
    sys.setswitchinterval(1e-6)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    try:
        long.run(seconds)
    finally:
        long.over.set()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)
    assert not long.failures, "\n".join(long.failures)
    assert check(long.db.snapshot(), random.Random(0))
    long.db.check()
    return long


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reads", type=int, default=10_000_000)
    parser.add_argument("--seconds", type=float, default=7200.0)
    given = parser.parse_args()
    begun = time.monotonic()
    long = race(given.reads, given.seconds, progress=True)
    print(f"{long.reads} checked reads in {time.monotonic() - begun:.0f} s: {long.counts}")


if __name__ == "__main__":
    main()
