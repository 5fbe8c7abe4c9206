"""Statistics of a database for operators: plain values, cheap enough to be scraped every second."""

from __future__ import annotations

from typing import NamedTuple

from .history import links
from .store import TableStore


class TableStats(NamedTuple):
    """Statistics of one table at one moment. No lock is taken, so related numbers may be one commit apart."""

    name: str
    rows: int
    revision: int
    commits: int
    """The number of commits so far."""
    initialized: bool
    pending_initializers: tuple[str, ...]
    held_states: int
    """Older states that snapshots, views or streams refer to. Several references to one state count once."""
    links_kept: int
    """The number of history links kept for them: at most about 256 more between two compactions, however old the states
    are.
    """
    changes_kept: int
    """The number of changed rows in these links."""
    watches: int
    """Registered watches. May include a few that were dropped."""
    waiting_watches: int
    """Watches that a thread or task waits for."""
    streams: int
    """Open change streams."""
    writer: str
    """The tables of the transaction that holds this one now. Empty if there is none."""
    waiting_writers: int
    waits: int
    """How many times a writer had to wait for another one."""
    waited_s: float
    """The total time of these waits, in seconds."""
    commits_timed: int
    """The number of commits since ``Database.observe``. A commit of several tables counts for each."""
    commits_s: float
    """The total time of these commits, in seconds: preparing, publishing, waking."""


def table_stats(store: TableStore) -> TableStats:
    """The statistics of one table. Cost: O(history kept)."""
    pin = store.pin
    commit = pin.commit
    held = [old for weak in list(store.replaced) if (old := weak()) is not None and old is not pin]
    kept = list(links(held[0].commit, commit)) if held else []
    holder = next(iter(list(store.reservation.holder.values())), None)
    return TableStats(
        name=store.name,
        rows=commit.count,
        revision=commit.revision,
        commits=commit.sequence,
        initialized=not commit.pending,
        pending_initializers=tuple([initializer.name for initializer in commit.pending]),
        held_states=len(set(map(id, held))),
        links_kept=len(kept),
        changes_kept=sum([len(undo) for undo, _, _ in kept]),
        watches=len(store.registry),
        waiting_watches=store.registry.waiting(),
        streams=store.open_streams(),
        writer=holder.tables if holder is not None else "",
        waiting_writers=len(store.reservation.waiting),
        waits=store.reservation.waits,
        waited_s=store.reservation.waited_s,
        commits_timed=store.commits_timed,
        commits_s=store.commits_s,
    )
