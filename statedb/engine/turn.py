"""Which reader updates a sorted list, one at a time. A reader that may not wait for that sorts a copy.

Sorting compares keys and allocates memory. Meanwhile the garbage collector may run a finalizer, or the interpreter a
signal handler, and that code may read in order too, or wait for a table that another thread writes. With a lock, two
threads could block each other forever:

    thread A updates the order of an index      thread B updates the list of rows
    a finalizer in A reads the list of rows:    a signal handler in B reads the order of the index:
    it waits for B                              it waits for A

So a thread that updates a list itself never waits for another list. Other threads wait for at most a second: one that
waits may hold a table for which a finalizer of the other thread waits. A reader that does not get the turn sorts a
copy, which takes longer and gives the same result.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from time import monotonic
from typing import Any, TypeVar

from .wakers import ThreadWaker

_TAKEN = "taken"
_WAIT_S = 1.0
"""About as long as it takes to sort a million rows; to wait longer would save nothing."""

T = TypeVar("T")
Token = list[int]
"""Identifies one call, by identity. It holds the number of its thread."""
_inside: dict[int, Token] = {}
"""Thread -> the outermost call of it that has, or is about to take, a turn."""


class Turn:
    """At most one call at a time has the turn. Each step is atomic, so an interrupt leaves it either taken or free."""

    __slots__ = ("_taken", "_waiting")

    def __init__(self) -> None:
        """Free."""
        self._taken: dict[str, Token] = {}
        self._waiting: dict[ThreadWaker, None] = {}

    def run(self, update: Callable[..., T], *arguments: Any) -> T | None:
        """What ``update`` returns, which runs with the turn; None if this call does not get it."""
        mine: Token = [get_ident()]
        try:
            found = update(*arguments) if self._take(mine) else None
            self._give_back(mine)
            return found
        except BaseException:  # nothing is called until the call has ended, so no second exception prevents that
            try:
                if self._taken[_TAKEN] is mine:
                    del self._taken[_TAKEN]
            except KeyError:
                pass
            if mine[0] in _inside and _inside[mine[0]] is mine:
                del _inside[mine[0]]
            if self._waiting:
                self._wake()
            raise

    def _take(self, mine: Token) -> bool:
        """Whether this call gets the turn. It waits only if it does not interrupt another call of its thread."""
        is_outermost = _inside.setdefault(mine[0], mine) is mine
        if self._taken.setdefault(_TAKEN, mine) is mine:
            return True
        return is_outermost and self._wait(mine)

    def _wait(self, mine: Token) -> bool:
        deadline = monotonic() + _WAIT_S
        waker = ThreadWaker()
        try:
            self._waiting[waker] = None  # first the waker, then the check, so that a turn that ends in between wakes it
            while self._taken.setdefault(_TAKEN, mine) is not mine:
                left = deadline - monotonic()
                if left <= 0 or not waker.wait(left):
                    return False
            return True
        finally:
            self._waiting.pop(waker, None)

    def _give_back(self, mine: Token) -> None:
        """End a call, whether it got the turn or not."""
        if self._taken.get(_TAKEN) is mine:
            del self._taken[_TAKEN]
        if _inside.get(mine[0]) is mine:
            del _inside[mine[0]]
        if self._waiting:
            self._wake()

    def _wake(self) -> None:
        for waker in list(self._waiting):
            waker.wake()

    def after_fork(self) -> None:
        """In a child process: end the turn of a thread that is not there. A turn of the forking thread goes on."""
        taken = self._taken.get(_TAKEN)
        if taken is not None and taken[0] != get_ident():
            self._taken.clear()
        self._waiting.clear()


def after_fork() -> None:
    """In a child process: the other threads of the parent do not continue."""
    for thread in list(_inside):
        if thread != get_ident():
            _inside.pop(thread, None)
