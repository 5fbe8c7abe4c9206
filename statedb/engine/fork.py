"""Repairs databases in a child process after ``os.fork()``.

The child has the databases as they were, and none of the other threads. Those threads may have held tables and locks,
or may have been in the middle of a commit, and nothing in the child continues them. They are ended here: a decided
commit is finished, any other transaction is aborted, and locks are free again.

Streams and watches work, but only commits of the child wake them. What the parent writes later is not visible.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from threading import get_ident
from typing import Any
from weakref import WeakSet

from . import commit, turn, watch_set
from .bucket import Bucket
from .locks import SafeLock
from .order import Order
from .reserve import ABORTED, COMMITTED, DECISION, HOLDER, Reservation
from .store import TableStore

_HEADS: WeakSet[Any] = WeakSet()


def repair_after_fork(head: Any) -> None:
    """Repair this database (a `Head`) in child processes after a fork."""
    _HEADS.add(head)


def _after_in_child() -> None:
    commit._TORN = SafeLock()
    turn.after_fork()
    watch_set.after_fork()
    for head in list(_HEADS):
        head._lock = SafeLock()
        head._root.lock = SafeLock()
        for store in list(head._stores.values()):
            for order in _orders_of(store):
                order.after_fork()
            store.row_list.after_fork()
            for weak in list(store.streams):
                stream = weak()
                if stream is not None:
                    stream._after_fork()
            _end_orphaned(store.reservation)


def _orders_of(store: TableStore) -> Iterable[Order]:
    yield store.order
    for index in store.indexes:
        yield index.order
        for entry in list(index.entries.values()):
            if type(entry) is Bucket and entry.order is not None:
                yield entry.order


def _end_orphaned(reservation: Reservation) -> None:
    """End the transaction that holds a table if its thread does not exist in this process."""
    reservation.waiting.clear()
    holder: Any = reservation.holder.get(HOLDER)
    if holder is None or holder.thread == get_ident():
        return
    if holder.outcome.setdefault(DECISION, ABORTED) is COMMITTED:
        holder.torn = holder.finish_torn  # the next writer finishes the commit first
        for part in holder.parts:
            part[0].unfinished = holder.finish_torn
    else:
        holder.closed = ABORTED
        reservation.release(holder)


os.register_at_fork(after_in_child=_after_in_child)
