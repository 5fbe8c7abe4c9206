"""The demonstration of any resource, on a real API server."""

from __future__ import annotations

import pytest

from statedb.agent.demo.api_server import run_on_api_server

from .demo import change, fill
from .server import ApiServer


def test_pods_and_deployments_as_tables(apiserver: ApiServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KUBECONFIG", str(apiserver.kubeconfig()))
    apiserver.create_namespace("demo")
    rest, told = apiserver.rest(), list[str]()
    fill(rest, "demo")
    run_on_api_server(keep=False, say=told.append, act=lambda: change(rest, "demo"))
    text = "\n".join(told)
    assert "is   demo/web-0  app=web,tier=front" in text
    assert "gone demo/web-2  app=web" in text
    assert text.count("NAMESPACE  NAME") == 2
    rest.delete("/apis/apps/v1/namespaces/demo/deployments/web")
    for name in ("web-0", "web-1"):
        rest.call("DELETE", f"/api/v1/namespaces/demo/pods/{name}", query={"gracePeriodSeconds": "0"})
