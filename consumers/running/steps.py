"""A loop as a generator. It yields what to wait for and what to call, so that threads, tasks and tests can drive it.

    Steps ─▶ Pause(watches, timeout_s)    resumed when a watch has tripped or the time is over
          ─▶ Call(function)               resumed with the result of the function, or with its exception

It knows watches, but no tables.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Generator
from typing import Any, NamedTuple

from statedb import Database, Table, UniqueIndex, Watch, WatchSet

FAILURES = (Exception, SystemExit)
"""The exceptions that count as a failure of a user's function. SystemExit is one of them, because it must not end our
threads silently. KeyboardInterrupt and cancellation pass through."""


class Pause(NamedTuple):
    """Wait until one of these has tripped, or for this time (None: no limit)."""

    watches: tuple[Watch, ...]
    timeout_s: float | None


class Call(NamedTuple):
    """Call the function. In a task its result may be awaitable."""

    function: Callable[[], Any]


Steps = Generator[Pause | Call, Any, None]


def run_in_thread(steps: Steps) -> None:
    """Run the steps on this thread, to the end."""
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
    """Run the steps in this task, to the end. The task may be cancelled."""
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
    """A table that is never written."""

    primary = UniqueIndex[str, str](lambda name: name)


_NOTHING = Database(_Manual).snapshot()


def manual_watch() -> Watch:
    """A watch that trips only when ``trip`` is called, from any thread. It wakes a loop for reasons other than rows."""
    return _NOTHING[_Manual].watch("")


def describe(error: BaseException) -> str:
    """An error in one line.

    >>> describe(ValueError("no")), describe(SystemExit(3))
    ('ValueError: no', 'SystemExit: 3')
    """
    return f"{type(error).__name__}: {error}"
