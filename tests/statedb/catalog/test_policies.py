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


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (None, "neither a spec nor specs"),
        ([], "spec: expected object, got list"),
        ({"ingress": {}}, "spec.ingress: expected array, got dict"),
        ({"endpointSelector": {"matchLabels": {"app": 1}}}, "spec.endpointSelector.matchLabels"),
        ({"endpointSelector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}}, "operator 'Like'"),
        ({"endpointSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}, "takes some values"),
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
