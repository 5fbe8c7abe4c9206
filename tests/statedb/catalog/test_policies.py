"""Policies: kept as they were written, their label selectors read."""

from typing import Any

import pytest

from statedb.catalog import PolicyKey, Requirement
from statedb.catalog.wire import WireError, crds

POLICY: dict[str, Any] = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumNetworkPolicy",
    "metadata": {"name": "db", "namespace": "shop"},
    "spec": {
        "endpointSelector": {"matchLabels": {"app": "db"}},
        "ingress": [
            {"fromEndpoints": [{"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "api"]}]}]}
        ],
    },
}


def test_its_rules_and_selectors():
    policy = crds.policy(POLICY)
    assert policy.key == PolicyKey("CiliumNetworkPolicy", "shop", "db")
    assert [selector.path for selector in policy.selectors] == [
        "spec.endpointSelector",
        "spec.ingress[0].fromEndpoints[0]",
    ]
    assert policy.selectors[1].requirements == (Requirement("app", "In", ("api", "web")),)
    assert policy.specs[0].startswith('{"endpointSelector":{"matchLabels":{"app":"db"}}')


def test_equal_rules_are_equal_texts_in_whatever_order_they_are_written():
    reordered = dict(reversed(POLICY["spec"].items()))
    assert crds.policy({**POLICY, "spec": reordered}) == crds.policy(POLICY)


def test_several_rules_and_the_kind_that_spans_the_cluster():
    spec = POLICY["spec"]
    wide = {
        "kind": "CiliumClusterwideNetworkPolicy",
        "metadata": {"name": "all"},
        "spec": {"endpointSelector": {}},
        "specs": [spec, spec],
    }
    policy = crds.policy(wide)
    assert policy.key == PolicyKey("CiliumClusterwideNetworkPolicy", "", "all")
    assert len(policy.specs) == 3
    assert policy.selectors[0].requirements == ()


def test_every_place_of_selectors_and_entities_is_read():
    ways = {"from": ("ingress", "ingressDeny"), "to": ("egress", "egressDeny")}
    rule: dict[str, Any] = {"endpointSelector": {}, "nodeSelector": {}}
    wanted = ["spec.endpointSelector", "spec.nodeSelector"]
    for way, directions in ways.items():
        for direction in directions:
            rule[direction] = [{f"{way}{kind}": [{}, {}] for kind in ("Endpoints", "Nodes", "Requires")}]
            rule[direction][0][f"{way}Entities"] = ["world"]
            places = [f"spec.{direction}[0].{way}{kind}" for kind in ("Endpoints", "Nodes", "Requires")]
            wanted += [f"{place}[{number}]" for place in places for number in (0, 1)]
    policy = crds.policy({**POLICY, "spec": rule})
    assert sorted(selector.path for selector in policy.selectors) == sorted(wanted)
    assert {entity.path.rpartition(".")[2] for entity in policy.entities} == {"fromEntities[0]", "toEntities[0]"}
    assert [entity.name for entity in policy.entities] == ["world"] * 4


def test_a_null_label_is_an_empty_text():
    policy = crds.policy({**POLICY, "spec": {"endpointSelector": {"matchLabels": {"reserved:host": None}}}})
    assert policy.selectors[0].requirements == (Requirement("reserved:host", "In", ("",)),)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"ingress": [{"fromEntities": ["hosts"]}]}, "spec.ingress[0].fromEntities[0]: 'hosts' is no entity"),
        (None, "neither spec nor specs"),
        ([], "spec: expected object, got list"),
        ({"ingress": {}}, "spec.ingress: expected array, got dict"),
        ({"endpointSelector": {"matchLabels": {"app": 1}}}, "spec.endpointSelector.matchLabels"),
        ({"endpointSelector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}}, "operator 'Like'"),
        ({"endpointSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}, "takes at least one value"),
        (
            {"endpointSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]}},
            "no values",
        ),
    ],
)
def test_what_is_wrong_is_named(spec: Any, told: str):
    with pytest.raises(WireError) as raised:
        crds.policy({**POLICY, "spec": spec})
    assert told in str(raised.value)
