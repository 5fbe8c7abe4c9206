"""Another config stands in the cache than the one that the mirror has: changed by others, denied, or on its way.

What the cache deletes and calls complete depends on the config that readers see.
"""

from __future__ import annotations

import threading

import pytest

from consumers.etcd.meshcache import MeshCache, MeshCacheOptions
from consumers.etcd.meshcache.names import cached_config
from ingest.etcd.local import LocalEtcd
from statedb import Database
from statedb.catalog import TABLES, Mirror
from statedb.catalog.wire import keys

from ...waiting import WAIT_S, eventually
from .caching import BELOW, MESHCACHE, ROOT, etcdctl, guard
from .copied import CANARIES, CONFIG, FIRST, KEY, SECOND, Copied, overwrite
from .etcds import held
from .writing import Interposed


def are_newer(etcd: LocalEtcd, login: tuple[str, str] | None = None) -> bool:
    """Whether all canaries are there and newer than the config, as readers require."""
    with etcd.client(login=login) as client:
        config, *of_canaries = [client.get(name.encode()).kv for name in (CONFIG, *CANARIES)]
    return config is not None and all(kv is not None and kv.mod_revision > config.mod_revision for kv in of_canaries)


def test_no_key_goes_while_the_config_of_a_stranger_stands_there(cache: LocalEtcd):
    """Readers see that config. The repair waits, because the config has been changed before."""
    with Copied(cache.client, repair_min_s=3000.0, repair_max_s=3000.0) as copied:
        repairs = copied.cache._writer._writer_state.repairs
        overwrite(cache, CONFIG, b"{}")
        eventually(lambda: held(cache)[CONFIG] == cached_config(FIRST), "the first repair")
        overwrite(cache, CONFIG, b"{}")
        eventually(lambda: repairs.next_due is not None, "the second repair")
        copied.delete(KEY)
        copied.settle()
        assert held(cache)[CONFIG] == b"{}"
        assert KEY in held(cache)
        copied.ahead_s = 3000.0
        eventually(lambda: held(cache)[CONFIG] == cached_config(FIRST), "the config")
        eventually(lambda: KEY not in held(cache), "the delete")


@pytest.mark.parametrize("is_deleted", [False, True])
def test_canaries_are_written_again_after_a_config_that_is_repaired(cache: LocalEtcd, is_deleted: bool):
    with Copied(cache.client, repair_min_s=0.01, repair_max_s=0.02) as copied, cache.client() as client:
        assert are_newer(cache)
        for count in (1, 2):
            if is_deleted:
                client.delete(CONFIG.encode())
            else:
                client.put(CONFIG.encode(), b"{}")
            eventually(lambda: copied.cache._writer.stats().repairs >= count, "that it is seen")  # noqa: B023
            eventually(lambda: held(cache).get(CONFIG) == cached_config(FIRST), "the config")
            eventually(lambda: are_newer(cache), "newer canaries")


def test_canaries_are_written_again_after_a_config_that_was_denied(cache: LocalEtcd):
    guard(cache, MESHCACHE[0], (*BELOW, "cilium/cache/"))

    def grant(right: str) -> None:
        root = "--user=root:root-secret"
        etcdctl(cache, root, "role", "grant-permission", MESHCACHE[0], "--prefix=true", right, "cilium/cluster-config/")

    with Copied(lambda: cache.client(login=MESHCACHE)) as copied:
        grant("read")
        copied.write({CONFIG: SECOND})
        eventually(lambda: CONFIG in copied.cache._writer.refused(), "that the config is denied")
        eventually(lambda: all(map(copied.cache._writer.is_written, CANARIES)), "the canaries without it")
        grant("readwrite")
        eventually(lambda: held(cache, ROOT)[CONFIG] == cached_config(SECOND), "the config")
        eventually(lambda: are_newer(cache, ROOT), "newer canaries")


def test_a_key_that_waits_for_a_config_goes_when_that_config_needs_no_write(cache: LocalEtcd):
    """The config changes and changes back while the writer is busy; the key is looked at in between."""
    is_held, may_go_on = threading.Event(), threading.Event()

    def before_commit(puts: set[bytes], _: set[bytes]) -> None:
        if b"cilium/cache/nodes/v1/c3/n" in puts:
            is_held.set()
            assert may_go_on.wait(WAIT_S)

    with Copied(lambda: Interposed(cache.client(), before_commit)) as copied:
        try:
            copied.write({"cilium/cache/nodes/v1/c3/n": b""})
            assert is_held.wait(WAIT_S)
            copied.delete(KEY)
            copied.follow()
            for config in (SECOND, FIRST):
                copied.write({CONFIG: config})
                copied.follow()
        finally:
            may_go_on.set()
        eventually(lambda: KEY not in held(cache), "the delete")
        assert held(cache)[CONFIG] == cached_config(FIRST)


def test_a_new_process_rests_while_a_cluster_of_before_does_not_answer(cache: LocalEtcd):
    """Its config is nobody's yet. To look at it again because it was looked at would never end."""
    with Copied(cache.client):
        before = held(cache)
    anew = MeshCache(Database(*TABLES, Mirror), cache.client, MeshCacheOptions(heartbeat_s=0.1, lease_time_s=3600.0))
    anew.start()
    try:
        eventually(lambda: anew._writer.ready and not anew.queue_size, "the end of the queue")
        assert held(cache).keys() >= before.keys() - {keys.HEARTBEAT}
    finally:
        anew.stop()
        assert anew.join(10)


def test_a_key_that_the_mirror_has_may_not_go_though_the_writer_does_not_know_it_yet(cache: LocalEtcd):
    """The snapshot is there before the writer is told of its rows."""
    with Copied(cache.client) as copied:
        copied.settle()
        assert not copied.cache._may_delete(KEY)
        assert copied.cache._may_delete(f"{KEY}9")


def test_the_id_in_a_config_of_a_stranger_says_nothing_to_a_new_process(cache: LocalEtcd):
    """A config with another id would make all keys of the cluster those of another cluster."""
    with Copied(cache.client), cache.client() as client:
        created = client.get(KEY.encode()).kv.create_revision
    overwrite(cache, CONFIG, b'{"id":9}')
    with Copied(cache.client) as anew, cache.client() as client:
        anew.settle()
        eventually(lambda: held(cache)[CONFIG] == cached_config(FIRST), "the config")
        assert client.get(KEY.encode()).kv.create_revision == created
        assert anew.cache.stats().deletes == 0
