"""The chart: what Helm and a real API server say of it, and what we say of its configurations."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml

from ingest.kubernetes.kinds import chosen, resources
from statedb.agent.process.config import parse_config

from ..apiserver.rest import Refused, eventually
from ..apiserver.server import ApiServer
from . import helm
from .helm import CHART, NAMESPACE, only, render

pytestmark = pytest.mark.helm

VARIANTS = [
    (),
    ("endpointSlices=true", 'agent.consumers=["ipcache","loadbalancer"]'),
    ("mode=offloaded", "podMonitor.enabled=true", "podMonitor.labels.release=prometheus"),
    ("mode=offloaded", "endpointSlices=true", "publisher.replicas=1", "cluster.name=east", "cluster.id=7"),
    ("mode=offloaded", "agent.enabled=false", "networkPolicy.enabled=false", "podDisruptionBudget.enabled=false"),
    ("mode=offloaded", "tls.method=secrets", "tls.secrets.server=a", "tls.secrets.publisher=b", "tls.secrets.agent=c"),
]
PATHS = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "Service": "/api/v1/namespaces/{}/services",
    "Pod": "/api/v1/namespaces/{}/pods",
    "DaemonSet": "/apis/apps/v1/namespaces/{}/daemonsets",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "PodMonitor": "/apis/monitoring.coreos.com/v1/namespaces/{}/podmonitors",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
}


@pytest.fixture(scope="session")
def namespace(apiserver: ApiServer) -> None:
    """One that admits pods of the standard `restricted` only, on a server that knows PodMonitors."""
    crd = yaml.safe_load((Path(__file__).parent / "podmonitors.yaml").read_text())
    apiserver.rest().create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    served = "/apis/monitoring.coreos.com/v1/podmonitors"
    eventually(lambda: apiserver.rest().get(served), unless=Refused)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    apiserver.rest().create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE, "labels": labels}})


def dry_run(server: ApiServer, value: Any) -> Any:
    """What the server would make of it. Raises Refused, also for fields that it does not know."""
    path = PATHS[value["kind"]].format(NAMESPACE)
    return server.rest().call("POST", path, value, query={"dryRun": "All", "fieldValidation": "Strict"})


def pods_of(value: Any) -> list[Any]:
    """The pod that a workload would make."""
    template = value.get("spec", {}).get("template")
    if template is None:
        return []
    metadata = {**template["metadata"], "name": "tried", "namespace": NAMESPACE}
    return [{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}]


def test_helm_finds_no_fault():
    done = helm.helm("lint", "--strict", str(CHART), "--set", "mode=offloaded")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 chart(s) failed" in done.stdout


@pytest.mark.parametrize("settings", [VARIANTS[1], VARIANTS[2]], ids=" ".join)
def test_a_real_server_takes_every_object(apiserver: ApiServer, namespace: None, settings: tuple[str, ...]):
    objects = render(*settings)
    for value in itertools.chain(objects, *map(pods_of, objects)):
        taken = dry_run(apiserver, value)
        assert taken["kind"] == value["kind"]


def test_a_field_that_is_not_known_and_a_pod_with_rights_are_refused(apiserver: ApiServer, namespace: None):
    """What the dry run would find: else it proves nothing."""
    agent = only(render(), "DaemonSet", "test-agent")
    with pytest.raises(Refused, match="tolerationz"):
        dry_run(apiserver, {**agent, "spec": {**agent["spec"], "tolerationz": 1}})
    (pod,) = pods_of(agent)
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    with pytest.raises(Refused, match="violates PodSecurity"):
        dry_run(apiserver, pod)


@pytest.mark.parametrize("settings", VARIANTS, ids=" ".join)
def test_configurations_are_good(settings: tuple[str, ...]):
    found = [each for each in render(*settings) if each["kind"] == "ConfigMap"]
    assert len(found) == ("agent.enabled=false" not in settings) + ("mode=offloaded" in settings)
    for each in found:
        parse_config(each["data"]["agent.yaml"])


@pytest.mark.parametrize("settings", VARIANTS, ids=" ".join)
def test_rules_are_those_of_the_tables_that_the_configuration_fills(settings: tuple[str, ...]):
    objects = render(*settings)
    for part in [each["metadata"]["name"] for each in objects if each["kind"] == "ConfigMap"]:
        config = parse_config(only(objects, "ConfigMap", part)["data"]["agent.yaml"])
        (source,) = [each for each in config.ingest if each.backend == "kubernetes"]
        every = resources("c", 1, endpoint_slices=source.options.endpoint_slices)
        wanted, _ = chosen(every, source.tables)
        rules = only(objects, "ClusterRole", f"{NAMESPACE}-{part}")["rules"]
        allowed = {
            (group, resource)
            for rule in rules
            if rule["verbs"] == ["list", "watch"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
        }
        assert allowed == {(each.group, each.plural.removesuffix(f".{each.group}")) for each in wanted}
        others = [rule for rule in rules if rule["verbs"] != ["list", "watch"]]
        uid = {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"]}
        assert others == [uid]


def test_agents_of_the_offloaded_mode_may_not_read_what_is_offloaded():
    rules = only(render("mode=offloaded"), "ClusterRole", f"{NAMESPACE}-test-agent")["rules"]
    resources_of_agents = {resource for rule in rules for resource in rule["resources"]}
    assert resources_of_agents == {"ciliumnetworkpolicies", "ciliumclusterwidenetworkpolicies", "namespaces"}


def test_agents_that_move_between_the_modes_may_read_for_both():
    rules = [
        only(render(*settings), "ClusterRole", f"{NAMESPACE}-test-agent")["rules"]
        for settings in ((), ("mode=offloaded", "agent.rightsOfBothModes=true"))
    ]
    assert rules[0] == rules[1]


def test_a_monitor_names_ports_that_the_pods_have():
    objects = render("mode=offloaded", "podMonitor.enabled=true")
    monitor = only(objects, "PodMonitor", "test")["spec"]
    pods = [each["spec"]["template"] for each in objects if each["kind"] in ("DaemonSet", "Deployment")]
    selected = [pod for pod in pods if monitor["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()]
    assert len(selected) == len(pods) == 2
    ports = {port["name"] for pod in pods for each in pod["spec"]["containers"] for port in each["ports"]}
    assert {each["port"] for each in monitor["podMetricsEndpoints"]} <= ports


def test_the_etcd_is_reached_by_agents_of_this_release_only():
    objects = render("mode=offloaded")
    service = only(objects, "Service", "test-etcd")
    assert service["spec"]["type"] == "ClusterIP"
    policy = only(objects, "NetworkPolicy", "test-publisher")
    (ingress,) = [each for each in policy["spec"]["ingress"] if {"port": 2379, "protocol": "TCP"} in each["ports"]]
    agent = only(objects, "DaemonSet", "test-agent")["spec"]["selector"]["matchLabels"]
    assert ingress["from"] == [{"podSelector": {"matchLabels": agent}}]
    publisher = only(objects, "Deployment", "test-publisher")["spec"]["selector"]["matchLabels"]
    assert policy["spec"]["podSelector"]["matchLabels"] == service["spec"]["selector"] == publisher
    assert agent != publisher


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("mode=both", "mode"),
        ("cluster.name=Upper", "cluster"),
        ("agent.ressources.limits.cpu=1", "ressources"),
        ("publisher.replicas=0", "replicas"),
        ("publisher.etcd.quotaBytes=1", "quotaBytes"),
    ],
)
def test_a_wrong_value_is_named(setting: str, named: str):
    done = helm.helm("template", str(CHART), "--set", setting)
    assert done.returncode != 0
    assert named in done.stderr


def test_a_secret_that_is_not_named_is_asked_for():
    done = helm.helm("template", str(CHART), "--set", "mode=offloaded,tls.method=secrets")
    assert done.returncode != 0
    assert "tls.secrets" in done.stderr


def test_the_values_of_the_image_are_those_of_the_package():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    namespace: dict[str, str] = {}
    exec((CHART.parents[2] / "statedb" / "_version.py").read_text(), namespace)
    assert chart["appVersion"] == namespace["__version__"]
