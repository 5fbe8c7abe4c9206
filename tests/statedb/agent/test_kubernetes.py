"""An agent on an API server, alone and beside a kvstore."""

import sys
from pathlib import Path

import pytest

from statedb.agent.errors import StartError
from statedb.agent.process.agent import Agent
from statedb.agent.process.config import parse_config
from statedb.catalog import Identities, Nodes, Policies

from ...ingest.kube_fake import FakeApi
from ...ingest.kube_rig import identity, node, policy
from .conftest import WAIT_S


def test_an_agent_takes_everything_from_the_api_server_that_a_kubeconfig_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with FakeApi() as api:
        for value in (node("n1"), identity(70_000), policy("p")):
            api.put(value)
        (tmp_path / "config").write_text(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
            f"clusters: [{{name: k, cluster: {{server: '{api.url}'}}}}]\n"
            "contexts: [{name: c, context: {cluster: k, user: u}}]\nusers: [{name: u, user: {token: t}}]\n"
        )
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        with Agent(parse_config("ingest: {kubernetes: {}}\nhttp: {listen: '127.0.0.1:0'}")) as agent:
            assert agent.wait_synced(WAIT_S)
            snapshot = agent.db.snapshot()
            assert (len(snapshot[Nodes]), len(snapshot[Identities]), len(snapshot[Policies])) == (1, 1, 1)


def test_policies_come_from_the_api_server_beside_another_backend(tmp_path: Path):
    with FakeApi() as api:
        api.put(policy("p"))
        api.put(node("not-wanted"))
        text = (
            f"ingest: {{manifests: {{directory: '{tmp_path}', tables: [nodes]}},"
            f" kubernetes: {{server: '{api.url}', tables: [policies]}}}}\nhttp: {{listen: '127.0.0.1:0'}}"
        )
        with Agent(parse_config(text)) as agent:
            assert agent.wait_synced(WAIT_S)
            assert len(agent.db.snapshot()[Policies]) == 1
            assert not agent.db.snapshot()[Nodes]
        asked = {path.rpartition("/")[2] for verb, path in api.requests if verb != "get"}
        assert asked == {"ciliumnetworkpolicies", "ciliumclusterwidenetworkpolicies"}


@pytest.mark.parametrize("package", ["urllib3", "kubernetes.client"])
def test_the_missing_package_is_one_line_with_the_remedy(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Credentials that a plugin gives need the package ``kubernetes``; everything needs urllib3."""
    config = tmp_path / "config"
    plugin = "{apiVersion: client.authentication.k8s.io/v1, command: give-token}"
    config.write_text(
        "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
        "clusters: [{name: k, cluster: {server: 'http://127.0.0.1:1'}}]\n"
        f"users: [{{name: u, user: {{exec: {plugin}}}}}]\n"
    )
    for name in ("session", "api", "client", "follow", "credentials", "package"):
        monkeypatch.delitem(sys.modules, f"ingest.kubernetes.{name}", raising=False)
    monkeypatch.delattr("ingest.kubernetes.package", raising=False)  # an import of a package's part looks there first
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(StartError, match=r"^ingest.kubernetes: .* install 'statedb\[kubernetes\]'$"):
        Agent(parse_config(f"ingest: {{kubernetes: {{kubeconfig: '{config}'}}}}\nhttp: {{listen: '127.0.0.1:0'}}"))


def test_no_kubeconfig_and_no_pod_is_one_line_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(StartError, match=r"no API server is known.*give kubeconfig, or server"):
        Agent(parse_config("ingest: {kubernetes: {}}\nhttp: {listen: '127.0.0.1:0'}"))
