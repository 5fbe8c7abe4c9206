"""examples/typed_kinds: what the program prints of a real API server, and the agent that serves the same tables."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from statedb.agent.process.agent import Agent
from statedb.agent.process.config import parse_config
from statedb.catalog import kinds
from statedb.testing.kubernetes import ApiServer as SmallServer

from .apiserver.server import ApiServer
from .ingest.kubernetes.informing import at, new_namespace, pod

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "typed_kinds"


def deployment(replicas: int) -> dict[str, Any]:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": pod("web")["spec"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


def test_the_program_prints_the_deployments_that_lack_pods(apiserver: ApiServer):
    namespace, rest = new_namespace(apiserver), apiserver.rest()
    rest.create(f"/apis/apps/v1/namespaces/{namespace}/deployments", deployment(2))
    rest.create(at(namespace, "pods"), pod("web-1", "node-1", labels={"app": "web"}))
    rest.create(at(namespace, "pods"), pod("other", "node-1", labels={"app": "other"}))
    ready = rest.create(at(namespace, "pods"), pod("web-2", "node-2", labels={"app": "web"}))
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    rest.replace(f"{at(namespace, 'pods')}/web-2/status", {**ready, "status": status})
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "KUBECONFIG": str(apiserver.kubeconfig())}
    command = [sys.executable, str(EXAMPLE / "unready.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    place = lines.index(f"{namespace}/web: 0 of 2 pods are ready")
    assert lines[place + 1] == "  web-1: Pending on node-1"
    assert not [line for line in lines if "web-2" in line or "other" in line]


def test_the_agent_serves_the_same_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    text = (EXAMPLE / "agent.yaml").read_text().replace("127.0.0.1:9975", "127.0.0.1:0")
    with SmallServer() as server:
        config = tmp_path / "config"
        config.write_text(
            f"current-context: c\nclusters: [{{name: k, cluster: {{server: '{server.url}'}}}}]\n"
            "contexts: [{name: c, context: {cluster: k}}]\n"
        )
        monkeypatch.setenv("KUBECONFIG", str(config))
        metadata = {"name": "web-1", "namespace": "default"}
        server.create({**pod("web-1", "node-1"), "metadata": metadata})
        with Agent(parse_config(text)) as agent:
            assert agent.wait_synced(60)
            (row,) = agent.db.snapshot()[kinds.Pods.by_node]["node-1"]
            assert row.spec.containers[0].image == "web:1"
