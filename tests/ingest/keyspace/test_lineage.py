"""What tells the etcd we know from one that only stands at its address."""

from heapq import nlargest
from itertools import count
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, strategies as st

from ingest.belief import History
from ingest.etcd import DELETE, PUT
from ingest.keyspace.keyspace import _newest, _version
from ingest.keyspace.lineage import WITNESSES, Fingerprint, Lineage, fingerprint


class Header(NamedTuple):
    cluster_id: int = 7
    revision: int = 100
    raft_term: int = 3


class Kv(NamedTuple):
    key: bytes = b"a"
    value: bytes = b"v"
    mod_revision: int = 115
    create_revision: int = 10
    version: int = 1
    lease: int = 0


class Event(NamedTuple):
    type: int
    kv: Kv


def known() -> Lineage:
    lineage = Lineage()
    lineage.begin(Header())
    lineage.witness([(b"a", 118, fingerprint(Kv())), (b"b", 119, None)])
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
        (b"b", None, False, History.OTHER),  # it was not there before its deletion
        (b"b", Kv(b"b", mod_revision=50), False, History.OTHER),  # a deletion that a backup does not know of
        (b"a", Kv(), True, History.SAME),
        (b"a", Kv(mod_revision=200), True, History.UNPROVEN),
        (b"a", None, True, History.UNPROVEN),
        (b"a", Kv(mod_revision=90), True, History.OTHER),
        (b"b", None, True, History.UNPROVEN),
        (b"b", Kv(b"b", mod_revision=50), True, History.OTHER),
    ],
)
def test_what_a_witness_says(key: bytes, kv: Kv | None, now: bool, says: History):
    lineage = Lineage()
    lineage.begin(Header())
    lineage.witness([(key, 119, None if key == b"b" else fingerprint(Kv()))])
    assert lineage.compare(lambda asked, revision: (kv, now)) is says


@pytest.mark.parametrize(("compacted", "says"), [(118, History.SAME), (119, History.UNPROVEN), (120, History.UNPROVEN)])
def test_a_deletion_is_a_witness_where_the_server_had_the_key_until_then(compacted: int, says: History):
    lineage = Lineage()
    lineage.begin(Header())
    lineage.witness([(b"a", 119, None)])
    kvs = {118: Kv(), 119: None, 120: None}
    assert lineage.compare(lambda key, revision: (kvs[max(revision, compacted)], revision < compacted)) is says


def test_without_witnesses_there_is_nothing_to_compare():
    lineage = Lineage()
    lineage.begin(Header())
    assert lineage.compare(lambda key, revision: (None, False)) is History.SAME


@pytest.mark.parametrize(
    ("gone", "says"),
    [
        (b"0", History.SAME),  # it changed before the other one, and was there when that changed
        (b"1", History.SAME),  # the same transaction wrote both
        (b"2", History.UNPROVEN),  # a backup of the moment before has all that is left
    ],
)
def test_a_key_that_is_gone_is_shown_to_be_deleted_only_by_one_that_changed_no_earlier(gone: bytes, says: History):
    lineage = Lineage()
    lineage.begin(Header())
    versions = {b"0": 101, b"1": 102, b"same": 102, b"2": 103}
    kvs = {key: Kv(key, mod_revision=changed) for key, changed in versions.items()}
    lineage.witness([(key, 103, fingerprint(kv)) for key, kv in kvs.items()])
    changed = {key: Kv(key, mod_revision=200) for key in kvs} | {b"same": kvs[b"same"]}
    del changed[gone]
    assert lineage.compare(lambda key, revision: (changed.get(key), True)) is says


