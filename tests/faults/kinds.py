"""The faults. Each is a site's options and what happens there; after it the tables must become right by themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec

from . import clock
from .apis import FakeApiSite, KubernetesSite
from .cell import Run
from .directories import ManifestsSite
from .doubts import dead_replica, dead_writer, restored, swapped, turned, unmounted
from .etcds import FanoutSite, KvstoreSite, MeshSite
from .members import (
    MembersSite,
    leader_frozen,
    leader_isolated,
    leader_lost,
    our_member_frozen,
    our_member_isolated,
    quorum_lost,
)
from .site import IDENTITY, Site

FLOOD = 10_000
_DAY_S, _HOUR_S = 86_400.0, 3_600.0
_LEASE_S = 5.0
_HALVES = (40, 400, 2_000, 4_000)


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """``happen`` inflicts it and heals it. ``waits``: the reader is started by ``happen``, and not before.

    ``only``: at these sites, and ``why`` not at others. ``once``: it cannot happen twice at one site. ``scenario``: one
    of the CFP's.
    """

    name: str
    about: str
    happen: Callable[[Run], None]
    waits: bool = False
    only: tuple[type[Site], ...] = ()
    why: str = ""
    once: bool = False
    scenario: bool = False
    replicas: int = 1
    by_name: bool = False
    guarded: bool = False
    options: dict[str, dict[str, Any]] = {}


def killed(run: Run) -> None:
    site = run.site
    site.kill()
    run.told("stale")
    site.start()
    run.heal()
    site.write(site.some_change())
    run.converge()


def emptied(run: Run) -> None:
    """Empty it stays, until those who write into it are back; one endpoint went meanwhile."""
    site = run.site
    site.until(site.is_right, "what is to be lost")
    had = dict(site.truth)
    site.empty()
    run.told("stale", containing=site.doubt)
    assert site.rows(site.db.snapshot()) == had
    site.believe({min(site.truth): None})
    site.refill()
    run.cell.note = f"believed again {site.vouch()}"
    run.heal()
    run.converge()


def replaced(run: Run) -> None:
    """Another server, with other identifiers and fewer revisions, has all of the truth when the reader comes back."""
    site = run.site
    for round_ in range(4):
        site.write(dict.fromkeys(site.truth, IDENTITY + round_))
    site.until(site.is_right, "what is to be lost")
    site.cut()
    run.told("stale")
    site.believe(site.some_change())
    site.empty(other=True)
    site.refill()
    site.mend()
    run.cell.note = f"believed again {site.vouch()}"
    run.heal()
    run.converge()


def compacted(run: Run) -> None:
    site = run.site
    site.cut()
    run.told("stale")
    site.write(site.some_change())
    site.compact()
    site.mend()
    run.heal()
    run.converge()


def cut(run: Run) -> None:
    site = run.site
    site.cut()
    run.told("stale")
    site.write(site.some_change())
    site.mend()
    run.heal()
    run.converge()


def frozen(run: Run) -> None:
    site = run.site
    for proxy in site.proxies:
        proxy.freeze()
    site.write(site.some_change())
    run.told("stale")
    site.mend()
    run.heal()
    run.converge()


def slowed(run: Run) -> None:
    """Twenty milliseconds for each piece either way: slow is not gone."""
    site = run.site
    for proxy in site.proxies:
        proxy.slow(0.02)
    for _ in range(5):
        site.write(site.some_change())
    run.heal()
    run.converge()
    assert site.row().state == "synced"
    site.mend()


def half(run: Run) -> None:
    """Answers break off at several places; then a half of the backend's own kind."""
    site = run.site
    if site.proxies:
        broken_off = sum(_broken_off(run, size) for size in _HALVES)
        assert broken_off >= len(_HALVES)
    if not site.half_write():
        return
    site.write(site.some_change())
    run.heal()
    run.converge()


def _broken_off(run: Run, size: int) -> int:
    """How many connections have broken off after so many bytes; it goes on until some have, or they were enough."""
    site = run.site
    before = sum(proxy.broken_off for proxy in site.proxies)
    site.cut()
    run.told("stale")
    site.write(site.some_change())
    site.compact()
    for proxy in site.proxies:
        proxy.limit(size)
        proxy.open()
    _wait(lambda: sum(proxy.broken_off for proxy in site.proxies) > before + 2 or site.is_right(site.db.snapshot()))
    site.mend()
    run.heal()
    run.converge()
    return sum(proxy.broken_off for proxy in site.proxies) - before


