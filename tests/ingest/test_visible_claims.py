"""Of the objects that claim an address the first one that other clusters may see is published, whatever happens before.

Cilium's clustermesh-apiserver leaves out the namespaces that are not shared before it settles who has an address.
"""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings, strategies as st

from consumers.etcd.publisher import PublisherOptions
from consumers.etcd.publisher.layout import Layout, Views, published
from ingest.events import Delete, Event, Listed, Upsert
from ingest.reflect import Feed, Reflector
from ingest.status import Status
from statedb import Database
from statedb.catalog import TABLES, Endpoint, EndpointKey, Endpoints, Namespace, NamespaceKey, Namespaces
from statedb.catalog.namespaces import GLOBAL
from statedb.catalog.wire import ips, keys

ENDPOINTS, NAMESPACES = Feed("ciliumendpoints", (Endpoints,)), Feed("namespaces", (Namespaces,))


def endpoint(ip: str, namespace: str, pod: str) -> Endpoint:
    return Endpoint(EndpointKey("c1", ip), 70_000, "172.18.0.1", namespace, pod)


class Cluster:
    """A source of endpoints and namespaces, a model of what it says, and what a publisher makes of it, step by step."""

    def __init__(self) -> None:
        self.db = Database(*TABLES)
        self.layout = Layout("c1", 1, PublisherOptions())
        self.claims: dict[str, tuple[Endpoint, ...]] = {}
        self.shared = {"open": True, "closed": False}
        self.folded: dict[Any, dict[str, bytes]] = {}
        self.changes = self.db.changes(*self.layout.tables)
        self.status: Status | None = None
        self.restart()

    def restart(self) -> None:
        """A source after another one: it lists what is there."""
        if self.status is not None:
            self.status.release()
        self.status = Status(self.db, "c1", "kubernetes", (Endpoints, Namespaces))
        self.reflector = Reflector(self.db, "c1", "kubernetes", [ENDPOINTS, NAMESPACES], self.status)
        self.reflector.begin()
        self.say(Listed(ENDPOINTS.name, [Upsert(ENDPOINTS.name, name, rows) for name, rows in self.claims.items()]))
        self.say(Listed(NAMESPACES.name, [self.namespace(name) for name in self.shared]))

    def namespace(self, name: str) -> Upsert:
        row = Namespace(NamespaceKey("c1", name), annotations=((GLOBAL, str(self.shared[name]).lower()),))
        return Upsert(NAMESPACES.name, f"namespaces/{name}", (row,))

    def share(self, name: str, value: bool) -> None:
        self.shared[name] = value
        self.say(self.namespace(name))

    def say(self, event: Event) -> None:
        self.reflector.offer(event)
        self.reflector.flush()

    def claim(self, name: str, addresses: list[str]) -> None:
        namespace = name.partition("/")[0]
        self.claims[name] = rows = tuple([endpoint(ip, namespace, name) for ip in addresses])
        self.say(Upsert(ENDPOINTS.name, name, rows))

    def delete(self, name: str) -> None:
        self.claims.pop(name, None)
        self.say(Delete(ENDPOINTS.name, name))

    def wanted(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for name in sorted(self.claims):
            for each in self.claims[name]:
                if self.shared[each.namespace]:
                    found.setdefault(f"{keys.IPS}/{ips.name(each)}", ips.encode(each))
        return found

    def fold(self) -> dict[str, bytes]:
        batch = self.changes.next(timeout=0)
        for table in self.layout.tables if batch is not None else ():
            for change in batch[table]:
                for each in self.layout.affected(batch.snapshot, table, change.row):
                    self.folded[each] = self.layout.entries(Views(batch.snapshot), each)
        return {key: value for entries in self.folded.values() for key, value in entries.items()}

    def check(self) -> None:
        assert published(self.db.snapshot(), self.layout) == self.fold() == self.wanted()


pods = st.sampled_from(["closed/a", "open/b", "closed/c", "open/d"])
addresses = st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.11"]), max_size=2, unique=True)
steps = st.one_of(
    st.tuples(st.just("claim"), pods, addresses),
    st.tuples(st.just("delete"), pods),
    st.tuples(st.just("share"), st.sampled_from(["open", "closed"]), st.booleans()),
    st.tuples(st.just("restart")),
)


@settings(max_examples=150, deadline=None)
@given(history=st.lists(steps, max_size=15))
@example(history=[("claim", "closed/a", ["10.0.0.1"]), ("claim", "open/b", ["10.0.0.1"]), ("delete", "closed/a")])
@example(history=[("claim", "open/b", ["10.0.0.1"]), ("claim", "closed/a", ["10.0.0.1"]), ("share", "closed", True)])
def test_the_first_claim_that_other_clusters_may_see_is_published(history: list[tuple[Any, ...]]):
    cluster = Cluster()
    for method, *arguments in history:
        getattr(cluster, method)(*arguments)
        cluster.check()
