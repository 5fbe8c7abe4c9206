"""The lock of the engine. An interrupt such as Ctrl-C leaves it either free, or held by the ``with`` block.

The interpreter looks for signals after every call of a C function, and a signal handler may raise. Up to Python 3.13,
``with lock:`` takes an RLock in one instruction, and the block begins right after it. From 3.14 on there is a gap:

    LOAD_SPECIAL __enter__
    CALL            takes the lock, then looks for signals; if a handler raises here,
    POP_TOP         the block has not begun, and nobody calls __exit__

The lock would stay taken forever. So from 3.14 on, ``__enter__`` is written in Python:

- If a handler raises after ``acquire``, that is inside the ``try``, which releases the lock.
- A return from a Python function looks for no signals, so the block begins right after it.
- ``__exit__`` stays in C. A Python function would look for signals before it releases the lock.

There is no such guarantee in a program that replaces the interpreter's frame evaluator (PEP 523).
"""

from __future__ import annotations

import sys
from threading import RLock
from typing import Any

if sys.version_info >= (3, 14):
    from _thread import RLock as _RLock  # the class; `threading.RLock` is a function

    class SafeLock(_RLock):
        """An RLock. Use it only in a ``with`` statement."""

        __slots__ = ()

        def __enter__(self) -> bool:
            """Take it, or raise without it."""
            try:
                return self.acquire()
            except BaseException:
                try:
                    self.release()
                except RuntimeError:  # the exception came while it waited
                    pass
                raise

else:
    SafeLock = RLock


def after_fork(lock: Any) -> Any:
    """In a child process: the same lock if the forking thread holds it, because that thread goes on. Otherwise a new
    one: a thread that is not there may hold the old one.
    """
    return lock if lock._is_owned() else SafeLock()
