"""Whether the server that answers now continues the history of one resource that we know. Pure.

An API server restored from an older backup, or an empty one behind the same address, answers like a healthy server that
holds few objects. To trust it would empty the tables. Clusters are recognised by the UID of their namespace
kube-system, which a restored one keeps; but its versions go back. A restored one whose versions have already overtaken
ours cannot be distinguished from the one we knew.
"""

from __future__ import annotations

import msgspec

from ..belief import History

_DIGITS = 20  # of an unsigned number of 64 bits
_UNKNOWN = "it is not known which server the earlier rows came from"
_NO_UID = "the UID of its namespace kube-system, which would show it, cannot be read, or could not be when they came"


class Origin(msgspec.Struct, frozen=True):
    """What identifies the server that rows are from: its UID, and the newest version of each feed. Kept beside a dump.

    >>> read_origin(Origin("u", {"pods": "12"}).text())
    Origin(cluster_uid='u', versions={'pods': '12'})
    """

    cluster_uid: str
    versions: dict[str, str]

    def text(self) -> str:
        """All of it."""
        return msgspec.json.encode(self).decode()


def read_origin(text: str) -> Origin:
    """An origin of before; an empty one for a text that is none of ours."""
    try:
        return msgspec.json.decode(text, type=Origin)
    except (msgspec.DecodeError, ValueError):  # another backend's, or none at all
        return Origin("", {})


class Lineage:
    """What is known of a resource's history: the UID of its cluster and the newest version."""

    def __init__(self) -> None:
        """Nothing is known yet. Whoever answers first is trusted."""
        self._uid = ""
        self._version = 0
        self._is_known = False
        self._inherits = False

    @property
    def is_known(self) -> bool:
        """Whether a list has come."""
        return self._is_known

    def inherit(self, uid: str, version: str) -> None:
        """Rows of before are there: from the server with this UID, at this version; both are empty if nobody knows."""
        self._inherits = True
        self._uid, self._version = uid, _number(version) or 0

    def history(self, uid: str, version: str) -> tuple[History, str]:
        """Whether the server that answers continues the history that is known, and why not."""
        difference = self.difference(uid, version)
        if difference:
            return History.OTHER, difference
        if self._inherits and not (uid and self._uid):
            return History.UNPROVEN, _NO_UID if self._uid or self._version else _UNKNOWN
        return History.SAME if self._is_known or self._inherits else History.NONE, ""

    def difference(self, uid: str, version: str) -> str:
        """Why the server that answers cannot be the one that is known; empty if it can.

        ``uid`` is empty where it may not be read. ``version`` is that of the server's store, not of a cache that lags;
        one that is no number, which the API allows, is not compared.
        """
        if self._uid and uid and uid != self._uid:
            return f"its namespace kube-system had the UID {self._uid}, has {uid}"
        number = _number(version)
        if number is not None and number < self._version:
            return f"its resourceVersion was {self._version}, is {number}"
        return ""

    def begin(self, uid: str, version: str) -> None:
        """Take this for the known history from now on."""
        self._is_known, self._inherits = True, False
        self._uid = uid or self._uid
        self._version = _number(version) or 0

    def observe(self, version: str) -> None:
        """The history has reached this version."""
        number = _number(version)
        if number is not None and number > self._version:
            self._version = number


def _number(version: str) -> int | None:
    is_number = version.isascii() and version.isdigit() and len(version) <= _DIGITS
    return int(version) if is_number else None
