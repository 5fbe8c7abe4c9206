"""``make demo BACKEND=kubernetes`` where no kubeconfig is named: on the real API server of the tests."""

from __future__ import annotations

import os
import sys

from statedb.agent.demo.api_server import run_on_api_server
from statedb.agent.demo.terminal import stay_time

from . import binary
from .rest import Rest
from .server import ApiServer

_SPEC = {"containers": [{"name": "main", "image": "web:1"}], "nodeName": "node-1"}


def fill(rest: Rest, namespace: str) -> None:
    """Create a deployment and its pods: no controller runs here that would."""
    deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": _SPEC["containers"]}}
    spec = {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    rest.create(deployments, {"metadata": {"name": "web", "labels": {"app": "web"}}, "spec": spec})
    for number in range(3):
        rest.create(_pods(namespace), {"metadata": {"name": f"web-{number}", "labels": {"app": "web"}}, "spec": _SPEC})


def change(rest: Rest, namespace: str) -> None:
    """Label one pod anew, and delete another."""
    held = rest.get(f"{_pods(namespace)}/web-0")
    held["metadata"]["labels"]["tier"] = "front"
    rest.replace(f"{_pods(namespace)}/web-0", held)
    rest.call("DELETE", f"{_pods(namespace)}/web-2", query={"gracePeriodSeconds": "0"})


def _pods(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"


def main() -> None:
    """Run the demonstration; with ``--keep`` until Ctrl-C, on a terminal for ten minutes."""
    try:
        binary.find()
    except binary.Missing as error:
        sys.exit(f"{error}; or set KUBECONFIG to a cluster of yours")
    print("Starting the API server of the tests ...", flush=True)
    with ApiServer() as server:
        server.start()
        os.environ["KUBECONFIG"] = str(server.kubeconfig())
        rest = server.rest()
        server.create_namespace("shop")
        fill(rest, "shop")
        keep = "--keep" in sys.argv
        run_on_api_server(keep=keep, say=print, stay_s=stay_time(), act=lambda: change(rest, "shop"))


if __name__ == "__main__":
    main()
