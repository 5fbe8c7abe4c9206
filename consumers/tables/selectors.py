"""The identities that each label selector selects, maintained for new identities and for new selectors.

    policies, program-selectors ─▶ selector-uses   one row per selector and user
    selector-uses, identities ─▶ selections        one row per selector and identity that it selects

The second table has one row per match, so the cost of a new identity depends on the number of selectors that match, not
on the size of their sets. A selector is identified by its text. To be notified of changes of its set, watch it in the
index ``by_selector``.
"""

from __future__ import annotations

import msgspec

from statedb import Database, Index, Snapshot, Table, UniqueIndex, Watch
from statedb.catalog import Identities, Identity, IdentityKey, Policies, Policy, PolicyKey, Requirement

from ..running.derivation import Derivation, derive
from ..running.follower import Report
from ..running.source_snapshot import SourceSnapshot
from .labels import Requirements, anchors, anchors_of, exact_labels, selects, text_of
from .scopes import Scope, scoped_selectors


class ProgramSelector(msgspec.Struct, frozen=True, gc=False):
    """A selector that a program other than a policy uses, under a name of its own."""

    name: str
    requirements: tuple[Requirement, ...] = ()


class ProgramSelectors(Table[str, ProgramSelector], name="program-selectors"):
    """Selectors that programs use. The programs write the rows themselves."""

    primary = UniqueIndex[str, ProgramSelector](lambda selector: selector.name)


class SelectorUseKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """A selector as text, and the policy that uses it. Kind and namespace are empty for a `ProgramSelector`."""

    selector: str
    user: PolicyKey


class SelectorUse(msgspec.Struct, frozen=True, gc=False):
    """A use of a selector by a policy. ``paths``: its places in the policy."""

    key: SelectorUseKey
    requirements: tuple[Requirement, ...]
    paths: tuple[str, ...] = ()


class SelectorUses(Table[SelectorUseKey, SelectorUse], name="selector-uses"):
    """One row for each selector and user."""

    primary = UniqueIndex[SelectorUseKey, SelectorUse](lambda use: use.key)
    by_selector = Index[str, SelectorUse](lambda use: (use.key.selector,))
    by_user = Index[PolicyKey, SelectorUse](lambda use: (use.key.user,))
    by_anchor = Index[str, SelectorUse](lambda use: anchors(use.requirements))


class SelectionKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """A selector as text, and an identity that it selects."""

    selector: str
    identity: IdentityKey


class Selection(msgspec.Struct, frozen=True, gc=False):
    """A match: the selector selects the identity."""

    key: SelectionKey


class Selections(Table[SelectionKey, Selection], name="selections"):
    """One row for each match."""

    primary = UniqueIndex[SelectionKey, Selection](lambda selection: selection.key)
    by_selector = Index[str, Selection](lambda selection: (selection.key.selector,))
    by_identity = Index[IdentityKey, Selection](lambda selection: (selection.key.identity,))


def selected(snapshot: Snapshot, selector: Requirements | str) -> tuple[IdentityKey, ...]:
    """The identities that a selector (or its text) selects, sorted; empty for a selector that nobody uses."""
    name = selector if isinstance(selector, str) else text_of(selector)
    return tuple([row.key.identity for row in snapshot[Selections.by_selector][name]])


def watch_selected(snapshot: Snapshot, selector: Requirements | str) -> Watch:
    """A watch that trips when the result of ``selected`` may change, and not for other selectors."""
    name = selector if isinstance(selector, str) else text_of(selector)
    return snapshot[Selections.by_selector].watch(name)


def derive_selectors(
    db: Database, cluster: str, *, peers_are_local: bool = True, report: Report | None = None
) -> tuple[Derivation[SelectorUseKey, SelectorUse], Derivation[SelectionKey, Selection]]:
    """Maintain the tables ``SelectorUses`` and ``Selections``. Returns two followers; run both.

    ``cluster`` is the local cluster, whose policies these are. ``peers_are_local``: a peer without a cluster means the
    local one only, as in Cilium since 1.19 (``policy-default-local-cluster``); otherwise it means every cluster.
    """
    scope = Scope(cluster, peers_are_local)
    db.register(ProgramSelectors)

    def uses_of(policy: Policy) -> list[SelectorUseKey]:
        return [SelectorUseKey(text_of(needed), policy.key) for _, needed in scoped_selectors(policy, scope)]

    uses = derive(
        db,
        SelectorUses,
        lambda snapshot, key: _use(snapshot, key, scope),
        {Policies: lambda _, policy: uses_of(policy), ProgramSelectors: lambda _, selector: [_use_of(selector)]},
        name="selector-uses",
        report=report,
    )
    selections = derive(
        db,
        Selections,
        _selection,
        {SelectorUses: _matches_of_use, Identities: _matches_of_identity},
        name="selections",
        report=report,
    )
    return uses, selections


def _use_of(selector: ProgramSelector) -> SelectorUseKey:
    return SelectorUseKey(text_of(selector.requirements), PolicyKey("", "", selector.name))


def _use(snapshot: SourceSnapshot, key: SelectorUseKey, scope: Scope) -> SelectorUse | None:
    if not key.user.kind:
        selector = snapshot[ProgramSelectors].get(key.user.name)
        return SelectorUse(key, selector.requirements) if selector is not None and _use_of(selector) == key else None
    policy = snapshot[Policies].get(key.user)
    if policy is None:
        return None
    found = scoped_selectors(policy, scope)
    paths = tuple([path for path, needed in found if text_of(needed) == key.selector])
    needed = next((needed for _, needed in found if text_of(needed) == key.selector), ())
    return SelectorUse(key, needed, paths) if paths else None


def _matches_of_use(snapshot: SourceSnapshot, use: SelectorUse) -> list[SelectionKey]:
    """The identities that a selector selects, found by a label that they must have, or by scanning all."""
    exact = exact_labels(use.requirements)
    found: list[Identity] = []
    if exact is None:
        found = list(snapshot[Identities].values())
    else:
        for label in exact:
            found += snapshot[Identities.by_label][label]
    return [SelectionKey(use.key.selector, row.key) for row in found if selects(use.requirements, row.labels)]


def _matches_of_identity(snapshot: SourceSnapshot, identity: Identity) -> list[SelectionKey]:
    """The selectors that select an identity, found by their anchors."""
    by_anchor = snapshot[SelectorUses.by_anchor]
    found: dict[str, Requirements] = {}
    for anchor in anchors_of(identity.labels):
        for use in by_anchor[anchor]:
            found[use.key.selector] = use.requirements
    return [SelectionKey(name, identity.key) for name, needed in found.items() if selects(needed, identity.labels)]


def _selection(snapshot: SourceSnapshot, key: SelectionKey) -> Selection | None:
    identity = snapshot[Identities].get(key.identity)
    uses = snapshot[SelectorUses.by_selector][key.selector]
    if identity is None or not uses or not selects(uses[0].requirements, identity.labels):
        return None
    return Selection(key)
