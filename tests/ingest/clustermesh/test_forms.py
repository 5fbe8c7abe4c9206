"""Services come in two forms, with backends or beside endpoint slices. The cluster config says in which.

A config is kept by a dead writer's etcd like everything else there: no row goes because one says that the other form,
in which the row came, is not used.
"""

import pytest
from msgspec import structs

from ingest.etcd.local import LocalEtcd
from statedb import Snapshot
from statedb.catalog import Backends, Mirror, Rejected, Services
from statedb.catalog.wire import endpoint_slices
from statedb.catalog.wire.cluster_configs import BOTH, ENDPOINT_SLICES_ONLY, SERVICES_ONLY, ClusterConfig

from ...statedb.catalog.test_endpoint_slices import ECHO
from ..kvstore_rig import Deletions
from .publisher import CANARIES, CLUSTER, CONFIG_KEY, LITERALS, Publisher, Rig, beating

SERVICE = "cilium/state/services/v1/cluster3/test/echo"
OTHER_SERVICE = "cilium/state/services/v1/cluster3/test/other"
SLICE = "cilium/state/endpointslices/v1/cluster3/test/echo-kvlm2"
LOST = "10.244.1.9"


def config(form: str) -> ClusterConfig:
    return ClusterConfig(3, True, max_connected_clusters=255, endpoint_slices=form)


def publish(publisher: Publisher, form: str, *, whole: bool, exports: bool = False) -> None:
    """A cluster with two services and three backends; without ``whole``, one of each."""
    ips = ("10.244.1.1", LOST) if whole else ("10.244.1.1",)
    endpoints = tuple(structs.replace(ECHO.endpoints[0], addresses=(ip,)) for ip in ips)
    backends = ",".join(f'"{ip}":{{"http":{{"Protocol":"TCP","Port":8080}}}}' for ip in ips)
    value = LITERALS[SERVICE].replace(
        b'"10.244.1.1":{"http":{"Protocol":"TCP","Port":8080}}',
        backends.encode() if form != ENDPOINT_SLICES_ONLY else b"",
    )
    publisher.beat()
    publisher.configure(structs.replace(config(form), service_exports_enabled=exports))
    if form != SERVICES_ONLY:
        publisher.put((SLICE, endpoint_slices.encode(structs.replace(ECHO, endpoints=endpoints))))
    if form != ENDPOINT_SLICES_ONLY:
        publisher.put((SERVICE, value))
        if whole:
            publisher.put((OTHER_SERVICE, value.replace(b'"name":"echo"', b'"name":"other"')))
    publisher.sync()


def shown(rig: Rig) -> tuple[set[str], set[tuple[str, str]]]:
    snapshot = rig.db.snapshot()
    backends = {(row.key.service, row.key.ip) for row in snapshot[Backends].values()}
    return {row.key.name for row in snapshot[Services].values()}, backends


def withholds(rig: Rig, *tables: str, after: str = "") -> str:
    """Wait until these tables are told to be stale, because nobody vouches for the server. Returns the last error.

    ``after``: that error as it was for the server before.
    """

    def told(snapshot: Snapshot, table: str) -> bool:
        error = rig.row(table, snapshot=snapshot).last_error
        return "withholding" in error and "it has not acted since" in error and error != after

    for table in tables:
        rig.until(lambda s, table=table: told(s, table))
    return rig.row(tables[-1]).last_error


def keeps(rig: Rig, *tables: str) -> None:
    """Wait until exactly these tables are told to keep rows, because objects cannot be read."""
    names = {"services", "backends"}

    def told(snapshot: Snapshot) -> bool:
        rows = {name: rig.row(name, snapshot=snapshot) for name in names}
        keeping = {name for name in names if "cannot be read" in rows[name].last_error}
        return keeping == set(tables) and all(rows[name].state == "synced" for name in names - keeping)

    rig.until(told, f"{tables} keep rows")


