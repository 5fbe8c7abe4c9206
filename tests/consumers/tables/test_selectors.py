"""Selectors: the identities of each, kept up both ways, as Kubernetes reads selectors; a watch for each."""

import threading

import pytest
from hypothesis import given, settings, strategies as st

from consumers.tables.labels import anchors, anchors_of, exact_labels, requirements, selects, text_of
from consumers.tables.scopes import Scope, scoped_selectors
from consumers.tables.selectors import (
    ProgramSelector,
    ProgramSelectors,
    Selection,
    SelectionKey,
    SelectorUses,
    derive_selectors,
    selected,
    watch_selected,
)
from statedb import Database, Snapshot
from statedb.catalog import Identities, Identity, IdentityKey, Policies, Policy, PolicyKey, Requirement, Selector
from statedb.testing import histories

from ..running.driving import Driver
from ..running.equation import assert_kept_up
from . import clusters

SOON = 20.0
LOCAL = "c1"
asked = st.builds(
    ProgramSelector,
    name=st.sampled_from(["x", "y"]),
    requirements=st.lists(clusters.requirements, max_size=2).map(lambda each: tuple(sorted(each))),
)


def naively(requirement: Requirement, labels: tuple[str, ...]) -> bool:
    """One requirement, read as the documentation of Kubernetes says."""
    source, _, key = requirement.key.rpartition(":")
    values = []
    for label in labels:
        before, _, value = label.partition("=")
        of, _, name = before.rpartition(":") if not before.startswith("cidr:") else ("cidr", ":", before[5:])
        if name == key and (source in ("", "any") or (of or "unspec") == source):
            values.append(value)
    if requirement.operator in ("Exists", "DoesNotExist"):
        return bool(values) == (requirement.operator == "Exists")
    found = bool(set(values) & set(requirement.values))
    return found == (requirement.operator == "In")


def naive(snapshot: Snapshot) -> dict[SelectionKey, Selection]:
    wanted = [row.requirements for row in snapshot[ProgramSelectors].values()]
    for policy in snapshot[Policies].values():
        wanted += [needed for _, needed in scoped_selectors(policy, Scope(LOCAL))]
    keys = [
        SelectionKey(text_of(each), identity.key)
        for each in wanted
        for identity in snapshot[Identities].values()
        if all(naively(requirement, identity.labels) for requirement in each)
    ]
    return {key: Selection(key) for key in keys}


@settings(max_examples=150, deadline=None)
@given(
    history=histories(
        {Identities: clusters.identities, Policies: clusters.policies, ProgramSelectors: asked}, max_size=10
    ),
    rests=st.lists(st.booleans(), min_size=10, max_size=10),
)
def test_kept_up_incrementally_equals_computed_afresh(history, rests):
    db = Database(Identities, Policies, ProgramSelectors)
    assert_kept_up(db, list(derive_selectors(db, LOCAL)), history, rests, naive)


@settings(max_examples=500)
@given(
    selector=st.lists(clusters.requirements, max_size=3).map(tuple),
    labels=st.lists(clusters.label_texts, max_size=4).map(tuple),
)
def test_what_is_selected_stands_under_its_anchors_and_exact_labels(selector, labels):
    found = selects(selector, labels)
    assert found == all(naively(requirement, labels) for requirement in selector)
    if found:
        assert set(anchors(selector)) & set(anchors_of(labels))
        exact = exact_labels(selector)
        assert exact is None or set(exact) & set(labels)


@pytest.mark.parametrize(
    ("requirement", "selected_labels"),
    [
        (Requirement("app", "In", ("web",)), ["k8s:app=web", "any:app=web"]),
        (Requirement("k8s:app", "In", ("web", "db")), ["k8s:app=web", "k8s:app=db"]),
        (Requirement("app", "NotIn", ("web",)), ["k8s:app=db", "k8s:app=", "k8s:tier=front"]),
        (Requirement("any:app", "Exists"), ["k8s:app=web", "any:app=web", "k8s:app=db", "k8s:app="]),
        (Requirement("k8s:app", "DoesNotExist"), ["any:app=web", "k8s:tier=front"]),
        (Requirement("app", "In", ("",)), ["k8s:app="]),
    ],
)
def test_operators_mean_what_they_mean_in_kubernetes(requirement, selected_labels):
    labels = ["k8s:app=web", "any:app=web", "k8s:app=db", "k8s:app=", "k8s:tier=front"]
    assert [label for label in labels if selects((requirement,), (label,))] == selected_labels


def test_the_label_of_a_network_is_found_by_the_networks_around_it():
    """Found beside Cilium's own selector cache: a key with the source ``cidr`` is a network, not a text."""
    inner, outer = "cidr:10.1.0.0/16=", "cidr:10.0.0.0/8="
    assert [selects((Requirement("cidr:10.0.0.0/8", "Exists"),), (each,)) for each in (inner, outer)] == [True, True]
    assert [selects((Requirement("cidr:10.1.0.0/16", "In", ("",)),), (each,)) for each in (inner, outer)] == [
        True,
        False,
    ]
    assert not selects((Requirement("cidr:10.0.0.0/8", "DoesNotExist"),), (inner,))
    assert selects((Requirement("cidr:fd00--0/8", "Exists"),), ("cidr:fd00--1/128=",))
    for other in ("cidr:fd00--0/8", "any:10.0.0.0/8", "cidr:app"):
        assert not selects((Requirement(other, "Exists"),), (inner, "cidr:app="))


