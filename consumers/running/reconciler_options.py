"""The options of a reconciler, and its statistics."""

from __future__ import annotations

from typing import NamedTuple, TypedDict

import msgspec

from .follower import Report


class ReconcilerOptions(TypedDict, total=False):
    """Keyword arguments of `reconcile`; times are in seconds.

    ``retry_min_s``, ``retry_max_s``: the first and the longest pause before a failed object is retried; pauses double.
    ``refresh_interval_s``: objects are updated again after this time (None: never), at most ``refresh_per_s`` per
    second. ``prune_interval_s``: the interval of prunes (None: only on request). ``round_objects_max``: the number of
    objects in one round. ``report``: as for `follow`.
    """

    retry_min_s: float
    retry_max_s: float
    refresh_interval_s: float | None
    refresh_per_s: float
    prune_interval_s: float | None
    round_objects_max: int
    report: Report | None


class ReconcilerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`ReconcilerOptions` with defaults."""

    retry_min_s: float = 0.1
    retry_max_s: float = 60.0
    refresh_interval_s: float | None = 1800.0
    refresh_per_s: float = 100.0
    prune_interval_s: float | None = 3600.0
    round_objects_max: int = 1000
    report: Report | None = None


class ReconcilerStats(NamedTuple):
    """Statistics of one reconciler since its start; durations in seconds."""

    pending: int
    errors: int
    """The number of objects that fail now."""
    errors_total: int
    updates: int
    updates_s: float
    deletes: int
    deletes_s: float
    refreshes: int
    prunes: int
    prune_errors: int
    prunes_s: float
