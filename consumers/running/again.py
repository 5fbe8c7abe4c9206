"""What an operation may answer: when its object is to be worked on again, though nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from statedb import Snapshot


class Again(NamedTuple):
    """The object was worked on, and is to be worked on again in ``after_s`` seconds (None: when something changes).

    ``view`` says whether a snapshot is new enough, for operations that must see what they wrote before they decide
    again: until it does, nothing begins for this object, whatever changes; the option ``view_wait_s`` bounds that. The
    newest answer counts: a change in between is worked on at once, and its answer replaces this one.
    """

    after_s: float | None = None
    view: Callable[[Snapshot], bool] | None = None
