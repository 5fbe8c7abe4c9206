"""The alert rules: each fires on the series of its fault, and on nothing else; none in a quiet hour."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumers import reconcile
from consumers.etcd.statistics import WriterStats
from ingest.etcd.local import LocalEtcd
from statedb.agent.metrics.certificates import CertificateCollector
from statedb.agent.metrics.exposition import Metrics
from statedb.agent.process.agent import Agent
from statedb.agent.process.config import parse_config
from statedb.agent.readiness import Readiness
from statedb.catalog import Nodes

from ..statedb.agent.certificates import Authority
from ..tcp_proxy import TcpProxy
from .alerts import Fault, quiet, unit_tests
from .prometheus import NO_PROMETHEUS, Prometheus

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/alerts.yaml"
DASHBOARD = ROOT / "deploy/dashboard.json"
PAGE = ROOT / "docs/monitoring.md"

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="there is no promtool; install the package `prometheus`",
)

WAIT_S = 20.0
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
FAULTS = {
    "StatedbAgentDown": Fault("up", "0x39"),
    "StatedbAgentNotHealthy": Fault("statedb_healthy", "0x39"),
    "StatedbAgentNotReady": Fault("statedb_ready", "0x39"),
    "StatedbAgentRestarts": Fault("process_start_time_seconds", "1000+100x4 1400x34"),
    "StatedbFilesRunOut": Fault("process_open_fds", "1e9x39"),
    "StatedbHistoryHeld": Fault("statedb_table_history_changes", "2e6x39", {"table": "endpoints"}),
    "StatedbCertificateExpires": Fault("statedb_certificate_not_after_timestamp_seconds", "600000x39"),
    "StatedbCertificateExpired": Fault("statedb_certificate_not_after_timestamp_seconds", "100x39"),
    "StatedbSourceStale": Fault("statedb_source_state", "1x20 0x18", {"state": "stale", "table": "nodes"}),
    "StatedbSourceStaleForLong": Fault(
        "statedb_source_state", "1x39", {"state": "stale", "table": "nodes"}, also=("StatedbSourceStale",)
    ),
    "StatedbSourceFailed": Fault("statedb_source_state", "1x39", {"state": "failed"}),
    "StatedbSourceNotRead": Fault("statedb_source_state", "1x39", {"state": "connecting"}),
    "StatedbSourceSilent": Fault("statedb_source_answered_timestamp_seconds", "540x39"),
    "StatedbSourceUnsteady": Fault("statedb_source_failures_total", "0+1x10 10x28"),
    "StatedbSourceFlaps": Fault("statedb_source_state_changed_timestamp_seconds", "60+60x6 420x32", {"table": "nodes"}),
    "StatedbSourceRelists": Fault("statedb_source_lists_total", "1+4x20 81x18", {"table": "endpoints"}),
    "StatedbDeletesWithheld": Fault("statedb_source_withheld_deletes", "3x39", {"table": "nodes"}),
    "StatedbObjectsRejected": Fault("statedb_source_rejected", "3x39"),
    "StatedbConsumerFailing": Fault("statedb_consumer_failing_seconds", "60+60x39", {"consumer": "publisher"}),
    "StatedbConsumerBehind": Fault("statedb_consumer_queue", "500+10x39", {"consumer": "publisher"}),
    "StatedbRowsSetAside": Fault("statedb_consumer_set_aside", "1x39", {"consumer": "ipcache"}),
    "StatedbLeasesNotRenewed": Fault("statedb_writer_lease_remaining_seconds", "840-60x13 0x25"),
    "StatedbKeysUnwritten": Fault("statedb_writer_unwritten_keys", "1x39"),
    "StatedbKeysContested": Fault("statedb_writer_contested_keys", "2x39"),
    "StatedbReconcilerFailing": Fault("statedb_reconciler_failing", "1x39"),
    "StatedbStreamsFull": Fault("statedb_http_streams", "4900x39"),
    "StatedbConnectionsFull": Fault("statedb_http_connections_crowded_total", "0+1x39"),
    "StatedbReadersCut": Fault("statedb_http_slow_readers_total", "0+1x39"),
    "StatedbRequestsFail": Fault("statedb_http_errors_total", "0 1x38"),
}


class Publisher:
    """A consumer that does well, as the publisher of an idle cluster."""

    name = "publisher"
    health = "OK"
    ready = True
    queue_size = 0
    crash = None

    def stats(self) -> WriterStats:
        return WriterStats(
            puts=100,
            deletes=1,
            put_bytes=10_000,
            transactions=3,
            connections=1,
            failures=0,
            repairs=0,
            keys=99,
            leases=1,
            unwritten=0,
            contested=0,
            leads=True,
            lease_time_s=900.0,
            lease_left_s=700.0,
        )


class Nothing:
    """A reconciler's world that takes everything."""

    def update(self, snapshot: Any, row: Any) -> None:
        pass

    def delete(self, snapshot: Any, row: Any) -> None:
        pass

    def prune(self, snapshot: Any, rows: Any) -> None:
        pass


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict]:
    """The series of a quiet agent whose tables have been read, with a publisher and a reconciler beside it.

    Its source is named kvstore: rules leave out what directories do every second. Its certificate began before 1970,
    when the simulated hour is.
    """
    certificate, _ = Authority(tmp_path_factory.mktemp("tls")).issue("server", since=datetime(1960, 1, 1, tzinfo=UTC))
    config = (
        f"cluster: {{name: c1, id: 1}}\ningest: {{manifests: {{directory: {ROOT / 'examples/cluster'}}}}}\n"
        "consumers: [ipcache, routes, loadbalancer]\nhttp: {listen: '127.0.0.1:0'}\n"
    )
    with Agent(parse_config(config)) as agent, reconcile(agent.db, Nodes, Nothing(), name="kernel routes"):
        assert agent.wait_synced(WAIT_S)
        assert agent.db.wait_initialized(timeout=WAIT_S)
        readiness = Readiness(agent.db, (), (Publisher(),))
        beside = Metrics(agent.db, readiness)
        beside.register(CertificateCollector(readiness, {("http", "tls.cert-file"): str(certificate)}))
        urllib.request.urlopen(f"{agent.address}/readyz", timeout=WAIT_S).close()
        request = urllib.request.Request(f"{agent.address}/metrics", headers={"Accept": OPENMETRICS})
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            yield quiet(beside.expose(OPENMETRICS)[0].decode()) | quiet(
                answer.read().decode().replace('"manifests"', '"kvstore"')
            )


