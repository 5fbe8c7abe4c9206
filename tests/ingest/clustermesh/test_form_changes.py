"""When the form of services changes: what of the old form goes, and on which evidence.

A form is announced before it is written, and a canary of it may have stood there before.
"""

import pytest

from ingest.clustermesh.factory import remote
from ingest.clustermesh.ids import ClusterIds
from ingest.etcd.local import LocalEtcd
from statedb import Snapshot
from statedb.catalog import Backends, Mirror, Nodes, Rejected, Services
from statedb.catalog.wire import endpoint_slices
from statedb.catalog.wire.cluster_configs import BOTH, ENDPOINT_SLICES_ONLY, SERVICES_ONLY

from ...statedb.catalog.test_endpoint_slices import ECHO
from ..kvstore_rig import Deletions
from .publisher import CANARIES, CLUSTER, CONFIG_KEY, LITERALS, WAIT_S, Publisher, Rig, beating, options, servers
from .test_forms import SERVICE, SLICE, config, fails_over_to_the_dead, keeps, publish, shown, withholds

NEWER = "the cluster config is newer than cilium/synced"


CHANGES = [
    (ENDPOINT_SLICES_ONLY, SERVICES_ONLY, False),
    (ENDPOINT_SLICES_ONLY, BOTH, False),
    (SERVICES_ONLY, ENDPOINT_SLICES_ONLY, False),
    (SERVICES_ONLY, BOTH, True),
]


@pytest.mark.parametrize(("before", "after", "prefers"), CHANGES)
def test_the_canary_of_a_form_from_before_it_was_announced_says_nothing(
    server: LocalEtcd, before: str, after: str, prefers: bool
):
    """A mesh cache marks a prefix that a cluster does not have as complete. Then the cluster announces it."""
    with (
        Publisher(server) as publisher,
        beating(publisher),
        Rig(server.endpoint, prefer_endpoint_slices=prefers) as rig,
        Deletions(rig.db, Backends) as backends,
    ):
        publish(publisher, before, whole=True)  # with all canaries
        rig.synced()
        there = shown(rig)
        publisher.configure(config(after))
        rig.until(lambda s: rig.row("backends", snapshot=s).last_error.find("the cluster config is newer") > 0)
        assert shown(rig)[1] == there[1]
        assert backends.now() == set()
        publish(publisher, after, whole=False)
        rig.synced()
        assert shown(rig)[1] == {("echo", "10.244.1.1")}


def test_a_lease_that_ends_takes_no_row_of_a_service_that_cannot_be_read(server: LocalEtcd):
    """The service came in the other form. That it was unreadable in this one was no evidence that it was gone."""
    with (
        Publisher(server) as publisher,
        beating(publisher),
        Rig(server.endpoint, prefer_endpoint_slices=True) as rig,
        Deletions(rig.db, Services, lambda key: key.name) as services,
    ):
        publish(publisher, SERVICES_ONLY, whole=True)
        rig.synced()
        dead = publisher.client.grant(600)
        publisher.client.put_many([(SERVICE.encode(), b"no service")], dead)
        rig.until(lambda s: len(s[Rejected]) == 1)
        publisher.put((SLICE, endpoint_slices.encode(ECHO)))
        publisher.configure(config(BOTH))
        publisher.sync()
        keeps(rig, "services")
        publisher.client.revoke(dead)
        rig.until(lambda s: "its lease ended" in rig.row("services", snapshot=s).last_error)
        relists = rig.row("nodes").relists
        rig.source.reconnect(servers(server.endpoint))
        rig.until(lambda s: rig.row("nodes", snapshot=s).relists > relists)
        rig.until(lambda s: "lease ended" in rig.row("services", snapshot=s).last_error)
        assert services.now() == set()
        assert "echo" in shown(rig)[0]
        publisher.sync()
        rig.synced()
        assert shown(rig)[0] == {"other"}


def test_a_slice_that_cannot_be_read_keeps_the_backends_of_the_other_form(server: LocalEtcd):
    with (
        Publisher(server) as publisher,
        beating(publisher),
        Rig(server.endpoint) as rig,
        Deletions(rig.db, Backends) as backends,
    ):
        publish(publisher, SERVICES_ONLY, whole=True)
        rig.synced()
        there = shown(rig)[1]
        publisher.put((SLICE, b"no slice"))
        publisher.configure(config(ENDPOINT_SLICES_ONLY))
        publisher.sync()
        keeps(rig, "backends")
        assert shown(rig)[1] == there
        assert backends.now() == set()
        publish(publisher, ENDPOINT_SLICES_ONLY, whole=False)
        rig.synced()
        assert shown(rig) == (set(), {("echo", "10.244.1.1")})


