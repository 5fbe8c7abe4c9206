"""What an operator wants to know of a database: plain values, cheap enough to be scraped every second."""

from __future__ import annotations

from typing import NamedTuple

from .history import links
from .store import TableStore


class TableStats(NamedTuple):
    """One table at one moment. Numbers that belong together may be a commit apart: nothing is locked to take them."""

    name: str
    rows: int
    revision: int
    commits: int
    """How many there have been."""
    initialized: bool
    pending_initializers: tuple[str, ...]
    held_states: int
    """Older states that somebody holds: snapshots, views and streams, those of one state counted once."""
    links_kept: int
    """Pieces of history kept for them; about 256 at most between two merges, however long they sleep."""
    changes_kept: int
    """Rows in these pieces, before and after."""
    watches: int
    """Registered ones, a few dropped ones included."""
    waiting_watches: int
    """Those that a thread or task waits for."""
    streams: int
    """Open change streams."""
    writer: str
    """The tables of the transaction that holds this one now; empty where none does."""
    waiting_writers: int
    waits: int
    """How often a writer had to wait for another one."""
    waited_s: float
    """For how long, in all, in seconds."""
    commits_timed: int
    """The commits since ``Database.observe``; those of several tables count for each."""
    commits_s: float
    """The time they took, in all, in seconds: preparing, publishing, waking."""


def table_stats(store: TableStore) -> TableStats:
    """The numbers of one table. Cost: O(history kept)."""
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
