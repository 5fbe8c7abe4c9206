"""An agent of a cluster in a mesh: its own state and that of another cluster, in one set of tables."""

from pathlib import Path
from urllib.request import Request, urlopen

import msgspec

from ingest.etcd.local import LocalEtcd
from statedb import Snapshot, WatchSet
from statedb.agent.process.agent import Agent
from statedb.agent.process.config import parse_config
from statedb.catalog import Endpoints, SourceKey, Sources
from statedb.catalog.wire.cluster_configs import ClusterConfig, encode

from ...ingest.clustermesh.publisher import CANARIES, CLUSTER, Publisher, replica


def config_of(own: LocalEtcd, directory: Path) -> str:
    return f"""
cluster: {{name: cluster1, id: 1}}
ingest:
  clustermesh: {{endpoints: ['{own.endpoint}'], retry-max-s: 0.2}}
remote-clusters: {{directory: {directory}, rescan-s: 0.05, retry-max-s: 0.2}}
http: {{listen: '127.0.0.1:0'}}
"""


def until(agent: Agent, holds) -> Snapshot:
    while True:
        snapshot = agent.db.snapshot()
        if holds(snapshot):
            return snapshot
        assert WatchSet(*[snapshot[table].watch() for table in (Sources, Endpoints)]).wait(timeout=30)


def post(agent: Agent, path: str) -> object:
    with urlopen(Request(agent.address + path, method="POST"), timeout=10) as answer:
        return msgspec.json.decode(answer.read())


def owners(snapshot: Snapshot) -> set[tuple[str, str]]:
    """Whose rows there are; the directory of remote clusters counts each cluster in it as a row."""
    return {(row.key.cluster, row.key.table) for row in snapshot[Sources].values() if row.rows}


def test_an_agent_is_ready_without_its_remote_clusters_and_shows_them_in_sources(tmp_path: Path):
    with replica() as own, replica() as other:
        own.start()
        other.start()
        with Publisher(own) as publisher:
            publisher.put(("cilium/cluster-config/cluster1", encode(ClusterConfig(1, True))))
            publisher.put(*[(canary.replace(CLUSTER, "cluster1"), b"now") for canary in CANARIES])
            publisher.put(("cilium/state/ip/v1/default/10.1.0.1", b'{"IP":"10.1.0.1","ID":65536}'))
        (tmp_path / CLUSTER).write_text(f"endpoints: ['{other.endpoint}']\n")
        (tmp_path / "cluster1").write_text(f"endpoints: ['{other.endpoint}']\n")
        with Agent(parse_config(config_of(own, tmp_path))) as agent:
            assert agent.wait_synced(30)
            assert urlopen(agent.address + "/readyz", timeout=10).status == 200
            key = SourceKey(CLUSTER, "endpoints")
            until(agent, lambda s: "waiting for cilium/cluster-config" in s[Sources][key].last_error)
            with Publisher(other) as publisher:
                publisher.publish(range(3))
                until(agent, lambda s: s[Sources][key].state == "synced" and len(s[Endpoints]) == 4)
                assert post(agent, "/sources/accept") == {
                    "accepted": [
                        {
                            "backend": "clustermesh",
                            "cluster": "cluster1",
                            "tables": ["nodes", "identities", "endpoints", "services", "backends"],
                        }
                    ]
                }
                told = post(agent, f"/sources/accept?cluster={CLUSTER}&table=endpoints")
                assert isinstance(told, dict)
                assert [each["cluster"] for each in told["accepted"]] == [CLUSTER]
                (tmp_path / CLUSTER).unlink()
                until(agent, lambda s: len(s[Endpoints]) == 1 and key not in s[Sources])
            until(agent, lambda s: owners(s) == {("cluster1", "endpoints")})
