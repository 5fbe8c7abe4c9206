"""What a scrape of a real agent says."""

import http.client
import re
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as old_text_to_metric_families

from statedb import Database
from statedb.agent.metrics.exposition import Metrics
from statedb.agent.metrics.sources import OTHERS, REMOTE_CLUSTERS_MAX
from statedb.agent.process.agent import Agent
from statedb.agent.readiness import Readiness
from statedb.catalog import TABLES, Nodes, Rejected, RejectedKey, RejectedRow, SourceKey, SourceRow, Sources

from ..conftest import WAIT_S, put

ROOT = Path(__file__).parents[4]
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def scrape(agent: Agent, accept: str = OPENMETRICS) -> tuple[str, str]:
    parts = urlsplit(agent.address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=WAIT_S)
    try:
        connection.request("GET", "/metrics", headers={"Accept": accept})
        response = connection.getresponse()
        assert response.status == 200
        return response.headers["Content-Type"], response.read().decode()
    finally:
        connection.close()


def samples(text: str) -> dict[tuple[str, frozenset], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float:
    return samples(text)[name, frozenset(labels.items())]


def test_a_scrape_is_what_the_tables_hold(manifests: Path, start: Callable[..., Agent]):
    agent = start(manifests)
    kind, text = scrape(agent)
    assert kind.startswith("application/openmetrics-text")
    assert value(text, "statedb_ready") == value(text, "statedb_healthy") == 1
    assert value(text, "statedb_table_rows", table="nodes") == 2
    assert value(text, "statedb_source_state", cluster="c1", backend="manifests", table="nodes", state="synced") == 1
    assert value(text, "statedb_source_state", cluster="c1", backend="manifests", table="nodes", state="stale") == 0
    assert value(text, "statedb_source_rows", cluster="c1", backend="manifests", table="nodes") == 2
    assert value(text, "statedb_table_commit_seconds_count", table="nodes") >= 1
    assert value(text, "statedb_source_answered_timestamp_seconds", cluster="c1", backend="manifests") > 1e9


def test_scrapers_that_do_not_know_openmetrics_get_the_older_text(manifests: Path, start: Callable[..., Agent]):
    kind, text = scrape(start(manifests), "text/plain;version=0.0.4")
    assert kind.startswith("text/plain")
    assert "statedb_table_rows" in {family.name for family in old_text_to_metric_families(text)}


def test_a_rejected_object_is_counted_and_no_longer_when_it_is_mended(manifests: Path, start: Callable[..., Agent]):
    agent = start(manifests)
    put(manifests, "bad.yaml", "apiVersion: cilium.io/v2\nkind: CiliumIdentity\nmetadata: {name: x}\n")
    wait_until(agent, lambda: len(agent.db.snapshot()[Rejected]) == 1)
    _, text = scrape(agent)
    assert rejected(text) == 1
    (manifests / "bad.yaml").unlink()
    wait_until(agent, lambda: len(agent.db.snapshot()[Rejected]) == 0)
    assert rejected(scrape(agent)[1]) == 0


def rejected(text: str) -> float:
    return sum(each for (name, _), each in samples(text).items() if name == "statedb_source_rejected")


def wait_until(agent: Agent, holds: Callable[[], bool]) -> None:
    while not holds():
        assert agent.db.snapshot()[Rejected].watch().wait(WAIT_S) or holds()


def test_requests_are_counted_by_resource_and_never_by_path(manifests: Path, start: Callable[..., Agent]):
    agent = start(manifests)
    parts = urlsplit(agent.address)
    for path in ("/tables/nodes", "/tables/nodes", "/tables/none", "/nothing/1", "/nothing/2"):
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=WAIT_S)
        connection.request("GET", path)
        connection.getresponse().read()
        connection.close()
    _, text = scrape(agent)
    assert value(text, "statedb_http_requests_total", path="/tables/{table}", code="200") == 2
    assert value(text, "statedb_http_requests_total", path="/tables/{table}", code="404") == 1
    assert value(text, "statedb_http_requests_total", path="other", code="404") == 2
    assert value(text, "statedb_http_request_seconds_count", path="/tables/{table}") == 3


def names(text: str) -> set[str]:
    """Of families, with the suffix that counters have in queries."""
    return {_queried(family) for family in text_string_to_metric_families(text)}


def _queried(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def test_the_page_names_all_metrics_and_no_others(manifests: Path, start: Callable[..., Agent]):
    _, text = scrape(start(manifests))
    page = (ROOT / "docs/monitoring.md").read_text().partition("\n## Metrics")[2].partition("\n## ")[0]
    documented = set(re.findall(r"`(statedb_\w+)`", page))
    assert documented == {name for name in names(text) if name.startswith("statedb_")}


def source(cluster: str, table: str, state: str = "synced", rows: int = 1) -> SourceRow:
    return SourceRow(SourceKey(cluster, table), "clustermesh", state, 1.0, "", rows, 0, 1)


def test_the_number_of_series_is_bounded_whatever_the_number_of_clusters():
    db = Database(*TABLES)
    metrics = Metrics(db, Readiness(db))
    with db.write(Sources) as txn:
        for number in range(511):
            for table in ("nodes", "endpoints"):
                txn[Sources].insert(source(f"cluster{number:03}", table, "stale" if number == 400 else "synced"))
    text = metrics.expose(OPENMETRICS)[0].decode()
    clusters = {dict(labels)["cluster"] for (name, labels) in samples(text) if name == "statedb_source_rows"}
    assert len(clusters) == REMOTE_CLUSTERS_MAX + 1
    others = {"cluster": OTHERS, "backend": "clustermesh", "table": "nodes"}
    assert value(text, "statedb_source_rows", **others) == 511 - REMOTE_CLUSTERS_MAX
    assert value(text, "statedb_source_state", state="stale", **others) == 1
    assert value(text, "statedb_source_state", state="synced", **others) == 1
    assert value(text, "statedb_source_state", state="failed", **others) == 0


def test_labels_from_a_cluster_cannot_forge_a_line():
    db = Database(*TABLES)
    metrics = Metrics(db, Readiness(db))
    evil = 'x"} 1\nstatedb_ready 0\n# \\'
    with db.write(Sources, Rejected) as txn:
        txn[Sources].insert(source(evil, "nodes"))
        txn[Rejected].insert(RejectedRow(RejectedKey(evil, "nodes", "n"), "bad", "", 1.0))
    text = metrics.expose(OPENMETRICS)[0].decode()
    assert value(text, "statedb_source_rows", cluster=evil, backend="clustermesh", table="nodes") == 1
    assert value(text, "statedb_source_rejected", cluster=evil, table="nodes") == 1


def test_a_scrape_waits_for_no_writer_and_no_writer_for_a_scrape():
    db = Database(*TABLES)
    metrics = Metrics(db, Readiness(db))
    found: list[str] = []
    with db.write(*TABLES):  # every lock that a writer can hold
        thread = threading.Thread(target=lambda: found.append(metrics.expose(OPENMETRICS)[0].decode()))
        thread.start()
        thread.join(WAIT_S)
        assert found
        assert value(found[0], "statedb_table_rows", table=Nodes.name) == 0


@pytest.mark.parametrize("path", ["/metrics", "/livez"])
def test_pages_of_other_sites_get_no_metrics(path: str, manifests: Path, start: Callable[..., Agent]):
    parts = urlsplit(start(manifests).address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=WAIT_S)
    connection.request("GET", path, headers={"Host": "evil.example"})
    assert connection.getresponse().status == 421
    connection.close()
