"""Who brings a sorted list up to date, one at a time; and who does not wait for that, but sorts for itself.

Sorting compares keys and allocates: the collector may run a finalizer meanwhile, or the interpreter a signal handler,
and that may read in order, too, or wait for a table that another thread writes. Waiting for a lock there hangs:

    thread A, in the order of an index          thread B, in the list of rows
    a finalizer reads the list of rows:         a signal handler reads the order of the index:
    waits for B                                 waits for A

So nobody waits here who is in the midst of another list, and nobody for longer than a moment: a thread that waits may
hold a table that a finalizer of the other one waits for. Who gets no turn sorts a copy, which takes longer, and is
as right.
"""

from __future__ import annotations

from threading import get_ident
from time import monotonic

from .wakers import ThreadWaker

_TAKEN = "taken"
_WAIT_S = 1.0
"""What bringing a list of a million rows up to date takes; waiting longer than that would save nothing."""

Token = list[int]
"""Names one call: compared by identity."""
_inside: dict[int, Token] = {}
"""Thread -> its outermost call that takes turns, or is about to."""


class Turn:
    """One call at a time has the turn. Each step is atomic, so that an interrupt leaves it taken or free.

    mine: Token = [get_ident()]
    try:
        if turn.take(mine):
            return ...  # brought up to date
    finally:
        turn.give_back(mine)
    return ...  # sorted anew
    """

    __slots__ = ("_taken", "_waiting")

    def __init__(self) -> None:
        """Free."""
        self._taken: dict[str, Token] = {}
        self._waiting: dict[ThreadWaker, None] = {}

    def take(self, mine: Token) -> bool:
        """Whether the turn is this call's. Waits a moment for another thread's, unless this call interrupts one."""
        outermost = _inside.setdefault(mine[0], mine) is mine
        if self._taken.setdefault(_TAKEN, mine) is mine:
            return True
        return outermost and self._waited(mine)

    def _waited(self, mine: Token) -> bool:
        deadline = monotonic() + _WAIT_S
        waker = ThreadWaker()
        try:
            self._waiting[waker] = (
                None  # first the waker, then the look: a turn that is given back between them wakes it
            )
            while self._taken.setdefault(_TAKEN, mine) is not mine:
                left = deadline - monotonic()
                if left <= 0 or not waker.wait(left):
                    return False
            return True
        finally:
            self._waiting.pop(waker, None)

    def give_back(self, mine: Token) -> None:
        """The end of a call, whether the turn was its own or not. Idempotent."""
        if self._taken.get(_TAKEN) is mine:
            del self._taken[_TAKEN]
        if _inside.get(mine[0]) is mine:
            del _inside[mine[0]]
        if self._waiting:
            for waker in list(self._waiting):
                waker.wake()


def after_fork() -> None:
    """In a child process: what other threads were in the midst of does not go on."""
    for thread in list(_inside):
        if thread != get_ident():
            _inside.pop(thread, None)
