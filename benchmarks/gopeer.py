"""The Go original as a peer: the same work on the same rows in the same run, by turns.

The Go program in ``peers_go/`` is ours; the Go toolchain fetches github.com/cilium/statedb for it. Where there is no
toolchain, or the module cannot be had, a line says so, and there are our own times only.
"""

from __future__ import annotations

import hashlib
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from statedb import Database, TableView

from .harness import Figure, Outcome, Size, digest, median, require, rounds, timed, workload
from .limit import Row, Rows, filled, make_rows, write_in
from .read import Addresses
from .watch import _wake_threads

_SOURCE = Path(__file__).parent / "peers_go"
_PROGRAM = Path(__file__).parent.parent / "build" / "go-peer" / "peer"
_DOWNLOAD_S = 30.0


class Task(msgspec.Struct, frozen=True):
    """One piece of work, for either side. ``revision`` is that of the rows which it writes."""

    name: str
    kind: str
    batch: int = 0
    revision: int = 0


class Done(msgspec.Struct, frozen=True):
    """What an operation took (every sample, where a task takes many), and a digest of the result."""

    name: str
    nanoseconds: list[float]
    answer: str


TASKS = (
    Task("insert in order in 1000s", "insert in order", 1000),
    Task("insert in 1s", "insert", 1),
    Task("insert in 100s", "insert", 100),
    Task("insert in 1000s", "insert", 1000),
    Task("get", "get"),
    Task("list by node, the first time", "list by node"),
    Task("list by node", "list by node"),
    Task("list by identity, the first time", "list by identity"),
    Task("list by identity", "list by identity"),
    Task("iterate, the first time", "iterate"),
    Task("iterate", "iterate"),
    Task("replace in 1s", "replace", 1),
    Task("replace in 100s", "replace", 100),
    Task("replace in 1000s", "replace", 1000),
    Task("changes, all at once", "changes", 100),
    Task("insert prefixes in 1s", "insert prefixes", 1),
    Task("insert prefixes in 100s", "insert prefixes", 100),
    Task("insert prefixes in 1000s", "insert prefixes", 1000),
    Task("longest prefix", "longest"),
    Task("longest prefix of text", "longest of text"),
    Task("wake", "wake"),
)
"""Everything that is measured, in this order: readers find what the last task that inserted has left. No reader holds a
snapshot while a writer is timed."""

AT_LEAST = {
    "insert in order in 1000s": 0.65,
    "insert in 1s": 1.2,
    "insert in 100s": 1.2,
    "insert in 1000s": 1.2,
    "get": 1.0,
    "list by node": 0.4,
    "list by identity": 0.4,
    "iterate": 0.5,
    "replace in 1s": 1.2,
    "replace in 100s": 1.2,
    "replace in 1000s": 1.2,
    "insert prefixes in 1s": 1.0,
    "insert prefixes in 100s": 1.0,
    "insert prefixes in 1000s": 1.0,
    "longest prefix": 0.7,
    "wake, p50": 0.25,
}
"""How many times as fast as the original we want to be."""


