"""Writes any table to an etcd, one key per row, as JSON. One process watches the source, many read the etcd.

The keys are those of `statedb.catalog.wire.published`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from consumers.running.follower import Failure, Follower
from consumers.running.steps import describe
from statedb import ChangeBatch, Database, Snapshot, Table
from statedb.catalog import Sources
from statedb.catalog.wire import published

from .options import WriterOptions
from .rules import Rules
from .source_doubt import SourceDoubt
from .store import Connect
from .tables_to_etcd import TablesToEtcd
from .unwritten import UnwrittenRows
from .writer import EtcdWriter

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")

log = logging.getLogger("statedb.consumers")

_encode = msgspec.json.Encoder().encode


class TableToEtcd(TablesToEtcd):
    """Keeps ``PREFIX + table/`` of an etcd equal to a table of msgspec Structs. ``ingest.fanout`` reads it back.

    It connects once the table is initialized, writes the rows, deletes the keys that have no row, and then writes the
    canary of the table. Its heartbeat shows readers that it works. A row whose delete the source withholds stays in the
    etcd too. While a source of the table is not synced, the heartbeat says so, and keys without a row stay: another
    process may know more. All keys are attached to leases. A lost key is written again.

    A row that cannot be encoded as JSON, or that the etcd refuses, is skipped: its old value stays, and `health` and
    the table ``Unwritten`` name it.
    """

    def __init__(
        self,
        db: Database,
        table: type[Table[K, R]],
        connect: Connect,
        options: WriterOptions = WriterOptions(),  # noqa: B008  # frozen
        *,
        prefix: str = published.PREFIX,
        owns: Callable[[R], bool] | None = None,
        cluster: str | None = None,
    ) -> None:
        """Not yet started. ``connect`` returns a new connection at each call. Raises ValueError for a wrong prefix.

        ``owns`` decides which rows are written; all if None. ``cluster`` is the one whose source fills these rows; any
        cluster if None.
        """
        if not prefix.endswith("/"):
            raise ValueError(f"prefix {prefix!r} must end with a slash, or it takes the keys of others as well")
        self._folder = published.folder(prefix, table.name)
        self._canary = published.canary(prefix, table.name)
        self._key_of = table.key_of
        self._owns = owns
        self._is_complete = False
        self._refused: dict[Hashable, tuple[str, str]] = {}
        self._protected: frozenset[str] = frozenset()
        self._source_doubt = SourceDoubt(db, (table,), cluster)
        name = f"table {table.name} to etcd"
        self._unwritten = UnwrittenRows(db, name)
        self._writer = EtcdWriter(
            connect,
            Rules(
                prefixes=(self._folder, published.canaries(prefix)),
                is_own=self._is_own,
                may_delete=self._may_delete,
                rank=lambda key: int(key == self._canary),
                heartbeat=published.heartbeat(prefix, table.name),
                doubt=self._source_doubt,
            ),
            options,
            name=f"etcd writer of {self._folder.removesuffix('/')}",
            report=lambda _: self._report_unwritten(),
        )
        self._follower = Follower(
            db,
            (table,),
            self._apply,
            name=name,
            maintain=self._maintain,
            woken_by=(Sources,) if Sources in db.tables else (),
            report=self._on_failure,
        )

    @property
    def health(self) -> str:
        """The state in one line. It begins with OK while all is well."""
        following = self._follower.health
        health = following if following not in ("OK", "ended") else self._writer.health
        refused = next(iter(list(self._refused.values())), None)
        if health != "OK" or refused is None:
            return health
        return f"OK, but {len(self._refused)} rows cannot be written: {refused[0]}: {refused[1]}"

    def _refused_count(self) -> int:
        return len(self._refused)

    def _apply(self, batch: ChangeBatch[Any]) -> None:
        before = dict(self._refused)
        for change in batch:
            key = self._key_of(change.row)
            self._refused.pop(key, None)
            name = repr(key)
            is_gone = change.deleted or (self._owns is not None and not self._owns(change.row))
            try:
                name = self._folder + key_text(key)
                value = None if is_gone else _encode(change.row)
            except Exception as error:  # any exception that a user's row makes the encoder raise
                if not is_gone:
                    self._refused[key] = (name, describe(error))
            else:
                self._writer.delete(name) if value is None else self._writer.put(name, value)
        if before != self._refused:
            self._protected = frozenset([name for name, _ in self._refused.values()])
            self._report_unwritten()
        if not self._is_complete:
            self._is_complete = True
            self._source_doubt.advance(batch.snapshot)
            self._writer.mark(self._canary)
            self._writer.start()  # not earlier: a renewed lease tells readers that everything is written again

    def _maintain(self, applied: Snapshot) -> None:
        """Called when all rows up to this snapshot have been passed to the writer. From then on, the state of the
        source in it counts.
        """
        if self._source_doubt.advance(applied):
            self._writer.beat()
        self._writer.review()

    def _on_failure(self, failure: Failure | None) -> None:
        """While the table cannot be followed, the content of the etcd is out of date."""
        self._writer.outdated("" if failure is None else str(failure.error))
        if failure is not None:
            log.warning("%s: the table cannot be followed: %s", self._folder, failure.error)

    def _is_own(self, name: str, _: bytes) -> bool:
        return name.startswith(self._folder) or name == self._canary

    def _may_delete(self, name: str) -> bool:
        """Whether a key without a row may be deleted. Called on the writer's thread."""
        return self._is_complete and name not in self._protected and not self._source_doubt()

    def _report_unwritten(self) -> None:
        errors = dict(list(self._refused.values()))
        errors.update({name: refusal.reason for name, refusal in self._writer.refused().items()})
        self._unwritten.replace(errors)


def key_text(key: Any) -> str:
    """The key of a row (Any: keys are the user's) as part of an etcd key: its fields, quoted, separated by slashes.

    >>> key_text(("a/b", 1, ""))
    'a%2Fb/1/'
    >>> key_text(None), key_text("None")  # no text is quoted as an exclamation mark
    ('!', 'None')
    """
    fields = msgspec.structs.astuple(key) if isinstance(key, msgspec.Struct) else key
    parts = fields if isinstance(fields, tuple) else (fields,)
    return "/".join(["!" if part is None else quote(str(part), safe="") for part in parts])
