"""Commits: what is staged becomes the newest state, in an order that readers may interrupt at any step.

1. Prepare everything that allocates memory or calls users' code: undo, redo, index changes, the new Commit and Pin.
2. For each table: publish the link on the old commit, and only then change rows, revisions and indexes.
3. Swap the root, under one short lock.
4. Release the tables.
5. Trip watches and wake waiters.

All steps after a link are idempotent and are rolled *forward*: after any exception, Ctrl-C and MemoryError included,
they are run again to the end before the exception continues. A second exception can still leave a torn commit: it may
come right after the first, because the interpreter runs the handlers of two pending signals one after the other. The
next writer of the table detects and finishes it. Readers are correct at every point.
"""

from __future__ import annotations

from threading import get_ident
from typing import Any, Protocol, TypeAlias, cast

from .errors import TransactionClosed, WrongThread
from .history import Commit, Initializer, Pin
from .index_store import Moves, difference
from .locks import SafeLock
from .reserve import ABORTED, COMMITTED, DECISION, HOLDER, RELEASER, Holder
from .states import Redo, State, Undo
from .store import TableStore
from .wakers import Waker, wake_all

_TORN = SafeLock()  # one for all databases: torn commits are rare
_TRIPPING: dict[CommitPlan, int] = {}
"""Visible commits that may still have watches to trip, each with the thread that does it. A child process trips the
watches of those whose thread is not there: their tables are free already.
"""
_NOTHING: Moves = {}
_fromkeys = dict.fromkeys


class Staged(Protocol):
    """What a transaction has staged on one table."""

    store: TableStore
    pin: Pin
    before: dict[Any, State]
    redo: Redo
    revision: int
    count: int
    pending: tuple[Initializer, ...]
    moved: bool
    learning: bool

    def learned(self) -> dict[int, Any]:
        """The key types of indexes that have none yet."""
        ...


Part: TypeAlias = tuple[TableStore, Pin, Undo, Redo, Moves, Moves, Pin, "dict[int, Any] | None"]
"""One table's part of a commit: the table, its pin before, undo, redo, the rows that leave index keys, the rows that
enter them, its pin afterwards, and the key types that its indexes learn, if any.
"""


def prepared(staged: Staged) -> Part:
    """The part that turns the newest state into the staged one. Changes nothing yet."""
    before, redo, base = staged.before, staged.redo, staged.pin
    leave = enter = _NOTHING
    if not before:
        undo: Undo = _fromkeys(redo)
        enter = redo
    elif len(before) == len(redo):
        undo = cast("Undo", before)
    else:  # include rows that did not exist: merged undo must have every key
        undo = {**_fromkeys(redo), **before}
        enter = {key: state for key, state in redo.items() if key not in before}
    if not staged.count:  # no row is left: all that were there leave, and none enters
        leave, enter = before, _NOTHING
    elif staged.moved:
        leave, enter = difference(before, redo)
    commit = Commit(base.commit.sequence + 1, staged.revision, staged.count, staged.pending)
    shapes = staged.learned() if staged.learning else None
    return staged.store, base, undo, redo, leave, enter, Pin(commit), shapes


def _trip(part: Part, wakers: list[Waker]) -> None:
    """Trip the watches that match the changes of a part."""
    store, base, undo, redo, _, _, after, _ = part
    if store.registry.may_concern(undo, redo):
        pending_changed = base.commit.pending != after.commit.pending
        store.registry.trip(undo, redo, pending_changed, after.commit.sequence, wakers)


