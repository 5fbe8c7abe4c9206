"""Network policies: their rules as written, and their label selectors parsed."""

import msgspec

from statedb import Index, Table, UniqueIndex


class PolicyKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """``namespace`` is empty for cluster-wide kinds."""

    kind: str
    namespace: str
    name: str


class Requirement(msgspec.Struct, frozen=True, order=True, gc=False):
    """One condition on a label. ``operator`` is In, NotIn, Exists or DoesNotExist; ``values`` are sorted."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


class Selector(msgspec.Struct, frozen=True, gc=False):
    """A label selector, and its place in the policy: ``spec.ingress[0].fromEndpoints[1]``.

    All ``requirements`` must hold; an empty selector selects everything. Keys may have a label source (``k8s:app``).
    """

    path: str
    requirements: tuple[Requirement, ...] = ()


class Entity(msgspec.Struct, frozen=True, gc=False):
    """A name for a set of identities, such as ``world`` or ``cluster``, and its place in the policy."""

    path: str
    name: str


class Policy(msgspec.Struct, frozen=True, gc=False):
    """One policy object. ``specs`` is the canonical JSON (compact, sorted keys) of each of its rules, in order.

    ``selectors`` and ``entities`` are those of the rules, as written. What a selector selects depends on its place
    (`consumers.tables.scopes`).
    """

    key: PolicyKey
    specs: tuple[str, ...] = ()
    selectors: tuple[Selector, ...] = ()
    entities: tuple[Entity, ...] = ()


class Policies(Table[PolicyKey, Policy], name="policies"):
    """One row for each policy object."""

    primary = UniqueIndex[PolicyKey, Policy](lambda policy: policy.key)
    by_namespace = Index[str, Policy](lambda policy: (policy.key.namespace,))
