"""What identifies an etcd and its writers, as text beside the rows in a dump, for a warm start with these rows.

It is written in each transaction that changes rows of a table, into the table's row of ``sources``. If it were older
than the rows, an etcd that was restored to a moment in between would count as the same, and what it lost would be
deleted.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping

import msgspec

from ..status import Status
from .keyspace import Keyspace
from .writers import Canary, Writers

_PERIOD_S = 10.0


class _Origin(msgspec.Struct, frozen=True):
    """The form in which it is saved. ``canaries``: those that each of several writers is known by, by its name.

    ``run`` identifies the source that saved it, and ``number`` is higher for what it saved later.
    """

    run: str
    number: int
    lineage: str
    canaries: dict[str, list[Canary]]


class OriginKeeper:
    """Saves it, and loads it at the start. For the source's thread."""

    def __init__(
        self, status: Status, keyspace: Keyspace, writers: Mapping[str, Writers], clock: Callable[[], float]
    ) -> None:
        """``writers`` have names that stay the same in all processes."""
        self._status = status
        self._keyspace = keyspace
        self._writers = writers
        self._clock = clock
        self._due_at = float("-inf")
        self._is_settled = False
        self._last = _Origin(secrets.token_hex(8), 0, "", {})
        status.exact_origin(self._now)

    def load(self) -> None:
        """There are rows of before. If nothing shows where they are from, canaries that stand already prove nothing."""
        origin = _latest(self._status.origins)
        self._keyspace.lineage.load("" if origin is None else origin.lineage)
        for name, writers in self._writers.items():
            writers.inherit(None if origin is None else origin.canaries.get(name))

    def connected(self) -> None:
        """A connection begins, perhaps to another etcd: until all is settled there, nothing new is saved."""
        self._is_settled = False

    def settle(self, *, is_settled: bool) -> None:
        """Save it for all tables if that is due. ``is_settled``: all is listed, and nothing is withheld or doubted."""
        self._is_settled = is_settled
        if is_settled and self._clock() >= self._due_at:
            self._save()

    def end(self) -> None:
        """The source ends: save what it knows, unless something is in doubt."""
        if self._is_settled and self._keyspace.covers_rows:
            self._save()

    def _save(self) -> None:
        self._due_at = self._clock() + _PERIOD_S
        self._status.set_origin(self._text())

    def _now(self) -> str:
        """The origin of all rows offered so far; empty if it is in doubt. Then it is saved as soon as that ends."""
        if self._is_settled and self._keyspace.covers_rows:
            return self._text()
        self._due_at = float("-inf")
        return ""

    def _text(self) -> str:
        canaries = {name: writers.canaries_known() for name, writers in self._writers.items()}
        last, lineage = self._last, self._keyspace.lineage.dump()
        if (last.lineage, last.canaries) != (lineage, canaries):
            self._last = _Origin(last.run, last.number + 1, lineage, canaries)
        return msgspec.json.encode(self._last).decode()


def _latest(texts: Iterable[str]) -> _Origin | None:
    """The latest origin of several tables; None if it does not cover the rows of all.

    One source saves an origin only when it covers the rows of all of its tables. Nothing follows from that for tables
    that were filled apart from each other: the etcd of the one may have been restored meanwhile.
    """
    try:
        origins = [msgspec.json.decode(text, type=_Origin) for text in texts]
    except (msgspec.DecodeError, ValueError):  # one is empty, or from another version
        return None
    if len({origin.run for origin in origins}) != 1:
        return None
    return max(origins, key=lambda origin: origin.number)
