"""Decides whether the rows of a missing object may be deleted. Pure: no I/O, no clock, no state.

A source asks for every object that is missing, after a delete event as well as after a list. The rules of the table are
tried from top to bottom, and the first that fits decides. The history that made a rule necessary is in
tests/ingest/belief. If no rule fits, the rows stay: an object that stays too long is corrected by the next good answer,
but one that is deleted too early has already interrupted traffic.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TypeAlias

import msgspec

from .evidence import Absence, Canaries, Evidence, History, WriterActivity


class Yes(msgspec.Struct, frozen=True):
    """The object is gone: its rows may be deleted."""


class No(msgspec.Struct, frozen=True):
    """The object may still exist: its rows stay, and its delete is withheld. ``reason`` is for the operator."""

    reason: str


Verdict: TypeAlias = Yes | No

_Any: TypeAlias = frozenset[Enum] | None
"""The matching values; None matches all."""


class Rule(msgspec.Struct, frozen=True):
    """One rule of the truth table: the evidence that it matches, and its verdict."""

    why: str
    allow: bool
    absence: _Any = None
    history: _Any = None
    writer: _Any = None
    canaries: _Any = None
    accepted: bool | None = None

    def fits(self, evidence: Evidence) -> bool:
        """Whether the rule matches the evidence."""
        return (
            (self.accepted is None or evidence.accepted is self.accepted)
            and (self.absence is None or evidence.absence in self.absence)
            and (self.history is None or evidence.history in self.history)
            and (self.writer is None or evidence.writer in self.writer)
            and (self.canaries is None or evidence.canaries in self.canaries)
        )


def _of(*values: Enum) -> frozenset[Enum]:
    return frozenset(values)


_GONE_BY_LEASE = _of(Absence.EXPIRED, Absence.UNEXPLAINED)
_LISTED_WITHOUT = _of(Absence.LISTED_WITHOUT)
_ALIVE = _of(WriterActivity.ACTS, WriterActivity.CAUGHT_UP, WriterActivity.RESYNCED)

TABLE: tuple[Rule, ...] = (
    Rule(
        "the operator said so",
        allow=True,
        accepted=True,
    ),
    Rule(
        # Whoever deletes a key of this very server has seen it there. This holds while the writer is silent as well.
        "somebody deleted it",
        allow=True,
        absence=_of(Absence.DELETED),
    ),
    Rule(
        # Nothing ties that answer to the history of the rows. When the CRD is there again, its list decides.
        "its resource is not served any more, which says nothing of its objects",
        allow=False,
        absence=_of(Absence.UNSERVED),
    ),
    Rule(
        # Before the rows about histories: a source that has no rows yet has no history either.
        "there is nothing to lose",
        allow=True,
        absence=_LISTED_WITHOUT,
        history=_of(History.NONE),
    ),
    Rule(
        # A new replica is filled step by step. What is not there yet is not gone.
        "its writer has not finished: a canary is missing",
        allow=False,
        canaries=_of(Canaries.MISSING),
    ),
    Rule(
        # After a doubt the writer listed its own source afresh, and then wrote the canaries: what it left out is gone.
        "its writer has written everything anew since",
        allow=True,
        writer=_of(WriterActivity.RESYNCED),
        canaries=_of(Canaries.PRESENT),
    ),
    Rule(
        # The bound on every doubt that time can end.
        "its writer has had the time to write it again",
        allow=True,
        writer=_of(WriterActivity.CAUGHT_UP),
    ),
    Rule(
        # KVStore layout: a node's keys hang on that node's lease. One that ended means that the node is gone.
        "it was its own writer that went",
        allow=True,
        absence=_GONE_BY_LEASE,
        history=_of(History.NONE, History.SAME),
        writer=_of(WriterActivity.NOT_NEEDED),
    ),
    Rule(
        # ClusterMesh layout: one writer's lease holds all keys of a cluster, which lives on without that writer.
        "its lease ended, and its writer has not written it again",
        allow=False,
        absence=_GONE_BY_LEASE,
    ),
    Rule(
        "this is the server that told us of it, and now it is not there",
        allow=True,
        absence=_LISTED_WITHOUT,
        history=_of(History.SAME),
        writer=_of(WriterActivity.NOT_NEEDED),
    ),
    Rule(
        # A replica shares no history with the one we knew. Its canary says that it is complete, its writer that it is
        # not the leftover of a program that died weeks ago. The canary of a backup says nothing of what was lost, and
        # the writer acts before it has written that again.
        "its writer lives and says that all is there",
        allow=True,
        absence=_LISTED_WITHOUT,
        writer=_ALIVE,
        canaries=_of(Canaries.PRESENT),
    ),
    Rule(
        "its writer lives, and this is the server that told us of it",
        allow=True,
        absence=_LISTED_WITHOUT,
        history=_of(History.SAME),
        writer=_ALIVE,
        canaries=_of(Canaries.NOT_USED),
    ),
)
"""The truth table. The first rule that fits decides."""

_DEFAULT = Rule("nothing vouches for its absence", allow=False)


def may_delete(evidence: Evidence, table: Sequence[Rule] = TABLE) -> Verdict:
    """Whether the missing object is gone. Cost: O(rules of the table).

    >>> may_delete(Evidence(absence=Absence.DELETED))
    Yes()
    >>> may_delete(Evidence(absence=Absence.LISTED_WITHOUT, history=History.OTHER, detail="its revision went back"))
    No(reason='this is not the server that filled the table: its revision went back')
    """
    rule = next((rule for rule in table if rule.fits(evidence)), _DEFAULT)
    return Yes() if rule.allow else No(_reason(rule, evidence))


def _reason(rule: Rule, evidence: Evidence) -> str:
    reasons = [rule.why]
    if rule is _DEFAULT:
        reasons = []
        if evidence.history in (History.OTHER, History.UNPROVEN):
            reasons.append("this is not the server that filled the table")
        if evidence.writer in (WriterActivity.UNSEEN, WriterActivity.SILENT):
            reasons.append(f"its writer: {evidence.writer.value}")
        reasons = reasons or [rule.why]
    return ": ".join([", ".join(reasons), *filter(None, [evidence.detail])])
