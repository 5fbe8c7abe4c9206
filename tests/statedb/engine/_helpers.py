"""What the tests of interrupts, races and memory share: two small tables, a picture of all that can be read of them,
a database in the middle of its life, and exceptions raised at a chosen line of the engine."""

from __future__ import annotations

import dis
import inspect
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import msgspec

import statedb
from statedb import Database, Index, PrefixIndex, Snapshot, Table, UniqueIndex, Watch

ENGINE = str(Path(statedb.__file__).parent / "engine")
ADDRESSES = ("10.0.0.1", "10.1.2.3", "10.9.9.9", "192.168.1.1")


class Host(msgspec.Struct, frozen=True, gc=False):
    name: str
    address: str
    tags: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    amount: int = 0


class Port(msgspec.Struct, frozen=True, gc=False):
    number: int
    host: str
    amount: int = 0


class Hosts(Table[str, Host], name="hosts"):
    primary = UniqueIndex[str, Host](lambda host: host.name)
    by_address = UniqueIndex[str, Host](lambda host: host.address)
    by_tag = Index[str, Host](lambda host: host.tags)
    by_network = PrefixIndex[str, Host](lambda host: host.networks)


class Ports(Table[int, Port], name="ports"):
    primary = UniqueIndex[int, Port](lambda port: port.number)
    by_host = Index[str, Port](lambda port: (port.host,))


# -- everything that can be read --------------------------------------------------------------------------------------


def picture(snap: Snapshot) -> dict[str, Any]:
    """All that a snapshot shows, by every kind of read; two pictures are equal where the states are."""
    hosts, ports = snap[Hosts], snap[Ports]
    by_address, by_tag, by_network = snap[Hosts.by_address], snap[Hosts.by_tag], snap[Hosts.by_network]
    return {
        "hosts": tuple(hosts.values()),
        "entries": tuple([hosts.entry(name) for name in hosts]),
        "count": (len(hosts), hosts.revision, hosts.initialized, len(ports), ports.revision),
        "got": {name: hosts.get(name) for name in ("a", "b", "c", "d", "e")},
        "prefix": hosts.prefix("a"),
        "range": hosts.range("b", "d", limit=2),
        "since": hosts.since(2),
        "by_address": _shown(by_address),
        "addresses": by_address.range("2"),
        "by_tag": _shown(by_tag),
        "tags": by_tag.prefix("r"),
        "by_network": _shown(by_network),
        "longest": {address: by_network.longest(address) for address in ADDRESSES},
        "covering": by_network.covering("10.1.2.3"),
        "within": by_network.within("10.0.0.0/8"),
        "ports": tuple(ports.items()),
        "port entries": ports.since(0),
        "by_host": _shown(snap[Ports.by_host]),
    }


def _shown(view: Any) -> dict[Any, Any]:
    keys = view.keys()
    return {key: view[key] for key in keys}


def fold_into(rows: dict[Any, Any], batch: Any, key_of: Callable[[Any], Any]) -> None:
    """Apply a batch of changes to a plain dict of rows."""
    for change in batch:
        if change.deleted:
            del rows[key_of(change.row)]
        else:
            rows[key_of(change.row)] = change.row


# -- a database in the middle of its life -----------------------------------------------------------------------------


