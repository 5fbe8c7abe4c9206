"""The head of a database: its tables, the newest state of each, and snapshots of them.

    Head ─▶ Root.pins   table ─▶ Pin ─▶ Commit        replaced as a whole at every commit; a snapshot is this mapping
         └▶ TableStore  rows, revisions, indexes      the newest state, which all snapshots share

Transactions and streams use this class. Users see `Database`, which adds the public methods.
"""

from __future__ import annotations

import os
from typing import Any

from .fork import repair_after_fork
from .history import Pin, Root
from .invariants import check_stores
from .locks import SafeLock
from .origins import Origins
from .snapshot import Snapshot
from .store import TableStore


class Head:
    """The part of a database that transactions and streams need."""

    __slots__ = ("__weakref__", "_cached", "_check", "_lock", "_origins", "_root", "_stores")

    def __init__(self) -> None:
        """No tables yet."""
        self._root = Root()
        self._stores: dict[Any, TableStore] = {}
        self._check = os.environ.get("STATEDB_CHECK", "0") not in ("", "0")
        self._origins: Origins | None = None
        self._cached: Snapshot | None = None
        self._lock = SafeLock()
        repair_after_fork(self)

    def snapshot(self) -> Snapshot:
        """All tables at this instant. Until the next commit every caller gets the same, immutable object.

        The cached snapshot must not outlive its state, because it would keep history alive:

            a reader                         a commit
            reads the root                   swaps the root
            caches its snapshot              drops the cached snapshot
            reads the root again,
            drops the cached snapshot
            if the root has changed
        """
        pins = self._root.pins  # read the root first: its tables are already in the stores
        cached = self._cached
        if cached is not None and cached._pins is pins:
            return cached
        snapshot = self._snapshot_of(pins)
        if self._origins is None:
            self._cached = snapshot
            if self._root.pins is not pins:
                self._cached = None
        return snapshot

    def _snapshot_of(self, pins: dict[Any, Pin]) -> Snapshot:
        if self._origins is not None:
            self._origins.record(pins.values())
        return Snapshot(self._stores, pins)

    def check(self) -> None:
        """Check all invariants. Raises AssertionError. Slow, and only for tests."""
        check_stores(self._stores.values())
