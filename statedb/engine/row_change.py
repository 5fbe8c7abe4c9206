"""One row before and after a change: what change streams return, and what a transaction has staged."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import repeat
from operator import itemgetter
from typing import Any, Generic, NamedTuple

from .schema import R
from .states import FIRST_KEYS, Redo, Undo

_REVISION = itemgetter(1)


class Change(NamedTuple, Generic[R]):
    """The newest state of one changed row. If ``deleted``, ``row`` is the row that was deleted.

    ``old`` is the row after the previous batch, or None if there was none. If a row was replaced and then deleted
    between two batches, ``old`` is the row of the previous batch and ``row`` the one that was deleted.
    """

    row: R
    revision: int
    deleted: bool
    old: R | None = None


as_change: Callable[[tuple[Any, int, bool, Any]], Change[Any]] = partial(tuple.__new__, Change)
"""Makes a Change of a tuple of its four values, at half the cost of calling the class. Large batches need it."""


def changes_of(undo: Undo, redo: Redo) -> tuple[Change[Any], ...]:
    """The differences between two states of a table, each row once, in revision order.

    ``undo`` is before, ``redo`` after. A row that exists in neither state is no change. ``undo`` may omit rows that did
    not exist.
    """
    changes = [
        as_change((*after[:FIRST_KEYS], None if (before := undo.get(key)) is None else before[0]))
        for key, after in redo.items()
        if not after[2] or undo.get(key) is not None
    ]
    changes.sort(key=_REVISION)
    return tuple(changes)


def insertions_of(rows: Iterable[Any], revisions: Iterable[int]) -> tuple[Change[Any], ...]:
    """Changes that insert these rows at these revisions, in revision order. At C speed: large tables need it."""
    written = list(revisions)
    changes = list(map(as_change, zip(rows, written, repeat(False), repeat(None))))
    if written != sorted(written):  # most tables are in this order already, and the key function costs a tenth
        changes.sort(key=_REVISION)
    return tuple(changes)
