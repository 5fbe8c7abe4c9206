"""A publisher among other writers, with objects that cannot be written, and against an adversary, on a real etcd."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from consumers.etcd import WriterOptions
from consumers.etcd.meshcache import MeshCacheOptions
from consumers.etcd.publisher import PublisherOptions, open_publisher
from consumers.etcd.unwritten import Unwritten
from ingest.etcd import Client
from ingest.etcd.local import LocalEtcd
from statedb.catalog import (
    Backend,
    BackendKey,
    Backends,
    EndpointKey,
    Endpoints,
    Frontend,
    Namespace,
    NamespaceKey,
    Service,
    ServiceKey,
    Services,
)
from statedb.catalog.wire import keys

from ...ingest.clustermesh.publisher import replica
from ...waiting import WAIT_S, eventually
from .etcds import held
from .test_publisher import CLUSTER, DEFAULT, Publishing, row
from .test_writer import empty, fill

SERVICE = f"{keys.SERVICES}/{CLUSTER}/default/"


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalEtcd]:
    with replica() as server:
        server.start()
        yield server


@pytest.fixture
def etcd(shared: LocalEtcd) -> LocalEtcd:
    with shared.client() as client:
        client.delete_prefix(b"")
    return shared


def fill_services(publishing: Publishing, name: str, count: int, backends: int, padding: str = "") -> None:
    """Services of so many backends each; ``padding`` makes the names of their ports long."""
    with publishing.db.write(Services, Backends) as txn:
        for number in range(count):
            key = ServiceKey(publishing.cluster, "default", f"{name}{number}")
            txn[Services].insert(Service(key, (Frontend(f"10.96.0.{number}", "http", "TCP", 80),)))
            for place in range(backends):
                ip = f"10.{number % 256}.{place >> 8}.{place & 255}"
                of = BackendKey(key.cluster, key.namespace, key.name, ip, 8080, "TCP")
                txn[Backends].insert(Backend(of, (f"http{padding}",)))


class Took:
    """Tells the time since it was made. Tests assert on that of the CPU, which depends less on other processes."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.monotonic(), time.process_time()

    def told(self, what: str) -> float:
        cpu_s = time.process_time() - self.cpu
        print(f"{what}: {time.monotonic() - self.wall:.2f} s, {cpu_s:.2f} s of CPU")
        return cpu_s


def services(etcd: LocalEtcd) -> set[str]:
    return {key.removeprefix(SERVICE) for key in held(etcd) if key.startswith(SERVICE)}


def test_all_that_the_etcd_can_take_is_there_and_the_rest_is_named(etcd: LocalEtcd):
    """100 services of 400 backends, 200 of 18 KB, and one of 30 000 backends, which is larger than a request may be."""
    with Publishing(etcd) as publishing:  # in the default form: services and slices
        publishing.put(DEFAULT, row(1))
        assert publishing.publisher.wait_ready(WAIT_S)
        fill_services(publishing, "many-", 100, 400)
        fill_services(publishing, "big-", 200, 100, padding="x" * 120)
        fill_services(publishing, "huge-", 1, 30_000)
        begun = Took()
        eventually(lambda: publishing.db.snapshot()[Unwritten] and not publishing.publisher.queue_size, "the services")
        all_of_it = begun.told("301 services")
        assert len(services(etcd)) == 300
        assert held(etcd).keys() == publishing.wanted().keys() - {f"{SERVICE}huge-0"}  # slices are never too large
        (unwritten,) = publishing.db.snapshot()[Unwritten].values()
        assert unwritten.key.object == f"{SERVICE}huge-0"
        assert "too large" in unwritten.error
        assert "huge-0" in publishing.publisher.health
        assert publishing.publisher.ready
        begun = Took()
        publishing.put(row(2))
        eventually(lambda: f"{keys.IPS}/{row(2).key.ip}" in held(etcd), "a later endpoint")
        later = begun.told("a later endpoint")
        assert all_of_it < 10
        assert later < 1


def spoil(publishing: Publishing, name: str) -> None:
    """Give a port of a service half a character for its name: no text in UTF-8 can say that."""
    with publishing.db.write(Backends) as txn:
        txn[Backends].insert(Backend(BackendKey(CLUSTER, "default", name, "10.0.0.0", 9999, "TCP"), ("\ud800",)))