class Scene:
    """Two tables after a few commits, a kept old snapshot, open streams, and watches that do and do not concern
    what ``change`` stages. Whoever makes one calls ``close``."""

    def __init__(self) -> None:
        self.db = Database(Hosts, Ports)
        with self.db.write(Hosts, Ports) as txn:
            txn[Hosts].insert(Host("a", "1", ("red", "blue"), ("10.0.0.0/8",)))
            txn[Hosts].insert(Host("b", "2", ("red",), ("10.1.0.0/16",)))
            txn[Hosts].insert(Host("c", "3", ("green",), ("10.1.2.0/24", "192.168.0.0/16")))
            for number in range(6):
                txn[Ports].insert(Port(number, "ab"[number % 2]))
        self.old = self.db.snapshot()
        self.old_picture = picture(self.old)
        for amount in range(4):  # commits that nobody holds: compaction has something to merge
            with self.db.write(Hosts) as txn:
                txn[Hosts].insert(Host("b", "2", ("blue",), ("10.0.0.0/8",), amount))
                txn[Hosts].insert(Host("ac"[amount % 2], "13"[amount % 2], ("red",), (), amount))
        with self.db.write(Hosts, Ports) as txn:
            txn[Hosts].insert(Host("a", "1", ("red", "blue"), ("10.0.0.0/8",)))
            txn[Hosts].insert(Host("c", "3", ("green",), ("10.1.2.0/24", "192.168.0.0/16")))
            txn[Ports].delete(3)
        self.before = self.db.snapshot()
        self.before_picture = picture(self.before)
        self.host_rows: dict[Any, Any] = {}
        self.host_stream = self.db.changes(Hosts)
        self.fold()
        hosts = self.before[Hosts]
        self.concerned = [
            hosts.watch(),
            hosts.watch("a"),
            hosts.watch("d"),
            hosts.watch_prefix("d"),
            self.before[Hosts.by_address].watch("2"),
            self.before[Hosts.by_tag].watch("green"),
            self.before[Hosts.by_tag].watch_prefix("re"),
            self.before[Hosts.by_network].watch_longest("10.1.2.3"),
            self.before[Hosts.by_network].watch_within("192.168.0.0/16"),
            self.before[Ports.by_host].watch("a"),
        ]
        self.unconcerned: list[Watch] = [
            hosts.watch("zzz"),
            self.before[Hosts.by_tag].watch("violet"),
            self.before[Hosts.by_network].watch_within("172.16.0.0/12"),
            self.before[Ports].watch(2),
        ]

    @staticmethod
    def change(txn: Any) -> None:
        """An insert, replaces with and without moved keys, an exchange of unique keys, deletes; in both tables."""
        hosts, ports = txn[Hosts], txn[Ports]
        hosts.delete("c")
        hosts.insert(Host("a", "3", ("red", "blue"), ("10.1.2.0/24",)))
        hosts.insert(Host("b", "1", ("blue", "red"), ("10.0.0.0/8",), amount=7))
        hosts.insert(Host("d", "2", ("red", "green"), ("192.168.1.0/24",)))
        ports.insert(Port(0, "b"))
        ports.insert(Port(1, "b", amount=1))
        ports.insert(Port(9, "d"))

    def fold(self) -> None:
        """Bring the folded rows up to the newest state."""
        while (batch := self.host_stream.next(timeout=0)) is not None:
            fold_into(self.host_rows, batch, Hosts.primary)

    def write_from_another_thread(self) -> None:
        """A transaction on both tables must start at once: nobody holds them any more."""

        def write() -> None:
            with self.db.write(Hosts, Ports) as txn:
                txn[Hosts].insert(Host("e", "5", ("red",), ("10.0.0.0/8",)))
                txn[Ports].insert(Port(7, "e"))

        in_a_thread(write)

    def close(self) -> None:
        self.host_stream.close()


class Emptying(Scene):
    """A scene whose change empties both tables, ``ports`` with more rows than are staged one by one."""

    def __init__(self) -> None:
        super().__init__()
        hosts = self.before[Hosts]
        absent = (hosts.watch("d"), hosts.watch_prefix("d"))
        self.concerned[2:4] = [hosts.watch("b"), hosts.watch_prefix("c")]
        self.unconcerned[3:] = [*absent, self.before[Ports].watch(3)]
        self.concerned.append(self.before[Ports].watch(2))

    @staticmethod
    def change(txn: Any) -> None:
        txn[Hosts].clear()
        txn[Ports].clear()


def picture_after_the_change(kind: type[Scene] = Scene) -> dict[str, Any]:
    """What a scene shows after an undisturbed commit of its change."""
    scene = kind()
    with scene.db.write(Hosts, Ports) as txn:
        scene.change(txn)
    scene.close()
    return picture(scene.db.snapshot())


