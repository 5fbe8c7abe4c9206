"""The operations of a reconciler, which its user implements, and how they are called."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from statedb import Snapshot

from .again import Again
from .steps import FAILURES
from .workers import Done

K = TypeVar("K", bound=Hashable)
R_contra = TypeVar("R_contra", contravariant=True)


class Operations(Protocol[R_contra]):
    """What can be done to the world, object by object; what raises has failed and is tried again.

    The answer says when to do it again, though nothing changes; None: only when something does.
    """

    def update(self, snapshot: Snapshot, row: R_contra, /) -> Again | None:
        """Create or update the object in the outside world. It may already be as it should."""

    def delete(self, snapshot: Snapshot, row: R_contra, /) -> Again | None:
        """Delete the object from the outside world. It may not exist there."""

    def prune(self, snapshot: Snapshot, rows: Iterable[R_contra], /) -> None:
        """Delete all objects from the outside world that are not among these rows, which are complete."""


class AsyncOperations(Protocol[R_contra]):
    """`Operations` for a reconciler that runs in a task: ``await reconciler.run_async()``."""

    def update(self, snapshot: Snapshot, row: R_contra, /) -> Awaitable[Again | None]:
        """Create or update the object in the outside world. It may already be as it should."""
        ...

    def delete(self, snapshot: Snapshot, row: R_contra, /) -> Awaitable[Again | None]:
        """Delete the object from the outside world. It may not exist there."""
        ...

    def prune(self, snapshot: Snapshot, rows: Iterable[R_contra], /) -> Awaitable[None]:
        """Delete all objects from the outside world that are not among these rows, which are complete."""
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
    look: int = -1
    """When it was noticed, for `Untried`."""


def check_operations(operations: Any, name: str) -> None:
    """Raises TypeError for an object that lacks a method."""
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
) -> list[Done]:
    """What became of each task, in their order. Fewer than there were when stopped meanwhile."""
    if in_batches(operations):
        failed = _failed(operations.delete_batch if deletes else operations.update_batch, seen, tasks)
        return [Done(task, None, failed.get(task.key)) for task in tasks]
    found: list[Done] = []
    for task in tasks:
        if stopping():
            break
        try:
            found.append(Done(task, call_of(operations, seen, task)(), None))
        except FAILURES as error:
            found.append(Done(task, None, error))
    return found


def _failed(operation: Callable[..., Any], seen: Snapshot, tasks: list[Task]) -> Mapping[Any, BaseException]:
    """The failures of a batch operation: those it returns, or all tasks if it raises."""
    try:
        failed: Mapping[Any, BaseException] = operation(seen, {task.key: task.row for task in tasks})
    except FAILURES as error:
        return {task.key: error for task in tasks}
    return failed
