"""CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy: their rules as written, their label selectors parsed."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from statedb.catalog.policies import Entity, Policy, PolicyKey, Requirement, Selector

from .._errors import WireError
from .._gojson import located
from ._objects import Metadata, name_of, namespace_of, plain, read, replace_surrogates_in

CLUSTERWIDE = "CiliumClusterwideNetworkPolicy"

_SUBJECTS = ("endpointSelector", "nodeSelector")
_DIRECTIONS = ("ingress", "ingressDeny", "egress", "egressDeny")
_PEERS = ("fromEndpoints", "toEndpoints", "fromNodes", "toNodes", "fromRequires", "toRequires")
"""``fromRequires`` and ``toRequires`` exist up to release 1.18."""
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
"""The valid entities (cilium/cilium pkg/policy/api/entity.go)."""
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
    """A null is an empty text, as in Go."""
    match_expressions: list[_Expression] | None = None


def policy(of: object) -> Policy:
    """The row of a policy. Numbers and booleans must not be text, because the rules are kept as they are.

    Raises WireError, also if it has no rule or if a selector cannot be parsed.
    """
    value = _without_surrogates(_mapping(plain(of), "the object"))
    found = read({"metadata": value.get("metadata"), "kind": value.get("kind")}, _Policy)
    namespace = "" if found.kind == CLUSTERWIDE else namespace_of(found.metadata.namespace)
    rules = list(_rules(value))
    if not rules:
        raise WireError("spec: neither spec nor specs is set")
    return Policy(
        PolicyKey(found.kind, namespace, name_of(found.metadata)),
        tuple([_canonical(rule, path) for path, rule in rules]),
        tuple([selector for path, rule in rules for selector in _selectors(path, rule)]),
        tuple([entity for path, rule in rules for entity in _entities(path, rule)]),
    )


def _without_surrogates(value: dict[str, Any]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = replace_surrogates_in(value)
    except RecursionError:
        raise WireError("the object is nested too deep") from None
    return found


def _rules(value: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each rule with its path: that of ``spec`` and those of ``specs``."""
    if value.get("spec") is not None:
        yield "spec", _mapping(value["spec"], "spec")
    yield from _mappings(value.get("specs"), "specs")


def _selectors(path: str, rule: dict[str, Any]) -> Iterator[Selector]:
    """The selectors of a rule: first its subjects, then its peers."""
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
                        raise WireError(f"{where}: {entity!r} is no entity; use one of {', '.join(sorted(ENTITIES))}")
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
        raise WireError(f"{path}: operator {expression.operator!r} is not one of {', '.join(_WITH_VALUES)}")
    values = tuple(sorted(set(expression.values or ())))
    if bool(values) is not with_values:
        count = "at least one value" if with_values else "no values"
        raise WireError(f"{path}: operator {expression.operator} takes {count}")
    return Requirement(expression.key, expression.operator, values)


def _mapping(value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise WireError(f"{path}: expected object, got {type(value).__name__}")
    return value


def _mappings(value: object, path: str) -> Iterable[tuple[str, dict[str, Any]]]:
    for place, each in enumerate(_array(value, path)):
        yield f"{path}[{place}]", _mapping(each, f"{path}[{place}]")


def _array(value: object, path: str) -> list[Any]:
    """A list; empty if absent (Any: JSON)."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise WireError(f"{path}: expected array, got {type(value).__name__}")
    return value


def _canonical(rule: dict[str, Any], path: str) -> str:
    """Compact JSON with sorted keys, so that equal rules have equal texts."""
    try:
        return json.dumps(rule, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError(f"{path}: not JSON: {error}") from None