def in_a_thread(action: Callable[[], Any], timeout: float = 20.0) -> Any:
    """Run something in another thread; its exception is raised here, and a hang is an AssertionError."""
    answers: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(action())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout)
    assert not thread.is_alive(), "the other thread hangs"
    if errors:
        raise errors[0]
    return answers[0]


# -- exceptions at a chosen line --------------------------------------------------------------------------------------


class Interrupted(BaseException):
    """Stands for KeyboardInterrupt, which pytest would take for itself."""


class Lines:
    """Counts the lines of the engine, or of the file ``of``, that an action runs through; raises in front of the one
    numbered ``at``, from 0.

    Left out is the step from a ``with`` block's body to its exit: there the interpreter checks for nothing, so no
    exception can arise. Left out is also ``__del__``, whose exceptions the interpreter swallows.
    """

    def __init__(self, at: int = -1, error: type[BaseException] = Interrupted, of: str = ENGINE) -> None:
        self.seen = 0
        self._of = of
        self.places: list[tuple[str, int]] = []
        self.broken = ""
        self._next = at
        self._error = error

    def run(self, action: Callable[[], Any]) -> Any:
        """Run the action, traced."""
        previous = sys.gettrace()
        sys.settrace(self._call)
        try:
            return action()
        finally:
            sys.settrace(previous)

    def _call(self, frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        return self._line if code.co_filename.startswith(self._of) and code.co_name != "__del__" else None

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "line" and not _leaves_a_with(frame.f_code, frame.f_lasti):
            self.places.append((frame.f_code.co_filename, frame.f_lineno))
            if self.seen == self._next:
                self.broken = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                raise self._error
            self.seen += 1
        return self._line


_EXITS: dict[int, frozenset[int]] = {}  # by the identity of code: its hash walks all of its constants


def _leaves_a_with(code: CodeType, offset: int) -> bool:
    """Whether the code at this place calls ``__exit__(None, None, None)``."""
    exits = _EXITS.get(id(code))
    if exits is None:
        exits = _EXITS[id(code)] = _with_exits(code)
    return offset in exits


def _with_exits(code: CodeType) -> frozenset[int]:
    steps = list(dis.get_instructions(code))
    nones = [step.opname == "LOAD_CONST" and step.argval is None for step in steps]
    exits = {at for at in range(len(steps)) if nones[at : at + 3] == [True] * 3}
    exits |= {at - 1 for at in exits if steps[at - 1].opname == "SWAP"}  # a value is being returned
    return frozenset([steps[at].offset for at in exits])


def lines_of(action: Callable[[], Any], *, every: bool = True, of: str = ENGINE) -> list[int]:
    """The places that an action offers to ``Lines``; or only the last time of each line of code."""
    counting = Lines(of=of)
    counting.run(action)
    return (
        list(range(counting.seen))
        if every
        else sorted({place: at for at, place in enumerate(counting.places)}.values())
    )


# -- another thread in a chosen gap -----------------------------------------------------------------------------------


def in_the_gap(function: Any, text: str, during: Callable[[], Any], action: Callable[[], Any]) -> Any:
    """Run ``action``, and ``during`` once in the middle: in front of the first line of ``function`` with ``text``.

    ``during`` runs in this thread, as a signal handler or a finalizer would; wrap it in ``in_a_thread`` for another
    one. Raises AssertionError where the line was never reached, so that a test cannot pass by missing its gap.
    """
    source, first = inspect.getsourcelines(function)
    found = [first + at for at, line in enumerate(source) if text in line]
    assert found, f"{text!r} is not in {function.__qualname__}"
    code = function.__code__
    reached: list[int] = []

    def line(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line" and frame.f_lineno == found[0] and not reached:
            reached.append(frame.f_lineno)
            sys.settrace(None)
            during()
            sys.settrace(call)
        return line

    def call(frame: FrameType, event: str, _: Any) -> Any:
        return line if frame.f_code is code else None

    previous = sys.gettrace()
    sys.settrace(call)
    try:
        answer = action()
    finally:
        sys.settrace(previous)
    assert reached, f"{text!r} in {function.__qualname__} was never reached"
    return answer
