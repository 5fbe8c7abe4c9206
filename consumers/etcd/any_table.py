"""Writes any table to an etcd, one key per row, as JSON. One process watches the source, many read the etcd."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from consumers.running.follower import follow
from statedb import ChangeBatch, Database, Table

from .options import WriterOptions
from .rules import Rules
from .store import Connect
from .tables_to_etcd import TablesToEtcd
from .writer import EtcdWriter

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")

_encode = msgspec.json.Encoder().encode


class TableToEtcd(TablesToEtcd):
    """Keeps ``PREFIX + table/`` of an etcd equal to a table of msgspec Structs. ``kvstore.table`` reads it back.

    It starts once the table is initialized, and then deletes the keys that have no row. A row whose delete the source
    withholds stays in the etcd too. All keys are attached to leases. A key that is lost is written again.
    """

    def __init__(
        self,
        db: Database,
        table: type[Table[K, R]],
        connect: Connect,
        options: WriterOptions = WriterOptions(),  # noqa: B008  # frozen
        *,
        prefix: str = "tables/",
    ) -> None:
        """Not yet started. ``connect`` returns a new connection at each call. Raises ValueError for a wrong prefix."""
        if not prefix.endswith("/"):
            raise ValueError(f"prefix {prefix!r} must end with a slash, or it takes the keys of others as well")
        self._folder = f"{prefix}{table.name}/"
        self._key_of = table.key_of
        self._writer = EtcdWriter(
            connect, Rules(prefixes=(self._folder,)), options, name=f"etcd writer of {table.name}"
        )
        self._follower = follow(db, table, apply=self._apply, name=f"table {table.name} to etcd")

    def start(self) -> None:
        """Begin. Raises RuntimeError the second time."""
        super().start()
        self._writer.start()

    @property
    def health(self) -> str:
        """The state in one line. It begins with OK while all is well."""
        following = self._follower.health
        return following if not following.startswith("OK") else self._writer.health

    def _apply(self, batch: ChangeBatch[Any]) -> None:
        for change in batch:
            key = self._folder + key_text(self._key_of(change.row))
            if change.deleted:
                self._writer.delete(key)
            else:
                self._writer.put(key, _encode(change.row))
        self._writer.delete_others()


def key_text(key: Any) -> str:
    """The key of a row (Any: keys are the user's) as a part of an etcd's key: its fields between slashes, quoted.

    >>> key_text(("a/b", 1, ""))
    'a%2Fb/1/'
    """
    fields = msgspec.structs.astuple(key) if isinstance(key, msgspec.Struct) else key
    parts = fields if isinstance(fields, tuple) else (fields,)
    return "/".join([quote(str(part), safe="") for part in parts])
