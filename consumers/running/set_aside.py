"""The keys and rows for which a user's function fails: the error, since when, and the time of the next try. Pure.

A `Part` is either a key of the derived table or a row of a source table.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable
from typing import Any, NamedTuple

from .retries import Retries
from .steps import describe

log = logging.getLogger("statedb.consumers")


class Part(NamedTuple):
    """A key of the derived table (``table`` is None), or the key of a row of a source table."""

    table: Any
    key: Hashable


class _Failure(NamedTuple):
    text: str
    since: float


class SetAside:
    """The parts that are set aside. For one thread; others may call `len` and `parts`.

    A part is retried at growing intervals for ``retry_for_s`` seconds, then only when it changes.
    """

    def __init__(self, name: str, retry_min_s: float, retry_max_s: float, retry_for_s: float) -> None:
        """``name``: the name of the derivation, for the log."""
        self._name = name
        self._retry_for_s = retry_for_s
        self._failures: dict[Part, _Failure] = {}
        self._retries = Retries[Part](retry_min_s, retry_max_s)

    def __len__(self) -> int:
        """How many parts fail."""
        return len(self._failures)

    def __contains__(self, part: Part) -> bool:
        """Whether the part fails."""
        return part in self._failures

    @property
    def next_due(self) -> float | None:
        """When the next part is due; None if none is."""
        return self._retries.next_due

    def add(self, part: Part, error: BaseException, now: float) -> None:
        """Record that the function failed for a part."""
        old, text = self._failures.get(part), describe(error)
        since = now if old is None else old.since
        self._failures[part] = _Failure(text, since)
        if old is None or old.text != text:
            log.warning("%s: %s is set aside: %s", self._name, _name(part), text)
        if now - since < self._retry_for_s:
            self._retries.add(part, now)
        else:
            log.error(
                "%s: %s is given up until it changes, after %.0f s: %s", self._name, _name(part), now - since, text
            )

    def discard(self, part: Part) -> None:
        """Remove a part: the function succeeded, or the part does not exist any more."""
        if self._failures.pop(part, None) is not None:
            self._retries.clear(part)

    def pop_due(self, now: float) -> list[Part]:
        """Remove from the queue and return the parts that are due."""
        due: list[Part] = []
        while (part := self._retries.pop_due(now)) is not None:
            due.append(part)
        return due

    def parts(self) -> dict[str, str]:
        """The error of each part, by its name."""
        return {_name(part): failure.text for part, failure in list(self._failures.items())}


def _name(part: Part) -> str:
    return f"key {part.key!r}" if part.table is None else f"row {part.key!r} of table {part.table.name!r}"
