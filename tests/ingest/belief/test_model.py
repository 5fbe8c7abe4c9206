"""Histories of etcds and their writers against what was truly deleted: no false delete, and every true one in time.

The source of this model gathers evidence as `ClusterSource` does, with the same `Writers`; etcds, writers, leases and
time are the model's. A writer that begins gives a sign of life first, then writes its keys, and the canary last, under
a lease of its own. One that has lived on while its etcd was away has its lease of before, which a backup may have too:
where a key is missing, it deletes the canary before it gives a sign of life. One that is unaware of a backup gives
signs of life, and writes what is missing some time later. An etcd without a heartbeat has no cluster config either: the
source waits for its writer.
"""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given, settings, strategies as st

from ingest.belief import Absence, History, Yes
from ingest.keyspace.writers import Writers

FEED, CANARY, HEARTBEAT = "ip", b"canary", b"heartbeat"
CANARIES = (CANARY,)
LEASE_TIME_S = 20.0
PERIOD_S = 5.0


class Kv(msgspec.Struct):
    """A key of an etcd."""

    key: bytes
    mod_revision: int
    lease: int
    value: bytes = b""
    create_revision: int = 1
    version: int = 1


class Etcd:
    """One server, and its one writer."""

    def __init__(self, number: int) -> None:
        self.id = number + 1
        self.revision = 1
        self.keys: set[int] = set()
        self.special: dict[bytes, Kv] = {}
        self.gone: dict[int, Absence] = {}
        self.writer_lives = self.writer_is_unaware = False
        self.is_compacted = False
        self.lease = 0
        self.history = 0
        self.backup: tuple[set[int], dict[bytes, Kv]] = (set(), {})


