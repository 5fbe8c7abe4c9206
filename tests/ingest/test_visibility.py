"""Of two pods with one address the one that other clusters see holds it, whatever came first."""

from itertools import permutations

import pytest

from ingest.events import Upsert
from ingest.reflect import Feed, Reflector
from ingest.status import Status
from statedb import Database
from statedb.catalog import (
    Endpoint,
    EndpointKey,
    Endpoints,
    Namespace,
    NamespaceKey,
    Namespaces,
    Rejected,
    Sources,
)
from statedb.catalog.namespaces import GLOBAL

PODS, SPACES = Feed("pods", (Endpoints,)), Feed("namespaces", (Namespaces,))
KEY = EndpointKey("c", "10.0.0.1")


def pod(namespace: str) -> Upsert:
    return Upsert("pods", f"pods/{namespace}", (Endpoint(KEY, namespace=namespace, pod="p"),))


def space(name: str, says: str | None) -> Upsert:
    annotations = () if says is None else ((GLOBAL, says),)
    return Upsert("namespaces", name, (Namespace(NamespaceKey("c", name), annotations=annotations),))


class Rig:
    def __init__(self, *feeds: Feed) -> None:
        self.db = Database(Endpoints, Namespaces, Sources, Rejected)
        tables = tuple(table for feed in feeds for table in feed.tables)
        self.reflector = Reflector(self.db, "c", "test", feeds, Status(self.db, "c", "test", tables))
        self.reflector.begin()

    def say(self, *events: Upsert) -> str:
        """Each in a batch of its own; in which namespace the pod is that holds the address then."""
        for event in events:
            self.reflector.offer(event)
            self.reflector.flush()
        row = self.db.snapshot()[Endpoints].get(KEY)
        return "" if row is None else row.namespace


@pytest.mark.parametrize(
    ("first", "second", "holds"),
    [
        (None, None, "a"),
        ("false", None, "b"),
        ("false", "true", "b"),
        ("no", "false", "a"),
        (None, "true", "b"),
        ("TRUE", None, "a"),
        (" true ", None, "b"),
    ],
)
def test_in_every_order_the_one_that_is_seen_holds_the_address(first: str | None, second: str | None, holds: str):
    for events in permutations([pod("a"), pod("b"), space("a", first), space("b", second)]):
        assert Rig(PODS, SPACES).say(*events) == holds


def test_a_namespace_that_changes_its_mind_moves_the_address():
    rig = Rig(PODS, SPACES)
    assert rig.say(space("a", None), space("b", None), pod("a"), pod("b")) == "a"
    assert rig.say(space("a", "false")) == "b"
    assert rig.say(space("a", "true")) == "a"


def test_without_namespaces_the_first_by_name_holds_it():
    assert Rig(PODS).say(pod("b"), pod("a")) == "a"
