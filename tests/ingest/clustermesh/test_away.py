"""A writer that is away for longer than its lease time: its etcd loses all keys, and no row goes for that."""

import pytest

from ingest.etcd.local import LocalEtcd
from statedb.catalog.wire.cluster_configs import ClusterConfig

from ..kvstore_rig import Deletions
from .publisher import CONFIG_KEY, Publisher, Rig, beating, cached, ip_entry
from .test_outages import gone

TIMEOUT_S = 0.5


def expire(publisher: Publisher) -> None:
    """As when nobody renews the lease: the etcd deletes all keys on it, in one revision."""
    publisher.client.revoke(publisher.lease)


@pytest.mark.parametrize("silent_first", [False, True])
def test_keys_that_expire_with_their_writer_take_no_rows_and_go_when_it_is_back(server: LocalEtcd, silent_first: bool):
    """Whether its silence was long enough to be told, or its keys went before that."""
    with Publisher(server) as publisher:
        publisher.lease = publisher.client.grant(600)
        publisher.publish(range(20))
        timeout_s = TIMEOUT_S if silent_first else 600.0
        with Rig(server.endpoint, heartbeat_timeout_s=timeout_s) as rig, Deletions(rig.db) as deletions:
            rig.synced()
            if silent_first:
                rig.until(lambda s: "its writer is silent" in rig.row(snapshot=s).last_error)
            expire(publisher)
            rig.until(
                lambda s: rig.row(snapshot=s).state == "stale" and "waiting for" in rig.row(snapshot=s).last_error
            )
            assert rig.numbers() == set(range(20))
            publisher.lease = publisher.client.grant(600)
            publisher.beat()
            publisher.configure()
            publisher.endpoints(range(18))  # two went while it was away
            rig.until(lambda s: "waiting for cilium/synced/" in rig.row(snapshot=s).last_error)
            assert deletions.now() == set()
            publisher.sync()
            with beating(publisher):
                rig.until(lambda s: rig.numbers(s) == set(range(18)))
                rig.synced()
            assert deletions.now() == gone(18, 19)


def test_a_writer_that_died_before_its_first_heartbeat(server: LocalEtcd):
    with Publisher(server) as publisher:
        publisher.lease = publisher.client.grant(600)
        publisher.configure()
        publisher.endpoints(range(20))
        publisher.sync()
        with Rig(server.endpoint) as rig, Deletions(rig.db) as deletions:
            rig.synced()
            expire(publisher)
            rig.until(lambda s: rig.row(snapshot=s).state == "stale")
            assert rig.numbers() == set(range(20))
            assert deletions.now() == set()


def test_a_mirror_that_dies_beside_a_living_writer_of_the_heartbeat(server: LocalEtcd):
    """A kvstoremesh copies another cluster into an etcd whose heartbeat a clustermesh-apiserver writes."""
    config = ClusterConfig(3, cached=True, synced_canaries=True, max_connected_clusters=255)
    with Publisher(server) as living, Publisher(server) as mirror:
        mirror.lease = mirror.client.grant(600)
        living.beat()
        mirror.configure(config)
        mirror.put(*[(cached(key), value) for key, value in map(ip_entry, range(20))])
        mirror.put(*[(cached_canary(name), b"x") for name in ("nodes/v1", "services/v1", "identities/v1", "ip/v1")])
        with (
            beating(living),
            Rig(server.endpoint, lease_time_s=0.5) as rig,
            Deletions(rig.db) as deletions,
        ):
            rig.synced()
            assert rig.numbers() == set(range(20))
            expire(mirror)
            rig.until(lambda s: rig.row(snapshot=s).state == "stale")
            rig.until(lambda s: rig.row(snapshot=s).state == "stale", "longer than the lease time, still")
            for number in range(40):  # the heartbeat goes on for longer than the lease time
                living.put((f"cilium/other/{number}", b"x"))
                rig.db.snapshot()[next(iter(rig.db.tables))].watch().wait(0.05)
            assert rig.numbers() == set(range(20))
            assert deletions.now() == set()
            mirror.lease = mirror.client.grant(600)
            mirror.configure(config)
            mirror.put(*[(cached(key), value) for key, value in map(ip_entry, range(15))])
            mirror.put(*[(cached_canary(name), b"x") for name in ("nodes/v1", "services/v1", "identities/v1", "ip/v1")])
            rig.until(lambda s: rig.numbers(s) == set(range(15)))
            rig.synced()