class Server:
    """An etcd of a few keys, which can be compacted, and restored from a backup of an earlier revision."""

    def __init__(self) -> None:
        self.revision, self.compacted = 100, 0
        self.values = count()
        self.states: dict[int, dict[bytes, Kv]] = {100: {}}
        self.deleted: dict[bytes, int] = {}

    @property
    def now(self) -> dict[bytes, Kv]:
        return self.states[self.revision]

    def write(self, puts: set[bytes], deletes: set[bytes]) -> None:
        state = {key: kv for key, kv in self.now.items() if key not in deletes}
        self.revision += 1
        for key in puts - deletes:
            created = state[key].create_revision if key in state else self.revision
            state[key] = Kv(key, b"%d" % next(self.values), self.revision, created)
        self.states[self.revision] = state

    def events(self, revision: int) -> list[Event]:
        """What the transaction at a revision has changed."""
        before, after = self.states[revision - 1], self.states[revision]
        puts = [Event(PUT, kv) for key, kv in after.items() if before.get(key) != kv]
        gone = [Event(DELETE, Kv(key, b"", revision, 0)) for key in before.keys() - after.keys()]
        return [*puts, *gone]

    def restore(self, back: int) -> None:
        self.revision = max(100, self.revision - back)

    def look(self, key: bytes, revision: int) -> tuple[Kv | None, bool]:
        is_compacted = revision < self.compacted
        return self.states[self.revision if is_compacted else revision].get(key), is_compacted


KEYS = st.sets(st.sampled_from([b"%d" % number for number in range(12)]), max_size=4)
WRITES = st.lists(st.tuples(KEYS, KEYS), max_size=12)


@given(WRITES, st.booleans(), st.integers(0, 6), WRITES, st.booleans())
@example([({b"0"}, set()), ({b"1"}, set())], False, 1, [(set(), set())] * 2, True)
@example(
    [({b"0"}, set()), ({b"%d" % n for n in range(1, 10)}, set()), ({b"0"}, set())], False, 2, [({b"0"}, set())], True
)
def test_a_history_that_counts_as_the_same_has_lost_no_key_that_was_known(
    before: list[tuple[set[bytes], set[bytes]]],
    is_listed: bool,
    back: int,
    since: list[tuple[set[bytes], set[bytes]]],
    is_compacted: bool,
):
    server, lineage = Server(), Lineage()
    lineage.begin(Header())
    for puts, deletes in before:
        had = server.now
        server.write(puts, deletes)
        gone: list[tuple[bytes, int, Fingerprint]] = [
            (key, server.revision, None) for key in had.keys() - server.now.keys()
        ]
        put = [(key, server.revision, fingerprint(server.now[key])) for key in puts - deletes]
        if not is_listed:
            lineage.witness([*gone, *put])
    known, at = server.now, server.revision
    if is_listed:
        newest = sorted(known.values(), key=lambda kv: kv.mod_revision)[-WITNESSES:]
        lineage.witness([(kv.key, at, fingerprint(kv)) for kv in newest])
    server.restore(back)
    restored = server.revision
    was_there = {
        key
        for revision in range(100, restored + 1)
        for key, kv in server.states[revision].items()
        if known.get(key) == kv
    }
    for puts, deletes in since:
        server.write(puts, deletes)
        was_there |= {key for key in known if key in puts - deletes}
    server.compacted = server.revision if is_compacted else 0
    if server.revision < at or lineage.compare(server.look) is not History.SAME:
        return
    missing = known.keys() - server.now.keys()
    assert missing <= was_there


class Reader:
    """What `Keyspace` tells a lineage: lists and batches of two prefixes, each up to a revision of its own."""

    def __init__(self, server: Server) -> None:
        self.server, self.lineage = server, Lineage()
        self.lineage.begin(Header())
        self.known = {b"0": 0, b"1": 0}

    def read(self, prefix: bytes) -> None:
        """List the prefix, or take one batch with all that has changed since."""
        server, known = self.server, self.known[prefix]
        if known:
            events = [event for revision in range(known + 1, server.revision + 1) for event in server.events(revision)]
            batch: list[Any] = [event for event in events if event.kv.key.startswith(prefix)]
            self.lineage.witness([_version(event) for event in _newest(batch)])
        else:
            kvs = [kv for key, kv in server.now.items() if key.startswith(prefix)]
            newest = nlargest(WITNESSES, kvs, key=lambda kv: kv.mod_revision)
            self.lineage.witness([(kv.key, server.revision, fingerprint(kv)) for kv in newest])
        self.known[prefix] = server.revision
        self.lineage.observe(server.revision)

    @property
    def rows(self) -> dict[bytes, Kv]:
        """What it knows: each prefix as it was when it was read last."""
        states = self.server.states
        return {k: kv for each, at in self.known.items() if at for k, kv in states[at].items() if k.startswith(each)}


