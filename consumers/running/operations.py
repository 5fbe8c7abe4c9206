"""The operations of a reconciler, which its user implements, and how they are called."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

from statedb import Snapshot

from .steps import FAILURES

K = TypeVar("K", bound=Hashable)
R_contra = TypeVar("R_contra", contravariant=True)


class Operations(Protocol[R_contra]):
    """Operations on the outside world, one object at a time. An operation that raises is retried."""

    def update(self, snapshot: Snapshot, row: R_contra, /) -> None:
        """Create or update the object in the outside world. It may already be as it should."""

    def delete(self, snapshot: Snapshot, row: R_contra, /) -> None:
        """Delete the object from the outside world. It may not exist there."""

    def prune(self, snapshot: Snapshot, rows: Iterable[R_contra], /) -> None:
        """Delete all objects from the outside world that are not among these rows, which are complete."""


class BatchOperations(Protocol[K, R_contra]):
    """Operations on many objects at once. They return the objects that failed; if they raise, all have failed."""

    def update_batch(self, snapshot: Snapshot, rows: Mapping[K, R_contra], /) -> Mapping[K, Exception]:
        """Create or update these objects."""
        ...

    def delete_batch(self, snapshot: Snapshot, rows: Mapping[K, R_contra], /) -> Mapping[K, Exception]:
        """Delete these objects."""
        ...

    def prune(self, snapshot: Snapshot, rows: Iterable[R_contra], /) -> None:
        """Delete all objects that are not among these rows."""


class Task(NamedTuple):
    """One object to update or delete. ``fresh``: it has changed, and this is the first try."""

    key: Any
    row: Any
    revision: int
    deleted: bool
    fresh: bool


def outcomes(
    operations: Any, seen: Snapshot, tasks: list[Task], *, deletes: bool, stopping: Callable[[], bool]
) -> list[tuple[Task, BaseException | None]]:
    """Run the tasks, and return the error of each, None on success. There are fewer results if it was stopped."""
    if hasattr(operations, "update_batch"):
        failed = _failed(operations.delete_batch if deletes else operations.update_batch, seen, tasks)
        return [(task, failed.get(task.key)) for task in tasks]
    operation = operations.delete if deletes else operations.update
    found: list[tuple[Task, BaseException | None]] = []
    for task in tasks:
        if stopping():
            break
        try:
            operation(seen, task.row)
            found.append((task, None))
        except FAILURES as error:
            found.append((task, error))
    return found


def _failed(operation: Callable[..., Any], seen: Snapshot, tasks: list[Task]) -> Mapping[Any, BaseException]:
    """The failures of a batch operation: those it returns, or all tasks if it raises."""
    try:
        failed: Mapping[Any, BaseException] = operation(seen, {task.key: task.row for task in tasks})
    except FAILURES as error:
        return {task.key: error for task in tasks}
    return failed
