"""Whether the server that answers now continues the history of one resource that we know. Pure.

An API server restored from an older backup, or an empty one behind the same address, answers like a healthy server that
holds few objects: believing it would empty the tables. Clusters are told apart by the UID of their namespace
kube-system, which a restored one keeps; but its versions go back. A restored one whose versions have already overtaken
ours cannot be told from the one we knew.
"""

from __future__ import annotations

_DIGITS = 20  # of an unsigned number of 64 bits


class Lineage:
    """What we know of a resource's history: whose it is and how far it had come."""

    def __init__(self) -> None:
        """Nothing known: whoever answers first is believed."""
        self._uid = ""
        self._version = 0

    def broken_by(self, uid: str, version: str) -> str:
        """Why this cannot be the history that we know; empty if it can.

        ``uid`` is empty where it may not be read. ``version`` is that of the server's store, not of a cache that lags;
        one that is no number, which the API allows, says nothing.
        """
        if self._uid and uid and uid != self._uid:
            return f"its namespace kube-system had the UID {self._uid}, has {uid}"
        number = _number(version)
        if number is not None and number < self._version:
            return f"its resourceVersion was {self._version}, is {number}"
        return ""

    def begin(self, uid: str, version: str) -> None:
        """From now on this is the history that we know."""
        self._uid = uid or self._uid
        self._version = _number(version) or 0

    def saw(self, version: str) -> None:
        """The history came at least this far."""
        number = _number(version)
        if number is not None and number > self._version:
            self._version = number


def _number(version: str) -> int | None:
    is_number = version.isascii() and version.isdigit() and len(version) <= _DIGITS
    return int(version) if is_number else None
