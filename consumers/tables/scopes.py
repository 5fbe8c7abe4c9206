"""The requirements of a policy's selectors, including those that its place in the policy implies. Pure.

The same labels select different identities as the subject of a policy, as a peer, or in a clusterwide policy. The table
in docs/consumers.md lists all places. Source: cilium/cilium pkg/policy/utils (ParseCiliumRule,
getEndpointSelector, getNodeSelector), pkg/policy/api/entity.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from statedb.catalog import Policy, Requirement, Selector

from .labels import Requirements

NAMESPACE = "k8s:io.kubernetes.pod.namespace"
CLUSTER = "k8s:io.cilium.k8s.policy.cluster"

_NAMESPACE_KEY = NAMESPACE.partition(":")[2]
_CLUSTER_KEY = CLUSTER.partition(":")[2]
_NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels."
_PEERS = frozenset({"fromEndpoints", "toEndpoints"})
_REQUIRES = frozenset({"fromRequires", "toRequires"})
_NODES = frozenset({"fromNodes", "toNodes"})
_IS_POD = Requirement(NAMESPACE, "Exists")
_IS_HOST = Requirement("reserved:host", "Exists")
_IS_NOT_HOST = Requirement("reserved:host", "DoesNotExist")
_IS_REMOTE_NODE = Requirement("reserved:remote-node", "Exists")


class Scope(msgspec.Struct, frozen=True, gc=False):
    """The local cluster, and whether a peer without a cluster means this one (Cilium's default since 1.19)."""

    cluster: str
    peers_are_local: bool = True


class _Subject(msgspec.Struct, rename="camel", gc=False):
    match_labels: dict[str, str | None] | None = None


class _Rule(msgspec.Struct, rename="camel", gc=False):
    endpoint_selector: _Subject | None = None


def scoped_selectors(policy: Policy, scope: Scope) -> list[tuple[str, Requirements]]:
    """All selectors of a policy, entities included: the place of each, and its requirements there.

    An entity may stand for several selectors, which have the same place.
    """
    found = [(each.path, effective(policy, each, scope)) for each in policy.selectors]
    found += [(each.path, needed) for each in policy.entities for needed in entity_selectors(each.name, scope.cluster)]
    return found


def effective(policy: Policy, selector: Selector, scope: Scope) -> Requirements:
    """The requirements of one selector of a policy, its own and the implied ones, sorted."""
    place = selector.path.rpartition(".")[2].partition("[")[0]
    own, namespace = selector.requirements, policy.key.namespace
    implied: list[Requirement] = []
    if place == "nodeSelector":
        implied = [_IS_HOST]
    elif place == "endpointSelector":
        own, implied = _of_subject(policy, selector)
    elif place in _NODES:
        implied = [_IS_REMOTE_NODE, *_of_cluster(own, scope)]
    elif place in _REQUIRES or (place in _PEERS and not _names_source(own, "reserved")):
        implied = [*_of_namespace(own, namespace, _is_about_init(policy, selector)), *_of_cluster(own, scope)]
    return tuple(sorted({*own, *implied}))


def entity_selectors(name: str, cluster: str) -> tuple[Requirements, ...]:
    """The selectors of an entity in this cluster. An identity belongs to the entity if one of them selects it.

    Raises KeyError for an unknown entity.
    """
    if name == "cluster":
        return (*_NEAR, (Requirement(CLUSTER, "In", (cluster,)),))
    return ENTITIES[name]


def _reserved(name: str) -> Requirements:
    return (Requirement(f"reserved:{name}", "In", ("",)),)


_NAMES = ("health", "host", "ingress", "init", "kube-apiserver", "unmanaged")
_REMOTE_NODES = tuple(map(_reserved, ("remote-node", "aggregate-remote-node")))
_NEAR = tuple(map(_reserved, (*_NAMES, "remote-node", "aggregate-cluster")))
ENTITIES: Mapping[str, tuple[Requirements, ...]] = {
    "all": ((),),
    "cluster-mesh": (*_NEAR, _reserved("aggregate-cluster-mesh"), (Requirement(_CLUSTER_KEY, "Exists"),)),
    "remote-node": _REMOTE_NODES,
    "world": tuple(map(_reserved, ("world", "world-ipv4", "world-ipv6", "aggregate-world"))),
    **{name: (_reserved(name),) for name in (*_NAMES, "none", "world-ipv4", "world-ipv6")},
}
"""The selectors of all entities except ``cluster``, which depends on the name of the cluster."""


def _of_subject(policy: Policy, selector: Selector) -> tuple[Requirements, list[Requirement]]:
    """The requirements of a subject: the policy's namespace, or, in a clusterwide policy, not the host.

    Another namespace in ``matchLabels`` is replaced by the policy's. One in ``matchExpressions`` is not: then the
    selector selects nothing.
    """
    own, namespace = selector.requirements, policy.key.namespace
    if not namespace:
        return own, [_IS_NOT_HOST]
    replaced = Requirement(NAMESPACE, "In", (_match_labels(policy, selector).get(NAMESPACE, namespace),))
    written = list(own)
    if replaced in written:
        written.remove(replaced)  # only once: an expression may be equal to it
    return tuple(written), [Requirement(NAMESPACE, "In", (namespace,))]


def _match_labels(policy: Policy, selector: Selector) -> dict[str, str]:
    """The ``matchLabels`` of the subject of a rule, which the requirements do not distinguish from expressions."""
    if not any(each.key == NAMESPACE for each in selector.requirements):
        return {}
    rules = [msgspec.json.decode(each, type=_Rule).endpoint_selector for each in policy.specs]
    rule, has_spec = selector.path.partition(".")[0], any(each.path.startswith("spec.") for each in policy.selectors)
    number = 0 if rule == "spec" else int(rule.removeprefix("specs[").removesuffix("]")) + has_spec
    found = rules[number]
    return {} if found is None else {key: text or "" for key, text in (found.match_labels or {}).items()}


def _of_namespace(own: Requirements, namespace: str, is_about_init: bool) -> list[Requirement]:
    """A peer without a namespace is in the policy's namespace; in a clusterwide policy, a pod of any namespace.

    A pod that is starting has no labels yet. A clusterwide policy about such pods (``reserved:init``) therefore implies
    no namespace.
    """
    if _names(own, _NAMESPACE_KEY):
        return []
    if not namespace:
        return [] if is_about_init else [_IS_POD]
    if any(key.startswith(_NAMESPACE_LABELS) and source in ("any", "k8s") for source, key in map(_split, own)):
        return []
    return [Requirement(NAMESPACE, "In", (namespace,))]


def _of_cluster(own: Requirements, scope: Scope) -> list[Requirement]:
    if not scope.peers_are_local or _names(own, _CLUSTER_KEY):
        return []
    return [Requirement(CLUSTER, "In", (scope.cluster,))]


def _is_about_init(policy: Policy, selector: Selector) -> bool:
    """Whether the subject of the selector's rule selects pods that are starting. A rule about nodes does not."""
    subject = f"{selector.path.partition('.')[0]}.endpointSelector"
    subjects = [each for each in policy.selectors if each.path == subject]
    return any(_split(each) == ("reserved", "init") for subject in subjects for each in subject.requirements)


def _names(own: Iterable[Requirement], wanted: str) -> bool:
    return any(key == wanted and source in ("any", "k8s") for source, key in map(_split, own))


def _names_source(own: Iterable[Requirement], wanted: str) -> bool:
    return any(source == wanted for source, _ in map(_split, own))


def _split(requirement: Requirement) -> tuple[str, str]:
    """The source and key of a requirement; without a source, ``any``."""
    source, colon, key = requirement.key.partition(":")
    return (source or "any", key) if colon else ("any", source)
