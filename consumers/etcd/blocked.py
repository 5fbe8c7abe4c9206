"""Keys that must be deleted before others are put, and what happens if the etcd denies their deletion. Knows no etcd.

The keys that wait for a denied deletion are set aside as refused, together with the keys of the same part, and are
retried after pauses that double. All other keys are written meanwhile.
"""

from __future__ import annotations

import logging

from consumers.running.retries import delay_s

from .batches import Operation
from .desired import Desired
from .present import Present
from .rules import Rules

log = logging.getLogger("statedb.consumers")


class Blocked:
    """The parts of one connection's keys that wait for a denied deletion. For the writer's thread."""

    def __init__(self, rules: Rules, desired: Desired, min_s: float, max_s: float) -> None:
        """No part is blocked. ``min_s`` and ``max_s`` are the first and the longest pause."""
        self._rules = rules
        self._desired = desired
        self._wait_s = (min_s, max_s)
        self._tries: dict[str, int] = {}
        self._reasons: dict[str, str] = {}
        self._due: dict[str, float] = {}
        self._set_aside: dict[str, dict[str, None]] = {}
        self._required: set[str] = set()  # the keys to be deleted first because of another one

    @property
    def may_block(self) -> bool:
        """Whether `must_wait` and `sets_aside` may return True for some operation."""
        return bool(self._reasons) or self._rules.delete_first is not None

    def must_wait(self, operation: Operation, present: Present) -> bool:
        """Whether other keys must be deleted before this one is put. If so, they are queued first."""
        if operation.value is None or self._rules.delete_first is None:
            return False
        before = list(self._rules.delete_first(operation.key, operation.value, present))
        if before:  # some may be queued first already, for another reason
            self._required = {*before, *(key for key in self._required if key in present)}
        first = [key for key in before if not self._desired.is_deleted_first(key)]
        if first:
            self._desired.delete_first(first)
        return bool(first)

    def sets_aside(self, operation: Operation) -> bool:
        """Whether this is a put of a part that is blocked. If so, it is recorded as refused."""
        if not self._reasons or operation.value is None:
            return False
        part = self._rules.part_of(operation.key)
        reason = self._reasons.get(part)
        if reason is None:
            return False
        self._set_aside[part][operation.key] = None
        self._desired.refuse(operation, reason)
        return True

    def blocks(self, key: str, reason: str, now: float) -> bool:
        """Whether the denied operation of a key was a deletion that must come first. If so, its part is blocked.

        The deletion of a mark blocks nothing, unless it must come before another key. What the mark says becomes true
        as the keys are written, and until then there is no heartbeat.
        """
        if not self._desired.is_deleted_first(key):
            return False
        if self._desired.is_mark(key) and key not in self._required:
            return False
        self._block(key, reason, now)
        return True

    def _block(self, key: str, reason: str, now: float) -> None:
        part = self._rules.part_of(key)
        tries = self._tries.get(part, 0)
        self._tries[part] = tries + 1
        self._due[part] = now + delay_s(tries, *self._wait_s)
        self._reasons[part] = f"{key} must be deleted first, but cannot be: {reason}"
        self._set_aside.setdefault(part, {})
        self._desired.stop_deleting_first(part)
        if not tries:
            log.warning("keys of %s are not written: %s", part or "the writer", self._reasons[part])

    @property
    def next_due(self) -> float | None:
        """When the next part is tried again; None if none is blocked."""
        return min(self._due.values(), default=None)

    def unblock_due(self, now: float) -> None:
        """Retry the parts whose pause is over."""
        for part in [part for part, due in self._due.items() if due <= now]:
            del self._due[part], self._reasons[part]
            self._desired.try_again(self._set_aside.pop(part))
