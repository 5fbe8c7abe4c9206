"""Which canaries a config would make a false promise of: a pure decision, without a server."""

import pytest

from consumers.etcd.meshcache.names import cached_config, config_name
from consumers.etcd.meshcache.promises import unproven_canaries
from consumers.etcd.present import Present
from statedb import Database
from statedb.catalog import Mirror, Mirrored, MirrorKey
from statedb.catalog.wire import keys
from statedb.catalog.wire.cluster_configs import BOTH, ENDPOINT_SLICES_ONLY, ClusterConfig, encode

CONFIG = config_name("c2")
SERVICE = "cilium/cache/services/v1/c2/ns/s"
SERVICES = keys.synced("c2", SERVICE)
NODES = keys.synced("c2", "cilium/cache/nodes/v1")


def config(form: str) -> bytes:
    return encode(ClusterConfig(2, True, max_connected_clusters=255, endpoint_slices=form))


OURS = {form: cached_config(config(form)) for form in (BOTH, ENDPOINT_SLICES_ONLY)}
COMPLETE = {CONFIG: config(BOTH), SERVICE: b"1", SERVICES: b"", NODES: b""}


@pytest.mark.parametrize(
    ("there", "mirror", "unproven"),
    [
        ({CONFIG: OURS[ENDPOINT_SLICES_ONLY]}, {CONFIG: config(BOTH)}, {SERVICES}),
        ({CONFIG: OURS[ENDPOINT_SLICES_ONLY]}, COMPLETE, {SERVICES}),
        ({CONFIG: OURS[ENDPOINT_SLICES_ONLY], SERVICE: b"0"}, COMPLETE, {SERVICES}),
        ({CONFIG: OURS[ENDPOINT_SLICES_ONLY], SERVICE: b"1"}, COMPLETE, set()),
        # our config has promised it before
        ({CONFIG: OURS[BOTH]}, {CONFIG: config(BOTH)}, set()),
        # what was announced is not known: no config, or one of somebody else
        ({}, {CONFIG: config(BOTH)}, {SERVICES, NODES}),
        ({}, {CONFIG: config(BOTH), NODES: b""}, {SERVICES}),
        ({CONFIG: b"no config"}, {CONFIG: config(BOTH), NODES: b""}, {SERVICES}),
        ({CONFIG: config(BOTH)}, {CONFIG: config(BOTH), NODES: b""}, {SERVICES}),
        # the mirror has gone on to another config
        ({CONFIG: OURS[ENDPOINT_SLICES_ONLY], SERVICE: b"1"}, COMPLETE | {CONFIG: config("")}, {SERVICES}),
        ({CONFIG: OURS[ENDPOINT_SLICES_ONLY]}, {}, {SERVICES}),
    ],
)
def test_what_a_config_promises_must_be_there(there: dict[str, bytes], mirror: dict[str, bytes], unproven: set[str]):
    db, present = Database(Mirror), Present()
    with db.write(Mirror) as txn:
        txn[Mirror].insert_all([Mirrored(MirrorKey("c2", name), value) for name, value in mirror.items()])
    assert unproven_canaries(CONFIG, OURS[BOTH], present, db.snapshot()) == []  # there is no canary
    for name, value in ({SERVICES: b"", NODES: b""} | there).items():
        present.put(name, value, lease=1, revision=1)
    assert set(unproven_canaries(CONFIG, OURS[BOTH], present, db.snapshot())) == unproven
