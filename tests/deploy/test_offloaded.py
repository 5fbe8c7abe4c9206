"""The rendered parts of the offloaded mode work together: etcd, publisher and agent with the chart's own certificates.

Real programs with the rendered arguments and configurations; paths and addresses alone are those of this machine.
"""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from ingest.etcd import Client, PermissionDenied, Tls, parse_endpoint
from ingest.etcd.local import find_binary, free_port
from statedb.agent.process.agent import Agent
from statedb.agent.process.config import parse_config
from statedb.catalog import Endpoints, Policies

from ..apiserver import binary
from ..apiserver.server import READER, ApiServer
from ..ingest.kube_real import put, remove
from ..ingest.kube_rig import cep, policy
from .helm import NAMESPACE, only, render

pytestmark = pytest.mark.helm

WAIT_S = 60.0
HOST = f"test-etcd.{NAMESPACE}.svc"


class Site:
    """The parts on this machine: a folder for each Secret, a port for the etcd."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self._objects = render("mode=offloaded", "logFormat=text")
        self._server = server
        self._folder = folder
        self.port = free_port()
        for who in ("server", "publisher", "agent"):
            (folder / who).mkdir()
            for name, text in only(self._objects, "Secret", f"test-tls-{who}")["data"].items():
                (folder / who / name).write_bytes(base64.b64decode(text))

    def tls(self, who: str) -> Tls:
        ca, certificate, key = [(self._folder / who / name).read_bytes() for name in ("ca.crt", "tls.crt", "tls.key")]
        return Tls(ca, certificate, key)

    def etcd_command(self) -> list[str]:
        """That of the container, with this machine's paths and ports."""
        pod = only(self._objects, "Deployment", "test-publisher")["spec"]["template"]["spec"]
        (container,) = [each for each in pod["containers"] if each["name"] == "etcd"]
        peer = free_port()
        own = {
            "/var/run/etcd": str(self._folder / "etcd"),
            "/etc/etcd-tls": str(self._folder / "server"),
            "0.0.0.0:2379": f"127.0.0.1:{self.port}",
            "0.0.0.0:2381": f"127.0.0.1:{free_port()}",
            "127.0.0.1:2380": f"127.0.0.1:{peer}",
            "$(POD_UID)": "a-pod",
        }
        arguments = []
        for argument in container["args"]:
            for theirs, ours in own.items():
                argument = argument.replace(theirs, ours)
            arguments.append(argument)
        return [str(binary.find_etcd() or find_binary()), *arguments]

    def config(self, part: str) -> Any:
        """The configuration in the part's ConfigMap."""
        values = yaml.safe_load(only(self._objects, "ConfigMap", f"test-{part}")["data"]["agent.yaml"])
        text = yaml.safe_dump(values).replace("/etc/statedb-tls", str(self._folder / part))
        text = text.replace("127.0.0.1:2379", f"127.0.0.1:{self.port}").replace(f"{HOST}:2379", f"{HOST}:{self.port}")
        own = yaml.safe_load(text)
        own["http"] = {"listen": "127.0.0.1:0"}
        own["ingest"]["kubernetes"]["kubeconfig"] = str(self._server.kubeconfig(READER))
        if "clustermesh" in own["ingest"]:
            own["ingest"]["clustermesh"]["host-aliases"] = {HOST: ["127.0.0.1"]}  # the Service
        return parse_config(yaml.safe_dump(own))

    def rules(self, part: str) -> list[Any]:
        return list(only(self._objects, "ClusterRole", f"{NAMESPACE}-test-{part}")["rules"])


@pytest.fixture
def site(apiserver: ApiServer, tmp_path: Path) -> Iterator[Site]:
    """With an etcd that runs, and an API server that knows a pod and a policy."""
    one = Site(apiserver, tmp_path)
    objects = [cep("10.77.0.1"), policy("chart")]
    with ExitStack() as stack:
        for each in objects:
            put(apiserver, each)
            stack.callback(remove, apiserver, each)
        apiserver.grant(READER, [*one.rules("publisher"), *one.rules("agent")])
        stack.callback(apiserver.grant, READER, [])
        process = subprocess.Popen(one.etcd_command(), stderr=subprocess.DEVNULL, start_new_session=True)
        stack.callback(process.wait)
        stack.callback(process.kill)
        yield one


def probe(name: str, address: str) -> int:
    """The exit status of a probe of the agent's container, at this address."""
    (container,) = only(render(), "DaemonSet", "test-agent")["spec"]["template"]["spec"]["containers"]
    _, *arguments, script = container[name]["exec"]["command"]
    assert "9974" in script
    script = script.replace("9974", address.rpartition(":")[2])
    return subprocess.run([sys.executable, *arguments, script], stderr=subprocess.DEVNULL).returncode


def test_probes_tell_an_agent_that_is_ready_from_one_that_is_not_and_from_none(tmp_path: Path):
    text = "http: {{listen: '127.0.0.1:0'}}\ningest: {{{}}}\nlog-level: error\n"
    away = f"kvstore: {{endpoints: ['http://127.0.0.1:{free_port()}']}}"
    with Agent(parse_config(text.format(away))) as agent:
        assert [probe("livenessProbe", agent.address), probe("readinessProbe", agent.address)] == [0, 1]
    assert probe("livenessProbe", agent.address) == 1
    with Agent(parse_config(text.format(f"manifests: {{directory: '{tmp_path}'}}"))) as agent:
        assert agent.wait_synced(WAIT_S)
        assert probe("readinessProbe", agent.address) == 0


def test_rows_come_by_way_of_the_publisher_and_agents_may_read_only(site: Site):
    with Agent(site.config("publisher")) as publisher, Agent(site.config("agent")) as agent:
        assert agent.wait_synced(WAIT_S), agent.db.snapshot()
        snapshot = agent.db.snapshot()
        assert "10.77.0.1" in {row.key.ip for row in snapshot[Endpoints].values()}
        assert "chart" in {row.key.name for row in snapshot[Policies].values()}
        assert publisher.wait_synced(WAIT_S)
    endpoint = parse_endpoint(f"https://127.0.0.1:{site.port}")
    with Client(endpoint, tls=site.tls("agent")) as client, pytest.raises(PermissionDenied):
        client.put(b"cilium/state/mine", b"")