def credentials(run: Run) -> None:
    site = run.site
    site.expire()
    run.told("stale", "failed", containing=site.refusal)
    site.write(site.some_change())
    site.renew()
    run.heal()
    run.converge()


def never_answers(run: Run) -> None:
    """Connections are taken, and nothing is said, from the first moment on. It can be stopped meanwhile."""
    site = run.site
    for proxy in site.proxies:
        proxy.freeze()
    site.start_reader()
    run.told("connecting", "failed")
    site.stop_reader()
    site.start_reader()
    run.told("connecting", "failed")
    assert not site.rows(site.db.snapshot())
    site.mend()
    run.heal()
    run.converge()


def name_moves(run: Run) -> None:
    site = run.site
    site.move()
    site.write(site.some_change())
    run.heal()
    run.converge()


def clocks(run: Run) -> None:
    """The wall clock goes back a day, on two days and home; then an hour passes at once, as for a stopped process."""
    site = run.site
    try:
        for wall_s in (-_DAY_S, _DAY_S, 0.0):
            clock.set_wall(wall_s)
            site.write(site.some_change())
            run.heal()
            run.converge()
            if site.proxies:
                site.cut()
                run.told("stale")
                site.mend()
            site.write(site.some_change())
            run.heal()
            run.converge()
    finally:
        clock.set_wall(0.0)
    clock.pass_at_once(_HOUR_S)
    site.write(site.some_change())
    run.heal()
    site.beat()
    run.converge()


def flood(run: Run) -> None:
    """Ten thousand updates while the reader, cut off and behind a compaction, lists everything anew.

    Every key has changed by then, so that nothing shows which etcd this is, and what is gone waits for a lease time.
    """
    site = run.site
    if site.proxies:
        site.cut()
        run.told("stale")
    site.write(site.some_change())
    over = threading.Event()
    failure: list[BaseException] = []

    def update() -> None:
        try:
            addresses = sorted(site.truth)
            for number in range(0, FLOOD, len(addresses)):
                site.write(dict.fromkeys(addresses, IDENTITY + number % 1_000))
        except BaseException as error:
            failure.append(error)
        finally:
            over.set()

    if site.backend != "manifests":
        site.compact()
    thread = threading.Thread(target=update)
    thread.start()
    site.mend()
    assert over.wait(600), "the updates take too long"
    thread.join()
    assert not failure, failure
    run.heal()
    run.converge()
    if site.backend in ("clustermesh", "etcd"):
        run.cell.note = f"deletes believed one lease time ({_LEASE_S:.0f} s here) after the heartbeat"


def refused(run: Run) -> None:
    """Too many requests (429, with Retry-After) and errors of the server (503), again and again, after a cut."""
    site = run.site
    assert isinstance(site, FakeApiSite)
    site.cut()
    run.told("stale")
    site.refuse()
    site.compact()
    site.write(site.some_change())
    site.mend()
    run.heal()
    run.converge()


def one_of_three(run: Run) -> None:
    """One replica is lost, then all, then one is back; it was emptied and filled meanwhile."""
    site = _mesh(run)
    site.servers[0].kill()
    site.write(site.some_change())
    run.heal()
    run.converge()
    for server in site.servers[1:]:
        server.kill()
    run.told("stale")
    site.believe(site.some_change())
    site.empty_one(site.servers[2], other=True)
    site.refill_one(site.servers[2])
    run.heal()
    run.converge()
    for server in site.servers[:2]:
        site.empty_one(server, other=True)
        site.refill_one(server)


# -- the CFP's scenarios ----------------------------------------------------------------------------------------------


def publisher_restart(run: Run) -> None:
    """Whoever publishes writes everything anew, what it had deleted meanwhile included; the etcds stay."""
    site = _mesh(run)
    site.believe(site.some_change())
    gone = dict.fromkeys(site.removed)
    site.refill()
    site.store(dict(gone))
    run.heal()
    run.converge()


