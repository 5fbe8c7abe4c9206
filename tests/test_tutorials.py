"""The snippets of README and of the tutorials that need an API server, on a real one."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.config import kube_config

from .apiserver.rest import Refused, eventually
from .apiserver.server import ApiServer

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python apiserver\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTS = re.compile(r"^\s*print\(.*\)  # (?P<told>.*)$", re.MULTILINE)
TEAM = "/api/v1/namespaces/tutorial/configmaps/team"
NAMESPACE = "/api/v1/namespaces/tutorial"
PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture
def server(apiserver: ApiServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """The server that kubectl would use, with a namespace that has the label ``team``."""
    path = str(apiserver.kubeconfig())
    monkeypatch.setenv("KUBECONFIG", path)
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", path)  # it was read when it was imported
    metadata = {"name": "tutorial", "labels": {"team": "red"}}
    apiserver.rest().create("/api/v1/namespaces", {"metadata": metadata})
    yield apiserver
    apiserver.delete_namespace("tutorial")


def run(page: Path, names: dict[str, Any]) -> None:
    """Run the snippets of a page. They print what their comments say, and nothing else."""
    text = page.read_text()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for found in BLOCK.finditer(text):
            exec(compile(found["code"], page.name, "exec"), names)
    wanted = PRINTS.findall("".join(BLOCK.findall(text)))
    assert wanted
    assert printed.getvalue().splitlines() == wanted


def label(server: ApiServer, labels: dict[str, str]) -> None:
    namespace = server.rest().get(NAMESPACE)
    namespace["metadata"]["labels"] = labels
    server.rest().replace(NAMESPACE, namespace)


def test_the_operator_follows_the_label(server: ApiServer):
    names: dict[str, Any] = {"__name__": "snippet"}
    rest = server.rest()

    def team() -> str:
        try:
            return str(rest.get(TEAM)["data"]["team"])
        except Refused as error:
            return error.said["reason"]

    def expect(wanted: str) -> None:
        found = team()
        assert found == wanted, names["reconciler"].health

    run(ROOT / "docs" / "tutorials" / "operator.md", names)
    try:
        expect("red")
        label(server, {"team": "blue"})
        eventually(lambda: expect("blue"), unless=AssertionError)
        label(server, {})
        eventually(lambda: expect("NotFound"), unless=AssertionError)
    finally:
        names["reconciler"].stop()
        names["source"].stop()
        assert names["source"].join(20)


def delete_pods(server: ApiServer, label: str) -> None:
    """Delete the pods of other tests that have this label too."""
    for pod in server.rest().get(f"/api/v1/pods?labelSelector={label}")["items"]:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        server.rest().delete(f"{path}?gracePeriodSeconds=0")


def test_the_snippet_of_the_readme_runs(server: ApiServer):
    delete_pods(server, "app%3Dweb")
    names: dict[str, Any] = {"__name__": "snippet"}
    metadata = {"name": "web-1", "labels": {"app": "web"}}
    spec = {"containers": [{"name": "web", "image": "example.org/web"}]}
    server.rest().create(PODS, {"metadata": metadata, "spec": spec})
    try:
        run(ROOT / "README.md", names)
        names["source"].stop()
        assert names["source"].join(20)
    finally:
        server.rest().delete(f"{PODS}/web-1")
