"""The rig: a real API server serves Cilium's resources, and goes through what later tests will do to it."""

from __future__ import annotations

from typing import Any

from .server import ApiServer


def identity(name: str, app: str = "web") -> dict[str, Any]:
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumIdentity",
        "metadata": {"name": name},
        "security-labels": {"k8s:app": app},
    }


IDENTITIES = "/apis/cilium.io/v2/ciliumidentities"


def test_the_version_is_the_one_that_is_pinned(apiserver: ApiServer):
    assert apiserver.rest().get("/version")["gitVersion"].startswith("v1.")
