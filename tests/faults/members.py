"""An etcd of three members, and what befalls those: the KVStore as it is run where it must not fail."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import ClassVar
from urllib.request import urlopen

from ingest.etcd import EtcdError
from ingest.etcd.local import LocalEtcd

from ..tcp_proxy import TcpProxy
from .cell import Run
from .clock import true_monotonic as monotonic
from .etcds import KvstoreSite
from .peers import PeerNetwork

_MEMBERS = 3
_CHANGES = 20
_PATIENCE_S = 30.0


class MembersSite(KvstoreSite):
    """One etcd cluster. The reader knows all members; what is written goes to any that takes it."""

    backend: ClassVar[str] = "kvstore (three members)"

    def build(self, replicas: int, by_name: bool) -> None:
        self.away: set[LocalEtcd] = set()
        """Members that nobody should ask: frozen ones keep a client waiting."""
        self._guarded = False
        self.servers = [self.resources.enter_context(LocalEtcd()) for _ in range(_MEMBERS)]
        self.network = PeerNetwork(self.resources, [server.peer for server in self.servers])
        peers = [proxy.endpoint for proxy in self.network.proxies]
        cluster = ",".join(f"m{number}={peer}" for number, peer in enumerate(peers))
        for number, server in enumerate(self.servers):
            server.add_arguments(
                f"--name=m{number}",
                f"--initial-cluster={cluster}",
                f"--initial-advertise-peer-urls={peers[number]}",
            )
        self.start()
        for server, proxy in zip(self.servers, self.network.proxies, strict=True):
            proxy.member = _member_id(server)
        self.proxies += [self.resources.enter_context(TcpProxy(server.endpoint)) for server in self.servers]
        self.prepare(self.servers[0])

    def start(self) -> None:
        for server in self.servers:
            if not server.is_running:
                server.launch()
        for server in self.servers:
            server.wait_ready()

    def store(self, changes: dict[str, int | None]) -> None:
        self._somewhere(lambda server: self.store_in(server, changes))

    def beat(self) -> None:
        self._somewhere(self.prepare)

    def compact(self) -> None:
        self._somewhere(self._compact)

    def _compact(self, server: LocalEtcd) -> None:
        with self.client(server) as client:
            client.compact(client.put(b"elsewhere", b"").revision)

    def _somewhere(self, work: Callable[[LocalEtcd], None]) -> None:
        """At the first member that takes it: while a leader is elected, none does."""
        end = monotonic() + _PATIENCE_S
        while True:
            for server in self.servers:
                if server.is_running and server not in self.away:
                    try:
                        return work(server)
                    except EtcdError:
                        if monotonic() > end:
                            raise
            threading.Event().wait(0.02)

    def leader(self) -> LocalEtcd:
        """The member that leads now."""
        end = monotonic() + _PATIENCE_S
        while monotonic() < end:
            for server in self.servers:
                if server.is_running and server not in self.away and _leads(server):
                    return server
        raise AssertionError("no member leads")

    def ours(self) -> LocalEtcd:
        """The member that the reader is connected to; connections of before to another one have to end first."""
        end = monotonic() + _PATIENCE_S
        while monotonic() < end:
            used = [server for server, proxy in zip(self.servers, self.proxies, strict=True) if proxy.is_used]
            if len(used) == 1:
                return used[0]
            threading.Event().wait(0.02)
        raise AssertionError(f"the reader is connected to {len(used)} members")


def _member_id(server: LocalEtcd) -> str:
    """As etcd writes it in the headers of its requests to peers."""
    with urlopen(f"{server.endpoint}/v3/maintenance/status", data=b"{}", timeout=5) as response:
        return f"{int(json.load(response)['header']['member_id']):x}"


def _leads(server: LocalEtcd) -> bool:
    with urlopen(f"{server.endpoint}/metrics", timeout=5) as response:
        return b"\netcd_server_is_leader 1" in response.read()


def leader_lost(run: Run) -> None:
    """The leader ends in the midst of writes, which go on at the others; then it is back."""
    site = _members(run)
    leader = site.leader()
    for number in range(_CHANGES):
        if number == _CHANGES // 2:
            leader.stop()
        site.write(site.some_change())
    run.heal()
    run.converge()
    site.start()
    site.write(site.some_change())
    run.heal()
    run.converge()


def our_member_frozen(run: Run) -> None:
    site = _members(run)
    _freeze(run, site.ours())


def leader_frozen(run: Run) -> None:
    site = _members(run)
    _freeze(run, site.leader())


def _freeze(run: Run, server: LocalEtcd) -> None:
    """It neither answers its clients nor its peers, and knows nothing of what they decide meanwhile."""
    site = _members(run)
    is_ours = server is site.ours()
    site.away.add(server)
    server.freeze()
    try:
        if is_ours:
            run.told("stale")
        for _ in range(3):
            site.write(site.some_change())
        run.heal()
        run.converge()
    finally:
        server.thaw()
        site.away.discard(server)
    site.write(site.some_change())
    run.heal()
    run.converge()


def our_member_isolated(run: Run) -> None:
    """It takes our connection and answers, and knows nothing of what the others decide meanwhile."""
    site = _members(run)
    _isolate(run, site.ours())


def leader_isolated(run: Run) -> None:
    """The others elect another one; it holds itself for the leader for a while."""
    site = _members(run)
    _isolate(run, site.leader())


def _isolate(run: Run, server: LocalEtcd) -> None:
    site = _members(run)
    is_ours = server is site.ours()
    site.away.add(server)
    site.network.isolate(site.network.proxies[site.servers.index(server)].member)
    try:
        if is_ours:
            run.told("stale")
        for _ in range(3):
            site.write(site.some_change())
        run.heal()
        run.converge()
    finally:
        site.network.mend()
        site.away.discard(server)
    site.write(site.some_change())
    run.heal()
    run.converge()


def quorum_lost(run: Run) -> None:
    """Two of three are lost: what the reader is connected to has no leader, and says so."""
    site = _members(run)
    ours = site.ours()
    for server in site.servers:
        if server is not ours:
            server.stop()
    run.told("stale")
    site.start()
    site.write(site.some_change())
    run.heal()
    run.converge()


def _members(run: Run) -> MembersSite:
    assert isinstance(run.site, MembersSite)
    return run.site
