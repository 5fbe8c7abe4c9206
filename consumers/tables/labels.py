"""Label selectors: whether one selects a set of labels, and which labels such a set must have. Pure.

Labels are those of identities, ``source:key=value``. The key of a requirement may have a source (``k8s:app``). Without
a source, or with ``any`` or ``unspec``, every source matches. As in Kubernetes, NotIn also holds if the label is
missing. The label of a network (``cidr:10.1.0.0/16``) also matches each network around it (``cidr:10.0.0.0/8``):
cilium/cilium pkg/labels, HasKey.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network

import msgspec

from statedb.catalog import Requirement
from statedb.catalog.wire import WireError, cidr, labels as wire

Requirements = tuple[Requirement, ...]
Labels = tuple[str, ...]
_NETWORK = "cidr"


def requirements(
    match_labels: Mapping[str, str] | None = None, match_expressions: Iterable[Requirement] = ()
) -> Requirements:
    """A selector as it is stored in rows.

    >>> requirements({"app": "web"})
    (Requirement(key='app', operator='In', values=('web',)),)
    """
    equal = [Requirement(key, "In", (value,)) for key, value in (match_labels or {}).items()]
    return tuple(sorted([*equal, *match_expressions]))


def text_of(selector: Requirements) -> str:
    """A selector as text. Selectors are equal if their texts are.

    >>> text_of(requirements({"app": "web"}))
    '[["app","In",["web"]]]'
    """
    return msgspec.json.encode([msgspec.structs.astuple(each) for each in selector]).decode()


def selects(selector: Requirements, labels: Labels) -> bool:
    """Whether all requirements hold for these labels. A selector without requirements selects everything."""
    parsed = _parsed(labels)
    return all(_holds(requirement, parsed) for requirement in selector)


def anchors(selector: Requirements) -> tuple[str, ...]:
    """Labels without source of which a selected set must have at least one; ``("",)`` if it needs none.

    With `anchors_of`, a new identity has to be compared with only a few of many selectors.
    """
    of_one_key = [each for each in selector if _wanted(each)[0] != _NETWORK]
    for requirement in of_one_key:
        if requirement.operator == "In":
            return tuple([f"{_wanted(requirement)[1]}={value}" for value in requirement.values])
    for requirement in of_one_key:
        if requirement.operator == "Exists":
            return (_wanted(requirement)[1],)
    return ("",)


def anchors_of(labels: Labels) -> tuple[str, ...]:
    """All anchors that a selector of these labels may have."""
    parsed = _parsed(labels)
    return ("", *[key for _, key, _ in parsed], *[f"{key}={value}" for _, key, value in parsed])


def exact_labels(selector: Requirements) -> Labels | None:
    """Labels with source of which a selected set must have at least one; None if there are none."""
    for requirement in selector:
        source, key = _wanted(requirement)
        if requirement.operator == "In" and source not in (wire.ANY, _NETWORK):
            return tuple([f"{source}:{key}={value}" for value in requirement.values])
    return None


def _holds(requirement: Requirement, labels: tuple[tuple[str, str, str], ...]) -> bool:
    source, key = _wanted(requirement)
    if source == _NETWORK:
        values = [value for of, name, value in labels if of == _NETWORK and _is_within(name, key)]
    else:
        values = [value for of, name, value in labels if name == key and source in (wire.ANY, of)]
    match requirement.operator:
        case "In":
            return any(value in requirement.values for value in values)
        case "NotIn":
            return not any(value in requirement.values for value in values)
        case "Exists":
            return bool(values)
        case "DoesNotExist":
            return not values
        case unknown:
            raise ValueError(f"operator {unknown!r} of {requirement!r} is not one of In, NotIn, Exists, DoesNotExist")


@lru_cache(maxsize=16384)
def _wanted(requirement: Requirement) -> tuple[str, str]:
    """The source and key of a requirement; ``any`` matches every source."""
    source, colon, key = requirement.key.partition(":")
    if not colon:
        return wire.ANY, source
    return (wire.ANY if source in ("", wire.UNSPEC) else source), key


def _is_within(inner: str, outer: str) -> bool:
    """Whether the network of one label's key is in that of another. False if one of them is not a network."""
    one, other = _network(inner), _network(outer)
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.subnet_of(other)
    return isinstance(one, IPv6Network) and isinstance(other, IPv6Network) and one.subnet_of(other)


@lru_cache(maxsize=16384)
def _network(key: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(cidr.from_label_key(key))
    except WireError:
        return None


@lru_cache(maxsize=65536)
def _parsed(labels: Labels) -> tuple[tuple[str, str, str], ...]:
    found = [wire.parse(text) for text in labels]
    return tuple([(label.source, label.key, label.value) for label in found])