class Source:
    """What `ClusterSource`, its session and its keyspace do of it, without a server."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.writers = Writers(heartbeat_timeout_s=3 * PERIOD_S, lease_time_s=LEASE_TIME_S)
        self.rows: set[int] = set()
        self.withheld: set[int] = set()
        self.etcd: Etcd | None = None
        self.known: tuple[int, int] | None = None
        self.listed = self.due = self.waits = False
        self.changes = self.lease = 0

    def connect(self, etcd: Etcd) -> None:
        now, writers = self.world.now, self.writers
        self.etcd = etcd
        writers.connected(etcd.id, etcd.special.get(HEARTBEAT), now)
        self.waits = HEARTBEAT not in etcd.special
        if self.waits:
            if writers.has_known_canaries:
                writers.canaries_lost_except(etcd.special.keys())
        else:
            self.admit(etcd)

    def admit(self, etcd: Etcd) -> None:
        now, writers = self.world.now, self.writers
        self.waits = False
        identity = (etcd.id, etcd.history)
        other = History.UNPROVEN if etcd.is_compacted and self.known == (etcd.id, etcd.history - 1) else History.OTHER
        history = History.NONE if self.known is None else History.SAME if self.known == identity else other
        self.known = identity
        writers.identified(history, "", [FEED])
        self.due = True
        if CANARY in etcd.special:
            writers.canary_found(etcd.special[CANARY], now, [(FEED, CANARIES)], written=False)
        self.settle()

    def settle(self) -> None:
        now, writers = self.world.now, self.writers
        if self.waits:
            return
        self.list()
        writers.observe_writes(FEED, self.changes, self.lease, now)
        if not self.withheld:
            writers.nothing_withheld(FEED)
            if not self.due:
                writers.mark_known()
        elif isinstance(writers.verdict(FEED, CANARIES, None, now), Yes):
            self.due = True
            self.list()

    def list(self) -> None:
        etcd, writers = self.etcd, self.writers
        if etcd is None or self.waits or not self.due or writers.missing(CANARIES):
            return
        missing = self.rows - etcd.keys
        history = None if self.listed else History.NONE
        believed = isinstance(writers.verdict(FEED, CANARIES, None, self.world.now, history=history), Yes)
        start_doubt = set() if believed else set(missing)
        if missing and writers.explains_lists(FEED):
            for name in missing:
                absence = etcd.gone.get(name)
                if absence is not None:
                    start_doubt.discard(name)
                    start_doubt |= set() if self._believes(absence) else {name}
        self._delete(missing - start_doubt)
        self.rows |= etcd.keys
        self.withheld = start_doubt
        self.listed, self.due = True, False

    @property
    def follows(self) -> bool:
        return self.listed and not self.due and not self.waits

    def put(self, name: int, lease: int) -> None:
        if self.follows:
            self.rows.add(name)
            self.withheld.discard(name)
            self.changes += 1
            self.lease = lease

    def deleted(self, names: set[int], absence: Absence) -> None:
        names = names & self.rows if self.follows else set()
        if names and self._believes(absence):
            self._delete(names)
        else:
            self.withheld |= names

    def _believes(self, absence: Absence) -> bool:
        if absence is not Absence.DELETED:
            self.writers.start_doubt(FEED, absence)
        verdict = self.writers.verdict(FEED, CANARIES, absence, self.world.now, history=History.SAME)
        return isinstance(verdict, Yes)

    def _delete(self, names: set[int]) -> None:
        false = names & self.world.truth
        assert not false, f"deleted, and still there: {false}"
        self.rows -= names
        self.withheld -= names


class World:
    """Two etcds, replicas that know nothing of each other, and what is true of the cluster."""

    def __init__(self) -> None:
        self.now = 1.0
        self.truth: set[int] = set()
        self._leases = 0
        self.etcds = [Etcd(0), Etcd(1)]
        self.source = Source(self)
        for etcd in self.etcds:
            self.returns(etcd)

    # --- what may happen ----------------------------------------------------------------------------------------------

    def create(self, name: int) -> None:
        self.truth.add(name)
        for etcd in self.etcds:
            if etcd.writer_lives:
                self._put(etcd, name)

    def remove(self, name: int) -> None:
        self.truth.discard(name)
        for etcd in self.etcds:
            if etcd.writer_lives:
                self._remove(etcd, name)

    def dies(self, etcd: Etcd) -> None:
        etcd.writer_lives = etcd.writer_is_unaware = False

    def expires(self, etcd: Etcd) -> None:
        """The lease of a writer that died ends, with all keys on it, in any order."""
        if etcd.writer_lives:
            return
        keys, etcd.keys = etcd.keys, set()
        etcd.gone.update(dict.fromkeys(keys, Absence.EXPIRED))
        etcd.special.clear()
        etcd.revision += 1
        if self._hears(etcd):
            first, second = {name for name in keys if name % 2}, {name for name in keys if not name % 2}
            self.source.deleted(first, Absence.EXPIRED)
            self.source.writers.canary_lost(CANARY)
            self.source.deleted(second, Absence.EXPIRED)

    def returns(self, etcd: Etcd) -> None:
        """A writer begins: a sign of life, keys one by one, then the canary."""
        if not etcd.writer_lives:
            self._leases += 1
            etcd.lease = self._leases
            self._writes(etcd)

    def lives_on(self, etcd: Etcd) -> None:
        """The writer of before is back, with its lease: for it, only the etcd was away."""
        if not etcd.writer_lives:
            self._writes(etcd)

    def is_unaware(self, etcd: Etcd) -> None:
        """The writer of before goes on and has not noticed that its etcd was away."""
        if CANARY in etcd.special and self.source.known in (None, (etcd.id, etcd.history), (etcd.id, etcd.history - 1)):
            etcd.writer_lives = etcd.writer_is_unaware = True

    def _writes(self, etcd: Etcd) -> None:
        if self.truth - etcd.keys and etcd.special.pop(CANARY, None) is not None:
            etcd.revision += 1
            if self._hears(etcd):
                self.source.writers.canary_lost(CANARY)
        self._beat(etcd)
        self.source.settle()
        self._repairs(etcd)
        etcd.revision += 1
        etcd.special[CANARY] = Kv(CANARY, etcd.revision, etcd.lease)
        if self._hears(etcd):
            self.source.writers.canary_found(etcd.special[CANARY], self.now, [(FEED, CANARIES)], written=True)
        self._beat(etcd)
        etcd.writer_lives = True

    def _repairs(self, etcd: Etcd) -> None:
        for name in self.truth - etcd.keys:
            self._put(etcd, name)
            self.source.settle()
        for name in etcd.keys - self.truth:
            self._remove(etcd, name)

    def beats(self) -> None:
        self.now += PERIOD_S
        for etcd in self.etcds:
            if etcd.writer_lives:
                self._beat(etcd)
                self.source.settle()
            if etcd.writer_is_unaware:
                etcd.writer_is_unaware = False
                self._repairs(etcd)

    def connects(self, etcd: Etcd) -> None:
        self.source.connect(etcd)

    def loses(self) -> None:
        self.source.etcd = None

    def compacts(self, etcd: Etcd) -> None:
        """Why keys are gone is not known any more, nor whether the etcd is that of before."""
        etcd.gone.clear()
        etcd.is_compacted = True

    def backs_up(self, etcd: Etcd) -> None:
        etcd.backup = set(etcd.keys), dict(etcd.special)

    def restores(self, etcd: Etcd) -> None:
        """From its backup: keys, canary and heartbeat are as they were. Nobody writes until the writer is back."""
        keys, special = etcd.backup
        self._is_replaced(etcd)
        etcd.keys, etcd.special = set(keys), dict(special)

    def empties(self, etcd: Etcd) -> None:
        """Its data is lost; its id is the same, and its revisions begin anew."""
        self._is_replaced(etcd)
        etcd.keys, etcd.special, etcd.revision = set(), {}, 1

    def _is_replaced(self, etcd: Etcd) -> None:
        self.dies(etcd)
        etcd.history += 1
        etcd.gone.clear()
        etcd.is_compacted = False
        if self._hears(etcd):
            self.loses()

    # --- how it comes about -------------------------------------------------------------------------------------------

    def _hears(self, etcd: Etcd) -> bool:
        return self.source.etcd is etcd

    def _put(self, etcd: Etcd, name: int) -> None:
        etcd.revision += 1
        etcd.keys.add(name)
        etcd.gone.pop(name, None)
        if self._hears(etcd):
            self.source.put(name, etcd.lease)

    def _remove(self, etcd: Etcd, name: int) -> None:
        if name not in etcd.keys:
            return
        etcd.revision += 1
        etcd.keys.discard(name)
        etcd.gone[name] = Absence.DELETED
        if self._hears(etcd):
            self.source.deleted({name}, Absence.DELETED)

    def _beat(self, etcd: Etcd) -> None:
        etcd.revision += 1
        etcd.special[HEARTBEAT] = Kv(HEARTBEAT, etcd.revision, etcd.lease)
        if self._hears(etcd):
            self.source.writers.beat(etcd.special[HEARTBEAT], self.now)
            if self.source.waits:
                self.source.admit(etcd)


KEPT = [("connects", 0), ("backs_up", 0), ("create", 0)]
"""What the backup lacks."""
LOST = [*KEPT, ("dies", 0), ("expires", 0)]
"""A source saw the canary go. If the backup is restored now, that brings it back."""

names = st.integers(0, 5)
steps = st.one_of(
    st.tuples(st.sampled_from(["create", "remove"]), names),
    st.tuples(
        st.sampled_from(
            [
                "dies",
                "expires",
                "returns",
                "lives_on",
                "is_unaware",
                "connects",
                "connects",
                "compacts",
                "backs_up",
                "restores",
                "empties",
            ]
        ),
        st.integers(0, 1),
    ),
    st.tuples(st.sampled_from(["beats", "loses"])),
)
histories = st.lists(steps, max_size=40)


def play(history: list[tuple[str, ...]]) -> None:
    """No delete that is false; and one lease time and two beats after all writers are back, all is right."""
    world = World()
    for step, *what in history:
        arguments = what if step in ("create", "remove") else [world.etcds[int(each)] for each in what]
        getattr(world, step)(*arguments)
        world.source.settle()
    for etcd in world.etcds:
        world.returns(etcd)
        world.source.settle()
    if world.source.etcd is None:
        world.connects(world.etcds[0])
    for _ in range(int(LEASE_TIME_S / PERIOD_S) + 2):
        world.beats()
        world.source.settle()
    assert world.source.rows == world.truth
    assert not world.source.withheld


@settings(max_examples=500)
@given(histories)
@example([("connects", 0), ("backs_up", 0), ("create", 0), ("restores", 0), ("connects", 0), ("lives_on", 0)])
@example([*LOST, ("restores", 0), ("connects", 0)])
@example([*KEPT, ("empties", 0), ("connects", 0), ("restores", 0), ("connects", 0)])
@example([*KEPT, ("restores", 0), ("is_unaware", 0), ("compacts", 0), ("connects", 0), ("beats",)])
@example([("dies", 0), ("create", 0), ("create", 1), ("connects", 1), ("connects", 0)])  # the first key it writes again
def test_no_delete_is_false_and_every_true_one_is_believed_in_time(history: list[tuple[str, ...]]):
    play(history)


@pytest.mark.stress
@settings(max_examples=20_000)
@given(histories)
def test_no_delete_is_false_in_many_histories(history: list[tuple[str, ...]]):
    play(history)