def etcd_restart(run: Run) -> None:
    """Its state was in memory: it comes back empty, as another one, and is filled by its publisher."""
    site = _mesh(run)
    site.empty(other=True)
    run.told("stale")
    site.believe(site.some_change())
    site.refill()
    run.heal()
    run.converge()


def agent_restart(run: Run) -> None:
    """Another reader of the same tables; what went between the two goes when the second has listed."""
    site = run.site
    site.stop_reader()
    site.write(site.some_change())
    site.start_reader()
    run.heal()
    run.converge()


def rolling_restart(run: Run) -> None:
    """One replica after the other comes back empty and is filled."""
    site = _mesh(run)
    for server in site.servers:
        site.empty_one(server, other=True)
        site.believe(site.some_change())
        for each in site.servers:
            if each is not server:
                site.store_in(each, {**site.truth, **dict.fromkeys(site.removed)})
        site.refill_one(server)
        run.heal()
        run.converge()


def scale_up(run: Run) -> None:
    """One replica more behind the address of the first, which is filled while connections come to it."""
    site = _mesh(run)
    added = site.add_server()
    extra = site.proxies.pop()
    site.servers.pop()
    with site.client(added) as client:
        client.delete_prefix(b"cilium/synced/")
    first = sorted(site.truth)[:5]
    site.store_in(added, {ip: site.truth[ip] for ip in first})
    site.proxies[0].turn(added.endpoint)
    run.told("stale", "syncing")
    assert site.rows(site.db.snapshot()) == site.truth
    site.refill_one(added)
    run.heal()
    run.converge()
    extra.cut()
    site.servers[0] = added


def _mesh(run: Run) -> MeshSite:
    assert isinstance(run.site, MeshSite)
    return run.site


# -- the list ---------------------------------------------------------------------------------------------------------

_HURRY: dict[str, dict[str, Any]] = {
    "kubernetes": {"silence_s": 3.0, "request_timeout_s": 1.0, "connect_timeout_s": 1.0, "tables": ("endpoints",)},
    "kubernetes (fake server)": {"silence_s": 1.0, "request_timeout_s": 1.0, "connect_timeout_s": 1.0},
    "kvstore": {"request_timeout_s": 1.0},
    "clustermesh": {"request_timeout_s": 1.0},
    "etcd": {"request_timeout_s": 1.0},
}

_NETWORKED = (KubernetesSite, FakeApiSite, KvstoreSite, MeshSite, FanoutSite)
_AND_MEMBERS = (*_NETWORKED, MembersSite)
_NO_NETWORK = "a directory has no network"
_REPLICAS = "about replicas behind a publisher"
_WRITERS = "about etcds with one writer, whose keys are on its lease"
_MOUNTS = "nothing is mounted"
_MEMBERS = "about the members of one etcd"

