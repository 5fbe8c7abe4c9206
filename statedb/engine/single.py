"""The fast path of `Database.insert` and `Database.delete`: one row in a transaction of its own.

It commits with the same `CommitPlan` as every transaction, without the writer and its overlay, which only several
writes need. All other cases take the general path: the first key of an index, a key of another type, a row that moves
between index keys, a new row of a table with unique indexes, and everything that raises.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from .commit import CommitPlan, Part
from .history import Commit, Pin
from .index_store import Moves
from .reserve import COMMITTED, DECISION, HOLDER
from .sameness import same
from .states import Key, Redo, Row, Undo
from .store import TableStore

_NOTHING: Moves = {}
_NOT_HANDLED = (False, None, None)

Prepared: TypeAlias = "tuple[bool, Part | None, Row | None]"
"""Whether the fast path applies, what it commits (None for nothing), and the row that existed."""


def insertion(store: TableStore, row: Row) -> Prepared:
    """Prepare to insert a row. The caller holds the table."""
    if type(row) not in store.row_types:
        return _NOT_HANDLED
    base = store.root.pins[store.table]
    before = base.commit
    revision = before.revision + 1
    try:
        key = store.key_of(row)
        old = store.rows.get(key)
        if old is None:
            if store.unique_indexes or (type(key) is not store.key_shape.plain and not store.key_shape.fits(key)):
                return _NOT_HANDLED
            keys = store.known_keys_of(row)
            if keys is None:
                return _NOT_HANDLED
        else:
            if old == row and same(old, row):
                return True, None, old
            old_keys = store.keys_of(old)
            if store.keys_of(row) != old_keys:
                return _NOT_HANDLED
            keys = old_keys  # so that history stores these tuples once
    except MemoryError:
        raise
    except Exception:  # the general path raises it
        return _NOT_HANDLED
    redo: Redo = {key: (row, revision, False, *keys)}
    undo: Undo = {key: None if old is None else (old, store.revisions[key], False, *keys)}
    after = Commit(before.sequence + 1, revision, before.count + (old is None), before.pending)
    return True, (store, base, undo, redo, _NOTHING, redo if old is None else _NOTHING, Pin(after), None), old


def deletion(store: TableStore, key: Key) -> Prepared:
    """Prepare to delete the row under a key. The caller holds the table."""
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
    except Exception:  # the general path raises it
        return _NOT_HANDLED
    state = (old, store.revisions[key], False, *keys)
    redo: Redo = {key: (old, revision, True, *keys)}
    after = Commit(before.sequence + 1, revision, before.count - 1, before.pending)
    return True, (store, base, {key: state}, redo, {key: state}, _NOTHING, Pin(after), None), old


def write_one(store: TableStore, prepare: Any, what: Any, owner: object | None) -> tuple[bool, Row | None]:
    """Take the table, call `insertion` or `deletion`, and commit.

    Returns whether the fast path applied, and the row before. After any exception the table is free, or its next writer
    finds a torn commit.
    """
    plan = CommitPlan((store,))
    try:
        if store.reservation.holder.setdefault(HOLDER, plan) is not plan:
            store.check_owner(owner)
            store.reservation.take(plan)
        if store.owner is not None:
            store.check_owner(owner)
        if store.unfinished is not None:
            store.unfinished.finish_torn()
        done, part, old = prepare(store, what)
        if part is None:
            store.reservation.release(plan)
        else:
            plan.parts.append(part)
            plan.finish()
        return done, old
    except BaseException:
        try:
            if plan.outcome.get(DECISION) is COMMITTED:
                plan.finish()
            else:
                store.reservation.release(plan)  # idempotent
        except BaseException:
            plan.torn = plan.finish_torn
            plan.leave_torn()
            raise
        raise
