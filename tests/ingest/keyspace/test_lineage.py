"""What tells the etcd we know from one that only stands at its address."""

from typing import NamedTuple

import pytest

from ingest.belief import History
from ingest.keyspace.lineage import Lineage, fingerprint


class Header(NamedTuple):
    cluster_id: int = 7
    revision: int = 100
    raft_term: int = 3


class Kv(NamedTuple):
    key: bytes = b"a"
    value: bytes = b"v"
    mod_revision: int = 115
    create_revision: int = 10


def known() -> Lineage:
    lineage = Lineage()
    lineage.begin(Header())
    lineage.witness(b"a", 118, fingerprint(Kv()))
    lineage.witness(b"b", 119, None)
    lineage.observe(120)
    lineage.observe(110)
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


@pytest.mark.parametrize(
    ("key", "kv", "now", "says"),
    [
        (b"a", Kv(), False, History.SAME),
        (b"a", Kv(mod_revision=90), False, History.OTHER),
        (b"a", Kv(value=b"w"), False, History.OTHER),  # a restored etcd may repeat a revision, with another value
        (b"a", Kv(create_revision=11), False, History.OTHER),
        (b"a", None, False, History.OTHER),
        (b"b", None, False, History.SAME),
        (b"b", Kv(b"b", mod_revision=50), False, History.OTHER),  # a deletion that a backup does not know of
        (b"a", Kv(), True, History.SAME),
        (b"a", Kv(mod_revision=200), True, History.NONE),
        (b"a", None, True, History.NONE),
        (b"a", Kv(mod_revision=90), True, History.OTHER),
        (b"b", Kv(b"b", mod_revision=50), True, History.OTHER),
    ],
)
def test_what_a_witness_says(key: bytes, kv: Kv | None, now: bool, says: History):
    assert known().compare_witness(key, kv, now=now) is says


def test_the_latest_few_are_witnesses():
    lineage = known()
    for number in range(20):
        lineage.witness(b"%d" % number, 200 + number, None)
    assert list(lineage.witnesses.items()) == [(b"%d" % number, 200 + number) for number in range(12, 20)]


def test_a_new_history_forgets_the_old_one():
    lineage = known()
    lineage.begin(Header(8, 1, 1))
    assert lineage.broken_by(Header(8, 1, 1)) == ""
    assert lineage.witnesses == {}
