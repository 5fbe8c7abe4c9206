"""Of the objects that claim an address the first one that other clusters may see is published, whatever happens before.

Cilium's clustermesh-apiserver leaves out the namespaces that are not shared before it settles who has an address.
"""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings, strategies as st

from consumers.etcd.publisher import PublisherOptions
from consumers.etcd.publisher.layout import GLOBAL, Layout, published
from ingest.events import Delete, Event, Listed, Upsert
from ingest.reflect import Feed, Reflector
from ingest.status import Status
from statedb import Database
from statedb.catalog import (
    TABLES,
    Endpoint,
    EndpointKey,
    Endpoints,
    Namespace,
    NamespaceKey,
    Namespaces,
    WaitingEndpoints,
)
from statedb.catalog.wire import ips, keys

FEED = Feed("ciliumendpoints", (Endpoints,))
NAMESPACES = ("open", "closed")


def endpoint(ip: str, namespace: str, pod: str) -> Endpoint:
    return Endpoint(EndpointKey("c1", ip), 70_000, "172.18.0.1", namespace, pod)


class Cluster:
    """A source of endpoints, a model of what it says, and what a publisher makes of it, step by step."""

    def __init__(self) -> None:
        self.db = Database(*TABLES, WaitingEndpoints)
        self.layout = Layout("c1", 1, PublisherOptions(), extra=self.db.tables)
        self.claims: dict[str, tuple[Endpoint, ...]] = {}
        self.shared = dict.fromkeys(NAMESPACES, False) | {"open": True}
        self.folded: dict[Any, dict[str, bytes]] = {}
        self.changes = self.db.changes(*self.layout.tables)
        for name in NAMESPACES:
            self.share(name, self.shared[name])
        self.status: Status | None = None
        self.restart()

    def restart(self) -> None:
        """A source after another one: it lists what is there."""
        if self.status is not None:
            self.status.release()
        self.status = Status(self.db, "c1", "kubernetes", (Endpoints,))
        self.reflector = Reflector(self.db, "c1", "kubernetes", [FEED], self.status)
        self.reflector.begin()
        self.say(Listed(FEED.name, [Upsert(FEED.name, name, rows) for name, rows in self.claims.items()]))

    def share(self, namespace: str, value: bool) -> None:
        self.shared[namespace] = value
        with self.db.write(Namespaces) as txn:
            txn[Namespaces].insert(
                Namespace(NamespaceKey("c1", namespace), annotations=((GLOBAL, str(value).lower()),))
            )

    def say(self, event: Event) -> None:
        self.reflector.offer(event)
        self.reflector.flush()

    def claim(self, name: str, addresses: list[str]) -> None:
        namespace = name.partition("/")[0]
        self.claims[name] = rows = tuple([endpoint(ip, namespace, name) for ip in addresses])
        self.say(Upsert(FEED.name, name, rows))

    def delete(self, name: str) -> None:
        self.claims.pop(name, None)
        self.say(Delete(FEED.name, name))

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
                    self.folded[each] = self.layout.entries(batch.snapshot, each)
        return {key: value for entries in self.folded.values() for key, value in entries.items()}

    def check(self) -> None:
        wanted = self.wanted()
        assert published(self.db.snapshot(), self.layout) == wanted
        assert self.fold() == wanted
        waiting = sum(map(len, map(set, self.claims.values()))) - len(
            {row.key for rows in self.claims.values() for row in rows}
        )
        assert len(self.db.snapshot()[WaitingEndpoints]) == waiting


pods = st.sampled_from(["closed/a", "open/b", "closed/c", "open/d"])
addresses = st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.11"]), max_size=2, unique=True)
steps = st.one_of(
    st.tuples(st.just("claim"), pods, addresses),
    st.tuples(st.just("delete"), pods),
    st.tuples(st.just("share"), st.sampled_from(NAMESPACES), st.booleans()),
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


def test_rows_of_a_source_before_are_gone_after_the_first_list():
    cluster = Cluster()
    cluster.claim("closed/a", ["10.0.0.1", "10.0.0.2"])
    cluster.claim("open/b", ["10.0.0.1", "10.0.0.2"])
    cluster.claims = {"open/b": cluster.claims["open/b"][:1]}
    cluster.restart()
    cluster.check()


def test_a_database_without_the_table_settles_among_all():
    db = Database(*TABLES)
    reflector = Reflector(db, "c1", "kubernetes", [FEED], Status(db, "c1", "kubernetes", (Endpoints,)))
    reflector.begin()
    rows = [endpoint("10.0.0.1", "closed", "a"), endpoint("10.0.0.1", "open", "b")]
    reflector.offer(Listed(FEED.name, [Upsert(FEED.name, row.pod, (row,)) for row in rows]))
    assert db.snapshot()[Endpoints][EndpointKey("c1", "10.0.0.1")] == rows[0]
    assert reflector._claims[Endpoints].moved is None  # nothing is kept for a table that nobody has
