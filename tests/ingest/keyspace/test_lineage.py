"""What tells the etcd we know from one that only stands at its address."""

from typing import NamedTuple

import pytest

from ingest.keyspace.lineage import Lineage


class Header(NamedTuple):
    cluster_id: int = 7
    revision: int = 100
    raft_term: int = 3


def known() -> Lineage:
    lineage = Lineage()
    lineage.begin(Header())
    lineage.witness(b"a", 10)
    lineage.saw(120)
    lineage.saw(110)
    return lineage


def test_whoever_answers_first_is_believed():
    assert Lineage().broken_by(Header(1, 1, 1)) == ""


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (Header(revision=120), ""),
        (Header(revision=500, raft_term=9), ""),
        (Header(cluster_id=8, revision=500), "its cluster id was 7, is 8"),
        (Header(revision=119), "its revision was 120, is 119"),
        (Header(revision=500, raft_term=2), "its raft term was 3, is 2"),
    ],
)
def test_a_server_is_another_one_when_anything_went_back(header: Header, reason: str):
    assert known().broken_by(header) == reason


def test_a_witness_follows_its_key():
    lineage = known()
    lineage.changed(b"a", 115)
    lineage.changed(b"other", 116)
    assert lineage.contradicted_by(b"a", 115) == ""
    assert lineage.contradicted_by(b"a", 10) == "its history differs at revision 115"
    assert lineage.contradicted_by(b"a", None) == "its history differs at revision 115"
    lineage.changed(b"a", None)
    assert lineage.witnesses == ()


def test_a_new_history_forgets_the_old_one():
    lineage = known()
    lineage.begin(Header(8, 1, 1))
    assert lineage.broken_by(Header(8, 1, 1)) == ""
    assert lineage.witnesses == ()
