"""What a source knows about a missing object, as immutable values. Backends fill them, and `verdict` judges them."""

from __future__ import annotations

from enum import Enum

import msgspec


class Absence(Enum):
    """How the object is missing."""

    DELETED = "the server says that somebody deleted it"
    """A delete event of a server without leases; or of one where the key had no lease, or its lease lives on."""
    LISTED_WITHOUT = "a list at one revision leaves it out"
    UNREAD = "a list leaves it out, and holds objects that cannot be told apart"
    """It may be one of them."""
    UNSERVED = "the server does not serve its resource"
    """The CRD is gone, and its objects with it; or the server is an older backup, or this version is served no more.
    Such an answer has no resourceVersion that would show which."""
    EXPIRED = "its lease ended"
    """It was not deleted: the owner of its lease is gone. A revoked lease looks the same."""
    UNEXPLAINED = "it is gone, and the server no longer knows why"


class History(Enum):
    """Whether the server that gave the answer continues the history that the rows come from.

    Checked on the connection that carried the answer, after the answer has come.
    """

    NONE = "no row depends on this answer"
    """The first list of a source that found no rows of its own. There is nothing that it could delete."""
    SAME = "the same server, and no step back"
    OTHER = "another server, or one that lost a part of its history"
    UNPROVEN = "nothing is left that would show which server this is"


class WriterActivity(Enum):
    """What the program that writes the content of the server has done."""

    NOT_NEEDED = "the server itself is the authority"
    """An API server, a directory. Or an etcd in KVStore layout: each node writes its own keys, and a node whose lease
    ended is gone."""
    UNSEEN = "it has not acted since we connected"
    """The presence of a heartbeat or a canary proves nothing: a dead writer leaves both behind."""
    SILENT = "it has been silent for too long"
    ACTS = "it has acted since we connected"
    CAUGHT_UP = "it acted, and one lease time has passed since"
    """By then it has written all of its keys again, and the keys of a dead writer have expired."""
    RESYNCED = "it wrote its canaries again after the doubt began"


class Canaries(Enum):
    """The keys with which a writer marks a part as complete."""

    NOT_USED = "the writer has none"
    PRESENT = "they are there at the revision of the answer"
    MISSING = "one is not there"
    OUTDATED = "one is that of before, and the server has lost a part of its history"


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence about a missing object. ``accepted``: the operator has accepted the server's content.

    ``detail`` is for people: what differs, or which key is missing. It does not influence the verdict.
    """

    absence: Absence
    history: History = History.SAME
    writer: WriterActivity = WriterActivity.NOT_NEEDED
    canaries: Canaries = Canaries.NOT_USED
    accepted: bool = False
    detail: str = ""
