"""Samples of an agent's figures: one per second for open pages, every fifth kept for an hour. Knows no HTTP."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from statedb import Database
from statedb.catalog import SourceRow, Sources

from ...consumer import Consumer
from ...periodic import Periodic

KEPT = 720
"""The number of samples in an hour."""
_INTERVAL_S = 1.0
_KEEP_EVERY = 5
_IN_ORDER = ("synced", "absent")

_encode = msgspec.json.Encoder().encode


class History(Periodic):
    """Takes samples on a thread of its own. Each is kept as encoded JSON, about 50 bytes per table.

    A sample is ``{"t": Unix seconds, "tables": {name: [rows, revision, commits]}, "queues": {consumer: keys},
    "stale_s": seconds}``. ``stale_s``: the longest time for which a source has not been synced; 0 if all are.
    """

    def __init__(self, db: Database, consumers: Sequence[Consumer], clock: Callable[[], float] = time.time) -> None:
        """``clock`` returns Unix seconds."""
        super().__init__("history", self.sample, _INTERVAL_S)
        self._db = db
        self._consumers = consumers
        self._clock = clock
        self._kept: deque[bytes] = deque(maxlen=KEPT)
        self.latest: tuple[int, bytes] = (0, b"{}")
        """The number of the newest sample, from 1, and the sample."""

    def kept(self) -> list[msgspec.Raw]:
        """The samples of the last hour, oldest first."""
        return [msgspec.Raw(each) for each in list(self._kept)]

    def sample(self) -> None:
        """Take one sample now."""
        number = self.latest[0] + 1
        sample = _encode(self._figures())
        if number % _KEEP_EVERY == 1:
            self._kept.append(sample)
        self.latest = (number, sample)

    def _figures(self) -> dict[str, Any]:
        now = self._clock()
        return {
            "t": round(now, 1),
            "tables": {each.name: [each.rows, each.revision, each.commits] for each in self._db.stats()},
            "queues": {each.name: each.queue_size for each in self._consumers},
            "stale_s": self._stale_s(now),
        }

    def _stale_s(self, now: float) -> float:
        rows: list[SourceRow] = list(self._db.snapshot()[Sources].values())
        return round(max([now - row.since for row in rows if row.state not in _IN_ORDER], default=0.0), 1)
