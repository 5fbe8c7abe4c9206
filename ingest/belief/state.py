"""The state of a source, derived from its connection and from withheld deletes. Pure."""

from __future__ import annotations

from typing import Literal, TypeAlias

State: TypeAlias = Literal["absent", "connecting", "syncing", "synced", "stale", "failed"]
"""absent: no source fills the table. connecting: never heard from it yet. syncing: the first list is under way.
synced: the table follows. stale: the last good content stands, the place is away or not to be trusted yet.
failed: it will not heal by waiting (credentials, permissions, a bug)."""


def derived(state: State, error: str, withheld: int, doubt: str, *, inherited: bool = False) -> tuple[State, str]:
    """The state to show, and the reason. ``state`` and ``error`` are those of the connection.

    A source that withholds deletes, for the reason ``doubt``, is never synced. A table with rows of an earlier source
    is stale until this source has confirmed them.

    >>> derived("synced", "", 2, "its revision went back")
    ('stale', 'withholding 2 deletes: its revision went back')
    >>> derived("connecting", "no route to host", 0, "", inherited=True)
    ('stale', 'earlier rows, not confirmed by this source yet: no route to host')
    """
    if state == "synced" and withheld:
        return "stale", f"withholding {withheld} deletes: {doubt}" if doubt else f"withholding {withheld} deletes"
    if inherited and state in ("connecting", "syncing"):
        return "stale", f"earlier rows, not confirmed by this source yet: {error or state}"
    return state, error
