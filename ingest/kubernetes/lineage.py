"""Whether the server that answers now continues the history of one resource that we know. Pure.

An API server restored from an older backup, or an empty one behind the same address, answers like a healthy server with
few objects. If we trusted it, the tables would be emptied. Clusters are identified by the UID of their namespace
kube-system. A restored server has the same UID, but its versions go back. If its versions have overtaken ours before we
connect, it cannot be distinguished from the one that we knew.
"""

from __future__ import annotations

import msgspec

from ..belief import History

_DIGITS = 20  # of an unsigned number of 64 bits
_UNKNOWN = "it is not known which server the earlier rows came from"
_NO_UID = "the UID of its namespace kube-system, which would show it, cannot be read, or could not be when they came"


class Origin(msgspec.Struct, frozen=True):
    """Identifies the server that rows came from: its UID, and the newest version of each feed. A dump contains it.

    >>> read_origin(Origin("u", {"pods": "12"}).text())
    Origin(cluster_uid='u', versions={'pods': '12'})
    """

    cluster_uid: str
    versions: dict[str, str]

    def text(self) -> str:
        """The origin as text."""
        return msgspec.json.encode(self).decode()


def read_origin(text: str) -> Origin:
    """The origin of earlier rows; an empty one if the text is not of this backend."""
    try:
        return msgspec.json.decode(text, type=Origin)
    except (msgspec.DecodeError, ValueError):  # it is from another backend, or empty
        return Origin("", {})


class Lineage:
    """The known history of a resource: the UID of its cluster and the newest version."""

    def __init__(self) -> None:
        """Nothing is known yet. The first server that answers is trusted."""
        self._uid = ""
        self._version = 0
        self._is_known = False
        self._inherits = False

    @property
    def is_known(self) -> bool:
        """Whether a list has come."""
        return self._is_known

    def inherit(self, uid: str, version: str) -> None:
        """There are earlier rows from the server with this UID and version. Both are empty if they are unknown."""
        self._inherits = True
        self._uid, self._version = uid, _number(version) or 0

    def history(self, uid: str, version: str) -> tuple[History, str]:
        """Whether the server that answers continues the known history, and if not, why."""
        difference = self.difference(uid, version)
        if difference:
            return History.OTHER, difference
        if self._inherits and not (uid and self._uid):
            return History.UNPROVEN, _NO_UID if self._uid or self._version else _UNKNOWN
        return History.SAME if self._is_known or self._inherits else History.NONE, ""

    def difference(self, uid: str, version: str) -> str:
        """Why the server that answers cannot be the known one; empty if it can.

        ``uid`` is empty if we may not read it. ``version`` must be that of the server's store, because a cache may lag.
        A version that is not a number (the API allows that) is not compared.
        """
        if self._uid and uid and uid != self._uid:
            return f"its namespace kube-system had the UID {self._uid}, has {uid}"
        number = _number(version)
        if number is not None and number < self._version:
            return f"its resourceVersion was {self._version}, is {number}"
        return ""

    def begin(self, uid: str, version: str) -> None:
        """Follow this history from now on."""
        self._is_known, self._inherits = True, False
        self._uid = uid or self._uid
        self._version = _number(version) or 0

    def observe(self, version: str) -> bool:
        """The history has reached this version. False if it goes back: `difference` says why."""
        number = _number(version)
        if number is None or number == self._version:
            return True
        if number < self._version:
            return False
        self._version = number
        return True


def _number(version: str) -> int | None:
    is_number = version.isascii() and version.isdigit() and len(version) <= _DIGITS
    return int(version) if is_number else None