FAULTS = (
    Fault(name="killed", about="server killed and restarted", happen=killed),
    Fault(
        name="emptied",
        about="server restarted empty",
        happen=emptied,
        only=_NETWORKED,
        why="a directory that can be read is the truth, an empty one too",
    ),
    Fault(
        name="replaced",
        about="replaced by another server with lower revisions",
        happen=replaced,
        only=_NETWORKED,
        why="a directory has no revisions",
    ),
    Fault(
        name="compacted",
        about="compaction while disconnected",
        happen=compacted,
        only=_AND_MEMBERS,
        why="a directory has no history",
    ),
    Fault(name="cut", about="connection cut", happen=cut, only=_AND_MEMBERS, why=_NO_NETWORK),
    Fault(
        name="frozen",
        about="frozen: packets dropped without a reset",
        happen=frozen,
        options=_HURRY,
        only=_NETWORKED,
        why=_NO_NETWORK,
    ),
    Fault(name="slowed", about="network slowed down", happen=slowed, only=_NETWORKED, why=_NO_NETWORK),
    Fault(name="half", about="half-written responses", happen=half),
    Fault(
        name="credentials",
        about="credentials expire and are renewed",
        happen=credentials,
        guarded=True,
        once=True,
        only=_NETWORKED,
        why="a directory asks for none",
    ),
    Fault(
        name="one-of-three",
        about="one replica of three lost, all lost, one back",
        happen=one_of_three,
        replicas=3,
        only=(MeshSite,),
        why="its servers are one cluster",
    ),
    Fault(
        name="dead-writer",
        about="its writer dead before we connect, then its keys expire",
        happen=dead_writer,
        only=(MeshSite, FanoutSite),
        why=_WRITERS,
    ),
    Fault(
        name="dead-replica",
        about="fail-over to replicas whose writer is dead",
        happen=dead_replica,
        replicas=2,
        options={"clustermesh": {"heartbeat_timeout_s": 2.0}},
        only=(MeshSite,),
        why=_WRITERS,
    ),
    Fault(
        name="turned",
        about="its address turns to another etcd in the midst of a list",
        happen=turned,
        only=(KvstoreSite, MeshSite, FanoutSite),
        why="here the servers are etcds",
    ),
    Fault(
        name="restored",
        about="restored from a backup, and written on past our revision",
        happen=restored,
        only=(KvstoreSite,),
        why="here the server is an etcd whose writers do not write all anew",
    ),
    Fault(
        name="unmounted",
        about="mount lost at random moments",
        happen=unmounted,
        only=(ManifestsSite,),
        why=_MOUNTS,
    ),
    Fault(
        name="swapped",
        about="mount swapped at random moments",
        happen=swapped,
        once=True,
        only=(ManifestsSite,),
        why=_MOUNTS,
    ),
    Fault(
        name="leader-lost",
        about="leader lost under writes",
        happen=leader_lost,
        only=(MembersSite,),
        why=_MEMBERS,
    ),
    Fault(
        name="member-frozen",
        about="our member cut off from its peers and from us (SIGSTOP)",
        happen=our_member_frozen,
        only=(MembersSite,),
        why=_MEMBERS,
    ),
    Fault(
        name="leader-frozen",
        about="leader cut off from its peers and from us (SIGSTOP)",
        happen=leader_frozen,
        only=(MembersSite,),
        why=_MEMBERS,
    ),
    Fault(
        name="member-isolated",
        about="our member cut off from its peers by the network, but not from us",
        happen=our_member_isolated,
        only=(MembersSite,),
        why=_MEMBERS,
    ),
    Fault(
        name="leader-isolated",
        about="leader cut off from its peers by the network, but not from us",
        happen=leader_isolated,
        only=(MembersSite,),
        why=_MEMBERS,
    ),
    Fault(
        name="quorum-lost",
        about="quorum lost",
        happen=quorum_lost,
        only=(MembersSite,),
        why=_MEMBERS,
    ),
    Fault(name="clocks", about="clock jumps", happen=clocks),
    Fault(
        name="flood",
        about="flood of 10 000 updates during a re-list",
        happen=flood,
        options={backend: {"lease_time_s": _LEASE_S} for backend in ("clustermesh", "etcd")},
    ),
    Fault(
        name="never-answers",
        about="a source that never answers",
        happen=never_answers,
        waits=True,
        once=True,
        options=_HURRY,
        only=_NETWORKED,
        why=_NO_NETWORK,
    ),
    Fault(
        name="name-moves",
        about="its DNS name changes",
        happen=name_moves,
        by_name=True,
        once=True,
        only=_NETWORKED,
        why="a directory has no address",
    ),
    Fault(
        name="refused",
        about="throttled (429), and errors of the server (503)",
        happen=refused,
        only=(FakeApiSite,),
        why="a real server does not do it on demand",
    ),
    Fault(
        name="publisher-restart",
        about="publisher restart",
        happen=publisher_restart,
        scenario=True,
        only=(MeshSite,),
        why=_REPLICAS,
    ),
    Fault(
        name="etcd-restart",
        about="etcd restart with empty state",
        happen=etcd_restart,
        scenario=True,
        only=(MeshSite,),
        why=_REPLICAS,
    ),
    Fault(name="agent-restart", about="agent restart", happen=agent_restart, scenario=True),
    Fault(
        name="rolling-restart",
        about="rolling restart of replicas",
        happen=rolling_restart,
        scenario=True,
        replicas=2,
        only=(MeshSite,),
        why=_REPLICAS,
    ),
    Fault(
        name="scale-up",
        about="scale-up of replicas",
        happen=scale_up,
        scenario=True,
        only=(MeshSite,),
        why=_REPLICAS,
        once=True,
    ),
)


def _wait(holds: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(3_000):
        if holds():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come")
