"""What a selector asks for depends on where it stands: every place in both kinds of policies, and what it implies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from consumers.tables.labels import requirements, selects
from consumers.tables.scopes import CLUSTER, ENTITIES, NAMESPACE, Scope, effective, entity_selectors, scoped_selectors
from statedb.catalog import Policy, Requirement
from statedb.catalog.wire import crds

PAGE = Path(__file__).parents[3] / "docs" / "consumers.md"
HERE = Scope("c1")
ANYWHERE = Scope("c1", peers_are_local=False)
OWN = Requirement(NAMESPACE, "In", ("shop",))
LOCAL = Requirement(CLUSTER, "In", ("c1",))
POD = Requirement(NAMESPACE, "Exists")
WEB = {"matchLabels": {"app": "web"}}
APP = Requirement("app", "In", ("web",))

DIRECTIONS = {"from": ("ingress", "ingressDeny"), "to": ("egress", "egressDeny")}
PLACES = ("Endpoints", "Nodes", "Requires")


def policy(rule: dict[str, Any], namespace: str = "shop") -> Policy:
    kind = "CiliumNetworkPolicy" if namespace else "CiliumClusterwideNetworkPolicy"
    return crds.policy({"kind": kind, "metadata": {"name": "p", "namespace": namespace}, "spec": rule})


def peer(
    place: str, selector: Any, namespace: str = "shop", subject: Any = None, scope: Scope = HERE
) -> set[Requirement]:
    """What a peer asks for, which is the same in all directions that have the place."""
    found = set()
    for direction in DIRECTIONS["from" if place.startswith("from") else "to"]:
        of = policy({"endpointSelector": subject or {}, direction: [{place: [selector]}]}, namespace)
        (last,) = [each for each in of.selectors if each.path == f"spec.{direction}[0].{place}[0]"]
        found.add(effective(of, last, scope))
    (one,) = found
    return set(one)


def subject(name: str, selector: Any, namespace: str = "shop") -> set[Requirement]:
    of = policy({name: selector}, namespace)
    return set(effective(of, of.selectors[0], HERE))


@pytest.mark.parametrize("place", ["fromEndpoints", "toEndpoints", "fromRequires", "toRequires"])
@pytest.mark.parametrize(
    ("namespace", "labels", "implied"),
    [
        ("shop", {}, {OWN, LOCAL}),
        ("shop", {"app": "web"}, {OWN, LOCAL}),
        ("shop", {"k8s:io.kubernetes.pod.namespace": "other"}, {LOCAL}),
        ("shop", {"io.kubernetes.pod.namespace": "other"}, {LOCAL}),
        ("shop", {"any:io.kubernetes.pod.namespace": "other"}, {LOCAL}),
        ("shop", {"container:io.kubernetes.pod.namespace": "other"}, {OWN, LOCAL}),
        ("shop", {"io.kubernetes.pod.namespaces": "other"}, {OWN, LOCAL}),
        ("shop", {"k8s:io.cilium.k8s.namespace.labels.team": "a"}, {LOCAL}),
        ("shop", {"io.cilium.k8s.namespace.labels.team": "a"}, {LOCAL}),
        ("shop", {"k8s:io.cilium.k8s.policy.cluster": "c2"}, {OWN}),
        ("shop", {"io.cilium.k8s.policy.cluster": "c2"}, {OWN}),
        ("", {}, {POD, LOCAL}),
        ("", {"app": "web"}, {POD, LOCAL}),
        ("", {"k8s:io.kubernetes.pod.namespace": "other"}, {LOCAL}),
        ("", {"k8s:io.cilium.k8s.namespace.labels.team": "a"}, {POD, LOCAL}),
        ("", {"k8s:io.cilium.k8s.policy.cluster": "c2"}, {POD}),
    ],
)
def test_a_peer_is_of_the_policys_namespace_and_cluster_unless_it_says_otherwise(place, namespace, labels, implied):
    written = set(requirements(labels))
    assert peer(place, {"matchLabels": labels}, namespace) == written | implied
    assert peer(place, {"matchLabels": labels}, namespace, scope=ANYWHERE) == written | implied - {LOCAL}


@pytest.mark.parametrize("operator", ["Exists", "DoesNotExist", "NotIn"])
def test_any_expression_about_the_namespace_is_one(operator):
    values = {"values": ["other"]} if operator == "NotIn" else {}
    expression = {"key": NAMESPACE, "operator": operator, **values}
    assert OWN not in peer("fromEndpoints", {"matchExpressions": [expression]})


@pytest.mark.parametrize("namespace", ["shop", ""])
def test_a_peer_with_a_reserved_label_is_taken_as_it_is_but_not_where_peers_are_required(namespace):
    host = {"matchLabels": {"reserved:host": ""}}
    written = Requirement("reserved:host", "In", ("",))
    assert peer("fromEndpoints", host, namespace) == peer("toEndpoints", host, namespace) == {written}
    assert peer("fromRequires", host, namespace) == {written, OWN if namespace else POD, LOCAL}


@pytest.mark.parametrize("subject_labels", [{"reserved:init": ""}, {"app": "web"}])
def test_a_clusterwide_policy_about_starting_pods_has_peers_without_a_namespace(subject_labels):
    about_init = "reserved:init" in subject_labels
    found = peer("fromEndpoints", {}, "", {"matchLabels": subject_labels})
    assert found == ({LOCAL} if about_init else {POD, LOCAL})
    assert peer("fromEndpoints", {}, "shop", {"matchLabels": subject_labels}) == {OWN, LOCAL}


@pytest.mark.parametrize("place", ["fromNodes", "toNodes"])
@pytest.mark.parametrize("namespace", ["shop", ""])
def test_a_peer_that_is_a_node_has_a_nodes_identity(place, namespace):
    node = Requirement("reserved:remote-node", "Exists")
    assert peer(place, WEB, namespace) == {APP, node, LOCAL}
    assert peer(place, WEB, namespace, scope=ANYWHERE) == {APP, node}
    assert not selects(tuple(peer(place, WEB)), ("k8s:app=web", f"{CLUSTER}=c1", f"{NAMESPACE}=shop"))
    assert selects(tuple(peer(place, WEB)), ("k8s:app=web", f"{CLUSTER}=c1", "reserved:remote-node="))


def test_the_subject_is_of_the_policys_namespace_whatever_it_says():
    assert subject("endpointSelector", WEB) == {APP, OWN}
    assert subject("endpointSelector", {"matchLabels": {NAMESPACE: "other", "app": "web"}}) == {APP, OWN}
    # Another spelling stays beside the implied term, as in Cilium: it selects nothing.
    other = Requirement("io.kubernetes.pod.namespace", "In", ("other",))
    assert subject("endpointSelector", {"matchLabels": {"io.kubernetes.pod.namespace": "other"}}) == {other, OWN}


@pytest.mark.parametrize("values", [["other"], ["other", "third"], ["shop"]])
@pytest.mark.parametrize("labels", [{}, {NAMESPACE: "other"}, {NAMESPACE: "shop"}])
def test_a_namespace_in_an_expression_of_the_subject_is_not_replaced(values: list[str], labels: dict[str, str]):
    expression = {"key": NAMESPACE, "operator": "In", "values": values}
    written = Requirement(NAMESPACE, "In", tuple(values))
    for namespace in ("shop", "other"):
        own = Requirement(NAMESPACE, "In", (namespace,))
        selector = {"matchLabels": labels, "matchExpressions": [expression]}
        assert subject("endpointSelector", selector, namespace) == {written, own}


def test_a_namespace_is_replaced_in_the_rule_that_names_it():
    """Also beside a rule in which an expression, which stays, says the same."""
    expression = {"matchExpressions": [{"key": NAMESPACE, "operator": "In", "values": ["other"]}]}
    by_labels = {"matchLabels": {NAMESPACE: "other"}}
    rules = [{"endpointSelector": each} for each in (expression, by_labels)]
    other = Requirement(NAMESPACE, "In", ("other",))
    for spec in ({}, {"spec": {"endpointSelector": {}}}):
        metadata = {"name": "p", "namespace": "shop"}
        of = crds.policy({"kind": "CiliumNetworkPolicy", "metadata": metadata, **spec, "specs": rules})
        found = {each.path: set(effective(of, each, HERE)) for each in of.selectors}
        assert found["specs[0].endpointSelector"] == {other, OWN}
        assert found["specs[1].endpointSelector"] == {OWN}


def test_the_subject_of_a_clusterwide_policy_is_never_the_host_and_that_of_a_host_policy_always_is():
    assert subject("endpointSelector", {}, "") == {Requirement("reserved:host", "DoesNotExist")}
    assert subject("nodeSelector", WEB, "") == {APP, Requirement("reserved:host", "Exists")}


def test_rules_of_specs_have_subjects_of_their_own():
    rule = {"endpointSelector": {}, "ingress": [{"fromEndpoints": [{}]}]}
    init = {"endpointSelector": {"matchLabels": {"reserved:init": ""}}, "ingress": [{"fromEndpoints": [{}]}]}
    of = crds.policy({"kind": "CiliumClusterwideNetworkPolicy", "metadata": {"name": "p"}, "specs": [rule, init]})
    found = dict(scoped_selectors(of, HERE))
    assert set(found["specs[0].ingress[0].fromEndpoints[0]"]) == {POD, LOCAL}
    assert set(found["specs[1].ingress[0].fromEndpoints[0]"]) == {LOCAL}


def test_entities_stand_for_selectors():
    of = policy({"endpointSelector": {}, "ingress": [{"fromEntities": ["host", "cluster"]}]})
    found = [(path, needed) for path, needed in scoped_selectors(of, HERE) if "Entities" in path]
    assert found[0] == ("spec.ingress[0].fromEntities[0]", (Requirement("reserved:host", "In", ("",)),))
    assert ("spec.ingress[0].fromEntities[1]", (LOCAL,)) in found
    assert len(found) == 1 + len(entity_selectors("cluster", "c1"))
    assert ENTITIES["all"] == ((),)
    pod, world = ("k8s:app=web", f"{CLUSTER}=c2"), ("reserved:world-ipv4=",)
    assert not any(selects(each, pod) for each in entity_selectors("cluster", "c1"))
    assert any(selects(each, world) for each in entity_selectors("world", "c1"))


def test_the_entity_cluster_mesh_is_what_any_cluster_has():
    of = policy({"endpointSelector": {}, "egress": [{"toEntities": ["cluster-mesh"]}]})
    found = [needed for path, needed in scoped_selectors(of, HERE) if "Entities" in path]
    mesh = [(f"{CLUSTER}=c2",), ("reserved:remote-node=",), ("reserved:aggregate-cluster-mesh=",)]
    assert all(any(selects(each, labels) for each in found) for labels in mesh)
    assert not any(selects(each, ("reserved:world=",)) for each in found)


@pytest.mark.parametrize("name", ["cluster", "world", "remote-node"])
def test_entities_include_their_aggregates(name: str):
    label = f"reserved:aggregate-{name}="
    assert any(selects(each, (label,)) for each in entity_selectors(name, "c1"))


_labels = st.dictionaries(
    st.sampled_from(["app", NAMESPACE, "io.kubernetes.pod.namespace", "k8s:io.cilium.k8s.namespace.labels.a", CLUSTER]),
    st.sampled_from(["shop", "other", "c1"]),
    max_size=3,
)


@given(
    labels=_labels,
    namespace=st.sampled_from(["shop", ""]),
    place=st.sampled_from([f"{way}{each}" for way in DIRECTIONS for each in PLACES]),
    is_default=st.booleans(),
)
def test_a_scope_only_narrows_what_a_peer_selects(labels, namespace, place, is_default):
    found = peer(place, {"matchLabels": labels}, namespace, scope=Scope("c1", peers_are_local=is_default))
    assert set(requirements(labels)) <= found
    assert len(found) <= len(labels) + 2


def test_the_page_lists_every_place():
    table = PAGE.read_text().partition("| place |")[2].partition("\n\n")[0]
    listed = {
        name
        for cell in re.findall(r"^\| ([^-|][^|]*) \|", table, re.MULTILINE)
        for name in re.findall("`([A-Za-z0-9]+)`", cell)
    }
    assert {"endpointSelector", "nodeSelector"} < listed
    assert {f"{way}{place}" for way in DIRECTIONS for place in (*PLACES, "Entities")} < listed
