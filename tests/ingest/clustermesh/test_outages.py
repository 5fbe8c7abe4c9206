"""What the etcds of a remote cluster can go through, and that no row goes which its publisher did not delete.

The five scenarios of CFP-44774 are here by name; a replica is an etcd of its own that knows nothing of the others.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from ingest.etcd import Client, EtcdError, OtherCluster, Unavailable, parse_endpoint
from ingest.etcd.local import LocalEtcd
from statedb.catalog import Endpoints

from ...tcp_proxy import TcpProxy
from ...waiting import eventually
from ..etcd.streams import until_ready
from ..kvstore_rig import Deletions
from .publisher import (
    CANARIES,
    CLUSTER,
    CONFIG,
    CONFIG_KEY,
    IP_CANARY,
    Publisher,
    Rig,
    beating,
    ip_entry,
    replica,
    token,
)


def gone(*numbers: int) -> set[str]:
    return {f"10.3.0.{number}" for number in numbers}


def empty(etcd: LocalEtcd, *, same_id: bool = False) -> None:
    """What a pod restart does to an etcd in a pod: its data is gone, and it is another etcd cluster."""
    etcd.kill()
    etcd.forget()
    if not same_id:
        etcd.add_arguments(token())
    etcd.start()


@pytest.fixture
def running(server: LocalEtcd) -> Iterator[tuple[Rig, Deletions]]:
    """A source that has 20 endpoints of a server that may be mistreated."""
    with Publisher(server) as publisher:
        publisher.publish(range(20))
    with Rig(server.endpoint) as rig, Deletions(rig.db) as deletions:
        rig.synced()
        yield rig, deletions


def test_publisher_restart(server: LocalEtcd, running: tuple[Rig, Deletions]):
    """The etcd stays, what is published while the publisher starts again is the same."""
    rig, deletions = running
    with Publisher(server) as publisher:
        publisher.publish(range(20))
        publisher.endpoints([20])
        rig.until(lambda s: rig.numbers(s) == set(range(21)))
    assert deletions.now() == set()


@pytest.mark.parametrize("same_id", [False, True])
def test_etcd_restart_with_empty_state(server: LocalEtcd, running: tuple[Rig, Deletions], same_id: bool):
    rig, deletions = running
    empty(server, same_id=same_id)
    rig.until(lambda s: "waiting for cilium/cluster-config/cluster3" in rig.row(snapshot=s).last_error)
    assert rig.row().state == "stale"
    with Publisher(server) as publisher:
        publisher.beat()
        publisher.configure()
        publisher.endpoints(range(5))
        rig.until(lambda s: IP_CANARY in rig.row(snapshot=s).last_error)
        assert rig.numbers() == set(range(20))
        assert deletions.now() == set()
        publisher.endpoints(range(5, 19))
        publisher.sync()
        snapshot = rig.synced()
    assert rig.numbers(snapshot) == set(range(19))
    assert deletions.now() == gone(19)


def test_agent_restart(server: LocalEtcd, running: tuple[Rig, Deletions]):
    """Another agent, on the same tables: they keep their rows until the first complete list."""
    rig, deletions = running
    rig.source.stop()
    assert rig.source.join(10)
    with Publisher(server) as publisher:
        publisher.delete(ip_entry(0)[0], *CANARIES)
        second = Rig(server.endpoint)
        second.db = rig.db
        second.source = type(rig.source)(
            rig.db, rig.source._layout, rig.source.servers, rig.source._options, ids=rig.ids
        )
        with second:
            second.until(lambda s: IP_CANARY in second.row(snapshot=s).last_error)
            assert second.numbers() == set(range(20))
            publisher.sync()
            second.until(lambda s: second.numbers(s) == set(range(1, 20)))
            second.synced()
            assert deletions.now() == gone(0)


def test_rolling_restart(server: LocalEtcd, other_server: LocalEtcd):
    """One replica after the other is a new, empty etcd, which its publisher fills; there always is another one."""
    replicas = (server, other_server)
    for etcd in replicas:
        with Publisher(etcd) as publisher:
            publisher.publish(range(20))
    with Rig(*[etcd.endpoint for etcd in replicas]) as rig, Deletions(rig.db) as deletions:
        rig.synced()
        for etcd in (*replicas, *replicas):
            empty(etcd)
            with Publisher(etcd) as publisher:
                publisher.beat()
                publisher.configure()
                publisher.endpoints(range(10))
                publisher.endpoints(range(10, 20))
                publisher.sync()
            rig.synced()
        assert rig.numbers() == set(range(20))
        assert deletions.now() == set()


def test_scale_up(server: LocalEtcd, running: tuple[Rig, Deletions]):
    """A replica more, behind the same address, that is being filled while the connection comes to it."""
    _, deletions = running
    with TcpProxy(server.endpoint) as proxy, replica() as added:
        with Rig(proxy.endpoint) as moved, Deletions(moved.db) as moved_deletions:
            moved.synced()
            added.start()
            with Publisher(added) as publisher:
                publisher.beat()
                publisher.configure()
                publisher.endpoints(range(3))
                proxy.turn(added.endpoint)
                moved.until(lambda s: IP_CANARY in moved.row(snapshot=s).last_error)
                assert moved.numbers() == set(range(20))
                publisher.endpoints(range(3, 21))
                publisher.sync()
                moved.until(lambda s: moved.numbers(s) == set(range(21)))
                moved.synced()
            assert moved_deletions.now() == set()
    assert deletions.now() == set()


def test_a_replica_whose_revisions_are_lower_is_listed_anew(server: LocalEtcd, other_server: LocalEtcd):
    with (
        Publisher(server) as first,
        Publisher(other_server) as second,
        Rig(server.endpoint, other_server.endpoint) as rig,
    ):
        for _ in range(20):
            first.endpoints(range(20))
        first.publish(range(20))
        second.publish(range(1, 21))
        rig.synced()
        with Deletions(rig.db) as deletions, beating(first), beating(second):
            had = rig.numbers()
            (server if had == set(range(20)) else other_server).kill()
            has = set(range(1, 21)) if 0 in had else set(range(20))
            rig.until(lambda s: rig.numbers(s) == has)
            rig.synced()
            assert deletions.now() == (gone(0) if 0 in had else gone(20))
            left = second if 0 in had else first
            left.delete(ip_entry(7)[0])
            rig.until(lambda s: rig.numbers(s) == has - {7})


def test_all_lost_and_one_back(server: LocalEtcd, other_server: LocalEtcd):
    with replica() as third:
        third.start()
        replicas = (server, other_server, third)
        for etcd in replicas:
            with Publisher(etcd) as publisher:
                publisher.publish(range(20))
        with Rig(*[etcd.endpoint for etcd in replicas]) as rig, Deletions(rig.db) as deletions:
            rig.synced()
            for etcd in replicas:
                etcd.kill()
            rig.until(lambda s: rig.row(snapshot=s).state == "stale")
            assert rig.numbers() == set(range(20))
            empty(third)
            with Publisher(third) as publisher:
                publisher.publish(range(1, 20))
                with beating(publisher):
                    rig.until(lambda s: rig.numbers(s) == set(range(1, 20)))
            assert deletions.now() == gone(0)


def test_a_locked_connection_takes_answers_of_one_etcd_only(server: LocalEtcd, other_server: LocalEtcd):
    with TcpProxy(server.endpoint) as proxy, Client(parse_endpoint(proxy.endpoint), locked=True) as client:
        assert client.get(b"a").header.cluster_id == client.cluster_id != 0
        with client.watch({b"a/": 1}) as stream:
            until_ready(stream)
        proxy.turn(other_server.endpoint)

        def is_told() -> bool:
            try:
                client.get(b"a")
            except OtherCluster as error:
                return "another etcd answers" in str(error)
            except EtcdError:  # gRPC connects anew by itself
                return False
            return False

        eventually(is_told, "another etcd")
        with client.watch({b"a/": 1}) as stream, pytest.raises(OtherCluster):
            stream.next(10)


def test_a_canary_that_goes_before_the_list_makes_it_incomplete(server: LocalEtcd, running: tuple[Rig, Deletions]):
    """The etcd is emptied between the moment that we saw the canary and the list, and has its id again."""
    rig, deletions = running
    rig.source.stop()
    assert rig.source.join(10)
    with Publisher(server) as publisher:
        publisher.delete(*[ip_entry(number)[0] for number in range(20)], IP_CANARY)
    source = rig.source
    again = type(source)(rig.db, source._layout, source.servers, source._options, ids=rig.ids)
    missing, judged = again._writers.missing, again.list_verdict
    verdicts: list[object] = []

    def overlooked(canaries):
        return [] if not verdicts else missing(canaries)

    def verdict(prefix, revision):
        again._writers.missing = missing
        try:
            return judged(prefix, revision)
        except Unavailable as error:
            verdicts.append(str(error))
            raise
        finally:
            again._writers.missing = overlooked

    again._writers.missing, again.list_verdict = overlooked, verdict
    again.start()
    try:
        rig.until(lambda s: bool(verdicts) and IP_CANARY in rig.row(snapshot=s).last_error)
        assert f"waiting for {IP_CANARY}" in str(verdicts[0])
        assert deletions.now() == set()
        assert rig.row().state == "stale"
    finally:
        again.stop()
        assert again.join(10)


def test_an_operator_may_accept_what_is_there(server: LocalEtcd, running: tuple[Rig, Deletions]):
    rig, deletions = running
    empty(server)
    with Publisher(server) as publisher:
        publisher.beat()
        publisher.configure()
        publisher.endpoints(range(5))
        rig.until(lambda s: IP_CANARY in rig.row(snapshot=s).last_error)
        assert deletions.now() == set()
        rig.source.accept()
        rig.until(lambda s: rig.numbers(s) == set(range(5)))
        rig.synced()


@pytest.mark.parametrize("same_id", [False, True])
@pytest.mark.parametrize("has_config", [False, True])
def test_what_is_accepted_of_an_empty_etcd_does_not_hold_for_the_next_one(
    server: LocalEtcd, running: tuple[Rig, Deletions], has_config: bool, same_id: bool
):
    """It was kept until an etcd with a cluster config came, or one with the same id that was as empty."""
    rig, deletions = running
    empty(server, same_id=same_id)
    if has_config:
        with Publisher(server) as publisher:
            publisher.configure()
    rig.until(lambda s: "waiting for cilium/" in rig.row(snapshot=s).last_error)
    if has_config:
        rig.until(lambda s: IP_CANARY in rig.row(snapshot=s).last_error)
    server.kill()
    rig.until(lambda s: "waiting for" not in rig.row(snapshot=s).last_error)
    rig.source.accept()
    empty(server, same_id=same_id)
    with Publisher(server) as publisher:
        publisher.configure()
        publisher.endpoints(range(5))
        rig.until(lambda s: IP_CANARY in rig.row(snapshot=s).last_error or bool(deletions.now()))
        assert deletions.now() == set()
        rig.source.accept()
        rig.until(lambda s: rig.numbers(s) == set(range(5)))


def test_without_canaries_a_replaced_etcd_is_not_believed_before_the_lease_time(server: LocalEtcd):
    with Publisher(server, canaries=False) as publisher:
        publisher.publish(range(20))
    with Rig(server.endpoint, lease_time_s=0.5) as rig, Deletions(rig.db) as deletions:
        rig.synced()
        server.kill()
        server.forget()
        server.add_arguments(token())
        server.start()
        with Publisher(server, canaries=False) as publisher:
            publisher.endpoints(range(5))
            publisher.configure()
            publisher.client.put(b"cilium/cluster-config/cluster3", b'{"id":3,"capabilities":{}}')
            rig.until(lambda s: "withholding 15 deletes" in rig.row(snapshot=s).last_error)
            assert deletions.now() == set()
            publisher.beat()
            rig.until(lambda s: rig.numbers(s) == set(range(5)))
            rig.synced()


def test_a_replica_that_nobody_fills_is_left_for_one_that_has_all(server: LocalEtcd):
    """Only the replica without a cluster config answers for a while; the wait for its config ends before its time."""
    with Publisher(server) as publisher:
        publisher.publish(range(20))
    with TcpProxy(server.endpoint) as full, replica() as unfilled:
        unfilled.start()
        full.cut()
        with Rig(full.endpoint, unfilled.endpoint, config_timeout_s=3600.0, retry_max_s=2.0) as rig:
            rig.until(lambda s: "cilium/cluster-config/cluster3" in rig.row(snapshot=s).last_error)
            full.mend()
            assert rig.numbers(rig.synced()) == set(range(20))


def test_a_silent_writer_is_told_and_another_replica_is_taken(server: LocalEtcd, other_server: LocalEtcd):
    for etcd, numbers in ((server, range(20)), (other_server, range(20))):
        with Publisher(etcd) as publisher:
            publisher.publish(numbers)
    beating, over = threading.Event(), threading.Event()

    def beat() -> None:
        with Publisher(server) as publisher:
            while not over.wait(0.1):
                publisher.beat()
                beating.set()

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        assert beating.wait(10)
        with (
            Rig(server.endpoint, other_server.endpoint, heartbeat_timeout_s=1.0) as rig,
            Deletions(rig.db) as deletions,
        ):
            rig.synced()
            with Publisher(server) as publisher:
                publisher.endpoints([20])
            rig.until(lambda s: 20 in rig.numbers(s), "the server whose writer is alive")
            rig.synced()
            assert deletions.now() == set()
    finally:
        over.set()
        thread.join(10)


def test_an_old_heartbeat_read_anew_is_no_sign_of_life(server: LocalEtcd):
    with Publisher(server) as publisher, Rig(server.endpoint, heartbeat_timeout_s=0.5) as rig:
        publisher.publish(range(3))
        rig.synced()
        rig.until(lambda s: "its writer is silent: no heartbeat for" in rig.row(snapshot=s).last_error)
        connections = rig.row().relists
        rig.until(lambda s: rig.row(snapshot=s).relists > connections + 1, "reconnects")
        assert rig.row().state == "stale"
        publisher.endpoints([3])  # what it holds is followed all the same
        rig.until(lambda s: 3 in rig.numbers(s))
        publisher.beat()
        rig.until(lambda s: rig.row(snapshot=s).state == "synced")


def test_compacted_while_disconnected_and_while_listing(server: LocalEtcd, running: tuple[Rig, Deletions]):
    rig, deletions = running
    with Publisher(server) as publisher:
        for round_ in range(5):
            server.kill()
            server.start()
            publisher.endpoints([20 + round_])
            publisher.client.compact(publisher.client.get(b"x").header.revision)
            rig.until(lambda s, expected=set(range(21 + round_)): rig.numbers(s) == expected)
    assert deletions.now() == set()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sets(st.integers(0, 30), max_size=8)),
        st.tuples(st.just("delete"), st.sets(st.integers(0, 30), max_size=4)),
        st.tuples(st.sampled_from(["kill", "empty", "empty same id", "cut", "half"]), st.integers(0, 1)),
    ),
    max_size=6,
)


@settings(max_examples=7, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_random_histories_and_fail_overs(steps: list):
    """Two replicas with one publisher; whatever happens to them, only what the publisher deleted is deleted."""
    with ExitStack() as stack:
        replicas = [stack.enter_context(replica()) for _ in range(2)]
        for etcd in replicas:
            etcd.start()
        proxies = [stack.enter_context(TcpProxy(etcd.endpoint)) for etcd in replicas]
        held, deleted = set(range(10)), set()

        def fill(etcd: LocalEtcd, *, half: bool = False) -> None:
            with Publisher(etcd) as publisher:
                publisher.beat()
                publisher.configure()
                publisher.endpoints(sorted(held)[: len(held) // 2])
                if not half:
                    publisher.endpoints(held)
                    publisher.sync()

        for etcd in replicas:
            fill(etcd)
        rig = stack.enter_context(Rig(*[proxy.endpoint for proxy in proxies]))
        deletions = stack.enter_context(Deletions(rig.db))
        rig.synced()
        for step, what in steps:
            if step == "put":
                held |= what
                for etcd in replicas:
                    with Publisher(etcd) as publisher:
                        publisher.endpoints(what)
            elif step == "delete":
                held -= what
                deleted |= what
                for etcd in replicas:
                    with Publisher(etcd) as publisher:
                        publisher.delete(*[ip_entry(number)[0] for number in what])
            elif step == "kill":
                replicas[what].kill()
                replicas[what].start()
            elif step == "cut":
                proxies[what].cut()
                proxies[what].mend()
            else:
                empty(replicas[what], same_id=step == "empty same id")
                if step == "half":
                    fill(replicas[what], half=True)
                fill(replicas[what])
        with ExitStack() as living:
            for etcd in replicas:
                living.enter_context(beating(living.enter_context(Publisher(etcd))))
            rig.until(lambda s: rig.numbers(s) == held, f"{sorted(held)}")
            rig.synced()
        assert deletions.now() <= gone(*deleted)
        assert {row.key.cluster for row in rig.db.snapshot()[Endpoints].values()} <= {CLUSTER}


def test_a_replaced_etcd_that_announces_canaries_and_then_none_is_not_believed(server: LocalEtcd):
    with Publisher(server, canaries=False) as publisher:
        publisher.publish(range(20))
    with Rig(server.endpoint, lease_time_s=0.5) as rig, Deletions(rig.db) as deletions:
        rig.synced()
        server.kill()
        server.forget()
        server.add_arguments(token())
        server.start()
        with Publisher(server, canaries=False) as publisher:
            publisher.endpoints(range(5))
            publisher.put((CONFIG_KEY, CONFIG))
            rig.until(lambda s: "waiting for cilium/synced" in rig.row(snapshot=s).last_error)
            publisher.client.put(CONFIG_KEY.encode(), b'{"id":3,"capabilities":{}}')
            rig.until(lambda s: "withholding 15 deletes" in rig.row(snapshot=s).last_error)
            assert deletions.now() == set()
            publisher.beat()
            rig.until(lambda s: rig.numbers(s) == set(range(5)))
            rig.synced()


def test_an_etcd_that_was_empty_and_is_filled_at_once_is_believed(server: LocalEtcd):
    """Its canaries are no newer than those of before. That it had none was seen while it had no config."""
    with Publisher(server) as publisher:
        publisher.publish(range(20))
    with Rig(server.endpoint) as rig, Deletions(rig.db) as deletions:
        rig.synced()
        empty(server, same_id=True)
        rig.until(lambda s: "waiting for cilium/cluster-config" in rig.row(snapshot=s).last_error)
        assert deletions.now() == set()
        with Publisher(server) as publisher:
            publisher.beat()
            publisher.put(
                *[ip_entry(number) for number in range(5)], (CONFIG_KEY, CONFIG), *[(key, b"now") for key in CANARIES]
            )
            rig.until(lambda s: rig.numbers(s) == set(range(5)))
            rig.synced()
