"""The result of an operation that wants its object to be processed again, although nothing has changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from statedb import Snapshot


class Again(NamedTuple):
    """The object was processed, and is to be processed again in ``after_s`` seconds (None: when something changes).

    ``view`` tests whether a snapshot is recent enough. It is for operations that must see their own writes before they
    decide again. Until it returns true, no operation starts for this object, whatever changes; the option
    ``view_wait_s`` limits the wait. The newest result counts: after a change in between, the object is processed at
    once, and that result replaces this one.
    """

    after_s: float | None = None
    view: Callable[[Snapshot], bool] | None = None