@pytest.mark.parametrize("export", ["services", "services-and-endpointslices"])
def test_what_stands_of_an_object_that_cannot_be_encoded_survives_a_lost_connection_and_a_restart(
    etcd: LocalEtcd, export: str
):
    with Publishing(etcd, export=export, lease_time_s=2.0) as publishing:
        publishing.put(DEFAULT)
        fill_services(publishing, "web-", 2, 3)
        eventually(lambda: publishing.is_written(etcd))
        before = {key: value for key, value in held(etcd).items() if key.startswith(f"{keys.STATE}/")}
        spoil(publishing, "web-0")
        eventually(lambda: publishing.publisher.stats().unwritten == 1)
        publishing.clients[-1].close()
        eventually(lambda: publishing.publisher.stats().connections == 2)
        assert publishing.publisher.wait_ready(WAIT_S)
        assert before.items() <= held(etcd).items()
        publishing.restart()
        assert publishing.publisher.wait_ready(WAIT_S)
        threading.Event().wait(3.0)  # longer than the leases of the first one live; etcd's clock cannot be turned
        assert before.items() <= held(etcd).items()
        (unwritten,) = publishing.db.snapshot()[Unwritten].values()
        assert unwritten.key.object == f"service {CLUSTER} default web-0"
        with publishing.db.write(Services, Backends) as txn:  # when the object itself goes, so do its keys
            for backend in list(txn[Backends].values()):
                if backend.service.name == "web-0":
                    txn[Backends].delete(backend.key)
            txn[Services].delete(ServiceKey(CLUSTER, "default", "web-0"))
        eventually(lambda: services(etcd) == {"web-1"})
        eventually(lambda: not publishing.db.snapshot()[Unwritten])


def test_the_etcd_of_another_cluster_is_refused_and_taken_over_only_when_told(etcd: LocalEtcd):
    with Publishing(etcd) as ours:
        ours.put(DEFAULT, *map(row, range(5)))
        eventually(lambda: ours.is_written(etcd))
        before = held(etcd)
        with Publishing(etcd, cluster="other", cluster_id=9) as stranger:
            eventually(lambda: f"belongs to cluster '{CLUSTER}'" in stranger.publisher.health, "the refusal")
            assert not stranger.publisher.ready
        assert {**held(etcd), keys.HEARTBEAT: b""} == {**before, keys.HEARTBEAT: b""}
    with Publishing(etcd, cluster="other", cluster_id=9, take_over=True) as stranger:
        eventually(lambda: stranger.is_written(etcd), stranger.publisher.health)


def test_the_config_of_a_mesh_cache_is_no_other_publisher(etcd: LocalEtcd):
    with etcd.client() as client:
        client.put(b"cilium/cluster-config/c9", b'{"id":9,"capabilities":{"cached":true}}')
    with Publishing(etcd) as publishing:
        assert publishing.publisher.wait_ready(WAIT_S)
        assert "cilium/cluster-config/c9" in held(etcd)


def test_publishers_of_different_options_back_off_and_say_so(etcd: LocalEtcd):
    slow = {"repair_min_s": 0.2, "heartbeat_s": 60.0}
    with Publishing(etcd, **slow) as one, Publishing(etcd, max_connected_clusters=511, **slow) as other:
        for each in (one, other):
            eventually(lambda each=each: "another writer changes 1 of our keys" in each.publisher.health, "its word")
        puts = one.publisher.stats().puts + other.publisher.stats().puts
        assert puts < 40


def test_publishers_of_equal_options_come_to_rest(etcd: LocalEtcd):
    with Publishing(etcd, heartbeat_s=60.0) as one, Publishing(etcd, heartbeat_s=60.0) as other:
        for each in (one, other):
            each.put(DEFAULT, *map(row, range(20)))
        eventually(lambda: one.is_written(etcd) and not one.publisher.queue_size and not other.publisher.queue_size)
        with etcd.client() as client:
            before = client.get(b"x").header.revision
            threading.Event().wait(1.0)
            assert client.get(b"x").header.revision == before
        assert one.publisher.health == other.publisher.health == "OK"


# --- an adversary -----------------------------------------------------------------------------------------------------


