"""The write reservation of a table: the transaction that may write it now. Knows nothing of rows.

A plain lock could be lost when an interrupt falls between taking it and writing down who took it. Here both are one
atomic step: ``dict.setdefault`` puts the holder in, or finds another one.
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
HOW = "how"
FREES = "frees"
COMMITTED = "committed"
ABORTED = "aborted"
_RECHECK_S = 1.0
"""The longest sleep between two checks of a table, in case an interrupt has swallowed a release."""


class Gate(Protocol):
    """What a waiting transaction sleeps on: a lock, or what resumes a task."""

    def release(self) -> None:
        """Wake the waiter. RuntimeError where it was woken already."""


class Holder:
    """One write transaction as seen by its tables: its thread or task, and whether it still may write."""

    __slots__ = ("closed", "outcome", "reserved", "task", "thread", "torn")

    def __init__(self, reserved: tuple[Any, ...]) -> None:
        """``reserved`` are the tables it writes; each has a name."""
        self.reserved = reserved
        self.thread = get_ident()
        self.task: Any = None
        """The asyncio task that opened it without blocking; None where a thread did."""
        self.outcome: dict[str, Any] = {}
        """Its one outcome under ``HOW``, once there is one: see `decide`.

        Under ``FREES`` the abort that frees the tables: a list with its thread.
        """
        self.closed: str = ""
        """The outcome once more, for the hot checks; empty while it is open."""
        self.torn: Callable[[], None] | None = None
        """Finishes its commit and frees its tables, where exceptions kept it from doing so itself."""

    def decide(self, how: str) -> bool:
        """Commit or abort: the first to decide wins, from whatever thread; the others touch nothing. Idempotent.

        ``dict.setdefault`` is one atomic step, so there is no gap in which both could win, and an interrupt before or
        after it leaves the question answered or open, never in between:

            commit in thread A          abort in thread B
            setdefault -> committed     setdefault -> committed: not ours, return
            changes the tables          (frees nothing, so no second writer comes in)
        """
        decided: str = self.outcome.setdefault(HOW, how)
        self.closed = decided
        return decided == how

    @property
    def tables(self) -> str:
        """The names of its tables, for messages."""
        return ", ".join([table.name for table in self.reserved]) or "no tables"


class _TaskGate(TaskWaker):
    """The gate of a waiting task."""

    __slots__ = ()

    def release(self) -> None:
        """Resume the task."""
        self.wake()


class Reservation:
    """At most one holder at a time; others wait. Not re-entrant: waiting for oneself raises."""

    __slots__ = ("_name", "holder", "waited_s", "waiting", "waits")

    def __init__(self, name: str) -> None:
        """``name`` is the table's, for messages."""
        self._name = name
        self.holder: dict[str, Holder] = {}
        self.waiting: dict[Gate, None] = {}
        """The gates of waiting transactions, in order. No Condition: an interrupt could leave its lock held."""
        self.waits = 0
        self.waited_s = 0.0

    def take(self, holder: Holder, deadline: float | None = None) -> None:
        """Wait until the table is free, and take it. Raises NestedWrite where that could never happen.

        ``deadline`` is on the monotonic clock: raises WriteTimeout when it has passed. ``holder`` is in the open for
        callers on the hot path, who try the one atomic step themselves.
        """
        current = self.holder.setdefault(HOLDER, holder)
        if current is not holder:
            if current.torn is None:
                self.refuse_nested(current, holder)
            self._wait(holder, deadline)

    def release(self, holder: Holder) -> None:
        """Free the table for the next transaction. Does nothing if this holder does not have it. Idempotent.

        Called for a holder by one thread at a time, and not from a handler that interrupts it (see ``_let_go`` of the
        transaction): between the look and the step that frees the table, another writer could have come in.
        """
        if self.holder.get(HOLDER) is holder:
            del self.holder[HOLDER]
        if self.waiting:
            self._open_next_gate()

    def refuse_nested(self, current: Holder, holder: Holder) -> None:
        """Raise NestedWrite where the one that holds the table cannot go on before the one that waits for it."""
        freeing = current.outcome.get(FREES)
        if freeing is not None and freeing[0] != holder.thread:
            return  # it was aborted, and another thread is about to free the table
        if current.thread == holder.thread and (holder.task is None or holder.task is current.task):
            raise NestedWrite(
                f"table {self._name!r} is being written by an open transaction of this same thread "
                f"(on {current.tables}); commit or abort it first, or name all tables in one db.write(...)"
            )

    def timed_out(self, current: Holder) -> WriteTimeout:
        """The error after waiting for too long."""
        return WriteTimeout(
            f"table {self._name!r} is still being written by another transaction (on {current.tables}); "
            "try again, or wait longer"
        )

    def _wait(self, holder: Holder, deadline: float | None) -> None:
        gate = Lock()
        begun = monotonic()
        try:
            self.waiting[gate] = None  # first the gate, then the look: a release between them opens it
            while (current := self.holder.setdefault(HOLDER, holder)) is not holder:
                if current.torn is not None:
                    current.torn()
                    continue
                left = _RECHECK_S if deadline is None else min(_RECHECK_S, deadline - monotonic())
                if left <= 0:
                    raise self.timed_out(current)
                gate.acquire(timeout=left)
            self._waited(begun)
        finally:
            self._stop_waiting(gate)

    async def take_in_task(self, holder: Holder, deadline: float | None) -> None:
        """`take`, while the loop goes on. A transaction of another task of this thread is waited for as well."""
        begun = 0.0
        while (current := self.holder.setdefault(HOLDER, holder)) is not holder:
            begun = begun or monotonic()
            if current.torn is not None:
                current.torn()
                continue
            self.refuse_nested(current, holder)
            gate = _TaskGate()
            self.waiting[gate] = None  # first the gate, then the look, as above
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
        self.waits += 1  # by the holder alone
        self.waited_s += monotonic() - begun

    def _stop_waiting(self, gate: Gate) -> None:
        """Forget a gate. One that gave up, or was cancelled, just when it was opened passes that on to the next."""
        self.waiting.pop(gate, None)
        if HOLDER not in self.holder:
            self._open_next_gate()

    def _open_next_gate(self) -> None:
        for gate in list(self.waiting)[:1]:
            try:
                gate.release()
            except RuntimeError:
                pass  # it is open already
