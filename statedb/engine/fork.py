"""Repairs databases in a child process after ``os.fork()``.

The child has the databases as they were, and none of the other threads. Those threads may have held tables and locks,
or may have been in the middle of a commit, and nothing in the child continues them. The same is true of all tasks but
the one that forks. They are ended here: a decided commit is finished and trips its watches, any other transaction is
aborted, and locks are free again. The forking thread goes on with what it was doing, and keeps what it holds.

Streams and watches work, but only commits of the child wake them. What the parent writes later is not visible.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from threading import get_ident
from typing import Any
from weakref import WeakSet

from . import commit, locks, turn, watch_set
from .bucket import Bucket
from .order import Order
from .reserve import ABORTED, COMMITTED, DECISION, HOLDER, RELEASER, Reservation
from .store import TableStore

_HEADS: WeakSet[Any] = WeakSet()
_plans: dict[Any, None] = {}
"""The commits to finish. An interrupted attempt may have freed their tables already."""
_repaired = False


def repair_after_fork(head: Any) -> None:
    """Repair this database (a `Head`) in child processes after a fork."""
    _HEADS.add(head)


def _after_in_child() -> None:
    global _repaired
    _repair()
    _repaired = True


def _again_in_child() -> None:
    """Ctrl-C reaches the child too. Python only reports what is raised in the first call, and goes on with this one."""
    global _repaired
    try:
        if not _repaired:
            _repair()
    finally:
        _repaired = False  # for the children of this process
        _plans.clear()


def _repair() -> None:
    """Repair all databases. Idempotent."""
    commit._TORN = locks.after_fork(commit._TORN)
    turn.after_fork()
    watch_set.after_fork()
    _plans.update({plan: None for plan, thread in list(commit._TRIPPING.items()) if thread != get_ident()})
    for head in list(_HEADS):
        head._lock = locks.after_fork(head._lock)
        head._root.lock = locks.after_fork(head._root.lock)
        for store in list(head._stores.values()):
            for order in _orders_of(store):
                order.after_fork()
            store.row_list.after_fork()
            for weak in list(store.streams):
                stream = weak()
                if stream is not None:
                    stream._after_fork()
            plan = _orphaned_commit(store.reservation)
            if plan is not None:
                _plans[plan] = None
            if store.unfinished is not None:
                _forget_releaser(store.unfinished)
    for plan in list(_plans):  # if one cannot be finished now, the next writer of its tables finishes it
        _forget_releaser(plan)
        plan.torn = plan.finish_torn
        plan.leave_torn()
    for plan in list(_plans):
        plan.finish_torn()


def _orders_of(store: TableStore) -> Iterable[Order]:
    yield store.order
    for index in store.indexes:
        yield index.order
        for entry in list(index.entries.values()):
            if type(entry) is Bucket and entry.order is not None:
                yield entry.order


def _orphaned_commit(reservation: Reservation) -> Any:
    """The commit that holds a table, if its thread does not exist in this process. Other transactions are aborted."""
    reservation.waiting.clear()
    holder: Any = reservation.holder.get(HOLDER)
    if holder is None:
        return None
    _forget_releaser(holder)
    if holder.torn is not None:  # the next writer ends it, or this thread is doing so
        return None
    outcome = holder.outcome
    if outcome.get(DECISION) != ABORTED and _goes_on(holder):
        return None
    if RELEASER in outcome:
        return None  # this thread is about to free the table
    if outcome.setdefault(DECISION, ABORTED) is COMMITTED:
        return holder
    holder.closed = ABORTED
    reservation.release(holder)
    return None


def _forget_releaser(plan: Any) -> None:
    """Have the next writer free the tables of a transaction if a thread that is not there was doing so."""
    outcome = plan.outcome
    if RELEASER in outcome and outcome[RELEASER][0] != get_ident():
        del outcome[RELEASER]


def _goes_on(holder: Any) -> bool:
    """Whether the thread of a transaction is the one that forked; for one of a task, whether that task did it."""
    if holder.thread != get_ident():
        return False
    return holder.task is None or getattr(holder.task.get_coro(), "cr_running", True)


os.register_at_fork(after_in_child=_after_in_child)
os.register_at_fork(after_in_child=_again_in_child)
