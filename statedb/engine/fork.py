"""What a child process finds after ``os.fork()``: the databases as they were, and none of the other threads.

Those threads may have held tables, locks, and commits that were half done. In the child nobody goes on with them, so
they are ended here: a commit that was decided is finished, any other transaction is aborted, and locks are free again.
Streams and watches work, but only commits of the child wake them: nothing that the parent writes later is seen.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from threading import RLock, get_ident
from typing import Any
from weakref import WeakSet

from . import commit, turn
from .bucket import Bucket
from .order import Order
from .reserve import ABORTED, COMMITTED, HOLDER, HOW, Reservation
from .store import TableStore

_HEADS: WeakSet[Any] = WeakSet()


def remember(head: Any) -> None:
    """Repair this database (a `Head`) in child processes after a fork."""
    _HEADS.add(head)


def _after_in_child() -> None:
    commit._TORN = RLock()
    turn.after_fork()
    for head in list(_HEADS):
        head._lock = RLock()
        head._root.lock = RLock()
        for store in list(head._stores.values()):
            for order in _orders_of(store):
                order.after_fork()
            store.row_list.after_fork()
            _end_lost(store.reservation)


def _orders_of(store: TableStore) -> Iterable[Order]:
    yield store.order
    for index in store.indexes:
        yield index.order
        for entry in list(index.entries.values()):
            if type(entry) is Bucket and entry.order is not None:
                yield entry.order


def _end_lost(reservation: Reservation) -> None:
    """End the transaction that holds a table, if its thread does not exist in this process."""
    reservation.waiting.clear()
    holder: Any = reservation.holder.get(HOLDER)
    if holder is None or holder.thread == get_ident():
        return
    if holder.outcome.setdefault(HOW, ABORTED) is COMMITTED:
        holder.torn = holder.finish_torn  # whoever wants the table finishes the commit first
        for part in holder.parts:
            part[0].unfinished = holder.finish_torn
    else:
        holder.closed = ABORTED
        reservation.release(holder)


os.register_at_fork(after_in_child=_after_in_child)
