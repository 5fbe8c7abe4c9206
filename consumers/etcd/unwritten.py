"""The table of objects that a consumer cannot write to its etcd."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import msgspec

from statedb import Database, Table, UniqueIndex


class UnwrittenKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """``object`` is the key in the etcd, or the kind and name of an object that cannot be encoded."""

    consumer: str
    object: str


class UnwrittenRow(msgspec.Struct, frozen=True, gc=False):
    """``error``: why the object is not written. ``since``: when this was found, in Unix seconds."""

    key: UnwrittenKey
    error: str = ""
    since: float = 0.0


class Unwritten(Table[UnwrittenKey, UnwrittenRow], name="unwritten"):
    """One row for each object that cannot be written now. Its old keys stay in the etcd."""

    primary = UniqueIndex[UnwrittenKey, UnwrittenRow](lambda row: row.key)


class UnwrittenRows:
    """The rows of one consumer. For any thread."""

    def __init__(self, db: Database, consumer: str, now: Callable[[], float] = time.time) -> None:
        """Registers the table."""
        db.register(Unwritten)
        self._db = db
        self._consumer = consumer
        self._now = now

    def replace(self, errors: Mapping[str, str]) -> None:
        """Set the objects that cannot be written, with their errors. Rows with the same error keep ``since``."""
        with self._db.write(Unwritten) as txn:
            rows = txn[Unwritten]
            for row in list(rows.prefix((self._consumer,))):
                if row.key.object not in errors:
                    rows.delete(row.key)
            for name, error in errors.items():
                key = UnwrittenKey(self._consumer, name)
                old = rows.get(key)
                if old is None or old.error != error:
                    rows.insert(UnwrittenRow(key, error, self._now() if old is None else old.since))
