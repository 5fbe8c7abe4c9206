"""The options of a reconciler, and its statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypedDict

import msgspec

from .also import KeysOf
from .follower import AnyTable, Report


class ReconcilerOptions(TypedDict, total=False):
    """Keyword arguments of `reconcile`; times are in seconds.

    ``retry_min_s``, ``retry_max_s``: the first and the longest pause before a failed object is retried; pauses double.
    ``refresh_interval_s``: objects are updated again after this time (None: never), at most ``refresh_per_s`` per
    second. ``prune_interval_s``: the interval of prunes (None: only on request). ``round_objects_max``: the number of
    objects in one round. ``report``: as for `follow`.

    So many ``workers`` call the operations at once, threads, or tasks where those are asynchronous; never two for one
    object. What has a higher ``priority``, a function of the row, comes first. All of them begin no more than
    ``calls_per_s`` calls a second, and two for one object are ``object_interval_s`` apart. ``also`` has other tables,
    each with a function that gives the keys of the objects that one of its rows concerns: those are updated when it
    changes, the former ones too. The view of an `Again` is waited for up to ``view_wait_s``.
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
        """Raises ValueError for what makes no sense."""
        if self.workers < 1:
            raise ValueError(f"workers={self.workers}: at least one has to work")
        if self.calls_per_s is not None and self.calls_per_s <= 0:
            raise ValueError(
                f"calls_per_s={self.calls_per_s}: give a positive number, or None for as many as there are"
            )


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
    """Calls that workers are at."""
    views_missed: int
    """Views of an `Again` that were not new enough in time."""
