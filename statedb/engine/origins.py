"""Which old states are still referenced, and where they were taken. Off until `Database.observe(origins=True)`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import NamedTuple

from .history import Pin
from .store import TableStore

_OWN = __name__.rpartition(".")[0] + "."


class HeldState(NamedTuple):
    """An older state of one table that a snapshot, view, batch or stream still refers to."""

    table: str
    revision: int
    commits_behind: int
    taken_at: tuple[str, ...]
    """The places that took it, in order, as ``file:line in function``, including those that have released it since."""


class Origins:
    """Where the states that are still referenced were taken."""

    def record(self, pins: Iterable[Pin]) -> None:
        """Record that these states are being returned to the caller of the engine.

        Takes no lock, because finalizers may take snapshots too.
        """
        place = _caller()
        for pin in pins:
            if pin.origins is None:
                pin.origins = {}
            pin.origins[place] = None

    def held(self, stores: Iterable[TableStore]) -> tuple[HeldState, ...]:
        """The referenced states that are not the newest, table by table, the oldest first."""
        found = []
        for store in stores:
            newest = store.pin
            alive = {pin: None for weak in list(store.replaced) if (pin := weak()) is not None and pin is not newest}
            for pin in alive:
                behind = newest.commit.sequence - pin.commit.sequence
                places = tuple((pin.origins or {}).copy())  # ``tuple`` alone is no atomic copy without the GIL
                found.append(HeldState(store.name, pin.commit.revision, behind, places))
        return tuple(found)


def _caller() -> str:
    """The innermost line outside the engine on the call stack."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_OWN):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