def dashboard_queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def test_each_rule_has_a_fault_and_a_remedy():
    rules = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
    assert rules == set(FAULTS)
    section = PAGE.read_text().partition("\n## Alerts")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == rules


@needs_promtool
def test_every_alert_fires_on_its_fault_alone_and_none_in_a_quiet_hour(scraped: dict, tmp_path: Path):
    tests = tmp_path / "alerts.test.yaml"
    tests.write_text(unit_tests(RULES, scraped, FAULTS))
    run = subprocess.run(["promtool", "test", "rules", str(tests)], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr


def test_rules_and_dashboard_are_about_metrics_that_exist(scraped: dict):
    expressions = [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    expressions += dashboard_queries()
    assert len(expressions) > 50
    used = set().union(*(re.findall(r"\b(?:statedb|process)_\w+", each) for each in expressions))
    assert used <= {name for name, _ in scraped}


@needs_promtool
def test_the_queries_of_the_dashboard_are_promql(tmp_path: Path):
    panels = json.loads(DASHBOARD.read_text())["panels"]
    queries = [
        target["expr"].replace("$__rate_interval", "5m") for each in panels for target in each.get("targets", ())
    ]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "queries.yaml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    run = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.skipif(shutil.which("prometheus") is None, reason=NO_PROMETHEUS)
def test_a_real_prometheus_tells_of_an_etcd_that_is_killed(tmp_path: Path):
    with LocalEtcd() as etcd:
        etcd.start()
        config = (
            f"cluster: {{name: c1, id: 1}}\ningest: {{kvstore: {{endpoints: ['{etcd.endpoint}'], retry-max-s: 0.2}}}}\n"
            "http: {listen: '127.0.0.1:0'}\n"
        )
        with Agent(parse_config(config)) as agent:
            assert agent.wait_synced(WAIT_S)
            with Prometheus(tmp_path, agent.address.removeprefix("http://"), RULES) as prometheus:
                prometheus.wait(lambda: prometheus.value("statedb_ready") == 1)
                prometheus.wait(lambda: prometheus.value("count(ALERTS)") is None)
                etcd.kill()
                prometheus.wait(lambda: "StatedbSourceStale" in prometheus.alerts())
                etcd.start()
                prometheus.wait(lambda: "StatedbSourceStale" not in prometheus.alerts())
                agent.stop()
                prometheus.wait(lambda: "StatedbAgentDown" in prometheus.alerts())


@pytest.mark.skipif(shutil.which("prometheus") is None, reason=NO_PROMETHEUS)
def test_a_real_prometheus_tells_of_faults_that_are_over_before_it_looks(tmp_path: Path):
    with LocalEtcd() as etcd, TcpProxy(etcd.endpoint) as proxy:
        etcd.start()
        config = (
            f"cluster: {{name: c1, id: 1}}\ningest: {{kvstore: {{endpoints: ['{proxy.endpoint}'], retry-max-s: 0.1}}}}"
            "\nhttp: {listen: '127.0.0.1:0'}\n"
        )
        with Agent(parse_config(config)) as agent:
            assert agent.wait_synced(WAIT_S)
            changed = "statedb_source_state_changed_timestamp_seconds{table='nodes'}"
            with Prometheus(tmp_path, agent.address.removeprefix("http://"), RULES) as prometheus:
                prometheus.wait(lambda: prometheus.value("statedb_ready") == 1)
                for outages in range(8):  # each is one change to Prometheus, or two if it looks in the midst of it
                    assert outages > 3 or "StatedbSourceFlaps" not in prometheus.alerts()
                    before = prometheus.value(changed)
                    proxy.cut()
                    proxy.mend()
                    prometheus.wait(lambda: prometheus.value(changed) != before)  # noqa: B023
                    assert agent.wait_synced(WAIT_S)
                prometheus.wait(lambda: "StatedbSourceFlaps" in prometheus.alerts())
