"""One row, one transaction: the short way of `Database.insert` and `Database.delete`, where nothing is unusual.

It commits by the same `CommitPlan` as every transaction, and leaves out what only several writes need: the writer and
its overlay. Whatever is unusual goes the long way: a first key, a key unlike the others, a row that moves between index
keys, a new row of a table with unique indexes, and all that raises.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from .commit import CommitPlan, Part
from .history import Commit, Pin
from .index_store import Moves
from .reserve import COMMITTED, HOLDER, HOW
from .sameness import same
from .states import Key, Redo, Row, Undo
from .store import TableStore

_NOTHING: Moves = {}
_UNUSUAL = (False, None, None)

Prepared: TypeAlias = "tuple[bool, Part | None, Row | None]"
"""Whether the short way will do, what it commits (None for nothing), and the row that was there."""


def insertion(store: TableStore, row: Row) -> Prepared:
    """What inserts a row. Called by whoever holds the table."""
    if type(row) not in store.row_types:
        return _UNUSUAL
    base = store.root.pins[store.table]
    before = base.commit
    revision = before.revision + 1
    try:
        key = store.key_of(row)
        old = store.rows.get(key)
        if old is None:
            if store.unique_indexes or (type(key) is not store.key_shape.plain and not store.key_shape.fits(key)):
                return _UNUSUAL
            keys = store.known_keys_of(row)
            if keys is None:
                return _UNUSUAL
        else:
            if old == row and same(old, row):
                return True, None, old
            old_keys = store.keys_of(old)
            if store.keys_of(row) != old_keys:
                return _UNUSUAL
            keys = old_keys  # history keeps them once
    except MemoryError:
        raise
    except Exception:  # the long way says what is wrong
        return _UNUSUAL
    redo: Redo = {key: (row, revision, False, keys)}
    undo: Undo = {key: None if old is None else (old, store.revisions[key], False, keys)}
    after = Commit(before.sequence + 1, revision, before.count + (old is None), before.pending)
    return True, (store, base, undo, redo, _NOTHING, redo if old is None else _NOTHING, Pin(after), None), old


def deletion(store: TableStore, key: Key) -> Prepared:
    """What deletes the row under a key. Called by whoever holds the table."""
    base = store.root.pins[store.table]
    before = base.commit
    revision = before.revision + 1
    try:
        old = store.rows.get(key)
        if old is None:
            return True, None, None
        keys = store.keys_of(old)
    except MemoryError:
        raise
    except Exception:  # the long way says what is wrong
        return _UNUSUAL
    state = (old, store.revisions[key], False, keys)
    redo: Redo = {key: (old, revision, True, keys)}
    after = Commit(before.sequence + 1, revision, before.count - 1, before.pending)
    return True, (store, base, {key: state}, redo, {key: state}, _NOTHING, Pin(after), None), old


def write_one(store: TableStore, prepare: Any, what: Any, owner: object | None) -> tuple[bool, Row | None]:
    """Take the table, prepare (`insertion` or `deletion`) and commit: whether the short way did, and the row before.

    Whatever breaks it, the table is free afterwards, or its next writer finds a torn commit.
    """
    plan = CommitPlan((store,))
    try:
        if store.reservation.holder.setdefault(HOLDER, plan) is not plan:
            store.check_owner(owner)
            store.reservation.take(plan)
        if store.owner is not None:
            store.check_owner(owner)
        if store.unfinished is not None:
            store.unfinished()
        done, part, old = prepare(store, what)
        if part is None:
            store.reservation.release(plan)
        else:
            plan.parts.append(part)
            plan.finish()
        return done, old
    except BaseException:
        if plan.outcome.get(HOW) is COMMITTED:
            plan.finish_again()
        else:
            store.reservation.release(plan)  # idempotent
        raise
