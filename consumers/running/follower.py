"""The loop of every consumer: wait until the tables are initialized, then take and apply batches.

A batch that fails is applied again, after a growing pause, until it succeeds or the follower is stopped or gives up.
Batches are never skipped or reordered.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar, overload

from statedb import ChangeBatch, Database, Snapshot, Table, TablesBatch, Watch

from .names import claim, claim_numbered
from .retries import delay_s
from .steps import FAILURES, Call, Pause, Steps, describe, manual_watch, run_in_task, run_in_thread

K = TypeVar("K")
R = TypeVar("R")
AnyTable = type[Table[Any, Any]]

RETRY_MIN_S = 0.1
RETRY_MAX_S = 60.0

log = logging.getLogger("statedb.consumers")


class Failure(NamedTuple):
    """A failure that a follower retries."""

    error: BaseException
    tries: int
    retry_in_s: float
    """The pause before the next try, in seconds."""
    failing_s: float = 0.0
    """The time since the first failure, in seconds."""


class GaveUp(Exception):
    """A follower failed for longer than ``retry_for_s``. The cause is the last failure."""


_NEXT = "next"

Report = Callable[[Failure | None], None]
"""Called with each failed try, and with None after the first success. It must not raise."""


class Follower:
    """Passes the changes of tables to a function, batch by batch, in order; made by `follow`.

    Run it once: on a thread of its own (``with follower:``, or ``start``, ``stop``, ``join``), on the calling thread
    (``run``), or in a task (``await follower.run_async()``). ``stop`` may be called from any thread, more than once,
    and before it runs. A pause ends at once; a batch that is being applied is finished first.
    """

    def __init__(
        self,
        db: Database,
        tables: tuple[AnyTable, ...],
        apply: Callable[[Any], Any],
        *,
        name: str = "",
        unique: bool = True,
        maintain: Callable[[Snapshot], Awaitable[float | None] | float | None] | None = None,
        woken_by: tuple[AnyTable, ...] = (),
        from_start: bool = False,
        report: Report | None = None,
        retry_min_s: float = RETRY_MIN_S,
        retry_max_s: float = RETRY_MAX_S,
        retry_for_s: float | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """``maintain`` does work that does not depend on changes. It is called after each batch, and when it is due.

        It gets a snapshot up to which everything is applied. It returns the seconds until its next call, or None to be
        called after the next change of the tables or of ``woken_by``, or after ``wake``. With ``from_start`` the
        follower does not wait until the tables are initialized. Raises NameTaken if another follower has ``name``.
        Without ``unique`` or without a name, a number is appended instead.
        """
        for table in (*tables, *woken_by):
            db.snapshot()[table]  # raises for an unknown table here, not in the thread
        self.tables = tables
        self.failure: Failure | None = None
        """The current failure; None if nothing fails."""
        self.failures = 0
        """The number of failed tries since the start."""
        self.crash: BaseException | None = None
        """The unexpected exception that ended it, which is a bug, such as a ``report`` that raises."""
        self._db = db
        self._apply = apply
        self._maintain = maintain
        self._woken_by = woken_by
        self._from_start = from_start
        self._report = report or self._log
        self._retry_s = (retry_min_s, retry_max_s)
        self._retry_for_s = retry_for_s
        self._clock = clock
        self._state = "not started"
        self._stopping = False
        self._stop = manual_watch()
        self._wake = manual_watch()
        self._advanced: dict[str, Watch] = {}
        self._applied: tuple[int, ...] = tuple([-1 for _ in tables])
        self._thread: threading.Thread | None = None
        self.name = name
        if name and unique:
            claim(db, name, self)
        else:
            self.name = claim_numbered(db, name or getattr(apply, "__name__", "follower"), self)

    def __repr__(self) -> str:
        """Its name and health."""
        return f"<Follower {self.name}: {self.health}>"

    @property
    def health(self) -> str:
        """The state in one line. It begins with OK while all is well."""
        failure = self.failure
        if self.crash is not None:
            return f"crashed: {describe(self.crash)}"
        if failure is not None:
            return f"failing, {failure.tries} tries: {describe(failure.error)}"
        if self._state == "waiting":
            return f"waiting until initialized: {', '.join([table.name for table in self._pending()]) or 'now'}"
        return "OK" if self._state == "following" else self._state

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or was stopped before it began."""
        return self._state == "ended" or (self._stopping and self._state == "not started")

    # -- running -------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Follow on this thread until stopped. Raises RuntimeError the second time."""
        try:
            run_in_thread(self.steps())
        finally:
            self._report_advance()

    async def run_async(self) -> None:
        """Follow in this task until stopped or cancelled. ``apply`` may be asynchronous."""
        try:
            await run_in_task(self.steps())
        except GeneratorExit:
            raise  # the task is being garbage-collected, perhaps while the lock of a watch is held
        except BaseException:
            self._report_advance()
            raise
        self._report_advance()

    def start(self) -> None:
        """Follow on a thread of its own. Raises RuntimeError the second time."""
        if self._thread is not None:
            raise RuntimeError(f"{self.name} was started already; make a new follower")
        thread = threading.Thread(target=self._run_thread, name=self.name, daemon=True)
        thread.start()
        self._thread = thread  # set after the start, because joining a thread that has not started is an error

    def stop(self) -> None:
        """Stop it. From any thread, more than once."""
        self._stopping = True
        if self._state == "not started":
            self._on_end()
        self._stop.trip()

    def _on_end(self) -> None:
        """Called when it has ended or will never run. It may run inside garbage collection, so it must take no lock."""

    def join(self, timeout: float | None = None) -> bool:
        """Wait until its thread has ended; True at once if it was never started."""
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop it, and wait for its end."""
        self.stop()
        self.join()

    def wake(self) -> None:
        """Wake it, so that it checks at once for work. May be called from any thread."""
        self._wake.trip()

    # -- waiting for it ------------------------------------------------------------------------------------------------

    def wait_applied(self, snapshot: Snapshot | None = None, timeout: float | None = None) -> bool:
        """Block until all changes up to a snapshot (default: now) are applied.

        Returns False after ``timeout`` seconds, or when the follower ends before.
        """
        wanted = self._revisions(self._db.snapshot() if snapshot is None else snapshot)
        deadline = None if timeout is None else monotonic() + timeout
        self.wake()  # a forced write of an equal row changes the revision and trips no watch
        while True:
            moved = self._next_advance()
            if _reaches(self._applied, wanted):
                return True
            left = None if deadline is None else deadline - monotonic()
            if self._state == "ended" or (left is not None and left <= 0):
                return False
            moved.wait(left)

    # -- the loop ------------------------------------------------------------------------------------------------------

    def steps(self) -> Steps:
        """The loop as a generator, for callers that drive it themselves. Raises RuntimeError the second time."""
        if self._state != "not started":
            raise RuntimeError(f"{self.name} was started already; make a new follower")
        self._state = "waiting"
        return self._steps()

    def _steps(self) -> Steps:
        try:
            if not self._from_start:
                yield from self._until_initialized()
            self._state = "following"
            yield from self._follow()
        finally:
            self._state = "ended"  # takes no lock: a dropped generator ends inside garbage collection
            self._on_end()

    def _until_initialized(self) -> Steps:
        while not self._stopping:
            snapshot = self._db.snapshot()
            watches = [snapshot[table].watch() for table in self.tables if not snapshot[table].initialized]
            if not watches:
                return
            del snapshot
            yield Pause((self._stop, *watches), None)

    def _follow(self) -> Steps:
        watches: dict[AnyTable, Watch] = {}
        with self._db.changes(*self.tables) as stream:
            while not self._stopping:
                if self._wake.tripped:
                    self._wake = manual_watch()  # replaced before the check, so that a call in between is not lost
                seen = self._db.snapshot()
                batch = stream.next(timeout=0)
                if batch is not None:
                    seen = batch.snapshot
                    yield from self._retry_until_done(partial(self._apply, batch))
                due_s = None
                if self._maintain is not None and not self._stopping:
                    due_s = yield from self._retry_until_done(partial(self._maintain, seen))
                if self._stopping:
                    return  # a batch that was given up is not applied
                self._advance_to(seen)
                for table in (*self.tables, *self._woken_by):
                    if table not in watches or watches[table].tripped:  # the others have not changed: no new watch
                        watches[table] = seen[table].watch()
                del seen, batch  # keep no history while waiting
                yield Pause((self._stop, self._wake, *watches.values()), due_s)

    def _retry_until_done(self, function: Callable[[], Any]) -> Generator[Pause | Call, Any, Any]:
        """Call until it succeeds, or until stopped. Raises GaveUp."""
        tries, since = 0, self._clock()
        while True:
            try:
                answer = yield Call(function)
            except FAILURES as error:
                retry_in_s = delay_s(tries, *self._retry_s)
                tries += 1
                failing_s = self._clock() - since
                self._report_failure(Failure(error, tries, retry_in_s, failing_s))
                if self._retry_for_s is not None and failing_s >= self._retry_for_s:
                    raise GaveUp(f"failed for {failing_s:.0f} s, {tries} tries: {describe(error)}") from error
                yield Pause((self._stop,), retry_in_s)
                if self._stopping:
                    return None
            else:
                if tries:
                    self._report_failure(None)
                return answer

    # -- reporting -----------------------------------------------------------------------------------------------------

    def _report_failure(self, failure: Failure | None) -> None:
        self.failure = failure
        self.failures += failure is not None
        self._report(failure)

    def _log(self, failure: Failure | None) -> None:
        if failure is None:
            log.info("%s: succeeded again", self.name)
        else:
            level = logging.WARNING if failure.tries == 1 else logging.DEBUG  # one line per outage
            log.log(level, "%s: %s; retry in %.1f s", self.name, describe(failure.error), failure.retry_in_s)

    def _advance_to(self, snapshot: Snapshot) -> None:
        """Record that all changes up to this state are applied."""
        self._advance(self._revisions(snapshot))

    def _advance(self, applied: tuple[int, ...]) -> None:
        """Record that all changes up to these revisions are applied, and wake those who wait for that."""
        if applied != self._applied:
            self._applied = applied
            self._report_advance()

    def _next_advance(self) -> Watch:
        """A watch that trips at the next advance. Take it before you check what is applied."""
        moved = self._advanced.get(_NEXT)
        return self._advanced.setdefault(_NEXT, manual_watch()) if moved is None else moved

    def _report_advance(self) -> None:
        moved = self._advanced.pop(_NEXT, None)
        if moved is not None:
            moved.trip()

    def _revisions(self, snapshot: Snapshot) -> tuple[int, ...]:
        return tuple([snapshot[table].revision for table in self.tables])

    def _pending(self) -> list[AnyTable]:
        snapshot = self._db.snapshot()
        return [table for table in self.tables if not snapshot[table].initialized]

    def _run_thread(self) -> None:
        try:
            self.run()
        except BaseException as error:  # of any kind: a thread must not end silently
            self.crash = error
            log.exception("%s: crashed", self.name)


@overload
def follow(
    db: Database,
    table: type[Table[K, R]],
    /,
    *,
    apply: Callable[[ChangeBatch[R]], Awaitable[object] | object],
    name: str = "",
    report: Report | None = None,
    retry_min_s: float = RETRY_MIN_S,
    retry_max_s: float = RETRY_MAX_S,
    retry_for_s: float | None = None,
) -> Follower: ...
@overload
def follow(
    db: Database,
    table: AnyTable,
    second: AnyTable,
    /,
    *more: AnyTable,
    apply: Callable[[TablesBatch], Awaitable[object] | object],
    name: str = "",
    report: Report | None = None,
    retry_min_s: float = RETRY_MIN_S,
    retry_max_s: float = RETRY_MAX_S,
    retry_for_s: float | None = None,
) -> Follower: ...
def follow(
    db: Database,
    *tables: AnyTable,
    apply: Callable[[Any], Any],
    name: str = "",
    report: Report | None = None,
    retry_min_s: float = RETRY_MIN_S,
    retry_max_s: float = RETRY_MAX_S,
    retry_for_s: float | None = None,
) -> Follower:
    """A follower of tables: ``apply`` gets all rows once the tables are initialized, then each batch of changes.

    If ``apply`` raises, SystemExit included, it is called again with the same batch after a pause that doubles from
    ``retry_min_s`` to ``retry_max_s``; it must be idempotent. After ``retry_for_s`` seconds of failures (None: never)
    the follower ends with GaveUp in ``crash``. ``report`` is called with each failed try; by default it is logged. A
    batch of several tables is of one instant. In a task ``apply`` may be asynchronous. ``name`` must be unique in this
    database (NameTaken). By default it is the name of ``apply``, with a number if that is taken.
    """
    return Follower(
        db,
        tables,
        apply,
        name=name,
        report=report,
        retry_min_s=retry_min_s,
        retry_max_s=retry_max_s,
        retry_for_s=retry_for_s,
    )


def _reaches(applied: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return all(have >= want for have, want in zip(applied, wanted))
