"""A writer that is away for longer than its lease time: its etcd loses all keys, and no row goes for that."""

from ingest.clustermesh.away import Away
from ingest.etcd.local import LocalEtcd

from ..kvstore_rig import Deletions
from .publisher import Publisher, Rig, ip_entry
from .test_outages import gone

TIMEOUT_S = 0.5


def expire(publisher: Publisher) -> None:
    """As when nobody renews the lease: the etcd deletes all keys on it, in one revision."""
    publisher.client.revoke(publisher.lease)


def test_keys_that_expire_with_their_writer_take_no_rows_and_go_when_it_is_back(server: LocalEtcd):
    with Publisher(server) as publisher:
        publisher.lease = publisher.client.grant(600)
        publisher.publish(range(20))
        with Rig(server.endpoint, heartbeat_timeout_s=TIMEOUT_S) as rig, Deletions(rig.db) as deletions:
            rig.synced()
            rig.until(lambda s: "its writer is silent" in rig.row(snapshot=s).last_error)
            expire(publisher)
            rig.until(lambda s: "waiting for cilium/cluster-config/cluster3" in rig.row(snapshot=s).last_error)
            assert rig.row().state == "stale"
            assert rig.numbers() == set(range(20))
            publisher.lease = publisher.client.grant(600)
            publisher.beat()
            publisher.configure()
            publisher.endpoints(range(18))  # two went while it was away
            rig.until(lambda s: "waiting for cilium/synced/" in rig.row(snapshot=s).last_error)
            assert deletions.now() == set()
            publisher.sync()
            rig.until(lambda s: rig.numbers(s) == set(range(18)))
            publisher.beat()
            rig.synced()
            assert deletions.now() == gone(18, 19)


def test_all_keys_at_once_the_heartbeat_among_them(server: LocalEtcd):
    """The silence was not long enough to be told: the end of the heartbeat's own lease says the same."""
    with Publisher(server) as publisher:
        publisher.lease = publisher.client.grant(600)
        publisher.publish(range(20))
        with Rig(server.endpoint, heartbeat_timeout_s=600.0) as rig, Deletions(rig.db) as deletions:
            rig.synced()
            publisher.delete("cilium/.heartbeat")
            rig.until(lambda s: True)
            publisher.endpoints([20])
            rig.until(
                lambda s: 20 in rig.numbers(s)
            )  # the heartbeat's end has been seen by now, or comes with the rest
            expire(publisher)
            publisher.lease = publisher.client.grant(600)
            publisher.publish(range(21))
            publisher.beat()
            rig.synced()
            assert rig.numbers() == set(range(21))
            assert deletions.now() == set()
            publisher.delete(ip_entry(0)[0])
            rig.until(lambda s: rig.numbers(s) == set(range(1, 21)), "deletes are believed again")


def test_a_writer_that_was_only_slow_is_believed_a_lease_time_later(server: LocalEtcd):
    with Publisher(server) as publisher:
        publisher.publish(range(20))
        with (
            Rig(server.endpoint, heartbeat_timeout_s=TIMEOUT_S, lease_time_s=1.0) as rig,
            Deletions(rig.db) as deletions,
        ):
            rig.synced()
            rig.until(lambda s: "its writer is silent" in rig.row(snapshot=s).last_error)
            publisher.delete("cilium/state/ip/v1/default/10.3.0.3")
            rig.until(lambda s: rig.row(snapshot=s).withheld_deletes == 1)
            assert deletions.now() == set()
            for _ in range(100):
                publisher.beat()
                if rig.until(lambda s: True) and rig.numbers() == set(range(20)) - {3}:
                    break
                publisher.client.get(b"x")
                rig.db.snapshot()[next(iter(rig.db.tables))].watch().wait(0.1)
            assert deletions.now() == gone(3)


def test_another_replica_whose_writer_lives_is_believed_after_its_next_beat(server: LocalEtcd, other_server: LocalEtcd):
    with Publisher(server) as dead, Publisher(other_server) as living:
        dead.publish(range(20))
        living.publish(range(20))
        with (
            Rig(server.endpoint, other_server.endpoint, heartbeat_timeout_s=TIMEOUT_S) as rig,
            Deletions(rig.db) as deletions,
        ):
            rig.synced()
            rig.until(lambda s: "its writer is silent" in rig.row(snapshot=s).last_error)
            living.delete(*[ip_entry(number)[0] for number in range(15, 20)])
            for _ in range(100):
                living.beat()
                if rig.numbers() == set(range(15)):
                    break
                rig.db.snapshot()[next(iter(rig.db.tables))].watch().wait(0.1)
            assert rig.numbers() == set(range(15))
            assert deletions.now() == gone(*range(15, 20))


def test_an_operator_may_believe_what_is_there(server: LocalEtcd):
    with Publisher(server) as publisher:
        publisher.publish(range(3))
        with Rig(server.endpoint, heartbeat_timeout_s=TIMEOUT_S) as rig:
            rig.synced()
            rig.until(lambda s: "its writer is silent" in rig.row(snapshot=s).last_error)
            publisher.delete(*[ip_entry(number)[0] for number in range(3)])
            rig.until(lambda s: rig.row(snapshot=s).withheld_deletes == 3)
            rig.source.accept()
            rig.until(lambda s: rig.numbers(s) == set())


def test_doubt_in_steps():
    away = Away(10)
    away.renew(b"c")
    assert not away.is_renewed((b"c",))
    away.begin("silent")
    away.renew(b"c")
    assert away.is_renewed((b"c",))
    assert not away.is_renewed(())
    away.begin("silent, still")
    assert away.is_renewed((b"c",))
    away.returned(5)
    away.returned(9)
    assert (away.due_in(6), away.is_over(14), away.is_over(15)) == (9, False, True)
    away.begin("silent again")
    assert not away.is_renewed((b"c",))
    assert away.due_in(100) is None
    away.end()
    assert not away.in_doubt
