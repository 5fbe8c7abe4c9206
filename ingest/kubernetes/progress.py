"""How far a source is with one resource, and what it may say of it. Pure: messages in, a state out."""

from __future__ import annotations

from collections.abc import Sequence

from ..status import State
from .messages import Closed, InStep, Listing, Lost, Message, Snapshot

WORST: Sequence[State] = ("synced", "stale", "syncing", "connecting", "failed")
"""States from good to bad: a table that several resources fill has the worst of theirs."""

_RESUMED_WITHIN_S = 2.0


class Progress:
    """What is known of one resource.

    It is ``synced`` while the watch stands and the server has spoken since the last failure. An end in good order does
    not change that if the watch stands again within two seconds.
    """

    __slots__ = ("_closed_at", "_replaced", "_unnamed", "accepted", "error", "listed", "state")

    def __init__(self) -> None:
        """Nobody has answered yet."""
        self.state: State = "connecting"
        self.error = ""
        self.listed = False
        """Whether a list has come."""
        self.accepted = False
        """Whether the operator believes the server all the same."""
        self._replaced = ""
        self._unnamed = 0
        self._closed_at: float | None = None

    @property
    def doubt(self) -> str:
        """Why what the last list leaves out is not believed to be gone; empty if it is."""
        if self._replaced or not self._unnamed:
            return self._replaced
        return f"{self._unnamed} objects have no metadata that can be read, and may be those that are missing"

    def take(self, message: Message, now: float) -> None:
        """Go on as a message says."""
        match message:
            case Snapshot():
                self._replaced = message.broken or self._replaced
                self._unnamed = message.unnamed
                self.listed = True
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

    def says(self, name: str, withheld: int, now: float, waiting: str) -> tuple[State, str]:
        """The state of the resource of this name, and why it is no better.

        ``waiting``: what requests wait for, a credential plugin for instance; empty if they do not.
        """
        if self.state != "synced":
            return self.state, waiting or self.error
        if self.doubt:
            return "stale", f"withholding {withheld} deletes of {name}: {self.doubt}"
        if self._closed_at is not None and now - self._closed_at > _RESUMED_WITHIN_S:
            return "stale", waiting or f"watch {name}: it has ended, and does not stand again yet"
        return self.state, self.error

    def settle(self, withheld: int) -> bool:
        """Whether to believe the list now, because the operator does. A doubt that withholds nothing ends."""
        release = self.accepted and self.state == "synced"
        if release or (self.doubt and not withheld):
            self.accepted = False
        if not withheld:
            self._replaced, self._unnamed = "", 0
        return release