READS = st.sets(st.sampled_from([b"0", b"1"]), max_size=2)
TWO_PREFIXES = st.sets(st.sampled_from([b"%d%d" % (n % 2, n) for n in range(24)]), max_size=12)
ROUNDS = st.lists(st.tuples(TWO_PREFIXES, TWO_PREFIXES, READS), max_size=12)


NINE = {b"0%d" % (2 * n) for n in range(9)}


@given(ROUNDS, st.lists(st.tuples(TWO_PREFIXES, TWO_PREFIXES), max_size=6))
@example([(set(), set(), {b"0"}), (NINE, set(), {b"0"}), (set(), NINE, {b"0"})], [])
def test_an_etcd_that_was_only_away_is_the_same_whatever_was_deleted_meanwhile(
    rounds: list[tuple[set[bytes], set[bytes], set[bytes]]], away: list[tuple[set[bytes], set[bytes]]]
):
    server = Server()
    reader = Reader(server)
    for puts, deletes, reads in rounds:
        server.write(puts, deletes)
        for prefix in reads:
            reader.read(prefix)
    for puts, deletes in away:
        server.write(puts, deletes)
    assert reader.lineage.compare(server.look) is History.SAME


@given(ROUNDS, st.integers(1, 6), st.lists(st.tuples(TWO_PREFIXES, TWO_PREFIXES), max_size=12), st.integers(0, 20))
@example([({b"00"}, set(), {b"0"}), ({b"02"}, set(), {b"0"})], 1, [({b"11"}, set())] * 2, 20)
def test_prefixes_that_were_read_at_different_times_lose_no_key_to_a_backup(
    rounds: list[tuple[set[bytes], set[bytes], set[bytes]]],
    back: int,
    since: list[tuple[set[bytes], set[bytes]]],
    compacted: int,
):
    server = Server()
    reader = Reader(server)
    for puts, deletes, reads in rounds:
        server.write(puts, deletes)
        for prefix in reads:
            reader.read(prefix)
    rows, at = reader.rows, max(100, *reader.known.values())
    server.restore(back)
    was_there = {key for key, kv in rows.items() if kv.mod_revision <= server.revision}
    for puts, deletes in since:
        server.write(puts, deletes)
        was_there |= puts - deletes
    server.compacted = min(100 + compacted, server.revision)
    if server.revision >= at and reader.lineage.compare(server.look) is History.SAME:
        assert rows.keys() - server.now.keys() <= was_there


def test_many_deletions_and_a_compaction_leave_the_same_server_the_same():
    """The last eight changes were deletions, which show nothing then. All later deletes waited, where no heartbeat is
    written for ever.
    """
    server = Server()
    reader = Reader(server)
    keys = [b"0%d" % number for number in range(20)]
    server.write(set(keys), set())
    reader.read(b"0")
    for key in keys[:12]:
        server.write(set(), {key})
        reader.read(b"0")
    server.write(set(), {keys[12]})
    server.compacted = server.revision
    assert reader.lineage.compare(server.look) is History.SAME
    reader.server.write(set(), set(keys))
    server.compacted = server.revision
    assert reader.lineage.compare(server.look) is History.UNPROVEN


def test_the_keys_that_changed_last_are_witnesses():
    lineage = known()
    for number in range(20):
        lineage.witness([(b"%d" % number, 200 + number, None)])
    assert lineage.witnesses == {b"a": 118} | {b"%d" % number: 200 + number for number in range(12, 20)}


def test_a_list_of_keys_that_changed_long_ago_displaces_no_witness():
    lineage = known()
    lineage.witness([(b"old %d" % number, 120, fingerprint(Kv(mod_revision=number))) for number in range(20)])
    assert lineage.witnesses.keys() >= {b"a", b"b"}
    assert len(lineage.witnesses) == 9  # eight that are there, and the deletion


def test_a_new_history_forgets_the_old_one():
    lineage = known()
    lineage.begin(Header(8, 1, 1))
    assert lineage.broken_by(Header(8, 1, 1)) == ""
    assert lineage.witnesses == {}


def test_an_event_that_a_list_has_overtaken_displaces_no_witness():
    """Else a backup without the newer change would have all that is remembered."""
    lineage = known()
    lineage.witness([(b"a", 140, fingerprint(Kv(mod_revision=130)))])
    lineage.witness([(b"a", 125, fingerprint(Kv(mod_revision=125))), (b"a", 126, None)])
    assert lineage.witnesses[b"a"] == 140
