"""The options of a reconciler, and its figures."""

from __future__ import annotations

from typing import NamedTuple, TypedDict

import msgspec

from .follower import Report


class ReconcilerOptions(TypedDict, total=False):
    """Keyword arguments of `reconcile`; times are in seconds.

    What fails is tried again after ``retry_min_s``, doubling up to ``retry_max_s``. Objects done longer ago than
    ``refresh_interval_s`` (None: never) are updated again, ``refresh_per_s`` a second at most. Pruning is repeated
    every ``prune_interval_s`` (None: only when asked). One round does ``round_objects_max`` objects. ``report`` is that
    of a follower.
    """

    retry_min_s: float
    retry_max_s: float
    refresh_interval_s: float | None
    refresh_per_s: float
    prune_interval_s: float | None
    round_objects_max: int
    report: Report | None


class ReconcilerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`ReconcilerOptions` with their defaults."""

    retry_min_s: float = 0.1
    retry_max_s: float = 60.0
    refresh_interval_s: float | None = 1800.0
    refresh_per_s: float = 100.0
    prune_interval_s: float | None = 3600.0
    round_objects_max: int = 1000
    report: Report | None = None


class ReconcilerStats(NamedTuple):
    """Figures of one reconciler since it began; durations in seconds."""

    pending: int
    errors: int
    """Objects that fail at the moment."""
    errors_total: int
    updates: int
    updates_s: float
    deletes: int
    deletes_s: float
    refreshes: int
    prunes: int
    prune_errors: int
    prunes_s: float
