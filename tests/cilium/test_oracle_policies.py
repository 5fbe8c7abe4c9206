"""What each selector of a policy selects: our `selectors` beside Cilium's own policy repository and selector cache."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import event, given, strategies as st

from consumers.tables.selectors import SelectorUses, derive_selectors, selected
from statedb import Database
from statedb.catalog import Identities, Policies, Policy
from statedb.catalog.wire import WireError, crds, identities

from ..consumers.running.driving import Driver
from . import policies
from .asking import Oracle, cases

REFUSED_AS_A_WHOLE = (
    "rule must have at least one of Ingress",
    "rule must have one of EndpointSelector or NodeSelector",
    "rule cannot have both EndpointSelector and NodeSelector",
    "rule cannot have NodeSelector",
    "invalid label selector",
    "combining ",
)
"""Why Cilium enforces nothing of a policy of which we list the selectors: the table in docs/consumers.md says so."""


def read(policy: dict[str, Any]) -> Policy | None:
    try:
        return crds.policy(policy)
    except WireError:
        return None


def ours(policy: Policy, first: dict[int, str], later: dict[int, str], peers_are_local: bool) -> dict[str, list[int]]:
    """The numbers that the selectors of each place select, as the consumer keeps them up."""
    db = Database(Identities, Policies)
    drivers = [Driver(each) for each in derive_selectors(db, policies.LOCAL, peers_are_local=peers_are_local)]

    def settle() -> None:
        for driver in drivers:
            driver.settle()

    insert(db, first)
    settle()
    with db.write(Policies) as txn:
        txn[Policies].insert(policy)
    settle()
    insert(db, later)
    settle()
    snapshot = db.snapshot()
    found: dict[str, set[int]] = {each.path: set() for each in (*policy.selectors, *policy.entities)}
    for use in snapshot[SelectorUses].values():
        for path in use.paths:
            found[path] |= {key.id for key in selected(snapshot, use.key.selector)}
    return {path: sorted(numbers) for path, numbers in found.items()}


def insert(db: Database, labels: dict[int, str]) -> None:
    with db.write(Identities) as txn:
        for number, text in labels.items():
            txn[Identities].insert(identities.decode("c", str(number), text.encode()))


def compare(oracle: Oracle, policy: dict[str, Any], first: dict[int, str], later: dict[int, str], local: bool) -> None:
    later = {number: text for number, text in later.items() if number not in first}
    question = {
        "cluster": policies.LOCAL,
        "peersAreLocal": local,
        "identities": first,
        "later": later,
        "policies": [policy],
    }
    (answer,) = oracle.ask("policies", question)
    row = read(policy)
    refused = answer.get("refused", "")
    if refused:
        event(f"refused: {refused[:50]}")
        assert row is None or any(each in refused for each in REFUSED_AS_A_WHOLE), refused
        return
    assert row is not None
    assert ours(row, first, later, local) == answer["places"]
    event(f"places with identities: {sum(map(bool, answer['places'].values()))}")


case = given(
    policy=policies.policies,
    first=policies.identities,
    later=policies.identities,
    local=st.sampled_from([True, True, False]),
)


@cases()
@case
def test_our_selectors_select_what_ciliums_do(oracle: Oracle, policy, first, later, local):
    compare(oracle, policy, first, later, local)


def test_a_rule_about_nodes_is_not_about_pods_that_are_starting(oracle: Oracle):
    """Found by the long form: ``reserved:init`` of a nodeSelector widened the peers of our rule."""
    rule = {"nodeSelector": {"matchLabels": {"reserved:init": ""}}, "egressDeny": [{"toEndpoints": [{}]}]}
    policy = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumClusterwideNetworkPolicy",
        "metadata": {"name": "p"},
        "specs": [rule],
    }
    node = {33554433: "k8s:app=web;k8s:io.cilium.k8s.policy.cluster=c1;reserved:remote-node=;"}
    question = {"cluster": policies.LOCAL, "peersAreLocal": True, "identities": {}, "later": node}
    (answer,) = oracle.ask("policies", {**question, "policies": [policy]})
    row = read(policy)
    assert row is not None
    assert ours(row, {}, node, True) == answer["places"]
    assert answer["places"]["specs[0].egressDeny[0].toEndpoints[0]"] == []


@pytest.mark.stress
@cases(5000)
@case
def test_our_selectors_select_what_ciliums_do_for_long(oracle: Oracle, policy, first, later, local):
    compare(oracle, policy, first, later, local)
