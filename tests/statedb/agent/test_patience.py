"""Consumers wait for the remote clusters that are known at the start, but not forever."""

from pathlib import Path

from consumers.tables.ipcache import IPCache
from statedb.agent.process.agent import Agent
from statedb.agent.process.config import parse_config
from statedb.catalog import SourceKey, Sources

from ...ingest.clustermesh.publisher import CLUSTER, Publisher, replica
from .conftest import identity, node, put

WAIT_S = 60.0


def config_of(directory: Path, sync_timeout_s: float) -> str:
    return f"""
cluster: {{name: c1, id: 1}}
ingest: {{manifests: {{directory: '{directory}/manifests', rescan-s: 0.02, settle-s: 0.01}}}}
remote-clusters: {{directory: '{directory}/mesh', rescan-s: 0.05, retry-max-s: 0.2, sync-timeout-s: {sync_timeout_s}}}
consumers: [ipcache]
http: {{listen: '127.0.0.1:0'}}
"""


def prepared(directory: Path, *endpoints: str) -> None:
    (directory / "manifests").mkdir()
    put(directory / "manifests", "all.yaml", node("a"), identity(1000))
    (directory / "mesh").mkdir()
    for endpoint in endpoints:
        (directory / "mesh" / CLUSTER).write_text(f"endpoints: ['{endpoint}']\n")


def test_they_begin_when_the_remote_clusters_are_synced(tmp_path: Path):
    with replica() as other:
        other.start()
        prepared(tmp_path, other.endpoint)
        with Agent(parse_config(config_of(tmp_path, WAIT_S))) as agent:
            assert agent.wait_synced(WAIT_S)
            assert {each.health for each in agent.consumers} == {"not started"}
            with Publisher(other) as publisher:
                publisher.publish(range(3))
                assert agent.db.wait_initialized(IPCache, timeout=WAIT_S)
            assert agent.db.snapshot()[Sources][SourceKey(CLUSTER, "endpoints")].state == "synced"
            assert len(agent.db.snapshot()[IPCache]) > 3  # of both clusters, at once


def test_a_cluster_that_is_away_holds_them_up_for_a_while_only(tmp_path: Path):
    prepared(tmp_path, "http://127.0.0.1:1")
    with Agent(parse_config(config_of(tmp_path, 0.2))) as agent:
        assert agent.db.wait_initialized(IPCache, timeout=WAIT_S)


def test_without_clusters_they_begin_at_once(tmp_path: Path):
    prepared(tmp_path)
    with Agent(parse_config(config_of(tmp_path, 600))) as agent:
        assert agent.db.wait_initialized(IPCache, timeout=WAIT_S)


def test_an_agent_that_is_stopped_meanwhile_does_not_begin(tmp_path: Path):
    prepared(tmp_path, "http://127.0.0.1:1")
    with Agent(parse_config(config_of(tmp_path, 600))) as agent:
        assert agent.wait_synced(WAIT_S)
        assert agent.stop()
        assert {each.health for each in agent.consumers} == {"not started"}
