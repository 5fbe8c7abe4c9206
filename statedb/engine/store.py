"""The newest state of one table: plain dicts, changed by one writer at a time and read by everybody.

Knows rows, keys and the chain of commits. Knows no transactions and no snapshots.

    rows       primary key -> row                  separate from the revisions, so that reads run at C speed
    revisions  primary key -> revision
    indexes    secondary key -> primary key, or a Bucket if several rows have the key
    orders     the keys of each of these dicts, sorted lazily
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast
from weakref import ref

from .errors import TableOwned
from .extract import checking_extractor_of, extractor_of
from .history import Commit, Merged, Pin, Root, compact
from .index_store import IndexStore, Moves
from .order import Order
from .reserve import Reservation
from .row_list import RowList
from .schema import PrefixIndex, Table, UniqueIndex
from .shape import KeyShape
from .states import Key, Redo, Row, Undo
from .watch import Registry

_COMPACT_EVERY = 256
_ROWS_PER_PIN = 2
"""So many changed rows pay for looking at one pin, which takes 0.1 to 3 us; a changed row takes 1 to 15 us."""


class TableStore:
    """One table of one database: its newest rows, indexes, orders, write reservation, history and watches."""

    __slots__ = (
        "commits_s",
        "commits_timed",
        "grown",
        "index_shapes",
        "indexes",
        "kept",
        "key_of",
        "key_shape",
        "keys_of",
        "known_keys_of",
        "merged",
        "name",
        "order",
        "owner",
        "registry",
        "replaced",
        "reservation",
        "revisions",
        "root",
        "row_list",
        "row_types",
        "rows",
        "streams",
        "table",
        "unfinished",
        "unique_indexes",
    )

    def __init__(self, table: type[Table[Any, Any]], root: Root) -> None:
        """An empty table. The caller puts its first pin into the root."""
        self.table = table
        self.name = table.name
        self.root = root
        self.key_of: Callable[[Row], Key] = cast("UniqueIndex[Any, Any]", table.indexes["primary"]).key
        self.rows: dict[Key, Row] = {}
        self.revisions: dict[Key, int] = {}
        self.merged = Merged(self.rows)
        self.order = Order(self.rows)
        self.row_list = RowList(self.rows, self.key_of)
        self.key_shape = KeyShape(0)
        self.indexes = tuple([IndexStore(index) for index in list(table.indexes.values())[1:]])
        self.index_shapes = tuple([store.shape for store in self.indexes])
        declared = [store.index for store in self.indexes]
        self.keys_of = extractor_of(declared)
        self.known_keys_of = checking_extractor_of(declared, self.index_shapes)
        self.unique_indexes = tuple([store for store in self.indexes if store.unique])
        self.row_types: set[type] = {table.row_type} if isinstance(table.row_type, type) else set()
        self.reservation = Reservation(table.name)
        self.replaced: list[ref[Pin]] = []
        self.kept = 0  # of ``replaced``, after the last compaction
        self.grown = 0  # rows that were changed since then
        self.registry = Registry([False, *[isinstance(index, PrefixIndex) for index in declared]])
        self.owner: Any = None
        """The only one who may write the table, compared by identity; it has a name. None if everybody may."""
        self.unfinished: Any = None
        """The torn commit (a `CommitPlan`) that the next writer finishes, if there is one."""
        self.streams: dict[ref[Any], None] = {}
        self.commits_timed = 0
        self.commits_s = 0.0

    @property
    def pin(self) -> Pin:
        """The pin of the newest committed state."""
        return self.root.pins[self.table]

    def check_owner(self, owner: object | None) -> None:
        """Raise TableOwned if the table has another owner."""
        own = self.owner
        if own is not None and own is not owner and not own._released:
            raise TableOwned(
                f"only the owner of table {self.name!r}, {own.name!r}, may write it; "
                "read it, or write it through that owner"
            )

    def follow(self, stream: Any) -> None:
        """Remember an open stream by weak reference. Each step is atomic: finalizers open streams as well."""
        self.streams[ref(stream, self._unfollow)] = None

    def _unfollow(self, weak: ref[Any]) -> None:
        self.streams.pop(weak, None)

    def open_streams(self) -> int:
        """The number of open streams of the table."""
        return sum([1 for weak in list(self.streams) if (stream := weak()) is not None and not stream.closed])

    def first_pin(self) -> Pin:
        """The pin of the empty table at revision 0."""
        return Pin(Commit(0, 0, 0, ()))

    def learn(self, shapes: dict[int, Any]) -> None:
        """Require these shapes, by the position of the index, of all new keys. Idempotent."""
        for shape in (self.key_shape, *self.index_shapes):
            if shape.position in shapes:
                shape.learn(shapes[shape.position])

    def apply(self, base: Pin, undo: Undo, redo: Redo, leave: Moves, enter: Moves, after: Pin) -> None:
        """Publish the link on the old commit, then change the newest state. Idempotent, so it can be run again.

        Also keeps a weak reference to the replaced pin: while that pin is alive, somebody refers to the old state.
        """
        old = base.commit
        if old.link is None:
            old.link = (undo, redo, after.commit)
        rows, revisions = self.rows, self.revisions
        if not after.commit.count:
            self._empty(leave)
        else:
            for key, state in redo.items():
                if state[2]:
                    rows.pop(key, None)
                    revisions.pop(key, None)
                else:
                    rows[key] = state[0]
                    revisions[key] = state[1]
            if enter or leave:
                for store in self.indexes:
                    if leave:
                        store.leave(leave)
                    store.enter(enter)
                    if store.order.touched is not None:
                        store.touch(leave, enter)
                if self.order.touched is not None:
                    self.order.touch([*leave, *enter], rows)
        if self.row_list.touched is not None:
            self.row_list.touch(list(redo))
        self.replaced.append(ref(base))
        self.grown += len(undo)
        count, kept = len(self.replaced), self.kept
        # The number of commits would be a wrong measure: the pins may be gone by now, and each commit may be large.
        if count >= kept + _COMPACT_EVERY and self.grown >= _ROWS_PER_PIN * kept:
            self.replaced = compact(self.replaced)
            self.kept, self.grown = len(self.replaced), 0

    def _empty(self, leave: Moves) -> None:
        """Remove all rows, which are those of ``leave``. Idempotent: nobody else writes before the commit is finished.

            the writer                         a reader, at any point between two steps
            publishes the link on the old      finds all rows in undo from here on, so that it does not matter
            commit (``apply``)                 which of them it has read
            clears each dict in one step,      ``dict.get``, ``list(dict)`` and ``dict.copy`` see all or nothing
            its buckets stay as they are       may have taken a bucket out before, and reads all keys that it had;
                                               a later commit fills other buckets

        A million rows leave two indexes in 0.6 us a row, one by one in 10 us each.
        """
        self.rows.clear()
        self.revisions.clear()
        for store in self.indexes:
            store.entries.clear()
            if store.order.touched is not None:
                store.touch(leave, {})
        if self.order.touched is not None:
            self.order.touch(list(leave), self.rows)
