"""Ctrl-C in the middle of a commit: a real SIGINT with the default handler, in the main thread."""

import ctypes
import dis
import functools
import gc
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest

from statedb import Database, WatchSet
from statedb.engine import commit, turn

from ._helpers import (
    ENGINE,
    Hosts,
    Lines,
    Port,
    Ports,
    Scene,
    in_a_thread,
    lines_of,
    picture,
    picture_after_the_change,
)

_CONDITION = threading.__file__
_CHECKS = ("CALL", "CALL_FUNCTION_EX", "CALL_KW", "JUMP_BACKWARD")


@pytest.fixture(autouse=True)
def _the_default_handler():
    """The one that raises KeyboardInterrupt, whatever runs these tests has set; and no callbacks of the collector,
    which would swallow it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.disable()
    yield
    gc.enable()
    signal.signal(signal.SIGINT, before)


AFTER = picture_after_the_change()


def check_whole(scene: Scene) -> bool:
    """Everything that must hold when the interrupt is over; whether the commit is visible."""
    scene.db.check()
    now = picture(scene.db.snapshot())
    visible = now == AFTER
    assert visible or now == scene.before_picture
    assert [watch.tripped for watch in scene.concerned] == [visible] * len(scene.concerned)
    assert not any(watch.tripped for watch in scene.unconcerned)
    scene.write_from_another_thread()
    assert picture(scene.old) == scene.old_picture
    assert picture(scene.before) == scene.before_picture
    scene.fold()
    assert scene.host_rows == dict(scene.db.snapshot()[Hosts])
    return visible


# -- where the interpreter looks for signals --------------------------------------------------------------------------


def sigint() -> None:
    signal.raise_signal(signal.SIGINT)


class TracedSteps:
    """Sends the signal right behind the steps at which Python 3.11 looks for one: calls, entries, jumps back.

    The functions of ``threading`` count as well: a Condition is written in Python.
    """

    def __init__(self, at: int = -1, send: Callable[[], Any] = sigint) -> None:
        self.seen = 0
        self._at = at
        self._send = send
        self._due: dict[int, bool] = {}
        self._names: dict[int, dict[int, str]] = {}

    def run(self, action: Callable[[], Any]) -> Any:
        previous = sys.gettrace()
        sys.settrace(self._call)
        try:
            return action()
        finally:
            sys.settrace(previous)

    def _call(self, frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        if code.co_name == "__del__" or not code.co_filename.startswith((ENGINE, _CONDITION)):
            return None
        frame.f_trace_opcodes = True
        self._due[id(frame)] = True
        return self._step

    def _step(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "opcode":
            due = self._due.pop(id(frame), False)
            if due:
                if self.seen == self._at:
                    self._send()
                self.seen += 1
            if self._name(frame.f_code, frame.f_lasti) in _CHECKS:
                self._due[id(frame)] = True
        elif event == "return":
            self._due.pop(id(frame), None)
        return self._step

    def _name(self, code: CodeType, offset: int) -> str:
        names = self._names.get(id(code))
        if names is None:
            names = self._names[id(code)] = {step.offset: step.opname for step in dis.get_instructions(code)}
        return names.get(offset, "")


class MonitoredSteps:
    """The same from Python 3.12 on, where opcodes are not traced from a frame's first one on.

    The signal comes while the interpreter still stands at the call, as where it looks for one itself. At the step
    behind the call it would come too late: on 3.14 a ``with`` block begins there, but not at the call of ``__enter__``.
    """

    def __init__(self, at: int = -1, send: Callable[[], Any] = sigint) -> None:
        self.seen = 0
        self._at = at
        self._send = send
        self._thread = threading.get_ident()

    def run(self, action: Callable[[], Any]) -> Any:
        events = sys.monitoring.events
        tool = next(tool for tool in range(6) if sys.monitoring.get_tool(tool) is None)
        watched = events.PY_START | events.CALL | events.JUMP
        sys.monitoring.use_tool_id(tool, "steps")
        try:
            for event in (events.PY_START, events.C_RETURN, events.C_RAISE, events.JUMP):
                sys.monitoring.register_callback(tool, event, self._look)
            for code in _codes():
                sys.monitoring.set_local_events(tool, code, watched)
            return action()
        finally:
            self._at = -1  # whatever runs from here on is no step
            for code in _codes():
                sys.monitoring.set_local_events(tool, code, 0)
            for event in (events.PY_START, events.C_RETURN, events.C_RAISE, events.JUMP):
                sys.monitoring.register_callback(tool, event, None)
            sys.monitoring.free_tool_id(tool)

    def _look(self, code: CodeType, *_: object) -> None:
        if threading.get_ident() == self._thread and code.co_name != "__del__":
            self.seen += 1
            if self.seen - 1 == self._at:
                self._send()


@functools.cache
def _codes() -> list[CodeType]:
    """All functions of the engine and of ``threading``, those inside others too."""
    paths = (ENGINE, _CONDITION)
    found = {
        id(function.__code__): function.__code__
        for function in gc.get_objects()
        if isinstance(function, FunctionType) and function.__code__.co_filename.startswith(paths)
    }
    codes = list(found.values())
    for code in codes:  # grows meanwhile
        codes += [part for part in code.co_consts if isinstance(part, CodeType)]
    return codes


Steps = TracedSteps if sys.version_info < (3, 12) else MonitoredSteps


def interrupted(commit: Callable[[Any], None]) -> tuple[Scene, bool]:
    """A scene whose change is committed that way, and whether Ctrl-C fell into it."""
    scene = Scene()
    txn = scene.db.write(Hosts, Ports)
    scene.change(txn)
    try:
        commit(txn)
    except KeyboardInterrupt:
        if not txn._plan.closed:  # it came before the commit began: the owner still has an open transaction
            txn.abort()
        return scene, True
    return scene, False


@pytest.mark.parametrize("stride", [3, pytest.param(1, marks=pytest.mark.stress)])
def test_ctrl_c_at_every_step_of_a_commit_leaves_the_store_whole(stride):
    scene = Scene()
    txn = scene.db.write(Hosts, Ports)
    scene.change(txn)
    counting = Steps()
    counting.run(txn.commit)
    scene.close()
    visible = []
    for step in sorted({*range(0, counting.seen, stride), counting.seen - 1}):
        scene, fell = interrupted(lambda txn, step=step: Steps(step).run(txn.commit))
        assert fell
        visible.append(check_whole(scene))
        scene.close()
    assert len(visible) > 100
    assert visible == sorted(visible)
    assert not visible[0]
    assert visible[-1]


def test_ctrl_c_while_the_table_is_handed_to_a_waiting_thread_keeps_no_thread_out():
    """What the waiting threads wait on must survive an interrupt in the middle of its own code as well."""
    step = 0
    while handed_over(step):
        step += 1
    assert step > 2


def handed_over(step: int) -> bool:
    """A table released to a waiting thread, with Ctrl-C at a step; whether it came before the release was done."""
    scene = Scene()
    txn = scene.db.write(Hosts)
    reservation = scene.db._stores[Hosts].reservation
    waiting = threading.Thread(target=scene.write_from_another_thread, daemon=True)
    waiting.start()
    while not reservation.waiting:
        waiting.join(0.001)
    fell = False
    try:
        Steps(step).run(lambda: txn._plan.reserved[0].reservation.release(txn._plan))
    except KeyboardInterrupt:
        fell = True
    txn.abort()
    waiting.join(20)
    assert not waiting.is_alive(), f"kept out after step {step}"
    assert scene.db.snapshot()[Hosts]["e"]
    scene.write_from_another_thread()
    scene.close()
    return fell


def test_ctrl_c_at_every_step_of_taking_a_lock_leaves_it_free():
    step, fell = 0, True
    while fell:
        watches, fell = WatchSet(), False
        try:
            Steps(step).run(watches.add)
        except KeyboardInterrupt:
            fell = True
        in_a_thread(watches.add)
        step += 1
    assert step > 2


# -- two at once ------------------------------------------------------------------------------------------------------

BOTH = {signal.SIGINT, signal.SIGUSR1}


class AtOnce(BaseException):
    """Lets both signals in, which were held back. The interpreter runs one handler, which raises, and the other one at
    the next place where it looks for signals. The functions of the module ``signal`` would look themselves."""

    def __init__(self) -> None:
        ctypes.CDLL(None).pthread_sigmask(signal.SIG_SETMASK, ctypes.create_string_buffer(128), None)


def through_both(action: Callable[[], Any], line: int) -> str:
    """Run something with both signals at a line; where that was."""
    breaking = Lines(line, error=AtOnce)
    with_both(action, breaking.run)
    return breaking.broken


def with_both(action: Callable[[], Any], run: Callable[[Callable[[], Any]], Any]) -> None:
    """Run something in a way that lets both signals in."""
    left = [run]
    signal.pthread_sigmask(signal.SIG_BLOCK, BOTH)
    for each in BOTH:
        signal.pthread_kill(threading.get_ident(), each)
    for _ in range(4):
        try:
            while left:
                left.pop()(action)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, BOTH)
        except KeyboardInterrupt:
            pass


def a_commit(scene: Scene) -> Callable[[], Any]:
    txn = scene.db.write(Hosts, Ports)
    scene.change(txn)
    return txn.commit


def an_abort(scene: Scene) -> Callable[[], Any]:
    txn = scene.db.write(Hosts, Ports)
    scene.change(txn)
    return txn.abort


@pytest.mark.parametrize(
    "prepare",
    [
        a_commit,
        an_abort,
        lambda scene: lambda: scene.db.insert(Ports, Port(1, "b", amount=5)),
        lambda scene: lambda: scene.db.delete(Ports, 1),
        lambda scene: lambda: scene.db.own(Hosts, Ports, name="source"),
    ],
    ids=["commit", "abort", "insert", "delete", "own"],
)
def test_two_signals_at_once_leave_no_table_that_nobody_can_write(monkeypatch, prepare):
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    for _ in range(2):  # the first time something is remembered about the type of the rows
        scene = Scene()
        lines = lines_of(prepare(scene), every=False)
        after = picture(scene.db.snapshot())
        scene.close()
    for line in lines:
        scene = Scene()
        watch = scene.before[Ports].watch()
        place = through_both(prepare(scene), line)
        in_a_thread(lambda scene=scene: scene.db.write(Hosts, Ports, timeout=5).abort())
        now = picture(scene.db.snapshot())
        assert now in (scene.before_picture, after), place
        assert watch.tripped == (now != scene.before_picture), place
        assert picture(scene.old) == scene.old_picture, place
        assert not commit._TRIPPING, place
        scene.db.check()
        scene.write_from_another_thread()
        scene.close()
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize(
    "read",
    [lambda ports: list(ports.values()), lambda ports: ports.range(1, 4), lambda ports: ports.key_at(2)],
    ids=["list", "order", "position"],
)
def test_two_signals_at_once_leave_no_reader_with_the_turn(read):
    """Every later reader of the order would wait for it for a second, and then sort a copy."""
    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)

    def ports() -> Any:
        db = Database(Ports)
        with db.write(Ports) as txn:
            txn[Ports].insert_all([Port(number, "a") for number in range(6)])
        return db.snapshot()[Ports]

    view = ports()
    lines = lines_of(lambda: read(view))
    expected = read(view)
    for line in lines:
        view = ports()
        store = view._source.store
        place = through_both(lambda view=view: read(view), line)
        assert not turn._inside, place
        assert not store.order._turn._taken, place
        assert not store.row_list._turn._taken, place
        assert read(view) == expected, place
    signal.signal(signal.SIGUSR1, before)


def next_in_task(stream: Any) -> None:
    """Runs the task by hand, up to the batch that is there already."""
    with suppress(StopIteration):
        stream.__anext__().send(None)


@pytest.mark.parametrize("read", [lambda stream: stream.next(timeout=0), next_in_task], ids=["thread", "task"])
def test_two_signals_at_once_leave_no_reader_of_a_stream(read):
    """Every reader in another thread would be refused."""
    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    db = Database(Ports)
    db.insert(Ports, Port(1, "a"))
    for _ in range(2):  # the first time the snapshot is made
        counting, stream = Steps(), db.changes(Ports)
        counting.run(lambda stream=stream: read(stream))
    for step in range(counting.seen):
        stream = db.changes(Ports)
        with_both(lambda stream=stream: read(stream), Steps(step, AtOnce).run)
        assert not stream._reading, step
        in_a_thread(lambda stream=stream: stream.next(timeout=0))
    signal.signal(signal.SIGUSR1, before)


# -- when it comes from outside ---------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers here")
def test_ctrl_c_from_a_timer_during_a_commit_leaves_the_store_whole():
    """The timer's signal comes when it likes: its delay is swept over the time that a commit takes, and more."""
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    seen = {"before": 0, "after": 0, "not at all": 0}

    def commit(txn: Any, delay: float) -> None:
        try:
            signal.setitimer(signal.ITIMER_REAL, delay)
            txn.commit()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    try:
        for turn in range(600):
            scene, fell = interrupted(lambda txn, turn=turn: commit(txn, 1e-6 * (1 + turn % 200)))
            visible = check_whole(scene)
            seen["not at all" if not fell else "after" if visible else "before"] += 1
            scene.close()
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    assert seen["after"]


