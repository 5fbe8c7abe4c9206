"""One fault at one site: inflicted, healed, and what was seen of it."""

from __future__ import annotations

import msgspec

from .clock import true_monotonic as monotonic
from .site import Site


class Told(msgspec.Struct, frozen=True):
    """What ``sources`` said, so many seconds after the fault began."""

    after_s: float
    state: str
    error: str
    withheld: int


class Cell(msgspec.Struct, kw_only=True):
    """What came of a fault. ``healed_s``: from its end until the tables were right and said so, the longest of all.

    ``removed``: endpoints deleted, all of them rightly. ``left_out``: why there was nothing to do. ``threads_left`` and
    ``sockets_left``: how many more there were afterwards than before.
    """

    backend: str
    fault: str
    told: list[Told] = []
    healed_s: float = 0.0
    removed: int = 0
    healings: int = 0
    threads_left: int = 0
    sockets_left: int = 0
    left_out: str = ""
    note: str = ""


class Run:
    """A fault under way at a site whose reader runs."""

    def __init__(self, site: Site, cell: Cell) -> None:
        self.site = site
        self.cell = cell
        self._began = self._healed = monotonic()

    def begin(self) -> None:
        """The fault begins now."""
        self._began = monotonic()

    def told(self, *states: str, containing: str = "", withheld: int = 0) -> None:
        """Wait until ``sources`` says one of these, with a reason."""
        site = self.site

        def holds(snapshot: object) -> bool:
            row = site.row(snapshot)  # type: ignore[arg-type]  # a Snapshot
            return (
                row.state in states
                and row.last_error != ""
                and containing in row.last_error
                and row.withheld_deletes >= withheld
            )

        row = site.row(site.until(holds, f"{' or '.join(states)} {containing!r}"))
        told = Told(monotonic() - self._began, row.state, row.last_error, row.withheld_deletes)
        if len(self.cell.told) < 3:
            self.cell.told.append(told)

    def heal(self) -> None:
        """The fault is over from now on."""
        self._healed = monotonic()

    def converge(self) -> None:
        """The tables become right."""
        self.site.converge(f"the truth after {self.cell.fault!r}")
        self.cell.healed_s = max(self.cell.healed_s, monotonic() - self._healed)
        self.cell.removed = len(self.site.deletions.now())
        self.cell.healings += 1
