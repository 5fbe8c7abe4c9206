"""Handlers for added, updated and deleted rows, built on `follow`."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Hashable, Iterator
from functools import partial
from typing import Any, Generic, TypeVar

from statedb import Change, ChangeBatch, Database, Table

from .follower import RETRY_MAX_S, RETRY_MIN_S, Follower, Report, follow

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


def handle(
    db: Database,
    table: type[Table[K, R]],
    *,
    on_add: Callable[[R], object] | None = None,
    on_update: Callable[[R, R], object] | None = None,
    on_delete: Callable[[R], object] | None = None,
    name: str = "",
    report: Report | None = None,
    retry_min_s: float = RETRY_MIN_S,
    retry_max_s: float = RETRY_MAX_S,
    retry_for_s: float | None = None,
) -> Follower:
    """A follower that calls a handler for each row that is added, updated (old row, new row) or deleted (last row).

    Once the table is initialized, ``on_add`` is called for each existing row; the same holds for a handler that starts
    late. Changes of one key while a handler runs are merged: a row that was deleted and inserted again is updated, and
    a row that was inserted and deleted again is not reported. If a handler raises, it is called again after a pause;
    handlers that succeeded are not. With asynchronous handlers the follower runs in a task. Everything else is as for
    `follow`. Raises ValueError without any handler.
    """
    handlers = (on_add, on_update, on_delete)
    if not any(handlers):
        raise ValueError("give at least one of on_add, on_update and on_delete")
    known = _HandledRows(table, *handlers)
    is_async = any(map(inspect.iscoroutinefunction, handlers))
    return follow(
        db,
        table,
        apply=known.apply_async if is_async else known.apply,
        name=name or f"handlers of {table.name}",
        report=report,
        retry_min_s=retry_min_s,
        retry_max_s=retry_max_s,
        retry_for_s=retry_for_s,
    )


class _HandledRows(Generic[K, R]):
    """The rows that handlers have seen, by key. When a batch is retried, handled changes are skipped."""

    def __init__(
        self,
        table: type[Table[K, R]],
        on_add: Callable[[R], object] | None,
        on_update: Callable[[R, R], object] | None,
        on_delete: Callable[[R], object] | None,
    ) -> None:
        self._key_of = table.key_of
        self._rows: dict[K, R] = {}
        self._on_add = on_add or _ignore
        self._on_update = on_update or _ignore
        self._on_delete = on_delete or _ignore

    def apply(self, batch: ChangeBatch[R]) -> None:
        for change, call in self._calls(batch):
            call()
            self._record(change)

    async def apply_async(self, batch: ChangeBatch[R]) -> None:
        for change, call in self._calls(batch):
            done = call()
            if isinstance(done, Awaitable):
                await done
            self._record(change)

    def _calls(self, batch: ChangeBatch[R]) -> Iterator[tuple[Change[R], Callable[[], object]]]:
        for change in batch:
            before = self._rows.get(self._key_of(change.row))
            if change.deleted:
                if before is not None:
                    yield change, partial(self._on_delete, before)
            elif before is None:
                yield change, partial(self._on_add, change.row)
            elif before is not change.row:
                yield change, partial(self._on_update, before, change.row)

    def _record(self, change: Change[R]) -> None:
        if change.deleted:
            del self._rows[self._key_of(change.row)]
        else:
            self._rows[self._key_of(change.row)] = change.row


def _ignore(*_: Any) -> None:
    """No handler was given."""
