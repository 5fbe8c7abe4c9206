"""The lock of the engine. An interrupt at any step, such as Ctrl-C, leaves it either free or in the hands of its block.

The interpreter looks for signals behind every call, and a handler may raise there. Up to Python 3.13 an RLock has no
such place: ``with lock:`` takes it in one instruction, behind which the block begins. From 3.14 on the block begins one
step too late:

    LOAD_SPECIAL __enter__
    CALL            takes the lock, then looks for signals: an exception here is not yet in the block,
    POP_TOP         where the block begins

so nobody calls ``__exit__``, and the lock stays taken for good. There ``__enter__`` is written in Python:

- An exception behind ``acquire`` is inside its ``try``, which gives the lock back.
- Its return looks for no signals, so the block begins right behind it.
- ``__exit__`` stays in C: written in Python it would look for signals before it gives the lock back.

A program that replaces the interpreter's frame evaluator (PEP 523) has no such guarantee.
"""

from __future__ import annotations

import sys
from threading import RLock

if sys.version_info >= (3, 14):
    from _thread import RLock as _RLock  # the class; `threading.RLock` is a function

    class SafeLock(_RLock):
        """An RLock for ``with`` alone."""

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
