"""Drives a follower's loop by hand, on a virtual clock: no thread, no sleep, every interleaving as the test says."""

from __future__ import annotations

from consumers.running.follower import Follower
from consumers.running.steps import FAILURES, Call, Pause
from statedb.testing import VirtualClock


class Driver:
    """A follower that goes on only when told. ``clock`` passes as it pauses."""

    def __init__(self, follower: Follower, clock: VirtualClock | None = None) -> None:
        self.follower = follower
        self.clock = clock or VirtualClock()
        self.ended = False
        self.pauses: list[float] = []
        self._steps = follower.steps()
        self._begun = False
        self._step: Pause | Call | None = None
        self._until: float | None = None

    def _next(self, answer: object, error: BaseException | None = None) -> Pause | Call | None:
        try:
            step = self._steps.send(answer) if error is None else self._steps.throw(error)
        except StopIteration:
            self.ended = True
            return None
        timeout_s = step.timeout_s if isinstance(step, Pause) else None
        self._until = None if timeout_s is None else self.clock() + timeout_s
        return step

    def settle(self) -> None:
        """Let it work until there is nothing to do at this time."""
        if not self._begun:
            self._begun = True
            self._step = self._next(None)
        for _ in range(10_000):
            step = self._step
            if step is None:
                return
            if isinstance(step, Pause):
                if (step.timeout_s is not None and step.timeout_s <= 0) or any(watch.tripped for watch in step.watches):
                    self._step = self._next(None)
                else:
                    return
            else:
                self._step = self._call(step)
        raise AssertionError("it never comes to rest")

    def _call(self, step: Call) -> Pause | Call | None:
        try:
            answer = step.function()
        except FAILURES as error:
            return self._next(None, error)
        return self._next(answer)

    def advance(self, seconds: float) -> None:
        """Let time pass, with everything that falls due meanwhile."""
        end = self.clock() + seconds
        self.settle()
        for _ in range(10_000):
            step = self._step
            if not isinstance(step, Pause) or self._until is None or self._until > end + 1e-9:
                break
            self.pauses.append(self._until - self.clock())
            self.clock.advance(max(0.0, self._until - self.clock()))
            self._step = self._next(None)
            self.settle()
        else:
            raise AssertionError("it never comes to rest")
        self.clock.advance(max(0.0, end - self.clock()))

    def close(self) -> None:
        self._steps.close()