FORMS = [
    (ENDPOINT_SLICES_ONLY, SERVICES_ONLY, False),
    (SERVICES_ONLY, ENDPOINT_SLICES_ONLY, False),
    (BOTH, ENDPOINT_SLICES_ONLY, False),
    (SERVICES_ONLY, BOTH, True),
    (BOTH, SERVICES_ONLY, True),
]


@pytest.mark.parametrize(("before", "after", "prefers"), FORMS)
def test_a_replica_of_the_other_form_deletes_nothing_until_its_writer_acts(
    server: LocalEtcd, other_server: LocalEtcd, before: str, after: str, prefers: bool
):
    """Fail-over to a replica whose writer died long ago, before a half of the cluster was there."""
    other_server.kill()
    with (
        Publisher(server) as living,
        beating(living),
        Rig(server.endpoint, other_server.endpoint, heartbeat_timeout_s=600.0, prefer_endpoint_slices=prefers) as rig,
        Deletions(rig.db, Backends) as backends,
        Deletions(rig.db, Services, lambda key: key.name) as services,
    ):
        publish(living, before, whole=True)
        rig.synced()
        there = shown(rig)
        assert any(ip == LOST for _, ip in there[1])
        other_server.start()
        with Publisher(other_server) as writer:
            publish(writer, after, whole=False)
            server.kill()
            withholds(rig, *(["backends"] if before == ENDPOINT_SLICES_ONLY else ["backends", "services"]))
            names = set() if after == ENDPOINT_SLICES_ONLY else {"echo"}
            assert shown(rig) == (there[0] | names, there[1])
            assert (backends.now(), services.now()) == (set(), set())
            writer.beat()
            publish(writer, after, whole=False)
            rig.synced()
            assert shown(rig) == (names, {("echo", "10.244.1.1")})
        server.start()


def test_an_operator_may_believe_a_replica_of_the_other_form(server: LocalEtcd, other_server: LocalEtcd):
    other_server.kill()
    with (
        Publisher(server) as living,
        Rig(server.endpoint, other_server.endpoint, heartbeat_timeout_s=600.0) as rig,
    ):
        publish(living, ENDPOINT_SLICES_ONLY, whole=True)
        rig.synced()
        other_server.start()
        with Publisher(other_server) as writer:
            publish(writer, SERVICES_ONLY, whole=False)
        server.kill()
        withholds(rig, "backends")
        rig.source.accept()
        rig.synced()
        assert shown(rig) == ({"echo"}, {("echo", "10.244.1.1")})
        server.start()


def test_copies_that_a_dead_writer_does_not_announce_stay(server: LocalEtcd, other_server: LocalEtcd):
    exported = "cilium/cache/serviceexports/v1/cluster3/test/echo"

    def copied(snapshot: Snapshot) -> bool:
        return any(row.key.name == exported for row in snapshot[Mirror].values())

    other_server.kill()
    with (
        Publisher(server) as living,
        Rig(server.endpoint, other_server.endpoint, heartbeat_timeout_s=600.0, mirror=True) as rig,
    ):
        living.put((exported.replace("cache", "state"), b"{}"))
        publish(living, BOTH, whole=True, exports=True)
        rig.until(copied)
        rig.synced()
        other_server.start()
        with Publisher(other_server) as writer:
            publish(writer, BOTH, whole=True)
            server.kill()
            withholds(rig, "mirror")
            assert copied(rig.db.snapshot())
            publish(writer, BOTH, whole=True)
            rig.until(lambda s: not copied(s))
            rig.synced()
        server.start()


def fails_over_to_the_dead(source: LocalEtcd, other: LocalEtcd, form: str, *, without: str = "", bad: str = "") -> None:
    """``other`` holds half of the cluster, from a writer that has died, and answers in place of ``source``."""
    other.forget()
    other.start()
    with Publisher(other) as writer:
        publish(writer, form, whole=False)
        writer.delete(*filter(None, [without]))
        writer.put(*[(key, b"no service") for key in filter(None, [bad])])
    source.kill()