def cached_canary(name: str) -> str:
    return f"cilium/synced/cluster3/cilium/cache/{name}"


def test_a_part_of_the_keys_expires_and_is_written_again(server: LocalEtcd):
    """One lease of several ended: the canaries stay, what the writer writes again stays, the rest goes in time."""
    with Publisher(server) as publisher, Publisher(server) as part:
        publisher.publish(range(10))
        part.lease = part.client.grant(600)
        part.endpoints(range(10, 20))
        with (
            beating(publisher),
            Rig(server.endpoint, lease_time_s=1.0) as rig,
            Deletions(rig.db) as deletions,
        ):
            rig.synced()
            expire(part)
            rig.until(lambda s: rig.row(snapshot=s).withheld_deletes == 10)
            publisher.endpoints(range(10, 18))
            rig.until(lambda s: rig.row(snapshot=s).withheld_deletes == 2)
            assert deletions.now() == set()
            rig.until(lambda s: rig.numbers(s) == set(range(18)), "one lease time later")
            rig.synced()
            assert deletions.now() == gone(18, 19)


def test_what_somebody_deletes_goes_whoever_is_silent(server: LocalEtcd):
    """The lease of the key lives on, or there was none: nobody but a deleter can have taken it away."""
    with Publisher(server) as publisher:
        publisher.publish(range(10))
        publisher.lease = publisher.client.grant(600)
        publisher.endpoints(range(10, 20))
        with Rig(server.endpoint, heartbeat_timeout_s=TIMEOUT_S) as rig:
            rig.synced()
            rig.until(lambda s: "its writer is silent" in rig.row(snapshot=s).last_error)
            publisher.delete(ip_entry(0)[0], ip_entry(10)[0])
            rig.until(lambda s: rig.numbers(s) == set(range(1, 10)) | set(range(11, 20)))


def test_a_replica_whose_writer_died_deletes_nothing_until_somebody_writes(server: LocalEtcd, other_server: LocalEtcd):
    """Fail-over: it has canaries and a heartbeat, but they are as old as its content."""
    with Publisher(server) as living, Publisher(other_server) as dead:
        dead.publish(range(10))
        living.publish(range(20))
        with (
            beating(living),
            Rig(server.endpoint, other_server.endpoint, heartbeat_timeout_s=600.0) as rig,
            Deletions(rig.db) as deletions,
        ):
            rig.until(lambda s: len(rig.numbers(s)) in (10, 20))
            if len(rig.numbers()) == 10:
                other_server.kill()
                rig.until(lambda s: rig.numbers(s) == set(range(20)))
                other_server.start()
            server.kill()
            rig.until(lambda s: "it has not acted since we connected" in rig.row(snapshot=s).last_error)
            assert rig.row().withheld_deletes == 10
            assert deletions.now() == set()
        server.start()


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
            with beating(living):
                rig.until(lambda s: rig.numbers(s) == set(range(15)))
            assert deletions.now() == gone(*range(15, 20))


def test_an_operator_may_believe_what_is_there(server: LocalEtcd):
    with Publisher(server) as publisher:
        publisher.publish()
        publisher.lease = publisher.client.grant(600)
        publisher.endpoints(range(3))
        with Rig(server.endpoint) as rig:
            rig.synced()
            expire(publisher)
            rig.until(lambda s: rig.row(snapshot=s).withheld_deletes == 3)
            rig.source.accept()
            rig.until(lambda s: rig.numbers(s) == set())
            rig.synced()


def test_a_cluster_config_that_goes_means_that_the_writer_is_away(server: LocalEtcd):
    with Publisher(server) as publisher:
        publisher.publish(range(3))
        with Rig(server.endpoint) as rig:
            rig.synced()
            publisher.delete(CONFIG_KEY)
            rig.until(lambda s: rig.row(snapshot=s).last_error == f"its writer is away: {CONFIG_KEY} is gone")
            assert rig.numbers() == set(range(3))
            publisher.configure()
            rig.synced()


def test_leases_that_are_shorter_than_the_heartbeats_timeout_are_told(server: LocalEtcd):
    with Publisher(server) as publisher:
        publisher.lease = publisher.client.grant(60)
        publisher.publish(range(3))
        with Rig(server.endpoint, heartbeat_timeout_s=120.0) as rig:
            rig.until(lambda s: "its writer's leases last 60 s" in rig.row(snapshot=s).last_error)
            assert rig.row().state == "synced"
