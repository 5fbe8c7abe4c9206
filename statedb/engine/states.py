"""What one row was at one moment: the vocabulary of history, layers and watches."""

from __future__ import annotations

from typing import Any, TypeAlias

from .sameness import same
from .schema import Keys

Row: TypeAlias = Any  # rows and keys are the user's; the typed door is in front of the engine
Key: TypeAlias = Any
State: TypeAlias = tuple[Row, int, bool, tuple[Keys, ...]]
"""One row as it stood: (row, revision, deleted, its keys in every secondary index)."""
Undo: TypeAlias = dict[Key, State | None]
"""What the rows changed by a commit were before it; None where there was no row."""
Redo: TypeAlias = dict[Key, State]
"""What a commit made of the rows; a deletion carries the deleted row and the deletion's own revision."""


def really_changed(before: State | None, after: State) -> bool:
    """Whether a row came, went or differs; a forced write of an equal row is none of these.

    Called after the commit is visible, where nothing may fail: rows that cannot be compared count as different.
    """
    if before is None or before[2]:
        return not after[2]
    if after[2] or before[0] is after[0]:
        return after[2]
    try:
        return not same(before[0], after[0])
    except MemoryError:
        raise  # the commit is run again
    except Exception:
        return True


def reaches_streams(before: State | None, after: State) -> bool:
    """Whether a change stream tells of it: all but a row that was not there and is not there."""
    return not (after[2] and (before is None or before[2]))


def keys_before_and_after(before: State | None, after: State, position: int) -> tuple[Key, ...]:
    """The index keys of a row before and after a change."""
    old = () if before is None or before[2] else before[3][position - 1]
    new = () if after[2] else after[3][position - 1]
    return old if old == new else old + new
