"""The head of a database: its tables, the newest state of each, and snapshots of them.

    Head ─▶ Root.pins   table ─▶ Pin ─▶ Commit        replaced whole at every commit: a snapshot is that mapping
         └▶ TableStore  rows, revisions, indexes      the newest state, which all snapshots share

Transactions and streams work on this; users see it as `Database`, which adds the ways in.
"""

from __future__ import annotations

import os
from threading import RLock
from typing import Any

from .fork import remember
from .history import Pin, Root
from .invariants import check_stores
from .origins import Origins
from .snapshot import Snapshot
from .store import TableStore


class Head:
    """The part of a database that transactions and streams need."""

    __slots__ = ("__weakref__", "_check", "_lock", "_origins", "_root", "_stores", "_taken")

    def __init__(self) -> None:
        """No tables yet."""
        self._root = Root()
        self._stores: dict[Any, TableStore] = {}
        self._check = os.environ.get("STATEDB_CHECK", "0") not in ("", "0")
        self._origins: Origins | None = None
        self._taken: Snapshot | None = None
        self._lock = RLock()
        remember(self)

    def snapshot(self) -> Snapshot:
        """All tables at this instant. Until the next commit all who ask get the same object, which is immutable.

        What is kept must not outlive its state, for it would hold history:

            a reader                     a commit
            reads the root               swaps the root
            keeps its snapshot           drops the one that is kept
            looks at the root again,
            drops it where it is another
        """
        pins = self._root.pins  # the root first: a table in it is in the stores already
        taken = self._taken
        if taken is not None and taken._pins is pins:
            return taken
        snapshot = self._snapshot_of(pins)
        if self._origins is None:
            self._taken = snapshot
            if self._root.pins is not pins:
                self._taken = None
        return snapshot

    def _snapshot_of(self, pins: dict[Any, Pin]) -> Snapshot:
        if self._origins is not None:
            self._origins.note(pins.values())
        return Snapshot(self._stores, pins)

    def check(self) -> None:
        """Check all invariants; raises AssertionError. Slow, and only for tests."""
        check_stores(self._stores.values())
