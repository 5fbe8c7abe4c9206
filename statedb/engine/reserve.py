"""The write reservation of a table: who may write it now. Knows nothing of rows.

A plain lock could be lost when an interrupt falls between taking it and writing down who took it. Here both are one
atomic step: ``dict.setdefault`` puts the holder in, or finds another one.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock, get_ident
from time import monotonic
from typing import Any

from .errors import NestedWrite

HOLDER = "holder"


class Holder:
    """One write transaction as its tables see it: whose it is, and whether it still may write."""

    __slots__ = ("closed", "reserved", "thread", "torn")

    def __init__(self, reserved: tuple[Any, ...]) -> None:
        """``reserved`` are the tables it writes; each has a name."""
        self.reserved = reserved
        self.thread = get_ident()
        self.closed: str = ""
        """How it was closed, ``committed`` or ``aborted``; empty while it is open."""
        self.torn: Callable[[], None] | None = None
        """Finishes its commit and frees its tables, where exceptions kept it from doing so itself."""

    @property
    def tables(self) -> str:
        """The names of its tables, for messages."""
        return ", ".join([table.name for table in self.reserved]) or "no tables"


class Reservation:
    """At most one holder at a time; others wait. Not re-entrant: waiting for oneself raises."""

    __slots__ = ("_name", "holder", "waited_s", "waiting", "waits")

    def __init__(self, name: str) -> None:
        """``name`` is the table's, for messages."""
        self._name = name
        self.holder: dict[str, Holder] = {}
        self.waiting: dict[Lock, None] = {}
        """The gates of those who wait, the longest first. No Condition: an interrupt could leave its lock held."""
        self.waits = 0
        self.waited_s = 0.0

    def take(self, holder: Holder) -> None:
        """Wait until the table is free, and take it. Raises NestedWrite where that could never happen.

        ``holder`` is in the open for callers on the hot path, who try the one atomic step themselves.
        """
        current = self.holder.setdefault(HOLDER, holder)
        if current is not holder:
            if current.torn is None:
                self._refuse_nested(current, holder)
            self._wait(holder)

    def release(self, holder: Holder) -> None:
        """Let the next one in. Nothing happens where the table is not this holder's. Idempotent."""
        if self.holder.get(HOLDER) is holder:
            del self.holder[HOLDER]
        if self.waiting:
            for gate in list(self.waiting)[:1]:
                try:
                    gate.release()
                except RuntimeError:
                    pass  # it is open already

    def _refuse_nested(self, current: Holder, holder: Holder) -> None:
        if current.thread == holder.thread:
            raise NestedWrite(
                f"table {self._name!r} is being written by an open transaction of this same thread "
                f"(on {current.tables}); commit or abort it first, or name all tables in one db.write(...)"
            )

    def _wait(self, holder: Holder) -> None:
        gate = Lock()
        begun = monotonic()
        try:
            self.waiting[gate] = None  # first the gate, then the look: a release between them opens it
            while (current := self.holder.setdefault(HOLDER, holder)) is not holder:
                if current.torn is not None:
                    current.torn()
                else:
                    gate.acquire(timeout=1.0)  # the bound covers an interrupt that swallowed a release
            self.waits += 1  # by the holder alone
            self.waited_s += monotonic() - begun
        finally:
            self.waiting.pop(gate, None)