# -- while something is waited for ------------------------------------------------------------------------------------


@pytest.fixture
def alarm():
    """Called with a condition: interrupts the main thread once, as soon as the condition holds there."""
    condition: Callable[[], object]

    def look(number: int, frame: object) -> None:
        if condition():
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise KeyboardInterrupt

    def interrupt_when(wanted: Callable[[], object]) -> None:
        nonlocal condition
        condition = wanted
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)

    before = signal.signal(signal.SIGALRM, look)
    yield interrupt_when
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_ctrl_c_ends_the_wait_for_a_table_that_another_thread_writes(alarm):
    scene = Scene()
    taken, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with scene.db.write(Hosts):
            taken.set()
            leave.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait(20)
    reservations = [store.reservation for store in scene.db._stores.values()]
    alarm(lambda: any(reservation.waiting for reservation in reservations))
    with pytest.raises(KeyboardInterrupt):
        scene.db.write(Ports, Hosts)
    assert not any(reservation.waiting for reservation in reservations)
    leave.set()
    holder.join(20)
    assert not any(reservation.holder for reservation in reservations)
    scene.write_from_another_thread()
    scene.close()


@pytest.mark.parametrize("what", ["watch", "set", "stream", "initialized"])
def test_ctrl_c_ends_every_other_wait_and_leaves_no_waiter(alarm, what):
    scene = Scene()
    with scene.db.write(Hosts) as txn:
        token = txn[Hosts].begin_initializer("source")
    scene.fold()
    watch = scene.db.snapshot()[Hosts].watch("e")
    watches = WatchSet(watch)
    waits: dict[str, Callable[[], Any]] = {
        "watch": watch.wait,
        "set": watches.wait,
        "stream": scene.host_stream.next,
        "initialized": lambda: scene.db.wait_initialized(Hosts),
    }
    registry = scene.db._stores[Hosts].registry
    alarm(registry.waiting)
    with pytest.raises(KeyboardInterrupt):
        waits[what]()
    assert registry.waiting() == 0
    with scene.db.write(Hosts) as txn:
        txn[Hosts].finish_initializer(token)
    scene.write_from_another_thread()
    assert waits[what]()
    scene.close()
