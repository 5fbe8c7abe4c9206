"""The options of a reconciler, and its statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypedDict

import msgspec

from .follower import AnyTable, Report
from .related_rows import KeysOf


class ReconcilerOptions(TypedDict, total=False):
    """Keyword arguments of `reconcile`; times are in seconds.

    ``retry_min_s``, ``retry_max_s``: the first and the longest pause before a failed object is retried; pauses double.
    ``refresh_interval_s``: objects are updated again after this time (None: never), at most ``refresh_per_s`` per
    second. ``prune_interval_s``: the interval of prunes (None: only on request). ``round_objects_max``: the maximum
    number of objects in one round. ``report``: as for `follow`.

    ``workers``: how many operations run at the same time, in threads, or in tasks if they are asynchronous; never two
    for one object. ``priority``: a function of the row; higher values come first. ``calls_per_s``: the maximum number
    of calls per second. ``object_interval_s``: the minimum time between two calls for one object. ``also``: other
    tables, each with a function that returns the keys of the objects that a row concerns. When the row changes, these
    objects are updated, and those that it concerned before. ``view_wait_s``: the longest wait for the view of an
    `Again`.
    """

    retry_min_s: float
    retry_max_s: float
    refresh_interval_s: float | None
    refresh_per_s: float
    prune_interval_s: float | None
    round_objects_max: int
    report: Report | None
    workers: int
    priority: Callable[[Any], float] | None
    calls_per_s: float | None
    object_interval_s: float
    also: Mapping[AnyTable, KeysOf]
    view_wait_s: float


class ReconcilerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`ReconcilerOptions` with defaults."""

    retry_min_s: float = 0.1
    retry_max_s: float = 60.0
    refresh_interval_s: float | None = 1800.0
    refresh_per_s: float = 100.0
    prune_interval_s: float | None = 3600.0
    round_objects_max: int = 1000
    report: Report | None = None
    workers: int = 1
    priority: Callable[[Any], float] | None = None
    calls_per_s: float | None = None
    object_interval_s: float = 0.0
    also: Mapping[Any, Any] = {}
    view_wait_s: float = 30.0

    def __post_init__(self) -> None:
        """Raises ValueError for invalid values."""
        if self.workers < 1:
            raise ValueError(f"workers={self.workers}: must be at least 1")
        if self.calls_per_s is not None and self.calls_per_s <= 0:
            raise ValueError(f"calls_per_s={self.calls_per_s}: must be a positive number, or None for no limit")


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
    under_way: int
    """The number of calls that workers are processing."""
    views_missed: int
    """The number of views of an `Again` that did not become recent enough in time."""