def test_a_network_is_found_incrementally_too():
    rig = Rig()
    around = requirements({"cidr:10.0.0.0/8": "", "reserved:world": ""})
    rig.ask("around", around)
    rig.identity(1, "cidr:10.1.0.0/16=", "reserved:world=")
    assert selected(rig.settle(), around) == (IdentityKey("c1", 1),)
    also = requirements({"cidr:10.1.0.0/15": ""})
    rig.ask("also", also)
    assert selected(rig.settle(), also) == (IdentityKey("c1", 1),)


def test_the_source_unspec_of_a_selector_is_any_source():
    assert selects((Requirement("unspec:app", "In", ("web",)),), ("k8s:app=web",))


def test_an_unknown_operator_is_told():
    with pytest.raises(ValueError, match="'Gt'"):
        selects((Requirement("a", "Gt", ("1",)),), ())


class Rig:
    def __init__(self) -> None:
        self.db = Database(Identities, Policies)
        self.drivers = [Driver(each) for each in derive_selectors(self.db, LOCAL)]

    def settle(self) -> Snapshot:
        for driver in self.drivers:
            driver.settle()
        return self.db.snapshot()

    def identity(self, number: int, *labels: str) -> None:
        with self.db.write(Identities) as txn:
            txn[Identities].insert(Identity(IdentityKey("c1", number), labels))

    def ask(self, name: str, selector: tuple[Requirement, ...]) -> None:
        with self.db.write(ProgramSelectors) as txn:
            txn[ProgramSelectors].insert(ProgramSelector(name, selector))


WEB, FRONT = requirements({"app": "web"}), requirements({"k8s:tier": "front"})


def test_new_identities_and_new_selectors_both_count():
    rig = Rig()
    rig.identity(1, "k8s:app=web")
    rig.settle()
    rig.ask("web", WEB)
    assert selected(rig.settle(), WEB) == (IdentityKey("c1", 1),)
    rig.identity(2, "k8s:app=web", "k8s:tier=front")
    rig.ask("front", FRONT)
    snapshot = rig.settle()
    assert selected(snapshot, WEB) == (IdentityKey("c1", 1), IdentityKey("c1", 2))
    assert selected(snapshot, FRONT) == (IdentityKey("c1", 2),)
    rig.identity(1, "k8s:app=db")
    with rig.db.write(ProgramSelectors) as txn:
        txn[ProgramSelectors].delete("front")
    snapshot = rig.settle()
    assert selected(snapshot, WEB) == (IdentityKey("c1", 2),)
    assert selected(snapshot, FRONT) == ()


def test_a_watch_trips_for_its_own_selector_only():
    rig = Rig()
    rig.ask("web", WEB)
    rig.ask("front", FRONT)
    snapshot = rig.settle()
    web, front = watch_selected(snapshot, WEB), watch_selected(snapshot, text_of(FRONT))
    rig.identity(1, "k8s:app=web")
    rig.settle()
    assert (web.tripped, front.tripped) == (True, False)


def test_a_selector_of_several_policies_is_kept_until_the_last_one_goes():
    rig = Rig()
    rig.identity(1, "k8s:app=web")
    keys = [PolicyKey("CiliumClusterwideNetworkPolicy", "", name) for name in "ab"]
    with rig.db.write(Policies) as txn:
        for key in keys:
            txn[Policies].insert(Policy(key, (), (Selector("spec.endpointSelector", WEB),)))
    snapshot = rig.settle()
    (_, subject), *_ = scoped_selectors(snapshot[Policies][keys[0]], Scope(LOCAL))
    assert selected(snapshot, subject) == (IdentityKey("c1", 1),)
    assert [use.key.user.name for use in snapshot[SelectorUses.by_selector][text_of(subject)]] == ["a", "b"]
    for key, left in zip(keys, [1, 0]):
        with rig.db.write(Policies) as txn:
            txn[Policies].delete(key)
        assert len(selected(rig.settle(), subject)) == left


def test_threads_keep_them_up():
    db = Database(Identities, Policies)
    uses, selections = derive_selectors(db, LOCAL)
    with uses, selections:
        with db.write(ProgramSelectors) as txn:
            txn[ProgramSelectors].insert(ProgramSelector("web", WEB))
        assert uses.wait_applied(timeout=SOON)
        assert selections.wait_applied(timeout=SOON)
        watch = watch_selected(db.snapshot(), WEB)
        threading.Thread(target=lambda: insert_identity(db)).start()
        assert watch.wait(SOON)
        assert selected(db.snapshot(), WEB) == (IdentityKey("c1", 7),)


def insert_identity(db: Database) -> None:
    with db.write(Identities) as txn:
        txn[Identities].insert(Identity(IdentityKey("c1", 7), ("k8s:app=web",)))
