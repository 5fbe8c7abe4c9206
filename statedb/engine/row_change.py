"""One row before and after: what change streams tell, and what a transaction has staged."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Any, Generic, NamedTuple

from .schema import R
from .states import Redo, Undo

_REVISION = itemgetter(1)


class Change(NamedTuple, Generic[R]):
    """One row at its newest state: inserted or replaced, or deleted; then it is the row that was deleted.

    ``old`` is the row at the beginning of the batch, as the batch before left it; None where there was none. Where a
    row was replaced and then deleted between two batches, ``old`` is what was told before, ``row`` what was deleted.
    """

    row: R
    revision: int
    deleted: bool
    old: R | None = None


as_change: Callable[[tuple[Any, int, bool, Any]], Change[Any]] = partial(tuple.__new__, Change)
"""A change made of its four values: at half the cost of calling the class, which large batches feel."""


def changes_of(undo: Undo, redo: Redo) -> tuple[Change[Any], ...]:
    """What differs between two states of a table, each row once, in revision order: before (undo) and after (redo).

    A row that was not there and is not there is no change. ``undo`` may leave out rows that were not there.
    """
    changes = [
        as_change((row, revision, deleted, None if (before := undo.get(key)) is None else before[0]))
        for key, (row, revision, deleted, _) in redo.items()
        if not deleted or undo.get(key) is not None
    ]
    changes.sort(key=_REVISION)
    return tuple(changes)
