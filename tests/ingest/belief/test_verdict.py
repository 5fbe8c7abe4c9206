"""The truth table: each row has the history that made it necessary, and a change of any row is noticed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest

from ingest.belief import (
    TABLE,
    Absence,
    Canaries,
    Evidence,
    History,
    No,
    Rule,
    Verdict,
    WriterActivity,
    Yes,
    may_delete,
)

GONE = (Absence.EXPIRED, Absence.UNEXPLAINED)
ALIVE = (WriterActivity.ACTS, WriterActivity.CAUGHT_UP, WriterActivity.RESYNCED)
IDLE = (WriterActivity.UNSEEN, WriterActivity.SILENT)


def of(absence: Absence, **others: Any) -> Evidence:
    return Evidence(absence=absence, **others)


def listed(**others: Any) -> Evidence:
    return of(Absence.LISTED_WITHOUT, **others)


BELIEVED: list[tuple[str, Evidence]] = [
    (
        "the operator accepted an emptied etcd",
        listed(history=History.OTHER, writer=WriterActivity.SILENT, accepted=True),
    ),
    ("and one whose canaries are gone", of(Absence.EXPIRED, canaries=Canaries.MISSING, accepted=True)),
    ("the operator accepted that a CRD is gone", of(Absence.UNSERVED, accepted=True)),
    ("a pod was deleted", of(Absence.DELETED)),
    ("while its writer was silent", of(Absence.DELETED, writer=WriterActivity.SILENT)),
    ("while a canary was missing", of(Absence.DELETED, canaries=Canaries.MISSING, writer=WriterActivity.UNSEEN)),
    ("the first list of an empty table", listed(history=History.NONE, writer=WriterActivity.UNSEEN)),
    ("it has not all canaries", listed(history=History.NONE, writer=WriterActivity.SILENT, canaries=Canaries.MISSING)),
    ("the node's lease ended", of(Absence.EXPIRED)),
    ("the node's lease ended while we were away, and that is compacted", of(Absence.UNEXPLAINED)),
    ("a node went in the first second", of(Absence.EXPIRED, history=History.NONE)),
    ("and that is compacted", of(Absence.UNEXPLAINED, history=History.NONE)),
    ("a list after a compaction", listed()),
    (
        "the writer was away, and wrote all anew",
        of(Absence.EXPIRED, writer=WriterActivity.RESYNCED, canaries=Canaries.PRESENT),
    ),
    *[
        (f"one lease time later, {absence} {canaries}", of(absence, writer=WriterActivity.CAUGHT_UP, canaries=canaries))
        for absence in (*GONE, Absence.LISTED_WITHOUT, Absence.UNREAD)
        for canaries in (Canaries.NOT_USED, Canaries.PRESENT, Canaries.OUTDATED)
    ],
    *[
        (
            f"fail-over to a replica whose writer lives {writer}",
            listed(history=history, writer=writer, canaries=Canaries.PRESENT),
        )
        for writer in ALIVE
        for history in (History.OTHER, History.SAME, History.UNPROVEN)
    ],
    *[(f"the same etcd, no canaries {writer}", listed(history=History.SAME, writer=writer)) for writer in ALIVE[:2]],
    ("all canaries of none", listed(history=History.SAME, writer=WriterActivity.RESYNCED)),
]
"""By what happened."""

DOUBTED: list[tuple[str, Evidence]] = [
    ("an API server restored from a backup", listed(history=History.OTHER)),
    ("all witnesses are compacted", listed(history=History.UNPROVEN)),
    ("a list with objects that cannot be told apart", of(Absence.UNREAD)),
    *[
        (f"its CRD is gone, or an older backup was restored {history}", of(Absence.UNSERVED, history=history))
        for history in History
    ],
    ("its writer has had the time", of(Absence.UNSERVED, writer=WriterActivity.CAUGHT_UP)),
    ("a canary is missing", of(Absence.UNSERVED, canaries=Canaries.MISSING)),
    ("that is the first one", of(Absence.UNREAD, history=History.NONE)),
    ("of a writer that lives", of(Absence.UNREAD, writer=WriterActivity.ACTS)),
    ("and has canaries", of(Absence.UNREAD, writer=WriterActivity.ACTS, canaries=Canaries.PRESENT)),
    ("canaries alone vouch for nothing", listed(history=History.OTHER, canaries=Canaries.PRESENT)),
    (
        "a lease ended before the first list did",
        of(Absence.EXPIRED, history=History.NONE, writer=WriterActivity.UNSEEN),
    ),
    ("and that is compacted", of(Absence.UNEXPLAINED, history=History.NONE, writer=WriterActivity.UNSEEN)),
    *[
        (f"a kvstore of another history, {absence}", of(absence, history=history))
        for absence in GONE
        for history in (History.OTHER, History.UNPROVEN)
    ],
    *[
        (f"its lease ended {writer} {canaries}", of(absence, writer=writer, canaries=canaries))
        for absence in GONE
        for writer in (*IDLE, WriterActivity.ACTS)
        for canaries in (Canaries.NOT_USED, Canaries.PRESENT)
    ],
    *[
        (
            f"a backup whose writer has not come to write what is lost {absence} {writer} {history}",
            of(absence, history=history, writer=writer, canaries=Canaries.OUTDATED),
        )
        for absence in (*GONE, Absence.LISTED_WITHOUT)
        for history in (History.SAME, History.OTHER, History.UNPROVEN)
        for writer in (WriterActivity.ACTS, WriterActivity.RESYNCED)
    ],
    *[
        (f"written anew, but it has no canaries {absence}", of(absence, writer=WriterActivity.RESYNCED))
        for absence in GONE
    ],
    *[
        (
            f"a new replica is half filled {absence} {writer}",
            of(absence, writer=writer, canaries=Canaries.MISSING, history=history),
        )
        for absence in (*GONE, Absence.LISTED_WITHOUT, Absence.UNREAD)
        for writer in WriterActivity
        for history in (History.SAME, History.OTHER, History.UNPROVEN)
    ],
    *[
        (f"a replica whose writer died {writer} {history}", listed(history=history, writer=writer, canaries=canaries))
        for writer in IDLE
        for history in (History.SAME, History.OTHER, History.UNPROVEN)
        for canaries in (Canaries.NOT_USED, Canaries.PRESENT)
    ],
    *[
        (f"another etcd without canaries {history}", listed(history=history, writer=writer))
        for history in (History.OTHER, History.UNPROVEN)
        for writer in (WriterActivity.ACTS, WriterActivity.RESYNCED)
    ],
]


def wrong(table: Sequence[Rule]) -> Iterator[str]:
    """The histories that a table judges in another way than it should, in its verdict or its reason."""
    for expected, cases in ((Yes, BELIEVED), (No, DOUBTED)):
        for what, evidence in cases:
            verdict = may_delete(evidence, table)
            if not isinstance(verdict, expected) or verdict != _right(evidence, expected):
                yield what


def _right(evidence: Evidence, expected: type[Verdict]) -> Verdict:
    """The verdict with the reason that an operator should read."""
    if expected is Yes:
        return Yes()
    if evidence.absence is Absence.UNSERVED:
        return No("its resource is not served any more, which says nothing of its objects")
    if evidence.canaries is Canaries.MISSING:
        return No("its writer has not finished: a canary is missing")
    if evidence.absence in GONE:
        return No("its lease ended, and its writer has not written it again")
    told = []
    if evidence.history in (History.OTHER, History.UNPROVEN):
        told.append("this is not the server that filled the table")
    if evidence.writer in IDLE:
        told.append(f"its writer: {evidence.writer.value}")
    return No(", ".join(told) or "nothing vouches for its absence")


@pytest.mark.parametrize(("what", "evidence"), BELIEVED)
def test_what_is_gone(what: str, evidence: Evidence):
    assert may_delete(evidence) == Yes()


@pytest.mark.parametrize(("what", "evidence"), DOUBTED)
def test_what_may_still_be_there(what: str, evidence: Evidence):
    assert may_delete(evidence) == _right(evidence, No)


def mutants() -> Iterator[tuple[str, tuple[Rule, ...]]]:
    """The table with one row left out, turned round, or with one condition dropped, widened or narrowed by a value."""
    for place, rule in enumerate(TABLE):
        before, after = TABLE[:place], TABLE[place + 1 :]
        yield f"{rule.why}: left out", (*before, *after)
        yield f"{rule.why}: turned round", (*before, msgspec.structs.replace(rule, allow=not rule.allow), *after)
        for field in ("absence", "history", "writer", "canaries", "accepted"):
            condition = getattr(rule, field)
            if condition is None:
                continue
            others: list[Any] = [None]
            if field != "accepted":
                others += [condition - {value} for value in condition if len(condition) > 1]
                others += [condition | {value} for value in type(next(iter(condition))) if value not in condition]
            for other in others:
                name = f"{rule.why}: {field} {other}"
                yield name, (*before, msgspec.structs.replace(rule, **{field: other}), *after)


def test_a_change_of_any_row_is_noticed():
    assert list(wrong(TABLE)) == []
    unnoticed = [name for name, table in mutants() if not any(wrong(table)) and _differs(table)]
    assert unnoticed == []


def _differs(table: Sequence[Rule]) -> bool:
    """Whether there is any evidence at all that this table judges in another way."""
    return any(
        may_delete(evidence, table) != may_delete(evidence)
        for absence in Absence
        for history in History
        for writer in WriterActivity
        for canaries in Canaries
        for accepted in (False, True)
        for evidence in [of(absence, history=history, writer=writer, canaries=canaries, accepted=accepted)]
    )
