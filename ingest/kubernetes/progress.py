"""The state of one resource: its connection, and the server behind it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..belief import Absence, Evidence, History, State, Verdict, may_delete
from .messages import Changes, FullList, Interrupted, ListStarted, Message, Synced, Unserved, WatchEnded

BEST_FIRST: Sequence[State] = ("synced", "stale", "syncing", "connecting", "failed")
"""All states, the best one first. A table that several resources fill has the worst of their states."""

_RESUMED_WITHIN_S = 2.0
_DOUBTS = (History.OTHER, History.UNPROVEN)


class Progress:
    """The state of one resource.

    Its connection is ``synced`` while the watch is open and the server has answered since the last failure. If the
    server ends the watch without an error, it stays so if another watch is open within two seconds.
    """

    __slots__ = (
        "_accepted_uids",
        "_closed_at",
        "_difference",
        "_history",
        "_unnamed",
        "accepted",
        "error",
        "is_unserved",
        "listed",
        "state",
        "uid",
        "version",
    )

    def __init__(self) -> None:
        """No server has answered yet."""
        self.state: State = "connecting"
        self.error = ""
        self.listed = False
        """Whether a list has come."""
        self.is_unserved = False
        """Whether the server no longer serves the resource."""
        self.accepted = False
        """Whether what the operator accepted has still to be carried out; see `accept`."""
        self.uid = self.version = ""
        """The server that the objects came from, and its version then."""
        self._accepted_uids: frozenset[str] = frozenset()
        self._closed_at: float | None = None
        self._history, self._difference = History.NONE, ""
        self._unnamed = 0

    def apply(self, message: Message, now: float) -> None:
        """Apply a message."""
        match message:
            case FullList():
                self._list(message)
            case Changes():
                self.version = message.version
            case Synced():
                self.state, self.error, self._closed_at = "synced", "", None
            case ListStarted():
                self._closed_at = None
                if not self.listed:
                    self.state, self.error = "syncing", ""
            case Unserved():
                self.is_unserved = True
            case WatchEnded():
                self._closed_at = now
            case Interrupted():
                self._closed_at = None
                self.state = "failed" if message.refused else "stale" if self.listed else "connecting"
                self.error = message.error
            case _:
                pass

    def verdict(self) -> Verdict:
        """Whether rows of objects that the last list lacks, and of those withheld before, may be deleted."""
        detail = self._difference
        if self._unnamed:
            detail = f"{self._unnamed} objects of the list have no metadata that can be read, and may be those"
        is_partial = self._unnamed and self._history is not History.NONE
        absence = Absence.UNREAD if is_partial else Absence.LISTED_WITHOUT
        if self.is_unserved:
            absence, detail = Absence.UNSERVED, ""
        return may_delete(Evidence(absence=absence, history=self._history, accepted=self.accepted, detail=detail))

    def connection(self, name: str, now: float, waiting: str, late: str = "") -> tuple[State, str]:
        """The state of the connection for the resource with this name, and the error behind it.

        ``waiting``: what requests are waiting for, for instance a credential plugin; empty if nothing. ``late``: the
        object with which a decode function has been busy for too long; empty if none.
        """
        if late:
            return "stale" if self.state == "synced" else self.state, late
        if self.state != "synced":
            return self.state, waiting or self.error
        if self._closed_at is not None and now - self._closed_at > _RESUMED_WITHIN_S:
            return "stale", waiting or f"watch {name}: it has ended, and no other one is open yet"
        return self.state, self.error

    def accept(self, uids: frozenset[str]) -> None:
        """The operator believes the servers with these UIDs; none: the one that answered last, if it is in doubt."""
        is_in_doubt = self._history in _DOUBTS or self.is_unserved or self._unnamed > 0
        self.accepted, self._accepted_uids = bool(uids) or is_in_doubt, uids

    @property
    def doubted_uid(self) -> str:
        """The UID of the server that answers, if it is not believed; else, or if nobody may read it, empty."""
        return self.uid if self._history in _DOUBTS else ""

    @property
    def answers(self) -> bool:
        """Whether the server tells the present content of the resource, even if that is empty."""
        return self.state == "synced" or self.is_unserved

    @property
    def is_trusted(self) -> bool:
        """Whether all rows of the resource came from the server that answered last."""
        return self.listed and self._history not in _DOUBTS

    def nothing_withheld(self) -> None:
        """No delete is withheld any more: no row of a former server is left, and the operator's request is done."""
        is_settled = self._history in _DOUBTS
        if self.listed:
            self._history, self._difference, self._unnamed = History.SAME, "", 0
        if is_settled or self.answers:
            self.accepted = False

    def _list(self, snapshot: FullList) -> None:
        """Take a list. Its server counts as another one until no row of the former one is withheld."""
        if self._is_another(snapshot):
            self.accepted = False
        if snapshot.history in _DOUBTS or self._history not in _DOUBTS:
            self._history, self._difference = snapshot.history, snapshot.difference
        self.listed, self.is_unserved = True, False
        self.uid, self.version = snapshot.uid, snapshot.version
        self._unnamed = snapshot.unnamed

    def _is_another(self, snapshot: FullList) -> bool:
        """Whether a list is of another server than the one that the operator accepted, or of one restored since."""
        is_doubted_anew = self._history in _DOUBTS and snapshot.history in _DOUBTS
        if self._accepted_uids and snapshot.uid:
            return snapshot.uid not in self._accepted_uids or (is_doubted_anew and snapshot.uid == self.uid)
        return is_doubted_anew