class CommitPlan(Holder):
    """A transaction as its tables see it: their holder and, once it commits, all steps that are still to be done.

    The tables refer to it, so whoever wants one of them can finish a torn commit.
    """

    __slots__ = ("_wakers", "parts", "pins")

    def __init__(self, reserved: tuple[TableStore, ...]) -> None:
        """``reserved`` are all tables of the transaction. ``parts`` will hold the prepared changes."""
        self.reserved = reserved  # Holder.__init__ inlined: in transactions of one row every call counts
        self.thread = get_ident()
        self.task = None
        self.outcome = {}
        self.closed = ""
        self.torn = None
        self.parts: list[Part] = []
        self.pins: dict[Any, Pin] | None = None
        """All tables of the database with this commit, once it is visible."""
        self._wakers: list[Waker] = []

    def check_open(self) -> None:
        """Raise TransactionClosed after a commit or abort, and WrongThread if the transaction belongs to another
        thread.
        """
        if self.closed:
            raise TransactionClosed(
                f"the transaction on {self.tables} was already {self.closed}; open a new one with db.write(...)"
            )
        if self.thread != get_ident():
            raise WrongThread(
                f"the transaction on {self.tables} was opened in another thread, and only that thread may use it; "
                "open another one with db.write(...)"
            )

    def finish(self) -> None:
        """Decide to commit, and do all steps that are still to be done.

        If it raises after the decision, call it again before anything else. If that raises too, set ``torn`` to
        `finish_torn` before any call, and then call `leave_torn`. Raises TransactionClosed if an abort was decided
        first; then nothing was done.
        """
        if self.outcome.setdefault(DECISION, COMMITTED) is not COMMITTED:  # decide() inlined
            self.closed = ABORTED
            self.check_open()
        self.closed = COMMITTED
        parts = self.parts
        if self.pins is None and parts:
            self._publish(parts)
        watched = False
        for part in parts:
            if part[0].registry.entries:  # tripping costs 2 microseconds: skip it if nobody watches
                watched = True
                _TRIPPING[self] = get_ident()
        for store in self.reserved:
            reservation = store.reservation  # release() inlined
            if reservation.holder.get(HOLDER) is self:
                del reservation.holder[HOLDER]
            if reservation.waiting:
                reservation.release(self)
        if watched:
            for part in parts:
                _trip(part, self._wakers)
        if self._wakers:
            wake_all(self._wakers)
        if _TRIPPING:  # only now: after an exception it stays named until the next attempt, or until `leave_torn`
            _TRIPPING.pop(self, None)

    def _publish(self, parts: list[Part]) -> None:
        """Change the newest state, and swap the root.

        The new root is made outside the lock, and stored only if nobody else has swapped the root meanwhile. Under the
        lock nothing is allocated and nothing is called, so no garbage collector, finalizer or signal handler runs
        there. One that commits to other tables while the new root is being made, in any thread, is detected by the
        comparison.
        """
        for store, base, undo, redo, leave, enter, after, shapes in parts:
            if shapes:
                store.learn(shapes)
            store.apply(base, undo, redo, leave, enter, after)
        root = parts[0][0].root
        while self.pins is None:
            seen = root.pins
            pins = seen.copy()
            for part in parts:
                pins[part[0].table] = part[6]
            with root.lock:
                if root.pins is seen:
                    root.pins = pins
                    self.pins = pins

    def leave_torn(self) -> None:
        """Have the tables refer to a commit that exceptions have interrupted twice. ``torn`` is set already.

        Tables that are still reserved stay reserved, and whoever wants one finishes the commit first.
        """
        if self.outcome.get(DECISION) is COMMITTED:
            for part in self.parts:
                part[0].unfinished = self
        _TRIPPING.pop(self, None)

    def finish_torn(self) -> None:
        """``finish``, called by the next writers of the tables, one after the other. Releases the tables if the
        transaction was not committed.

        If the commit is visible already, an Exception ends it too: a row whose comparison always raises must not lock
        its table. After an interrupt, such as Ctrl-C, the next writer tries again.
        """
        with _TORN:
            outcome = self.outcome
            if RELEASER in outcome:  # a handler interrupts this thread: the commit is visible, and its table is free
                return
            freeing, tried = [get_ident()], False
            try:
                outcome[RELEASER] = freeing
                if outcome.setdefault(DECISION, ABORTED) is not COMMITTED:
                    self.closed = ABORTED
                    for store in self.reserved:
                        store.reservation.release(self)
                    return
                self.finish()
                tried = True
            except Exception:
                tried = True
                raise
            finally:
                if RELEASER in outcome and outcome[RELEASER] is freeing:  # nothing is called, so it is not kept
                    del outcome[RELEASER]
                if tried and self.pins is not None:
                    for part in self.parts:
                        if part[0].unfinished is self:
                            part[0].unfinished = None
                _TRIPPING.pop(self, None)