def test_forms_forth_and_back_delete_nothing(server: LocalEtcd, other_server: LocalEtcd):
    """What was not announced on the server in between has rows all the same when it is listed again."""
    other_server.kill()
    with (
        Publisher(server) as living,
        Rig(server.endpoint, other_server.endpoint, heartbeat_timeout_s=600.0) as rig,
        Deletions(rig.db, Backends, lambda key: f"{key.service} {key.ip}") as backends,
        Deletions(rig.db, Services, lambda key: key.name) as services,
    ):
        publish(living, SERVICES_ONLY, whole=True)
        rig.synced()
        there = shown(rig)
        fails_over_to_the_dead(server, other_server, ENDPOINT_SLICES_ONLY)
        told = withholds(rig, "backends", "services")
        fails_over_to_the_dead(other_server, server, SERVICES_ONLY)
        withholds(rig, "backends", "services", after=told)
        assert shown(rig) == there
        assert (backends.now(), services.now()) == (set(), set())
        other_server.start()


def test_copies_of_services_stay_when_the_form_of_the_services_changes(server: LocalEtcd, other_server: LocalEtcd):
    other_server.kill()
    with (
        Publisher(server) as living,
        Rig(
            server.endpoint,
            other_server.endpoint,
            heartbeat_timeout_s=600.0,
            mirror=True,
            prefer_endpoint_slices=True,
        ) as rig,
        Deletions(rig.db, Mirror, lambda key: key.name) as copies,
    ):
        publish(living, SERVICES_ONLY, whole=True)
        rig.synced()
        fails_over_to_the_dead(server, other_server, BOTH)
        withholds(rig, "mirror", "services")
        # There were no slices until now. Those of this server are not believed to be all.
        assert copies.now() == {f"cilium/synced/{CLUSTER}/cilium/cache/endpointslices/v1"}
        server.start()


def test_a_table_is_not_synced_while_its_server_is_not_judged(server: LocalEtcd, other_server: LocalEtcd):
    """No prefix of the other server fills the services of the first one. It waits for a canary, then goes."""
    slices = next(canary for canary in CANARIES if "endpointslices" in canary)
    other_server.kill()
    with (
        Publisher(server) as living,
        Rig(server.endpoint, other_server.endpoint, heartbeat_timeout_s=600.0) as rig,
    ):
        publish(living, SERVICES_ONLY, whole=True)
        rig.synced()
        fails_over_to_the_dead(server, other_server, ENDPOINT_SLICES_ONLY, without=slices)
        snapshot = rig.until(lambda s: slices in rig.row("backends", snapshot=s).last_error)
        assert rig.row("nodes", snapshot=snapshot).state == "synced"
        told = rig.row("services", snapshot=snapshot)
        assert (told.state, told.last_error) == ("stale", f"waiting for {slices}: not all of it is there yet")
        assert shown(rig)[0] == {"echo", "other"}
        other_server.kill()
        rig.until(lambda s: rig.row("services", snapshot=s).last_error.startswith("http"))
        assert rig.row("services").state == "stale"
        server.start()


def test_what_is_accepted_holds_for_the_other_form_too_when_the_config_is_gone(
    server: LocalEtcd, other_server: LocalEtcd
):
    other_server.kill()
    with (
        Publisher(server) as living,
        Rig(server.endpoint, other_server.endpoint, heartbeat_timeout_s=600.0) as rig,
    ):
        publish(living, SERVICES_ONLY, whole=True)
        rig.synced()
        fails_over_to_the_dead(server, other_server, ENDPOINT_SLICES_ONLY)
        withholds(rig, "backends", "services")
        with Publisher(other_server) as leftover:
            leftover.delete(CONFIG_KEY)
        rig.until(lambda s: "is gone" in rig.row("nodes", snapshot=s).last_error)
        rig.source.accept()
        rig.until(lambda _: shown(rig) == (set(), {("echo", "10.244.1.1")}))
        server.start()