class Adversary:
    """Works against a publisher on its etcd. Keys of another cluster stand there: nobody may touch them."""

    FOREIGN = {f"{keys.NODES}/c9/n{number}": b"%d" % number for number in range(5)}

    def __init__(self, etcd: LocalEtcd, chance: random.Random) -> None:
        self.etcd = etcd
        self.chance = chance
        with etcd.client() as client:
            client.put_many([(key.encode(), value) for key, value in self.FOREIGN.items()])

    def keys(self, client: Client) -> list[Any]:
        found = [kv for page in client.list(b"cilium/") for kv in page.kvs if kv.key.decode() not in self.FOREIGN]
        return self.chance.sample(found, min(len(found), 5))

    def act(self, publishing: Publishing, what: str) -> None:
        with self.etcd.client() as client:
            match what:
                case "delete":
                    for kv in self.keys(client):
                        client.delete(kv.key)
                case "edit":
                    for kv in self.keys(client):
                        client.put(kv.key, self.chance.choice([b"", b"{}", kv.value]))
                case "add":
                    client.put(f"{keys.IPS}/10.9.9.{self.chance.randrange(9)}".encode(), b"{}")
                case "revoke":
                    for kv in self.keys(client)[:1]:
                        if kv.lease:
                            client.revoke(kv.lease)
                case "cut":
                    for each in publishing.clients[-1:]:
                        each.close()
                case "restart":
                    publishing.restart()
                case "server":
                    self.etcd.kill()
                    self.etcd.start()
                case "full":
                    fill(self.etcd)
                    threading.Event().wait(self.chance.random())
                    empty(self.etcd)
                case "second":
                    second = open_publisher(
                        publishing.db, publishing.cluster, publishing.cluster_id, self.etcd.client, publishing.options
                    )
                    with second:
                        second.wait_ready(1.0)
                case _:
                    number = self.chance.randrange(60)
                    with publishing.db.write(Endpoints) as txn:
                        if self.chance.random() < 0.3:
                            txn[Endpoints].delete(EndpointKey("c1", row(number).key.ip))
                        else:
                            key = EndpointKey("c1", row(number).key.ip)
                            txn[Endpoints].insert(
                                msgspec.structs.replace(row(number, self.chance.randrange(1 << 16)), key=key)
                            )

    def is_written(self, publishing: Publishing) -> bool:
        timed = (*publishing.layout.canaries, keys.HEARTBEAT)
        there = {key: b"" if key in timed else value for key, value in held(self.etcd).items()}
        return there == publishing.wanted() | self.FOREIGN

    def settle(self, publishing: Publishing) -> None:
        eventually(lambda: self.is_written(publishing), f"the tables' keys; {publishing.publisher.health}")
        eventually(lambda: publishing.publisher.ready, "its readiness")


QUICK = {"lease_time_s": 2.0, "lease_keys_max": 10, "repair_min_s": 0.02, "repair_max_s": 0.2, "batch_keys_max": 7}
ACTS = ["row", "row", "row", "delete", "edit", "add", "revoke", "cut", "restart", "second"]


def against(etcd: LocalEtcd, chance: random.Random, acts: Iterator[str], pause_s: float) -> None:
    adversary = Adversary(etcd, chance)
    publishing = Publishing(etcd, cluster="c1", cluster_id=1, **QUICK)
    publishing.put(Namespace(NamespaceKey("c1", "default")))
    with publishing:
        assert publishing.publisher.wait_ready(WAIT_S)
        for what in acts:
            adversary.act(publishing, what)
            threading.Event().wait(pause_s * chance.random())
        adversary.settle(publishing)
        with etcd.client() as client:  # idle: no writes but heartbeats, five a second here
            before = client.get(b"x").header.revision
            threading.Event().wait(1.0)
            assert client.get(b"x").header.revision - before <= 7


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(acts=st.lists(st.sampled_from([*ACTS, "settle"]), min_size=5, max_size=25), seed=st.integers(0, 1000))
def test_whatever_an_adversary_does_the_etcd_has_what_the_tables_say(shared: LocalEtcd, acts: list[str], seed: int):
    with shared.client() as client:
        client.delete_prefix(b"")
    adversary = Adversary(shared, random.Random(seed))
    publishing = Publishing(shared, cluster="c1", cluster_id=1, **QUICK)
    publishing.put(Namespace(NamespaceKey("c1", "default")))
    with publishing:
        for what in acts:
            adversary.settle(publishing) if what == "settle" else adversary.act(publishing, what)
        adversary.settle(publishing)


@pytest.mark.stress
def test_five_minutes_of_an_adversary():
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    end = time.monotonic() + 300

    def acts() -> Iterator[str]:
        while time.monotonic() < end:
            yield chance.choice(ACTS * 3 + ["server", "full"])

    with LocalEtcd(arguments=["--quota-backend-bytes=30000000"]) as etcd:
        etcd.start()
        against(etcd, chance, acts(), 0.5)


def test_options_of_publisher_and_mesh_cache_have_the_same_names():
    names = set(WriterOptions.__struct_fields__)
    assert names < set(PublisherOptions.__struct_fields__)
    assert names < set(MeshCacheOptions.__struct_fields__)
    assert not (set(PublisherOptions.__struct_fields__) - names) & (set(MeshCacheOptions.__struct_fields__) - names)
