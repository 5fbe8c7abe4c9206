"""Faults in which a server answers and must not be believed: dead writers, other etcds, old backups, lost mounts."""

from __future__ import annotations

import random
import threading

from .cell import Run
from .directories import ManifestsSite
from .etcds import EtcdSite, KvstoreSite, MeshSite

_TURNS = 5
_SWAPS = 100
_moments = random.Random(44774)


def dead_writer(run: Run) -> None:
    """Its writer is dead when the reader connects; then the lease of all keys ends, of heartbeat and canaries too."""
    site = run.site
    assert isinstance(site, EtcdSite)
    site.until(site.is_right, "what its writer has deleted")  # later it would not be believed of a dead one
    site.stop_reader()
    for server in site.servers:
        site.lend(server)
    site.start_reader()
    site.until(site.is_right, "what is to be lost")
    site.end_leases()
    run.told("stale")
    assert site.rows(site.db.snapshot()) == site.truth
    site.believe(site.some_change())
    site.refill()
    run.heal()
    run.converge()


def dead_replica(run: Run) -> None:
    """The reader falls back to replicas whose writer died before the last changes; then their keys expire as well."""
    site = run.site
    assert isinstance(site, MeshSite)
    for server in site.servers[1:]:
        site.lend(server)
        site.dead.add(server)
    site.write(site.some_change())
    site.until(site.is_right, "what the others do not have", beat_s=0.1)
    site.proxies[0].cut()
    run.told("stale", withheld=1)
    site.end_leases()
    run.told("stale", containing="waiting for")
    assert site.truth.keys() <= site.rows(site.db.snapshot()).keys()
    site.proxies[0].mend()
    run.heal()
    run.converge()
    for server in site.servers[1:]:
        site.dead.discard(server)
        site.refill_one(server)


def turned(run: Run) -> None:
    """The address leads to another etcd with more revisions and few keys, at random moments of a list."""
    site = run.site
    assert isinstance(site, EtcdSite)
    for _ in range(_TURNS):
        other = site.other()
        site.cut()
        run.told("stale")
        site.write(site.some_change())
        site.compact()  # else nothing would be listed
        site.mend()
        threading.Event().wait(_moments.uniform(0.0, 0.05))
        for proxy in site.proxies:
            proxy.turn(other.endpoint)
        run.told("stale", withheld=1)
        for proxy, server in zip(site.proxies, site.servers, strict=True):
            proxy.turn(server.endpoint)
        run.heal()
        run.converge()


def restored(run: Run) -> None:
    """It comes back from a backup, and others write on past our revision before the reader is there again."""
    site = run.site
    assert isinstance(site, KvstoreSite)
    (server,) = site.servers
    backup = site.directory / "backup"
    server.stop()
    server.back_up(backup)
    server.start()
    for _ in range(3):
        site.write(site.some_change())
    site.until(site.is_right, "what is to be lost")
    site.cut()
    run.told("stale")
    with site.client(server) as client:
        before = client.put(b"elsewhere", b"").revision
    server.stop()
    server.restore(backup)
    server.start()
    with site.client(server) as client:
        while client.put(b"elsewhere", b"").revision <= before:
            pass
    site.mend()
    run.told("stale", withheld=1)
    site.store(dict.fromkeys(site.removed))
    site.believe(site.some_change())
    site.refill()
    site.store(dict.fromkeys(site.removed))
    run.cell.note = f"believed again {site.vouch()}"
    run.heal()
    run.converge()


def unmounted(run: Run) -> None:
    """The directory's content is gone and its mount point is left, at random moments between two changes."""
    site = run.site
    assert isinstance(site, ManifestsSite)
    for _ in range(_TURNS):
        site.write(site.some_change())
        threading.Event().wait(_moments.uniform(0.0, 0.03))
        had = site.rows(site.db.snapshot())
        site.unmount()
        run.told("stale", withheld=1)
        assert had.keys() - site.removed <= site.rows(site.db.snapshot()).keys()
        site.mount()
        run.heal()
        run.converge()


def swapped(run: Run) -> None:
    """All files change at once, again and again, as a kubelet swaps what is mounted; at random moments of a look."""
    site = run.site
    assert isinstance(site, ManifestsSite)
    site.stop_reader()
    site.use_generations()
    site.start_reader()
    for _ in range(_SWAPS):
        site.write(site.some_change())
        threading.Event().wait(_moments.uniform(0.0, 0.01))
    run.heal()
    run.converge()
