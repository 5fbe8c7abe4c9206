"""CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy: kept as written, their label selectors read."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from statedb.catalog.policies import Entity, Policy, PolicyKey, Requirement, Selector

from .._errors import WireError
from .._gojson import located
from ._objects import Metadata, named, namespace_of, plain, read, whole_texts

CLUSTERWIDE = "CiliumClusterwideNetworkPolicy"

_SUBJECTS = ("endpointSelector", "nodeSelector")
_DIRECTIONS = ("ingress", "ingressDeny", "egress", "egressDeny")
_PEERS = ("fromEndpoints", "toEndpoints", "fromNodes", "toNodes", "fromRequires", "toRequires")
"""``fromRequires`` and ``toRequires`` are of releases up to 1.18."""
_ENTITIES = ("fromEntities", "toEntities")
ENTITIES = frozenset(
    {
        "all",
        "cluster",
        "cluster-mesh",
        "health",
        "host",
        "ingress",
        "init",
        "kube-apiserver",
        "none",
        "remote-node",
        "unmanaged",
        "world",
        "world-ipv4",
        "world-ipv6",
    }
)
"""The names that an entity may have (cilium/cilium pkg/policy/api/entity.go)."""
_WITH_VALUES = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}


class _Policy(msgspec.Struct, gc=False):
    metadata: Metadata
    kind: str


class _Expression(msgspec.Struct, gc=False):
    key: str
    operator: str
    values: list[str] | None = None


class _LabelSelector(msgspec.Struct, rename="camel", gc=False):
    match_labels: dict[str, str | None] | None = None
    """A null is an empty text, as Go reads it."""
    match_expressions: list[_Expression] | None = None


def policy(of: object) -> Policy:
    """The row of a policy. Numbers and booleans must be such, not text: its rules are kept as they are.

    Raises WireError, also where it has no rule or a selector cannot be read.
    """
    value = _whole(_mapping(plain(of), "the object"))
    found = read({"metadata": value.get("metadata"), "kind": value.get("kind")}, _Policy)
    namespace = "" if found.kind == CLUSTERWIDE else namespace_of(found.metadata.namespace)
    rules = list(_rules(value))
    if not rules:
        raise WireError("spec: there is neither a spec nor specs")
    return Policy(
        PolicyKey(found.kind, namespace, named(found.metadata)),
        tuple([_canonical(rule, path) for path, rule in rules]),
        tuple([selector for path, rule in rules for selector in _selectors(path, rule)]),
        tuple([entity for path, rule in rules for entity in _entities(path, rule)]),
    )


def _whole(value: dict[str, Any]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = whole_texts(value)
    except RecursionError:
        raise WireError("the object is nested too deep") from None
    return found


def _rules(value: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each rule with its place: the one of ``spec`` and those of ``specs``."""
    if value.get("spec") is not None:
        yield "spec", _mapping(value["spec"], "spec")
    yield from _mappings(value.get("specs"), "specs")


def _selectors(path: str, rule: dict[str, Any]) -> Iterator[Selector]:
    """The selectors of a rule: of whom it speaks, then with whom they may talk or not."""
    for name in _SUBJECTS:
        if rule.get(name) is not None:
            yield _selector(rule[name], f"{path}.{name}")
    for direction in _DIRECTIONS:
        for place, traffic in _mappings(rule.get(direction), f"{path}.{direction}"):
            for name in _PEERS:
                for peer, selector in _mappings(traffic.get(name), f"{place}.{name}"):
                    yield _selector(selector, peer)


def _entities(path: str, rule: dict[str, Any]) -> Iterator[Entity]:
    for direction in _DIRECTIONS:
        for place, traffic in _mappings(rule.get(direction), f"{path}.{direction}"):
            for name in _ENTITIES:
                for number, entity in enumerate(_array(traffic.get(name), f"{place}.{name}")):
                    where = f"{place}.{name}[{number}]"
                    if entity not in ENTITIES:
                        raise WireError(f"{where}: {entity!r} is no entity; there are {', '.join(sorted(ENTITIES))}")
                    yield Entity(where, entity)


def _selector(value: object, path: str) -> Selector:
    try:
        found = msgspec.convert(value, _LabelSelector)
    except msgspec.ValidationError as error:
        raise WireError(f"{path}.{located(error)}") from None
    requirements = [Requirement(key, "In", (text or "",)) for key, text in (found.match_labels or {}).items()]
    requirements += [_requirement(each, f"{path}.matchExpressions") for each in found.match_expressions or ()]
    return Selector(path, tuple(sorted(requirements)))


def _requirement(expression: _Expression, path: str) -> Requirement:
    with_values = _WITH_VALUES.get(expression.operator)
    if with_values is None:
        raise WireError(f"{path}: operator {expression.operator!r} is none of {', '.join(_WITH_VALUES)}")
    values = tuple(sorted(set(expression.values or ())))
    if bool(values) is not with_values:
        raise WireError(f"{path}: operator {expression.operator} takes {'some' if with_values else 'no'} values")
    return Requirement(expression.key, expression.operator, values)


def _mapping(value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise WireError(f"{path}: expected object, got {type(value).__name__}")
    return value


def _mappings(value: object, path: str) -> Iterable[tuple[str, dict[str, Any]]]:
    for place, each in enumerate(_array(value, path)):
        yield f"{path}[{place}]", _mapping(each, f"{path}[{place}]")


def _array(value: object, path: str) -> list[Any]:
    """A list, empty where there is none (Any: JSON)."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise WireError(f"{path}: expected array, got {type(value).__name__}")
    return value


def _canonical(rule: dict[str, Any], path: str) -> str:
    """Compact JSON with sorted keys: equal rules, equal texts."""
    try:
        return json.dumps(rule, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError(f"{path}: not JSON: {error}") from None
