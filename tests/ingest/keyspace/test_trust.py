"""For how long a replaced etcd's silence does not count."""

from ingest.keyspace.trust import Trust


def test_trust_returns_a_lease_time_after_the_heartbeat_did():
    trust = Trust(900)
    assert trust.reason == ""
    trust.heartbeat(0)
    trust.doubt("replaced")
    assert not trust.restored(5000), "the heartbeat of the old server does not count"
    assert trust.due_in(5000) is None
    trust.heartbeat(5000)
    trust.heartbeat(5060)
    assert trust.due_in(5100) == 800
    assert not trust.restored(5899)
    assert trust.restored(5900)
    assert trust.reason == ""
    assert not trust.restored(6000)


def test_a_heartbeat_that_goes_again_must_return_again():
    trust = Trust(900)
    trust.doubt("replaced")
    trust.heartbeat(100)
    trust.silence()
    assert not trust.restored(2000)
    trust.heartbeat(2000)
    assert trust.restored(2900)


def test_a_second_replacement_begins_the_wait_anew():
    trust = Trust(900)
    trust.doubt("replaced")
    trust.heartbeat(100)
    trust.doubt("replaced again")
    assert not trust.restored(2000)
    assert trust.reason == "replaced again"


def test_an_operator_may_end_the_doubt():
    trust = Trust(900)
    trust.doubt("replaced")
    trust.restore()
    assert trust.reason == ""
