"""The keys and rows for which a user's function fails: the error, since when, and the time of the next try. Pure.

A `Part` is either a key of the derived table or a row of a source table.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable
from traceback import extract_tb
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

    A part is retried at growing intervals for ``retry_for_s`` seconds, then only when it changes. A bug in a function
    may fail for every part, so each kind of error is logged once, until nothing fails any more.
    """

    def __init__(self, name: str, retry_min_s: float, retry_max_s: float, retry_for_s: float) -> None:
        """``name``: the name of the derivation, for the log."""
        self._name = name
        self._retry_for_s = retry_for_s
        self._failures: dict[Part, _Failure] = {}
        self._retries = Retries[Part](retry_min_s, retry_max_s)
        self._logged: set[tuple[int, type[BaseException]]] = set()

    def __len__(self) -> int:
        """The number of parts that fail."""
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
        if now - since < self._retry_for_s:
            self._retries.add(part, now)
            self._log(logging.WARNING, "%s: %s is set aside: %s%s", _name(part), error)
        else:
            self._log(logging.ERROR, "%s: %s is given up until it changes: %s%s", _name(part), error)

    def _log(self, level: int, text: str, name: str, error: BaseException) -> None:
        kind = (level, type(error))
        shown = logging.DEBUG if kind in self._logged else level
        self._logged.add(kind)
        log.log(shown, text, self._name, name, describe(error), _place(error))

    def discard(self, part: Part) -> None:
        """Remove a part: the function succeeded, or the part no longer exists."""
        if self._failures.pop(part, None) is not None:
            self._retries.clear(part)
            if not self._failures:
                self._logged.clear()

    def pop_due(self, now: float) -> list[Part]:
        """Remove from the queue and return the parts that are due."""
        due: list[Part] = []
        while (part := self._retries.pop_due(now)) is not None:
            due.append(part)
        return due

    def parts(self) -> dict[str, str]:
        """The error of each part, by its name."""
        return {_name(part): failure.text for part, failure in list(self._failures.items())}


def _place(error: BaseException) -> str:
    """The place where it was raised; empty if unknown."""
    frames = extract_tb(error.__traceback__, limit=-1)
    return f" ({frames[0].filename}:{frames[0].lineno})" if frames else ""


def _name(part: Part) -> str:
    return f"key {part.key!r}" if part.table is None else f"row {part.key!r} of table {part.table.name!r}"