class Work:
    """What both sides work on."""

    def __init__(self, size: Size) -> None:
        """Rows as everywhere; 50 000 networks at full size, a fifth of them /24, the others addresses in these."""
        self.rows = make_rows(size.rows)
        self.wakes = size.wakes
        wide = [f"10.{n >> 8 & 255}.{n & 255}" for n in range(max(1, size.rows // 4))]
        networks = [f"{each}.0/24" for each in wide] + [f"{each}.{n * 50}/32" for each in wide for n in range(4)]
        self.networks = [networks[n] for n in _shuffled(len(networks))]
        addresses = [f"{each}.{n * 50 + n % 2}" for each in wide for n in range(5)]
        self.addresses = [addresses[n] for n in _shuffled(len(addresses))]

    def as_input(self) -> dict[str, Any]:
        """What the Go program is told before its tasks (Any: JSON)."""
        rows = [(row.id, row.node, row.identity) for row in self.rows]
        return {"rows": rows, "networks": self.networks, "addresses": self.addresses, "wakes": self.wakes}


def _shuffled(count: int) -> list[int]:
    """The numbers up to a count, in the order of `make_rows`."""
    return [int(row.id.removeprefix("pod-")) for row in make_rows(count)]


class Side(Protocol):
    """Who does tasks."""

    def do(self, task: Task) -> Done:
        """Do a task, and say what it took and gave."""
        ...


class Ours:
    """Our engine at the tasks."""

    def __init__(self, work: Work) -> None:
        """Empty tables."""
        self._work = work
        self._rows, self._networks = Database(Rows), Database(Addresses)

    def do(self, task: Task) -> Done:
        """Do a task, and say what it took and gave."""
        work = self._work
        match task.kind:
            case "insert" | "insert in order":
                self._rows = Database(Rows)
                return self._write(task)
            case "replace":
                return self._write(task)
            case "get":
                keys = [row.id for row in work.rows]
                view = self._rows.snapshot()[Rows]
                seconds = timed(_get_each, view.get, keys)
                return _done(task, seconds, len(keys), _lines(map(view.__getitem__, keys)))
            case "list by node":
                by_node = self._rows.snapshot()[Rows.by_node]
                return self._list(task, by_node.get, {row.node for row in work.rows})
            case "list by identity":
                by_identity = self._rows.snapshot()[Rows.by_identity]
                return self._list(task, by_identity.get, {row.identity for row in work.rows})
            case "iterate":
                view = self._rows.snapshot()[Rows]
                seconds = timed(_iterate, view)
                return _done(task, seconds, len(work.rows), _lines(view.values()))
            case "changes":
                return self._changes(task)
            case "insert prefixes":
                return self._insert_prefixes(task)
            case "longest":
                return self._longest(task, [socket.inet_aton(each) for each in work.addresses])
            case "longest of text":
                return self._longest(task, work.addresses)
            case "wake":
                db = filled(make_rows(400))
                nanoseconds = [seconds * 1e9 for seconds in _wake_threads(db, work.wakes)]
                return Done(task.name, nanoseconds, _digest(_lines([db.snapshot()[Rows]["pod-0000001"]])))
        raise AssertionError(f"there is no task {task.kind!r}")

    def _write(self, task: Task) -> Done:
        in_order = task.kind == "insert in order"
        rows = make_rows(len(self._work.rows), task.revision, scattered=in_order)
        if in_order:
            rows.sort(key=lambda row: row.id)
        seconds = timed(write_in, self._rows, rows, task.batch)
        return _done(task, seconds, len(rows), self._all())

    def _all(self) -> Iterator[str]:
        """The rows by key, looked up one by one: nothing is sorted by it before the first ordered reader comes."""
        view = self._rows.snapshot()[Rows]
        require(len(view) == len(self._work.rows), "no row is there twice")
        return _lines(map(view.__getitem__, sorted(row.id for row in self._work.rows)))

    def _list(self, task: Task, find: Callable[[str], Iterable[Row]], among: set[str]) -> Done:
        keys = sorted(among)
        seconds = timed(_iterate_each, find, keys)
        return _done(task, seconds, len(self._work.rows), _lines(row for key in keys for row in find(key)))

    def _changes(self, task: Task) -> Done:
        """Drain a stream that was opened before all rows were inserted."""
        db, taken = Database(Rows), list[Row]()
        with db.changes(Rows) as stream:
            write_in(db, make_rows(len(self._work.rows), task.revision), task.batch)
            seconds = timed(lambda: taken.extend([change.row for change in stream.next(0) or ()]))
        return _done(task, seconds, len(self._work.rows), _lines(sorted(taken, key=lambda row: row.id)))

    def _insert_prefixes(self, task: Task) -> Done:
        self._networks = Database(Addresses)
        networks = ["".join(each) for each in self._work.networks]
        seconds = timed(_insert_texts, self._networks, networks, task.batch)
        return _done(task, seconds, len(networks), self._networks.snapshot()[Addresses].values())

    def _longest(self, task: Task, addresses: Sequence[str] | Sequence[bytes]) -> Done:
        find: Callable[[Any], tuple[str, ...]] = self._networks.snapshot()[Addresses.by_network].longest
        seconds = timed(_iterate_each, find, addresses)
        return _done(task, seconds, len(addresses), [row for address in addresses for row in find(address)])


def _done(task: Task, seconds: float, operations: int, lines: Iterable[str]) -> Done:
    return Done(task.name, [seconds / operations * 1e9], _digest(lines))


def _digest(lines: Iterable[str]) -> str:
    """As the Go program makes it."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _lines(rows: Iterable[Row]) -> Iterator[str]:
    return (f"{row.id} {row.node} {row.identity} {row.revision} {row.state}" for row in rows)


def _get_each(find: Callable[[str], Any], keys: list[str]) -> None:
    for key in keys:
        find(key)


def _iterate_each(find: Callable[[Any], Iterable[Any]], keys: Iterable[Any]) -> None:
    for key in keys:
        for _ in find(key):
            pass


def _iterate(view: TableView[str, Row]) -> None:
    for _ in view.values():
        pass


def _insert_texts(db: Database, rows: list[str], batch: int) -> None:
    for start in range(0, len(rows), batch):
        with db.write(Addresses) as txn:
            writer = txn[Addresses]
            for row in rows[start : start + batch]:
                writer.insert(row)


class Missing(Exception):
    """What the Go program is made with is not there; the message says what."""


def build() -> Path:
    """The Go program, made anew where its source changed. Raises Missing."""
    go = shutil.which("go")
    if go is None:
        raise Missing("there is no Go toolchain; install it from go.dev")
    try:
        subprocess.run([go, "mod", "download"], cwd=_SOURCE, check=True, capture_output=True, timeout=_DOWNLOAD_S)
    except subprocess.TimeoutExpired:
        raise Missing(f"github.com/cilium/statedb did not come within {_DOWNLOAD_S:g} s; look at GOPROXY") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines() or ["go mod download failed"]
        raise Missing(f"github.com/cilium/statedb cannot be had: {said[-1]}") from None
    subprocess.run([go, "build", "-o", str(_PROGRAM), "."], cwd=_SOURCE, check=True)
    return _PROGRAM


class Original:
    """The Go program at the tasks."""

    def __init__(self, program: subprocess.Popen[bytes], work: Work) -> None:
        """``program`` reads tasks from its standard input."""
        self._program = program
        self._tell(work.as_input())

    def do(self, task: Task) -> Done:
        """Do a task, and say what it took and gave."""
        self._tell(task)
        assert self._program.stdout is not None
        line = self._program.stdout.readline()
        require(bool(line), f"the Go program ended at {task.name!r}; see what it said")
        return msgspec.json.decode(line, type=Done)

    def _tell(self, what: Any) -> None:
        assert self._program.stdin is not None
        self._program.stdin.write(msgspec.json.encode(what) + b"\n")
        self._program.stdin.flush()


@contextmanager
def _original(work: Work) -> Iterator[Original | None]:
    """The Go program while it runs; None, and a line to standard error, where it cannot be had."""
    try:
        program = build()
    except Missing as error:
        print(f"  no figures of the Go statedb: {error}", file=sys.stderr)
        yield None
        return
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        yield Original(running, work)


@workload("go")
def compare(size: Size) -> Iterator[Outcome]:
    """Our times, and how many times as fast as the Go original we are; below 1 we are slower."""
    work, answers = Work(size), list[str]()
    ours: dict[str, list[float]] = {}
    ratios: dict[str, list[float]] = {}
    with _original(work) as original:
        engine = Ours(work)
        sides: tuple[Side, ...] = (engine,) if original is None else (engine, original)
        for number in rounds(size.repeats, "go"):
            answers = []
            for at, task in enumerate(TASKS, number * len(TASKS)):
                done = _by_turns(sides, msgspec.structs.replace(task, revision=at))
                answers.append(done[0].answer)
                require(done[-1].answer == done[0].answer, f"both have the same answer to {task.name!r}")
                own, theirs = _times(done[0]), _times(done[-1])
                for name, nanoseconds in own.items():
                    ours.setdefault(name, []).append(nanoseconds)
                    ratios.setdefault(name, []).append(theirs[name] / nanoseconds)
    for name, each in ours.items():
        yield Figure(name, median(each), "ns")
        if original is not None:
            faster = median(ratios[name])
            yield Figure(f"{name}, times as fast as the Go statedb", faster, "x", at_least=AT_LEAST.get(name))
    yield digest(answers)


def _by_turns(sides: Sequence[Side], task: Task) -> list[Done]:
    """What each side needed for the task; who is first changes from task to task and from round to round."""
    turns = range(len(sides)) if task.revision % 2 else reversed(range(len(sides)))
    done = {turn: sides[turn].do(task) for turn in turns}
    return [done[at] for at in range(len(sides))]


def _times(done: Done) -> dict[str, float]:
    """Nanoseconds by the name of their figure."""
    if len(done.nanoseconds) == 1:
        return {done.name: done.nanoseconds[0]}
    ordered = sorted(done.nanoseconds)
    return {f"{done.name}, p{part}": ordered[len(ordered) * part // 100] for part in (50, 99)}
