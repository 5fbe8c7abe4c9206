"""The rights of the chart's accounts are enough and none too many: a real API server is asked with each taken away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ingest import KubernetesOptions
from ingest.kubernetes.api import Api
from ingest.kubernetes.client import Client
from statedb.agent.process.config import parse_config

from ..apiserver.server import READER, ApiServer
from ..ingest.kube_rig import KubeRig
from .helm import NAMESPACE, only, render

pytestmark = pytest.mark.helm

ACCOUNTS = [
    ("agent", ()),
    ("agent", ("endpointSlices=true",)),
    ("agent", ("mode=offloaded",)),
    ("publisher", ("mode=offloaded",)),
]
LIST_AND_WATCH = ["list", "watch"]


def rules_of(part: str, settings: tuple[str, ...]) -> list[Any]:
    return list(only(render(*settings), "ClusterRole", f"{NAMESPACE}-test-{part}")["rules"])


def options_of(part: str, settings: tuple[str, ...], server: ApiServer) -> dict[str, Any]:
    """Those of the source, as the chart's configuration has them, for the user whose rights are tried."""
    config = parse_config(only(render(*settings), "ConfigMap", f"test-{part}")["data"]["agent.yaml"])
    (source,) = [each.options for each in config.ingest if each.backend == "kubernetes"]
    return {
        "kubeconfig": str(server.kubeconfig(READER)),
        "tables": source.tables,
        "endpoint_slices": source.endpoint_slices,
    }


def one_by_one(rules: list[Any]) -> list[Any]:
    """The same rights, a rule for each resource and verb."""
    return [
        {**rule, "resources": [resource], "verbs": [verb]}
        for rule in rules
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]


def named(right: Any) -> str:
    (group,), (resource,), (verb,) = right["apiGroups"], right["resources"], right["verbs"]
    return f"{verb} {resource}.{group}" if group else f"{verb} {resource}"


@pytest.fixture
def granting(apiserver: ApiServer) -> Iterator[ApiServer]:
    yield apiserver
    apiserver.grant(READER, [])


@pytest.mark.parametrize(("part", "settings"), ACCOUNTS, ids=str)
def test_the_rights_are_enough(granting: ApiServer, part: str, settings: tuple[str, ...]):
    granting.grant(READER, rules_of(part, settings))
    with KubeRig(**options_of(part, settings, granting)) as rig:
        rig.synced()


@pytest.mark.parametrize("settings", [(), ("endpointSlices=true",)], ids=str)
def test_without_any_one_of_them_a_table_fails_and_names_it(granting: ApiServer, settings: tuple[str, ...]):
    rights = one_by_one(rules_of("agent", settings))
    for taken in [each for each in rights if "resourceNames" not in each]:
        if settings and taken["resources"] != ["ciliumendpointslices"]:
            continue  # the same as without it
        granting.grant(READER, [each for each in rights if each is not taken])
        # A list that is streamed is a watch. The right to list is for servers that do not stream.
        streams = taken["verbs"] != ["list"]
        with KubeRig(**options_of("agent", settings, granting), streaming_lists=streams) as rig:
            failed = rig.until(
                lambda snapshot: any(rig.of(table.name, snapshot).state == "failed" for table in rig.source.tables),
                f"a table that fails without {named(taken)}",
            )
            errors = [rig.of(table.name, failed).last_error for table in rig.source.tables]
            assert any(f"may not {named(taken)}" in error for error in errors), (named(taken), errors)


def test_without_the_last_one_the_cluster_has_no_identity(granting: ApiServer):
    rules = rules_of("agent", ())
    options = KubernetesOptions(**options_of("agent", (), granting))
    granting.grant(READER, rules)
    assert Client(Api(options), options).identity()
    granting.grant(READER, [rule for rule in rules if "resourceNames" not in rule])
    assert Client(Api(options), options).identity() == ""
