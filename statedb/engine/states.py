"""The state of one row at one moment: the types that history, layers and watches share."""

from __future__ import annotations

from typing import Any, TypeAlias

from .sameness import same

Row: TypeAlias = Any  # rows and keys have the user's types; the public classes are typed
Key: TypeAlias = Any
State: TypeAlias = tuple[Any, ...]
"""One row at one moment: (row, revision, deleted, *keys), with one tuple of keys for each secondary index.

These tuples are not inside another tuple. The garbage collector stops looking at a tuple of plain values one collection
after it has stopped looking at the tuples in it. With one more level, each state survived into the oldest generation,
and a transaction of a million rows started thirty full collections: replacing them took three times as long.
"""
KEYS = 2
"""``state[position + KEYS]`` are the keys of the index at this position, which is 1 for the first secondary index."""
FIRST_KEYS = 3
"""``state[FIRST_KEYS:]`` are the keys in all secondary indexes."""
Undo: TypeAlias = dict[Key, State | None]
"""The rows that a commit changed, as they were before it. None if there was no row."""
Redo: TypeAlias = dict[Key, State]
"""The rows that a commit changed, as they are after it. A deletion has the deleted row and the revision of the
deletion.
"""


def really_changed(before: State | None, after: State) -> bool:
    """Whether a row was added, removed or replaced by a different one. A forced write of an equal row is no change.

    Called after the commit is visible, when nothing may fail: rows that cannot be compared count as different.
    """
    if before is None or before[2]:
        return not after[2]
    if after[2] or before[0] is after[0]:
        return bool(after[2])
    try:
        return not same(before[0], after[0])
    except MemoryError:
        raise  # the commit is run again
    except Exception:
        return True


def reaches_streams(before: State | None, after: State) -> bool:
    """Whether change streams return it: everything but a row that exists neither before nor after."""
    return not (after[2] and (before is None or before[2]))


def keys_before_and_after(before: State | None, after: State, position: int) -> tuple[Key, ...]:
    """The index keys of a row before and after a change."""
    old = () if before is None or before[2] else before[position + KEYS]
    new = () if after[2] else after[position + KEYS]
    return old if old == new else old + new
