"""The operator's word: an etcd that lost its data is believed after ``statedb sources accept``."""

import subprocess
import sys
import time

from ingest.etcd.local import LocalEtcd
from statedb.agent.process.agent import Agent
from statedb.agent.process.config import parse_config
from statedb.catalog import Endpoints, SourceKey, SourceRow, Sources

from ...ingest.kvstore_rig import put_endpoints

WAIT_S = 60.0


def statedb(agent: Agent, *arguments: str, status: int = 0) -> str:
    command = [sys.executable, "-m", "statedb", "--server", agent.address, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == status, done.stderr
    return done.stdout


def until(agent: Agent, state: str, withheld: int, told: str = "") -> SourceRow:
    end = time.monotonic() + WAIT_S
    while True:
        sources = agent.db.snapshot()[Sources]
        row = sources[SourceKey("cluster1", "endpoints")]
        if (row.state, row.withheld_deletes) == (state, withheld) and told in row.last_error:
            return row
        assert sources.watch().wait(max(0.0, end - time.monotonic())), row


def test_an_emptied_etcd_is_believed_when_an_operator_says_so():
    with LocalEtcd() as etcd:
        etcd.start()
        with etcd.client() as client:
            put_endpoints(client, range(20))
        config = parse_config(
            "cluster: {name: cluster1, id: 1}\n"
            f"ingest: {{kvstore: {{endpoints: ['{etcd.endpoint}'], retry-min-s: 0.02, retry-max-s: 0.2}}}}\n"
            "http: {listen: '127.0.0.1:0'}\n"
        )
        with Agent(config) as agent:
            assert agent.wait_synced(WAIT_S)
            etcd.kill()
            etcd.forget()
            etcd.start()
            until(agent, "stale", 20, "withholding 20 deletes")
            assert len(agent.db.snapshot()[Endpoints]) == 20
            shown = statedb(agent, "sources", status=1)  # 1: something is not in order
            assert "stale" in shown
            statedb(agent, "sources", "accept")
            until(agent, "synced", 0)
            assert len(agent.db.snapshot()[Endpoints]) == 0
