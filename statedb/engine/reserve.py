"""The write reservation of a table: which transaction may write it now. Knows nothing of rows.

A plain lock could be lost if an interrupt came between taking it and recording who took it. Here both are one atomic
step: ``dict.setdefault`` stores the holder, or returns another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Lock, get_ident
from time import monotonic
from typing import Any, Protocol

from .errors import NestedWrite, WriteTimeout
from .wakers import TaskWaker

HOLDER = "holder"
DECISION = "decision"
RELEASER = "releaser"
COMMITTED = "committed"
ABORTED = "aborted"
_RECHECK_S = 1.0
"""The longest wait between two checks of a table, in case an interrupt has prevented a wake-up."""


class Gate(Protocol):
    """What a waiting transaction blocks on: a lock, or a waker that resumes a task."""

    def release(self) -> None:
        """Wake the waiter. Raises RuntimeError if it was already woken."""


class Holder:
    """One write transaction as its tables see it: its thread or task, and whether it may still write."""

    __slots__ = ("closed", "outcome", "reserved", "task", "thread", "torn")

    def __init__(self, reserved: tuple[Any, ...]) -> None:
        """``reserved`` are the tables that it writes. Each has a name."""
        self.reserved = reserved
        self.thread = get_ident()
        self.task: Any = None
        """The asyncio task that opened it without blocking. None if a thread opened it."""
        self.outcome: dict[str, Any] = {}
        """Its one outcome under ``DECISION``, once it is decided: see `decide`.

        Under ``RELEASER``, the call that releases the tables of an aborted transaction, or finishes a torn commit: a
        list with its thread.
        """
        self.closed: str = ""
        """A copy of the outcome for checks on hot paths; empty while the transaction is open."""
        self.torn: Callable[[], None] | None = None
        """Finishes its commit, or releases its tables, if exceptions kept it from doing so itself."""

    def decide(self, how: str) -> bool:
        """Commit or abort: the first decision wins, from any thread. Idempotent.

        Whoever decides later, and differently, must change nothing. ``dict.setdefault`` is one atomic step, so there is
        no gap in which both could win. An interrupt before or after it leaves the outcome open or decided, never in
        between:

            commit in thread A          abort in thread B
            setdefault -> committed     setdefault -> committed: lost, return
            changes the tables          (releases nothing, so no second writer can start)
        """
        decided: str = self.outcome.setdefault(DECISION, how)
        self.closed = decided
        return decided == how

    @property
    def tables(self) -> str:
        """The names of its tables, for messages."""
        return ", ".join([table.name for table in self.reserved]) or "no tables"


class _TaskGate(TaskWaker):
    """The gate of a waiting task."""

    __slots__ = ("opened",)

    def __init__(self) -> None:
        """Closed until ``release``."""
        super().__init__()
        self.opened = False

    def release(self) -> None:
        """Resume the task. Raises RuntimeError the second time."""
        if self.opened:
            raise RuntimeError("the gate is open already")
        self.opened = True
        self.wake()


class Reservation:
    """At most one holder at a time; others wait. Not re-entrant: waiting for oneself raises."""

    __slots__ = ("_name", "holder", "waited_s", "waiting", "waits")

    def __init__(self, name: str) -> None:
        """``name`` is the name of the table, for messages."""
        self._name = name
        self.holder: dict[str, Holder] = {}
        self.waiting: dict[Gate, None] = {}
        """The gates of waiting transactions, in order. Not a Condition: an interrupt could leave its lock held."""
        self.waits = 0
        self.waited_s = 0.0

    def take(self, holder: Holder, deadline: float | None = None) -> None:
        """Wait until the table is free, and take it. Raises NestedWrite if that could never happen.

        ``deadline`` is on the monotonic clock; raises WriteTimeout after it. Callers on hot paths do the first atomic
        step on ``holder`` themselves.
        """
        if self.holder.setdefault(HOLDER, holder) is not holder:
            self._wait(holder, deadline)

    def release(self, holder: Holder) -> None:
        """Free the table for the next transaction. Does nothing if this holder does not have it. Idempotent.

        For one holder it is called by one thread at a time, and not by a handler that interrupts that thread (see
        ``WriteTransaction._release_tables``): otherwise another writer could take the table between the check and the
        ``del``.
        """
        if self.holder.get(HOLDER) is holder:
            del self.holder[HOLDER]
        if self.waiting:
            self._open_next_gate()

    def finish_torn(self, current: Holder, holder: Holder) -> bool:
        """Finish what exceptions kept the holder of the table from finishing. False if the table must be waited for.

        Raises NestedWrite if the holder cannot continue before the one that waits for it.
        """
        freeing = current.outcome.get(RELEASER)
        if freeing is not None:
            if freeing[0] == holder.thread:
                raise NestedWrite(
                    f"table {self._name!r} is being freed by a call of this same thread, which this one interrupts; "
                    "write it after that call, and not in a signal handler or finalizer"
                )
        elif current.torn is not None:
            current.torn()
            return True
        elif current.thread == holder.thread and (holder.task is None or holder.task is current.task):
            raise NestedWrite(
                f"table {self._name!r} is being written by an open transaction of this same thread "
                f"(on {current.tables}); commit or abort it first, or name all tables in one db.write(...)"
            )
        return False

    def timed_out(self, current: Holder) -> WriteTimeout:
        """The error for a wait that took too long."""
        return WriteTimeout(
            f"table {self._name!r} is still being written by another transaction (on {current.tables}); "
            "try again, or wait longer"
        )

    def _wait(self, holder: Holder, deadline: float | None) -> None:
        gate = Lock()
        begun = monotonic()
        try:
            self.waiting[gate] = None  # add the gate before the check: a release in between opens it
            while (current := self.holder.setdefault(HOLDER, holder)) is not holder:
                if self.finish_torn(current, holder):
                    continue
                left = _RECHECK_S if deadline is None else min(_RECHECK_S, deadline - monotonic())
                if left <= 0:
                    raise self.timed_out(current)
                gate.acquire(timeout=left)
            self._waited(begun)
            self._stop_waiting(gate)
        finally:
            self._stop_waiting(gate)  # an exception may have interrupted the first call

    async def take_in_task(self, holder: Holder, deadline: float | None) -> None:
        """`take` for a task: the event loop runs while it waits. Also waits for transactions of other tasks of this
        thread.
        """
        begun = 0.0
        while (current := self.holder.setdefault(HOLDER, holder)) is not holder:
            begun = begun or monotonic()
            if self.finish_torn(current, holder):
                continue
            gate = _TaskGate()
            self.waiting[gate] = None  # add the gate before the check, as above
            try:
                left = _RECHECK_S if deadline is None else min(_RECHECK_S, deadline - monotonic())
                if left <= 0:
                    raise self.timed_out(current)
                if HOLDER in self.holder:
                    await asyncio.wait([gate.future], timeout=left)
            finally:
                self._stop_waiting(gate)
        if begun:
            self._waited(begun)

    def _waited(self, begun: float) -> None:
        self.waits += 1  # only the holder writes it
        self.waited_s += monotonic() - begun

    def _stop_waiting(self, gate: Gate) -> None:
        """Remove a gate. If it was opened just as its waiter gave up or was cancelled, open the next one instead."""
        self.waiting.pop(gate, None)
        if HOLDER not in self.holder:
            self._open_next_gate()

    def _open_next_gate(self) -> None:
        for gate in list(self.waiting):
            try:
                gate.release()
                return
            except RuntimeError:  # already open. If exceptions kept its waiter from removing it, it stays so.
                pass