def test_a_rejected_service_is_told_no_more_when_its_form_is_withdrawn(server: LocalEtcd):
    """Even where it was withdrawn once before, when there was nothing in that form."""
    with Publisher(server) as publisher, Rig(server.endpoint) as rig:
        publish(publisher, ENDPOINT_SLICES_ONLY, whole=False)
        rig.synced()
        publisher.put((SERVICE, b"no service"))
        publisher.configure(config(SERVICES_ONLY))
        rig.until(lambda s: [row.key.object for row in s[Rejected].values()] == [SERVICE])
        publisher.configure(config(ENDPOINT_SLICES_ONLY))
        rig.until(lambda s: not s[Rejected])
        rig.synced()


def test_a_copy_of_what_nobody_ever_announced_is_complete(server: LocalEtcd, other_server: LocalEtcd):
    """A first server never had its canaries. The second one is complete, and nothing is withheld there."""
    other_server.kill()
    with Publisher(server) as living:
        publish(living, SERVICES_ONLY, whole=False)
        living.delete(CANARIES[0])
    with Rig(server.endpoint, other_server.endpoint, heartbeat_timeout_s=600.0, mirror=True) as rig:
        rig.until(lambda s: CANARIES[0] in rig.row("mirror", snapshot=s).last_error and bool(s[Services]))
        fails_over_to_the_dead(server, other_server, SERVICES_ONLY)
        complete = {canary.replace("cilium/state", "cilium/cache") for canary in CANARIES}
        rig.until(lambda s: complete <= {row.key.name for row in s[Mirror].values()})
        server.start()


@pytest.mark.parametrize(("before", "after"), [(SERVICES_ONLY, BOTH), (BOTH, SERVICES_ONLY)])
def test_a_service_that_cannot_be_read_keeps_its_rows_when_the_form_changes(server: LocalEtcd, before: str, after: str):
    """Its backends too, where the unreadable object should have them. Until it can be read, or is gone."""
    with (
        Publisher(server) as publisher,
        Rig(server.endpoint, prefer_endpoint_slices=True) as rig,
        beating(publisher),
    ):
        publish(publisher, before, whole=True)
        rig.synced()
        there = shown(rig)
        for key in (SERVICE, OTHER_SERVICE):
            publisher.put((key, b"no service"))
        rig.until(lambda s: len(s[Rejected]) == 2)
        publisher.put((SLICE, endpoint_slices.encode(ECHO)))
        publisher.configure(config(after))
        publisher.sync()
        keeps(rig, "services", *(["backends"] if after == SERVICES_ONLY else []))
        assert shown(rig) == (there[0], {("echo", "10.244.1.1"), ("echo", "10.244.1.2")})
        publisher.put((SERVICE, LITERALS[SERVICE].replace(b"10.96.50.104", b"10.96.50.105")))
        publisher.delete(OTHER_SERVICE)
        rig.until(lambda s: [row.frontends[0].ip for row in s[Services].values()] == ["10.96.50.105"])
        rig.until(lambda s: not s[Rejected])
        rig.synced()


def test_a_service_that_a_doubted_server_has_in_bad_form_keeps_all_of_its_rows(
    server: LocalEtcd, other_server: LocalEtcd
):
    """Until that server is believed. Then its backends are those of the slices there."""
    other_server.kill()
    with (
        Publisher(server) as living,
        Rig(server.endpoint, other_server.endpoint, heartbeat_timeout_s=600.0, prefer_endpoint_slices=True) as rig,
        Deletions(rig.db, Backends) as backends,
    ):
        publish(living, SERVICES_ONLY, whole=True)
        rig.synced()
        there = shown(rig)
        fails_over_to_the_dead(server, other_server, BOTH, bad=SERVICE)
        withholds(rig, "backends", "services")
        assert shown(rig) == there
        assert backends.now() == set()
        with Publisher(other_server) as writer, beating(writer):
            writer.sync()
            keeps(rig, "services")
            assert shown(rig) == (there[0], {("echo", "10.244.1.1")})
            writer.delete(SERVICE)
            rig.synced()
            assert shown(rig)[0] == set()
        server.start()
