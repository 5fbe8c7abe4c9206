"""The operations of a reconciler, which its user implements, and how they are called."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from statedb import Snapshot

from .again import Again
from .steps import FAILURES
from .workers import Outcome

K = TypeVar("K", bound=Hashable)
R_contra = TypeVar("R_contra", contravariant=True)


class Operations(Protocol[R_contra]):
    """Operations on the outside world, object by object. One that raises has failed and is retried.

    The result tells when to process the object again although nothing changes. None: only when something changes.
    """

    def update(self, snapshot: Snapshot, row: R_contra, /) -> Again | None:
        """Create or update the object in the outside world. It may already be in the desired state."""

    def delete(self, snapshot: Snapshot, row: R_contra, /) -> Again | None:
        """Delete the object from the outside world. It may not exist there."""

    def prune(self, snapshot: Snapshot, rows: Iterable[R_contra], /) -> None:
        """Delete all objects from the outside world that are not among these rows. The rows are complete."""


class AsyncOperations(Protocol[R_contra]):
    """`Operations` for a reconciler that runs in a task: ``await reconciler.run_async()``."""

    def update(self, snapshot: Snapshot, row: R_contra, /) -> Awaitable[Again | None]:
        """Create or update the object in the outside world. It may already be in the desired state."""
        ...

    def delete(self, snapshot: Snapshot, row: R_contra, /) -> Awaitable[Again | None]:
        """Delete the object from the outside world. It may not exist there."""
        ...

    def prune(self, snapshot: Snapshot, rows: Iterable[R_contra], /) -> Awaitable[None]:
        """Delete all objects from the outside world that are not among these rows. The rows are complete."""
        ...


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
    """One object to update, or to delete."""

    key: Any
    row: Any
    revision: int
    deleted: bool
    sequence: int = -1
    """The number that `Untried` gave it when it was queued."""


def check_operations(operations: Any, name: str) -> None:
    """Raise TypeError if a method is missing."""
    wanted = ("update_batch", "delete_batch", "prune") if in_batches(operations) else ("update", "delete", "prune")
    missing = [each for each in wanted if not callable(getattr(operations, each, None))]
    if missing:
        raise TypeError(f"{name}: the operations ({type(operations).__name__}) need the methods {', '.join(missing)}")


def in_batches(operations: Any) -> bool:
    """Whether these are `BatchOperations`."""
    return hasattr(operations, "update_batch")


def are_async(operations: Any) -> bool:
    """Whether ``update`` is asynchronous."""
    return inspect.iscoroutinefunction(getattr(operations, "update", None))


def call_of(operations: Any, seen: Snapshot, task: Task) -> Callable[[], Any]:
    """The call that does one task."""
    return partial(operations.delete if task.deleted else operations.update, seen, task.row)


def outcomes(
    operations: Any, seen: Snapshot, tasks: list[Task], *, deletes: bool, stopping: Callable[[], bool]
) -> list[Outcome]:
    """The outcome of each task, in order. There are fewer outcomes than tasks if it was stopped meanwhile."""
    if in_batches(operations):
        failed = _failed(operations.delete_batch if deletes else operations.update_batch, seen, tasks)
        return [Outcome(task, None, failed.get(task.key)) for task in tasks]
    found: list[Outcome] = []
    for task in tasks:
        if stopping():
            break
        try:
            found.append(Outcome(task, call_of(operations, seen, task)(), None))
        except FAILURES as error:
            found.append(Outcome(task, None, error))
    return found


def _failed(operation: Callable[..., Any], seen: Snapshot, tasks: list[Task]) -> Mapping[Any, BaseException]:
    """The failures of a batch operation: those it returns, or all tasks if it raises."""
    try:
        failed: Mapping[Any, BaseException] = operation(seen, {task.key: task.row for task in tasks})
    except FAILURES as error:
        return {task.key: error for task in tasks}
    return failed