def test_a_table_that_only_unannounced_feeds_fill_is_stale_when_its_writer_is_away(server: LocalEtcd):
    with Publisher(server) as publisher, Rig(server.endpoint) as rig:
        publish(publisher, ENDPOINT_SLICES_ONLY, whole=False)
        rig.synced()
        publisher.delete(CONFIG_KEY)
        rig.until(lambda s: "is gone" in rig.row("services", snapshot=s).last_error)
        assert rig.row("services").state == "stale"


def test_canaries_that_came_with_the_config_of_another_form_count(server: LocalEtcd):
    """The connection that learned of the new config has seen them already. They are newer than that config."""
    canaries = b"cilium/synced/cluster3/"
    with Publisher(server) as publisher, beating(publisher), Rig(server.endpoint) as rig:
        publish(publisher, SERVICES_ONLY, whole=True)
        rig.synced()
        publisher.put((SLICE, endpoint_slices.encode(ECHO)))
        with (
            publisher.client.watch({canaries: publisher.client.get(canaries).header.revision + 1}) as others,
            rig.db.write(Nodes),  # the source waits, and reads all that follows at once
        ):
            publisher.put(*[item for item in LITERALS.items() if "/nodes/" in item[0]])
            publisher.configure(config(ENDPOINT_SLICES_ONLY))
            publisher.sync()
            seen = 0
            while seen < len(CANARIES):
                batch = others.next(WAIT_S)
                seen += len(batch.events) if batch is not None else 0
        rig.until(lambda s: not s[Services])
        rig.synced()


def test_a_form_that_is_not_announced_any_more_goes_though_the_heartbeat_is_another_writer_s(server: LocalEtcd):
    """The canaries are the only sign of life of the writer of this cluster."""
    with (
        Publisher(server) as publisher,
        Publisher(server) as other,
        Rig(server.endpoint, prefer_endpoint_slices=True) as rig,
    ):
        publisher.lease, other.lease = publisher.client.grant(600), other.client.grant(600)
        with beating(other):
            publish(publisher, BOTH, whole=True)
            rig.synced()
            publisher.configure(config(ENDPOINT_SLICES_ONLY))
            rig.until(lambda s: NEWER in rig.row("services", snapshot=s).last_error)
            publisher.sync()  # what it wrote on the connection before would be no sign of life on this one
            rig.until(lambda s: not s[Services])
            rig.synced()


def test_a_second_replica_of_a_dead_writer_deletes_no_service(server: LocalEtcd, other_server: LocalEtcd):
    """The first one is left while it waits for a canary. Neither of them has a form that fills the table."""
    slices = next(canary for canary in CANARIES if "endpointslices" in canary)
    other_server.kill()
    with (
        Publisher(server) as living,
        Rig(server.endpoint, other_server.endpoint, heartbeat_timeout_s=600.0) as rig,
        Deletions(rig.db, Services, lambda key: key.name) as services,
    ):
        publish(living, SERVICES_ONLY, whole=False)
        rig.synced()
        fails_over_to_the_dead(server, other_server, ENDPOINT_SLICES_ONLY, without=slices)
        rig.until(lambda s: slices in rig.row("backends", snapshot=s).last_error)
        fails_over_to_the_dead(other_server, server, ENDPOINT_SLICES_ONLY)
        withholds(rig, "services")
        assert services.now() == set()
        assert shown(rig)[0] == {"echo"}
        other_server.start()


def test_a_lease_that_ended_before_the_form_changed_deletes_no_service(server: LocalEtcd):
    with (
        Publisher(server) as publisher,
        beating(publisher),
        Rig(server.endpoint, prefer_endpoint_slices=True) as rig,
        Deletions(rig.db, Services, lambda key: key.name) as services,
    ):
        publish(publisher, BOTH, whole=True)
        rig.synced()
        dead = publisher.client.grant(600)
        publisher.client.put_many([(SERVICE.encode(), LITERALS[SERVICE])], dead)
        publisher.client.revoke(dead)
        rig.until(lambda s: "its lease ended" in rig.row("services", snapshot=s).last_error)
        publisher.configure(config(SERVICES_ONLY))
        rig.until(lambda s: NEWER in rig.row("services", snapshot=s).last_error)
        assert services.now() == set()
        publisher.sync()
        rig.synced()
        assert shown(rig)[0] == {"other"}


