"""What the web page asks of an agent: rows by position and by text, references, samples, the stream of everything."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from statedb import Database
from statedb.agent.http.page.history import KEPT, History
from statedb.agent.http.page.references import RELATIONS, references
from statedb.agent.http.query import SEARCHED_MAX, Query, ask
from statedb.agent.process.agent import Agent
from statedb.agent.process.config import parse_config
from statedb.catalog import (
    TABLES,
    Endpoint,
    EndpointKey,
    Endpoints,
    Identities,
    Identity,
    IdentityKey,
    SourceKey,
    SourceRow,
    Sources,
)

from .conftest import WAIT_S, identity, node, put

ROOT = Path(__file__).parents[3]


def endpoint(number: int, pod: str = "web") -> Endpoint:
    return Endpoint(EndpointKey("c1", f"10.0.{number >> 8}.{number & 255}"), 1000, namespace="shop", pod=pod)


def filled(*rows: Endpoint) -> Database:
    db = Database(*TABLES)
    with db.write(Endpoints) as txn:
        txn[Endpoints].insert_all(rows)
    return db


def get(agent: Agent, path: str, **parameters: str) -> dict:
    query = urllib.parse.urlencode(parameters)
    with urllib.request.urlopen(f"{agent.address}{path}?{query}", timeout=WAIT_S) as response:
        return json.loads(response.read())


@given(st.sets(st.integers(0, 2000), max_size=60), st.integers(0, 70), st.integers(1, 20))
def test_pages_by_position_are_slices_of_the_table(numbers: set[int], offset: int, limit: int):
    db = filled(*[endpoint(number) for number in numbers])
    answer = ask(db, Query(table="endpoints", offset=offset, limit=limit, keys=True))
    rows = list(db.snapshot()[Endpoints].values())
    assert list(answer.rows) == rows[offset : offset + limit]
    assert answer.keys == [["c1", row.key.ip] for row in answer.rows]
    assert answer.more == (len(rows) > offset + limit)


def test_a_search_goes_on_where_it_stopped_until_the_whole_table_was_looked_through():
    count = SEARCHED_MAX + 3000
    db = filled(*[endpoint(number, "Needle" if number % 5000 == 0 else "hay") for number in range(count)])
    found, start, steps = [], None, 0
    while steps == 0 or start is not None:
        answer = ask(db, Query(table="endpoints", contains="nEEdle", limit=2, start=start and tuple(start)))
        found += answer.rows
        start, steps = answer.next, steps + 1
    assert sorted(row.key.ip for row in found) == sorted(endpoint(number).key.ip for number in range(0, count, 5000))
    assert steps > 2


def test_parameters_of_the_page_are_checked(manifests: Path, start: Callable[..., Agent]):
    agent = start(manifests)
    for wrong in ({"offset": "-1"}, {"offset": "x"}, {"keys": "maybe"}, {"offset": "1", "from": "c1/a"}):
        with pytest.raises(urllib.error.HTTPError, match="400") as refused:
            get(agent, "/tables/nodes", **wrong)
        refused.value.close()
    assert get(agent, "/tables/nodes", offset="5")["rows"] == []
    assert get(agent, "/tables/nodes", offset="1", keys="yes")["keys"] == [["c1", "b"]]


def test_each_relation_answers_for_each_row_of_the_example_cluster_and_both_ways():
    text = (
        f"cluster: {{name: cluster1, id: 1}}\ningest: {{manifests: {{directory: '{ROOT}/examples/cluster'}}}}\n"
        "consumers: [ipcache, routes, loadbalancer, selectors]\nhttp: {listen: '127.0.0.1:0'}\n"
    )
    with Agent(parse_config(text)) as agent:
        assert agent.wait_synced(WAIT_S)
        assert agent.db.wait_initialized(*agent.db.tables, timeout=WAIT_S)
        snapshot = agent.db.snapshot()
        seen = set()
        for relation in RELATIONS:
            for row in snapshot[relation.source].values():
                seen |= {(relation.source.name, each.title) for each in references(snapshot, relation.source, row)}
        assert seen == {(each.source.name, each.title) for each in RELATIONS if each.title != "rejected objects"}
        found = get(agent, "/references/endpoints", key="cluster1/10.244.2.21")["references"]
        assert [each["keys"][0] for each in found if each["title"] == "identity"] == [["cluster1", "65621"]]
        found = get(agent, "/references/identities", key="cluster1/65621")["references"]
        assert ["cluster1", "10.244.2.21"] in [
            key for each in found if each["table"] == "endpoints" for key in each["keys"]
        ]


def test_a_relation_does_not_mix_clusters_that_use_one_number():
    db = filled(endpoint(1), Endpoint(EndpointKey("c2", "10.9.0.1"), 1000))
    with db.write(Identities) as txn:
        row = Identity(IdentityKey("c2", 1000))
        txn[Identities].insert(row)
    (found,) = references(db.snapshot(), Identities, row)
    assert [each.key.cluster for each in found.rows] == ["c2"]


def test_an_hour_of_samples_is_kept_and_no_more():
    now = [1000.0]
    db = filled(endpoint(1))
    with db.write(Sources) as txn:
        txn[Sources].insert(SourceRow(SourceKey("c1", "endpoints"), state="stale", since=900.0))
    history = History(db, (), lambda: now[0])
    for _ in range(4000):
        history.sample()
        now[0] += 1
    kept = [json.loads(bytes(each)) for each in history.kept()]
    assert len(kept) == KEPT
    assert {round(after["t"] - before["t"]) for before, after in pairwise(kept)} == {5}
    assert kept[-1]["tables"]["endpoints"] == [1, 1, 1]
    assert kept[-1]["stale_s"] == kept[-1]["t"] - 900


def lines(response: Any) -> Iterator[dict[str, Any]]:
    """What a stream tells, until the test has seen enough; AssertionError after a while. Samples come for ever."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        yield json.loads(response.readline())
    raise AssertionError("the line did not come")


def test_the_stream_of_a_page_tells_every_change_of_every_table(manifests: Path, start: Callable[..., Agent]):
    agent = start(manifests)
    with urllib.request.urlopen(f"{agent.address}/live", timeout=WAIT_S) as response:
        hello = json.loads(response.readline())
        assert (hello["event"], hello["cluster"]) == ("hello", "c1")
        sample = json.loads(response.readline())
        assert (sample["event"], sample["tables"].keys() >= {"nodes"}) == ("sample", True)
        assert sample["status"] == {"failures": [], "missing": [], "stale": [], "consumers": []}
        put(manifests, "more.yaml", node("z", 9), identity(2000))
        found = []
        for line in lines(response):
            if line["event"] == "put" and line["table"] in ("nodes", "identities"):
                found.append((line["table"], line["key"]))
            if len(found) == 2:
                break
        assert sorted(found) == [("identities", ["c1", "2000"]), ("nodes", ["c1", "z"])]
        many = "---\n".join([identity(number) for number in range(3000, 4500)])
        put(manifests, "many.yaml", many)
        for line in lines(response):
            if line["event"] == "many":
                break
            assert line.get("table", "sources") == "sources"
        assert (line["table"], line["count"]) == ("identities", 1500)
        assert agent.stop()
        while response.readline():
            pass  # to the end
