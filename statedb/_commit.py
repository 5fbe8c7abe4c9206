"""Committing: what is staged becomes the newest state, in an order that every reader may interrupt.

1. Prepare everything that allocates or calls users' code: undo, redo, index deltas, the new Commit and Pin.
2. For each table: publish the link on the old commit; only then change rows, revisions and indexes.
3. Swap the root, under one short lock.   4. Release the tables.   5. Trip watches, and wake.

What follows a link is idempotent and is rolled *forward*: on any exception, Ctrl-C and MemoryError included, it is run
again to its end before the exception goes on. A commit that an exception tore all the same (a second one, at the
wrong place) is found and finished by the next writer of the table; readers are right at every point.
"""

from __future__ import annotations

from threading import Lock
from typing import Any, Protocol
from weakref import ref

from ._history import Commit, Initializer, Pin, Redo, Root, Undo, compact
from ._reserve import HOLDER, Holder
from ._store import Entries, TableStore, difference
from ._watch import Waker, wake_all

_COMPACT_EVERY = 256
_TORN = Lock()  # one for all databases: torn commits are a rarity
_NOTHING: list[Entries] = []


class Staged(Protocol):
    """What a transaction has staged on one table."""

    store: TableStore
    pin: Pin
    undo: Undo
    redo: Redo
    revision: int
    count: int
    pending: tuple[Initializer, ...]
    moved: bool


class TableCommit:
    """One table's part of a commit, prepared."""

    __slots__ = ("base", "commit", "enter", "leave", "pin", "redo", "store", "undo")

    def __init__(self, staged: Staged) -> None:
        """What turns the newest state into one with what is staged."""
        self.store = staged.store
        self.base = base = staged.pin
        self.undo = staged.undo
        self.redo = staged.redo
        if staged.moved:
            self.leave, self.enter = difference(staged.undo, staged.redo)
        else:
            self.leave = self.enter = _NOTHING
        self.commit = Commit(base.commit.sequence + 1, staged.revision, staged.count, staged.pending)
        self.pin = Pin(self.commit)

    def apply(self) -> None:
        """Publish the link, then change the newest state, and keep an eye on the pin replaced. Idempotent."""
        base, store = self.base, self.store
        old = base.commit
        if old.link is None:
            old.link = (self.undo, self.redo, self.commit)
        base.ordered = None
        store.apply(self.redo, self.leave, self.enter)
        store.replaced.append(ref(base))
        if old.sequence % _COMPACT_EVERY == 0:
            store.replaced = compact(store.replaced)

    def trip(self, wakers: list[Waker]) -> None:
        """Trip the watches that this part concerns."""
        registry = self.store.registry
        if registry.may_concern(self.undo, self.redo):
            pending_changed = self.base.commit.pending != self.commit.pending
            registry.trip(self.undo, self.redo, pending_changed, self.commit.sequence, wakers)


class CommitPlan:
    """A prepared commit over one or several tables. ``finish`` may be called again until it came to its end."""

    __slots__ = ("_applied", "_holder", "_parts", "_reserved", "_root", "_wakers", "pins")

    def __init__(self, root: Root, holder: Holder, reserved: tuple[TableStore, ...], parts: list[TableCommit]) -> None:
        """``reserved`` are all tables of the transaction, ``parts`` those that changed."""
        self._root = root
        self._holder = holder
        self._reserved = reserved
        self._parts = parts
        self._applied = False
        self._wakers: list[Waker] = []
        self.pins: dict[Any, Pin] | None = None if parts else root.pins

    def finish(self) -> None:
        """All steps that are still to be done. Where it raises, call it again before anything else."""
        holder = self._holder
        holder.closed = "committed"
        parts = self._parts
        if not self._applied:
            for part in parts:
                part.apply()
            self._applied = True
        if self.pins is None:
            root = self._root
            with root.lock:
                pins = root.pins.copy()
                for part in parts:
                    pins[part.store.table] = part.pin
                root.pins = pins
                self.pins = pins
        for store in self._reserved:
            reservation = store.reservation  # the lines of release(), spelled out
            if reservation.holder.get(HOLDER) is holder:
                del reservation.holder[HOLDER]
            if reservation.waiting:
                reservation.release(holder)
        for part in parts:
            if part.store.registry.entries:  # what follows costs 2 microseconds: not where nobody watches
                part.trip(self._wakers)
        if self._wakers:
            wake_all(self._wakers)

    def finish_again(self) -> None:
        """``finish``, after an exception broke it. Where another one does, the tables name the plan from then on.

        Tables that are still taken stay so, and whoever wants one finishes the commit first.
        """
        try:
            self.finish()
        except BaseException:
            self._holder.torn = self.finish_torn
            for part in self._parts:
                part.store.unfinished = self.finish_torn
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
                    for part in self._parts:
                        if part.store.unfinished == self.finish_torn:
                            part.store.unfinished = None
