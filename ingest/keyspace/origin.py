"""What identifies an etcd and its writers, as text beside the rows in a dump, for a warm start with these rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from ..status import Status
from .lineage import Lineage
from .writers import Canary, Writers

_PERIOD_S = 10.0


class _Origin(msgspec.Struct, frozen=True):
    """The form in which it is saved. ``canaries``: those that each of several writers is known by, by its name."""

    lineage: str
    canaries: dict[str, list[Canary]]


class OriginKeeper:
    """Saves it from time to time, and loads it at the start. For the source's thread."""

    def __init__(
        self, status: Status, lineage: Lineage, writers: Mapping[str, Writers], clock: Callable[[], float]
    ) -> None:
        """``writers`` have names that stay the same in all processes."""
        self._status = status
        self._lineage = lineage
        self._writers = writers
        self._clock = clock
        self._due_at = float("-inf")
        self._is_settled = False

    def load(self) -> None:
        """There are rows of before. If nothing shows where they are from, canaries that stand already prove nothing."""
        try:
            origin = msgspec.json.decode(self._status.origin, type=_Origin)
        except (msgspec.DecodeError, ValueError):  # it is empty, or from another version
            origin = _Origin("", {})
        self._lineage.load(origin.lineage)
        for name, writers in self._writers.items():
            writers.inherit(origin.canaries.get(name))

    def connected(self) -> None:
        """A connection begins, perhaps to another etcd: until all is settled there, nothing new is saved."""
        self._is_settled = False

    def settle(self, *, is_settled: bool) -> None:
        """Save it if that is due. ``is_settled``: all is listed, and nothing is withheld or doubted."""
        self._is_settled = is_settled
        if is_settled and self._clock() >= self._due_at:
            self._save()

    def end(self) -> None:
        """The source ends: save what it knows, unless something is in doubt."""
        if self._is_settled:
            self._save()

    def _save(self) -> None:
        self._due_at = self._clock() + _PERIOD_S
        canaries = {name: writers.canaries_seen() for name, writers in self._writers.items()}
        self._status.set_origin(msgspec.json.encode(_Origin(self._lineage.dump(), canaries)).decode())
