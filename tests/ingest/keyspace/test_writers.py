"""What canaries say of an etcd that was restored from a backup, where the model of histories does not reach."""

import msgspec
import pytest

from ingest.belief import Absence, History, Yes
from ingest.keyspace.writers import Writers

FEED, CANARY, HEARTBEAT = "ip", b"canary", b"heartbeat"


class Kv(msgspec.Struct):
    key: bytes
    mod_revision: int
    lease: int
    value: bytes = b""
    create_revision: int = 1
    version: int = 1


class Source:
    """The writers as a source on some etcd sees them: each connection lists, and lacks a row."""

    def __init__(self) -> None:
        self.writers = Writers(heartbeat_timeout_s=60, lease_time_s=900)
        self.now = 0.0

    def connect(self, etcd: int, history: History, canary: Kv) -> None:
        self.now += 1
        self.writers.connected(etcd, Kv(HEARTBEAT, 1, 1), self.now)
        self.writers.identified(history, "", [FEED])
        self.writers.canary_found(canary, self.now, [(FEED, (CANARY,))], written=False)

    def beat(self, lease: int) -> None:
        self.now += 1
        self.writers.beat(Kv(HEARTBEAT, int(100 + self.now), lease), self.now)

    @property
    def believes(self) -> bool:
        return isinstance(self.writers.verdict(FEED, (CANARY,), None, self.now), Yes)


@pytest.mark.parametrize(
    ("of_backup", "believed"),
    [
        (Kv(CANARY, 40, lease=7), False),  # the lease has the number that the other etcd gave it
        (Kv(CANARY, 40, lease=8), True),  # a replica that was filled in the same number of steps
        (Kv(CANARY, 41, lease=7), True),  # written again since
    ],
)
def test_a_backup_under_another_id_is_not_a_replica(of_backup: Kv, believed: bool):
    source = Source()
    source.connect(1, History.NONE, Kv(CANARY, 40, lease=7))
    source.writers.mark_known()
    source.connect(2, History.OTHER, of_backup)
    source.beat(of_backup.lease)
    assert source.believes is believed


def test_nor_is_it_when_a_replica_was_read_in_between():
    source = Source()
    source.connect(1, History.NONE, Kv(CANARY, 40, lease=7))
    source.connect(2, History.OTHER, Kv(CANARY, 30, lease=9))
    source.connect(3, History.OTHER, Kv(CANARY, 40, lease=7))
    source.beat(7)
    assert not source.believes
    source.now += 900  # by now it has written all of its keys again
    assert source.believes


def test_nor_is_one_that_has_the_canary_that_was_lost_before_a_restart():
    """The dump named only canaries that were there. So that of the backup looked like one of a replica."""
    source, after = Source(), Source()
    source.connect(1, History.NONE, Kv(CANARY, 40, lease=7))
    source.writers.mark_known()
    source.writers.canary_lost(CANARY)
    after.writers.inherit(source.writers.canaries_known())
    after.connect(1, History.OTHER, Kv(CANARY, 40, lease=7))
    after.beat(7)
    assert not after.believes


def test_nor_is_a_copy_that_was_believed_before_a_restart():
    source, after = Source(), Source()
    source.connect(1, History.NONE, Kv(CANARY, 40, lease=7))
    source.connect(2, History.OTHER, Kv(CANARY, 40, lease=7))
    source.writers.mark_known()
    after.writers.inherit(source.writers.canaries_known())
    after.connect(2, History.OTHER, Kv(CANARY, 40, lease=7))
    after.beat(7)
    assert not after.believes


def test_a_canary_that_was_lost_before_a_restart_and_is_there_again_counts_as_new():
    source, after = Source(), Source()
    source.connect(1, History.NONE, Kv(CANARY, 40, lease=7))
    source.writers.canary_lost(CANARY)
    after.writers.inherit(source.writers.canaries_known())
    after.connect(1, History.SAME, Kv(CANARY, 60, lease=8))
    assert after.writers.verdict(FEED, (CANARY,), Absence.EXPIRED, after.now) == Yes()


def test_a_canary_that_the_writer_of_a_backup_writes_again_counts():
    source = Source()
    source.connect(1, History.NONE, Kv(CANARY, 40, lease=7))
    source.connect(2, History.OTHER, Kv(CANARY, 40, lease=7))
    source.writers.canary_found(Kv(CANARY, 60, lease=7), source.now, [(FEED, (CANARY,))], written=True)
    assert source.believes


def test_a_prefix_that_is_read_anew_is_no_sign_of_life():
    """Its count of writes begins at 0 again. That differed from the last count, and counted as a write."""
    writers = Writers(heartbeat_timeout_s=60, lease_time_s=900)
    writers.connected(1, None, 0.0)
    writers.identified(History.NONE, "", [FEED])
    writers.observe_writes(FEED, 5, 0, 1.0)
    writers.mark_known()
    writers.connected(2, None, 2.0)
    writers.identified(History.OTHER, "it is another one", [FEED])
    writers.observe_writes(FEED, 0, 0, 3.0)
    assert not isinstance(writers.verdict(FEED, (), None, 2000.0), Yes)
    writers.observe_writes(FEED, 1, 0, 4.0)
    assert isinstance(writers.verdict(FEED, (), None, 2000.0), Yes)


def test_signs_of_life_from_before_a_config_say_nothing_of_the_form_that_it_announces():
    """A doubt of a form that was not announced any more went on, and its writer had caught up long before."""
    source = Source()
    source.connect(1, History.NONE, Kv(CANARY, 40, lease=7))
    source.writers.mark_known()
    source.writers.start_doubt(FEED, Absence.EXPIRED)
    source.beat(7)
    source.now += 1000
    assert source.believes
    source.connect(1, History.SAME, Kv(CANARY, 40, lease=7))
    source.writers.require_newer(FEED, (CANARY,), 50)
    source.beat(7)
    assert not source.believes
    source.writers.canary_found(Kv(CANARY, 51, lease=7), source.now, [(FEED, (CANARY,))], written=True)
    assert source.believes
