"""How far a source is with one resource: how the connection is, and what is known of the server behind it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..belief import Absence, Evidence, History, State, Verdict, may_delete
from .messages import Closed, InStep, Listing, Lost, Message, Snapshot

WORST: Sequence[State] = ("synced", "stale", "syncing", "connecting", "failed")
"""States from good to bad: a table that several resources fill has the worst of theirs."""

_RESUMED_WITHIN_S = 2.0


class Progress:
    """What is known of one resource.

    Its connection is ``synced`` while the watch stands and the server has spoken since the last failure. An end in good
    order does not change that if the watch stands again within two seconds.
    """

    __slots__ = ("_closed_at", "_difference", "_history", "_unnamed", "accepted", "error", "listed", "state")

    def __init__(self) -> None:
        """Nobody has answered yet."""
        self.state: State = "connecting"
        self.error = ""
        self.listed = False
        """Whether a list has come."""
        self.accepted = False
        """Whether the operator said to believe the server that answers now, or next."""
        self._closed_at: float | None = None
        self._history, self._difference = History.NONE, ""
        self._unnamed = 0

    def take(self, message: Message, now: float) -> None:
        """Go on as a message says."""
        match message:
            case Snapshot():
                self._list(message)
            case InStep():
                self.state, self.error, self._closed_at = "synced", "", None
            case Listing():
                self._closed_at = None
                if not self.listed:
                    self.state, self.error = "syncing", ""
            case Closed():
                self._closed_at = now
            case Lost():
                self._closed_at = None
                self.state = "failed" if message.refused else "stale" if self.listed else "connecting"
                self.error = message.error
            case _:
                pass

    def verdict(self) -> Verdict:
        """Of all objects that lists leave out, the last one and those that were not believed."""
        detail = self._difference
        if self._unnamed:
            detail = f"{self._unnamed} objects of the list have no metadata that can be read, and may be those"
        is_partial = self._unnamed and self._history is not History.NONE
        absence = Absence.UNREAD if is_partial else Absence.LISTED_WITHOUT
        return may_delete(Evidence(absence=absence, history=self._history, accepted=self.accepted, detail=detail))

    def connection(self, name: str, now: float, waiting: str) -> tuple[State, str]:
        """How the connection of the resource of this name is, and why it is no better.

        ``waiting``: what requests wait for, a credential plugin for instance; empty if they do not.
        """
        if self.state != "synced":
            return self.state, waiting or self.error
        if self._closed_at is not None and now - self._closed_at > _RESUMED_WITHIN_S:
            return "stale", waiting or f"watch {name}: it has ended, and does not stand again yet"
        return self.state, self.error

    def settled(self) -> None:
        """Nothing is withheld any more: no row depends on a server of before, and the operator's word has been used."""
        if self.listed:
            self._history, self._difference, self._unnamed = History.SAME, "", 0
        if self.state == "synced":
            self.accepted = False

    def _list(self, snapshot: Snapshot) -> None:
        """A first list can delete nothing. Another server stays another one until nothing is withheld."""
        if self.listed and self._history is not History.OTHER:
            self._history = History.SAME
        if self.listed and snapshot.history is History.OTHER:
            self._history, self._difference = snapshot.history, snapshot.difference
        self.listed = True
        self._unnamed = snapshot.unnamed
