"""What a consumer cannot write into its etcd: a table, so that it can be read, watched and queried like any other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import msgspec

from statedb import Database, Table, UniqueIndex


class UnwrittenKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """``object`` is the key in the etcd, or kind and name of the object where there is no value to write."""

    consumer: str
    object: str


class UnwrittenRow(msgspec.Struct, frozen=True, gc=False):
    """``error`` is why it is not written, ``since`` (Unix seconds) when that was found."""

    key: UnwrittenKey
    error: str = ""
    since: float = 0.0


class Unwritten(Table[UnwrittenKey, UnwrittenRow], name="unwritten"):
    """One row per object that cannot be written now. What the etcd had of it stays there."""

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
        """These objects cannot be written, for these reasons; all others can. Rows that stay keep their time."""
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
