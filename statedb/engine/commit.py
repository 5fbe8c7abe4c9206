"""Committing: what is staged becomes the newest state, in an order that every reader may interrupt.

1. Prepare everything that allocates or calls users' code: undo, redo, index deltas, the new Commit and Pin.
2. For each table: publish the link on the old commit; only then change rows, revisions and indexes.
3. Swap the root, under one short lock.   4. Release the tables.   5. Trip watches, and wake.

What follows a link is idempotent and is rolled *forward*: on any exception, Ctrl-C and MemoryError included, it is run
again to its end before the exception goes on. A commit that an exception tore all the same (a second one, at the
wrong place) is found and finished by the next writer of the table; readers are right at every point.
"""

from __future__ import annotations

from threading import RLock, get_ident
from typing import Any, Protocol, TypeAlias, cast

from .errors import TransactionClosed, WrongThread
from .history import Commit, Initializer, Pin
from .index_store import Moves, difference
from .reserve import ABORTED, COMMITTED, HOLDER, HOW, Holder
from .states import Redo, State, Undo
from .store import TableStore
from .wakers import Waker, wake_all

_TORN = RLock()  # one for all databases: torn commits are a rarity
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
        """The shapes of keys that the table does not know yet."""
        ...


Part: TypeAlias = tuple[TableStore, Pin, Undo, Redo, Moves, Moves, Pin, "dict[int, Any] | None"]
"""One table's part of a commit: the table, its pin before, undo, redo, what leaves and what enters index keys, its pin
afterwards, and the shapes of keys that the table learns, if any."""


def prepared(staged: Staged) -> Part:
    """What turns the newest state into one with what is staged. Changes nothing yet."""
    before, redo, base = staged.before, staged.redo, staged.pin
    leave = enter = _NOTHING
    if not before:
        undo: Undo = _fromkeys(redo)
        enter = redo
    elif len(before) == len(redo):
        undo = cast("Undo", before)
    else:  # rows that were not there are named as well: merged undo must know every key
        undo = {**_fromkeys(redo), **before}
        enter = {key: state for key, state in redo.items() if key not in before}
    if staged.moved:
        leave, enter = difference(before, redo)
    commit = Commit(base.commit.sequence + 1, staged.revision, staged.count, staged.pending)
    shapes = staged.learned() if staged.learning else None
    return staged.store, base, undo, redo, leave, enter, Pin(commit), shapes


def _trip(part: Part, wakers: list[Waker]) -> None:
    """Trip the watches that a part concerns."""
    store, base, undo, redo, _, _, after, _ = part
    if store.registry.may_concern(undo, redo):
        pending_changed = base.commit.pending != after.commit.pending
        store.registry.trip(undo, redo, pending_changed, after.commit.sequence, wakers)


class CommitPlan(Holder):
    """A transaction as its tables hold it: whose they are and, once it commits, all that is still to be done.

    The tables name it, so whoever wants one of them can finish a commit that exceptions tore.
    """

    __slots__ = ("_wakers", "parts", "pins")

    def __init__(self, reserved: tuple[TableStore, ...]) -> None:
        """``reserved`` are all tables of the transaction; ``parts`` become those that changed, prepared."""
        self.reserved = reserved  # the lines of Holder, spelled out: transactions of one row feel every call
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
        """Raise TransactionClosed after commit or abort, WrongThread where the transaction is not this thread's."""
        if self.closed:
            raise TransactionClosed(
                f"the transaction on {self.tables} was {self.closed} already; open a new one with db.write(...)"
            )
        if self.thread != get_ident():
            raise WrongThread(
                f"the transaction on {self.tables} was opened in another thread and is that thread's alone; "
                "open one of your own with db.write(...)"
            )

    def finish(self) -> None:
        """Decide for commit, and do all steps that are still to be done. Where it raises after the decision, call it
        again before anything else. Raises TransactionClosed where an abort was first; then nothing was done.
        """
        if self.outcome.setdefault(HOW, COMMITTED) is not COMMITTED:  # the lines of decide(), spelled out
            self.closed = ABORTED
            self.check_open()
        self.closed = COMMITTED
        parts = self.parts
        if self.pins is None and parts:
            self._publish(parts)
        for store in self.reserved:
            reservation = store.reservation  # the lines of release(), spelled out
            if reservation.holder.get(HOLDER) is self:
                del reservation.holder[HOLDER]
            if reservation.waiting:
                reservation.release(self)
        for part in parts:
            if part[0].registry.entries:  # what follows costs 2 microseconds: not where nobody watches
                _trip(part, self._wakers)
        if self._wakers:
            wake_all(self._wakers)

    def _publish(self, parts: list[Part]) -> None:
        """Change the newest state, and swap the root.

        The new root is made outside of the lock and put in only if nobody else swapped it meanwhile: under the lock
        nothing is allocated and nothing is called, so no collector, finalizer or signal handler runs there. One that
        commits to other tables while the new root is being made, in whatever thread, is found out by the comparison.
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

    def finish_again(self) -> None:
        """``finish``, after an exception broke it. Where another one does, the tables name the plan from then on.

        Tables that are still taken stay so, and whoever wants one finishes the commit first.
        """
        try:
            self.finish()
        except BaseException:
            self.torn = self.finish_torn
            for part in self.parts:
                part[0].unfinished = self.finish_torn
            raise

    def finish_torn(self) -> None:
        """``finish``, by the next writers of the tables, one after the other.

        Where it is visible already, one attempt is all: a row whose comparison always raises must not lock its table.
        """
        with _TORN:
            try:
                self.finish()
            finally:
                if self.pins is not None:
                    for part in self.parts:
                        if part[0].unfinished == self.finish_torn:
                            part[0].unfinished = None
