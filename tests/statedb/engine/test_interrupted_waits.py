"""Exceptions in whoever trips a watch, or waits on a set of them: no waiter is lost, and the next call goes on."""

from __future__ import annotations

from typing import Any

import pytest

from statedb import Watch
from statedb.engine import watch as _watch
from statedb.engine.wakers import ThreadWaker, wake_all

from ._helpers import Interrupted, Lines, lines_of
from .tables import Pod, Pods, database


def waited_on() -> tuple[Watch, ThreadWaker]:
    """A watch, and what wakes the thread that waits on it."""
    watch, waker = database(Pod("a")).snapshot()[Pods].watch("a"), ThreadWaker()
    assert watch._registry.attach(watch, waker)
    return watch, waker


def test_an_exception_at_any_line_of_tripping_a_watch_loses_no_waiter():
    tripped = []
    for line in lines_of(waited_on()[0].trip):
        watch, waker = waited_on()
        breaking = Lines(line)
        with pytest.raises(Interrupted):
            breaking.run(watch.trip)
        assert waker.wait(0) == watch.tripped, breaking.broken
        tripped.append(watch.tripped)
        watch.trip()
        assert not watch._registry.waiting(), breaking.broken
    assert tripped[-1]


@pytest.mark.parametrize("times", [1, 2])
def test_a_watch_that_is_tripped_again_wakes_whom_exceptions_kept_from_being_woken(monkeypatch, times):
    watch, waker = waited_on()
    left = times

    def broken(wakers: Any) -> None:
        nonlocal left
        if left:
            left -= 1
            raise Interrupted
        wake_all(wakers)

    monkeypatch.setattr(_watch, "wake_all", broken)
    with pytest.raises(Interrupted):
        watch.trip()
    assert watch.tripped
    if times == 2:
        watch.trip()
    assert waker.wait(0)
