"""What a reconciler can do to the world: the operations that its user writes, and calling them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

from statedb import Snapshot

from .steps import FAILURES

K = TypeVar("K", bound=Hashable)
R_contra = TypeVar("R_contra", contravariant=True)


class Operations(Protocol[R_contra]):
    """What can be done to the world, object by object; what raises has failed and is tried again."""

    def update(self, snapshot: Snapshot, row: R_contra, /) -> None:
        """Make the world have this object like this; also where it has it already."""

    def delete(self, snapshot: Snapshot, row: R_contra, /) -> None:
        """Make the world not have it; also where it has not."""

    def prune(self, snapshot: Snapshot, rows: Iterable[R_contra], /) -> None:
        """Remove from the world whatever is not among these rows, which are all there are."""


class BatchOperations(Protocol[K, R_contra]):
    """The same for many objects at once. What is in the answer has failed; where a call raises, all of them have."""

    def update_batch(self, snapshot: Snapshot, rows: Mapping[K, R_contra], /) -> Mapping[K, Exception]:
        """Make the world have these objects."""
        ...

    def delete_batch(self, snapshot: Snapshot, rows: Mapping[K, R_contra], /) -> Mapping[K, Exception]:
        """Make the world not have them."""
        ...

    def prune(self, snapshot: Snapshot, rows: Iterable[R_contra], /) -> None:
        """Remove from the world whatever is not among these rows."""


class Task(NamedTuple):
    """One object to update, or to delete; ``fresh``: because it changed, and not for the second time."""

    key: Any
    row: Any
    revision: int
    deleted: bool
    fresh: bool


def outcomes(
    operations: Any, seen: Snapshot, tasks: list[Task], *, deletes: bool, stopping: Callable[[], bool]
) -> list[tuple[Task, BaseException | None]]:
    """What became of each task, None where it succeeded. Fewer than there were when stopped meanwhile."""
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
    """What a batch operation could not do: what it answers, or all where it raises."""
    try:
        failed: Mapping[Any, BaseException] = operation(seen, {task.key: task.row for task in tasks})
    except FAILURES as error:
        return {task.key: error for task in tasks}
    return failed