def test_a_source_that_begins_after_the_form_changed_needs_a_newer_canary_too(server: LocalEtcd):
    with Publisher(server) as publisher, beating(publisher), Rig(server.endpoint) as rig:
        publish(publisher, SERVICES_ONLY, whole=True)
        rig.synced()
        there = shown(rig)
        rig.source.stop()
        assert rig.source.join(WAIT_S)
        publisher.configure(config(ENDPOINT_SLICES_ONLY))
        rig.source = remote(rig.db, CLUSTER, servers(server.endpoint), options(), ClusterIds(1))
        with Deletions(rig.db, Backends) as backends:
            rig.source.start()
            rig.until(lambda s: NEWER in rig.row("backends", snapshot=s).last_error)
            rig.until(lambda s: NEWER in rig.row("services", snapshot=s).last_error)
            assert shown(rig) == there
            assert backends.now() == set()
        publish(publisher, ENDPOINT_SLICES_ONLY, whole=False)
        rig.synced()
        assert shown(rig) == (set(), {("echo", "10.244.1.1")})


def test_a_break_of_the_connection_costs_no_evidence(server: LocalEtcd):
    """Canaries that are newer than the config count on the next connection too."""
    with (
        Publisher(server) as publisher,
        Rig(server.endpoint, heartbeat_timeout_s=600.0) as rig,
    ):
        publish(publisher, SERVICES_ONLY, whole=True)
        rig.synced()
        publisher.put((SLICE, endpoint_slices.encode(ECHO)))
        publisher.configure(config(ENDPOINT_SLICES_ONLY))
        publisher.sync()
        rig.source.reconnect(servers(server.endpoint))
        with beating(publisher):
            rig.until(lambda s: not s[Services])
            rig.synced()


@pytest.mark.parametrize(("before", "after"), [(SERVICES_ONLY, ENDPOINT_SLICES_ONLY), (BOTH, SERVICES_ONLY)])
def test_a_rejected_service_without_rows_is_told_as_long_as_its_form_is_announced(
    server: LocalEtcd, before: str, after: str
):
    with (
        Publisher(server) as publisher,
        beating(publisher),
        Rig(server.endpoint, prefer_endpoint_slices=True) as rig,
    ):
        publisher.put((SERVICE, b"no service"))
        if before == BOTH:
            publisher.put((SLICE, endpoint_slices.encode(ECHO)))
        publisher.configure(config(before))
        publisher.sync()
        rig.until(lambda s: len(s[Rejected]) == 1)
        rig.synced()
        publisher.configure(config(after))
        publisher.sync()
        if after == ENDPOINT_SLICES_ONLY:
            rig.until(lambda s: not s[Rejected])
            rig.synced()
        else:
            keeps(rig, "backends")
            assert [row.key.object for row in rig.db.snapshot()[Rejected].values()] == [SERVICE]


def test_a_copy_that_begins_to_be_announced_is_complete_once_its_canary_is_newer(server: LocalEtcd):
    """Not before, though there are no rows to lose; and then in any case, though its list lacks nothing."""
    complete = "cilium/synced/cluster3/cilium/cache/endpointslices/v1"

    def is_complete(snapshot: Snapshot) -> bool:
        return any(row.key.name == complete for row in snapshot[Mirror].values())

    with Publisher(server) as publisher, beating(publisher), Rig(server.endpoint, mirror=True) as rig:
        publish(publisher, SERVICES_ONLY, whole=True)
        rig.synced()
        assert is_complete(rig.db.snapshot())  # there is nothing to copy
        relists = rig.row("services").relists
        publisher.configure(config(BOTH))
        snapshot = rig.until(lambda s: rig.row("services", snapshot=s).relists > relists)  # which come after the slices
        assert not is_complete(snapshot)
        publisher.put((SLICE, endpoint_slices.encode(ECHO)))
        publisher.sync()
        rig.until(is_complete)
        rig.synced()
