"""A loop as a generator: what it waits for and calls are values, so that threads, tasks and tests drive the same one.

    Steps ─▶ Pause(watches, timeout_s)    answered with nothing, when one has tripped or the time is over
          ─▶ Call(function)               answered with what it returned, or with its exception

Knows watches, nothing of tables or of what is called.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Generator
from typing import Any, NamedTuple

from statedb import Database, Table, UniqueIndex, Watch, WatchSet

FAILURES = (Exception, SystemExit)
"""What a user's function may raise to fail. ``sys.exit`` in it fails like anything else: it must not end a thread of
ours in silence. KeyboardInterrupt and the end of a task pass through."""


class Pause(NamedTuple):
    """Wait until one of these has tripped, or for so long (None: forever)."""

    watches: tuple[Watch, ...]
    timeout_s: float | None


class Call(NamedTuple):
    """Call this. In a task what it returns may have to be awaited."""

    function: Callable[[], Any]


Steps = Generator[Pause | Call, Any, None]


def run_in_thread(steps: Steps) -> None:
    """Do the steps on this thread, to the end."""
    try:
        step = next(steps, None)
        while step is not None:
            if isinstance(step, Pause):
                WatchSet(*step.watches).wait(step.timeout_s)
                step = _send(steps, None)
            else:
                step = _call(steps, step.function)
    finally:
        steps.close()


async def run_in_task(steps: Steps) -> None:
    """Do the steps in this task, to the end. Cancelling it leaves nothing behind."""
    try:
        step = next(steps, None)
        while step is not None:
            if isinstance(step, Pause):
                await _wait_in_task(step)
                step = _send(steps, None)
            else:
                step = await _call_in_task(steps, step.function)
    finally:
        steps.close()


def _send(steps: Steps, answer: Any) -> Pause | Call | None:
    try:
        return steps.send(answer)
    except StopIteration:
        return None


def _throw(steps: Steps, error: BaseException) -> Pause | Call | None:
    try:
        return steps.throw(error)
    except StopIteration:
        return None


def _call(steps: Steps, function: Callable[[], Any]) -> Pause | Call | None:
    try:
        answer = function()
        if inspect.iscoroutine(answer):
            answer.close()
            raise TypeError(f"{function!r} is asynchronous; run it in a task: await follower.run_async()")
    except FAILURES as error:
        return _throw(steps, error)
    return _send(steps, answer)


async def _call_in_task(steps: Steps, function: Callable[[], Any]) -> Pause | Call | None:
    try:
        answer = function()
        if isinstance(answer, Awaitable):
            answer = await answer
    except FAILURES as error:
        return _throw(steps, error)
    return _send(steps, answer)


async def _wait_in_task(pause: Pause) -> None:
    async def one_trips() -> None:
        await WatchSet(*pause.watches)

    try:
        await asyncio.wait_for(one_trips(), pause.timeout_s)
    except TimeoutError:
        pass


class _Manual(Table[str, str], name="manual"):
    """A table into which nothing is ever written."""

    primary = UniqueIndex[str, str](lambda name: name)


_NOTHING = Database(_Manual).snapshot()


def manual_watch() -> Watch:
    """A watch that trips only by hand (``trip``), from any thread: what wakes a loop for other reasons than rows."""
    return _NOTHING[_Manual].watch("")


def describe(error: BaseException) -> str:
    """An error in one line.

    >>> describe(ValueError("no")), describe(SystemExit(3))
    ('ValueError: no', 'SystemExit: 3')
    """
    return f"{type(error).__name__}: {error}"
