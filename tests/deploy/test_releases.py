"""Install, move to the offloaded mode, upgrade, roll back, uninstall: Helm itself on a real API server.

Nothing there runs the pods; what is looked at is what stands at the API server after each step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ..apiserver.rest import Refused, Rest
from ..apiserver.server import ApiServer
from . import helm
from .helm import CHART

pytestmark = pytest.mark.helm

RELEASE, NAMESPACE = "operated", "operated"
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
AGENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/{RELEASE}-agent"
PUBLISHER = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{RELEASE}-publisher"
ROLE = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{NAMESPACE}-{RELEASE}-agent"


class Operator:
    """Somebody with Helm and the server's kubeconfig."""

    def __init__(self, server: ApiServer) -> None:
        self._common = ["--namespace", NAMESPACE, "--kubeconfig", str(server.kubeconfig())]
        self.rest: Rest = server.rest()

    def helm(self, *arguments: str) -> str:
        done = helm.helm(*arguments, *self._common)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def upgrade(self, *settings: str) -> None:
        self.helm("upgrade", RELEASE, str(CHART), *[word for each in settings for word in ("--set", each)])

    def certificates(self) -> dict[str, Any]:
        found = self.rest.get(SECRETS)["items"]
        return {each["metadata"]["name"]: each["data"] for each in found if each["type"] == "kubernetes.io/tls"}

    def is_there(self, path: str) -> bool:
        try:
            self.rest.get(path)
        except Refused as error:
            if error.status == 404:
                return False
            raise
        return True

    def readable(self) -> set[str]:
        """The resources that agents may list."""
        return {resource for rule in self.rest.get(ROLE)["rules"] for resource in rule["resources"]}


@pytest.fixture
def operator(apiserver: ApiServer) -> Iterator[Operator]:
    one = Operator(apiserver)
    one.helm("install", RELEASE, str(CHART), "--create-namespace")
    yield one
    apiserver.delete_namespace(NAMESPACE)


def test_a_release_moves_to_the_offloaded_mode_and_back(operator: Operator):
    assert operator.is_there(AGENT)
    assert not operator.is_there(PUBLISHER)
    assert "ciliumendpoints" in operator.readable()

    operator.upgrade("mode=offloaded", "agent.rightsOfBothModes=true")
    assert operator.is_there(PUBLISHER)
    assert "ciliumendpoints" in operator.readable()  # for agents that are not restarted yet
    made = operator.certificates()
    assert set(made) == {f"{RELEASE}-tls-{who}" for who in ("server", "publisher", "agent")}

    operator.upgrade("mode=offloaded", "logLevel=debug")
    assert "ciliumendpoints" not in operator.readable()
    assert operator.certificates() == made  # an upgrade keeps them

    operator.rest.delete(f"{SECRETS}/{RELEASE}-tls-agent")
    operator.upgrade("mode=offloaded")
    renewed = operator.certificates()
    assert all(renewed[name]["ca.crt"] != made[name]["ca.crt"] for name in made)  # one that is missing renews all

    operator.helm("rollback", RELEASE, "1")
    assert operator.is_there(AGENT)
    assert not operator.is_there(PUBLISHER)
    assert "ciliumendpoints" in operator.readable()

    operator.helm("uninstall", RELEASE)
    assert not operator.is_there(AGENT)
    assert not operator.is_there(ROLE)
