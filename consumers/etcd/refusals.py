"""Keys that the etcd refuses. A value that is too large is refused until it changes; a missing right may come back.

Keys that were denied are retried: a few of them after pauses that double, and once one is written, all of them. Rights
are given for prefixes, so those few are in different folders, and other keys have their turn after the next pause. A
mark waits while a denied key of its part is missing in the etcd: to readers of the mark the key would seem deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from consumers.running.retries import delay_s

from .batches import LAST, Operation
from .desired import Desired
from .present import Present
from .rules import Rules

log = logging.getLogger("statedb.consumers")


_RETRIES_MAX = 10
"""How many denied keys are retried after a pause."""


class Refusals:
    """The refusals of one connection, and the marks that wait. For the writer's thread."""

    def __init__(self, rules: Rules, desired: Desired, present: Present, min_s: float, max_s: float) -> None:
        """Nothing is refused. ``min_s`` and ``max_s`` are the first and the longest pause."""
        self._rules = rules
        self._desired = desired
        self._present = present
        self._wait_s = (min_s, max_s)
        self._denied: dict[str, str] = {}
        self._marks: dict[str, None] = {}
        self._tries = 0
        self.next_due: float | None = None
        """When a denied key is retried; None if there is none."""

    def add(self, operation: Operation, reason: str, now: float, *, passes: bool) -> None:
        """Set a refused key aside. ``passes``: it was denied, which may pass while its value stays the same.

        Of keys that are denied together the first is logged as a warning. A denied heartbeat is not retried here: it is
        due again soon.
        """
        key = operation.key
        is_known = (passes and self._denied) or key in self._desired.refused()
        log.log(logging.DEBUG if is_known else logging.WARNING, "key %s is not written: %s", key, reason)
        self._desired.refuse(operation, reason)
        if passes and key != self._rules.heartbeat:
            self._denied[key] = reason
            if self.next_due is None:
                self._schedule(now)

    def sets_aside(self, operation: Operation) -> bool:
        """Whether this writes a mark that has to wait. If so, it is recorded as refused."""
        if not self._denied or operation.rank != LAST:
            return False
        missing = self._missing().get(self._rules.part_of(operation.key), "")
        if missing:
            self._marks[operation.key] = None
            self._desired.refuse(operation, f"{missing} must be written first, but cannot be: {self._denied[missing]}")
        return bool(missing)

    def _missing(self) -> dict[str, str]:
        """The parts that have denied keys which the etcd lacks, each with one of them. Cost: O(denied keys)."""
        refused, present, desired = self._desired.refused(), self._present, self._desired
        missing = [key for key in self._denied if key in refused and key not in present]
        return {self._rules.part_of(key): key for key in missing if key in desired and not desired.is_mark(key)}

    def retry_due(self, now: float) -> None:
        """Retry a few denied keys if their pause is over, and the marks that no longer have to wait."""
        if self.next_due is None or now < self.next_due:
            return
        refused = self._desired.refused()
        self._denied = {key: reason for key, reason in self._denied.items() if key in refused}
        missing = self._missing()
        self._retry_marks([mark for mark in self._marks if self._rules.part_of(mark) not in missing])
        keys = list({key.rpartition("/")[0]: key for key in reversed(self._denied)}.values())[-_RETRIES_MAX:]
        for key in keys:
            self._denied[key] = self._denied.pop(key)  # behind those that were not retried
        self._desired.try_again(keys)
        self._schedule(now)

    def _schedule(self, now: float) -> None:
        self.next_due = now + delay_s(self._tries, *self._wait_s) if self._denied else None
        self._tries = self._tries + 1 if self._denied else 0

    def written(self, keys: Iterable[str]) -> None:
        """These keys are written. If one of them was denied before, all that waits is retried now."""
        if self._denied and not self._denied.keys().isdisjoint(keys):
            self._retry_all()

    def _retry_all(self) -> None:
        keys = list(self._denied)
        self._denied.clear()
        self._tries, self.next_due = 0, None
        self._desired.try_again(keys)
        self._retry_marks(list(self._marks))

    def _retry_marks(self, marks: Iterable[str]) -> None:
        for mark in marks:
            del self._marks[mark]
            if self._desired.is_mark(mark):
                self._desired.mark(mark)
