"""Whether a label selector selects a set of labels, and which labels a set must have for that. Pure.

Labels are the texts of identities, ``source:key=value``; a requirement's key may name a source (``k8s:app``), and where
it does not, or names ``any``, every source will do. As in Kubernetes NotIn holds also where the label is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

import msgspec

from statedb.catalog import Requirement
from statedb.catalog.wire import labels as wire

Requirements = tuple[Requirement, ...]
Labels = tuple[str, ...]


def requirements(
    match_labels: Mapping[str, str] | None = None, match_expressions: Iterable[Requirement] = ()
) -> Requirements:
    """A selector as rows have it.

    >>> requirements({"app": "web"})
    (Requirement(key='app', operator='In', values=('web',)),)
    """
    equal = [Requirement(key, "In", (value,)) for key, value in (match_labels or {}).items()]
    return tuple(sorted([*equal, *match_expressions]))


def text_of(selector: Requirements) -> str:
    """A selector as text: equal texts, equal selectors.

    >>> text_of(requirements({"app": "web"}))
    '[["app","In",["web"]]]'
    """
    return msgspec.json.encode([msgspec.structs.astuple(each) for each in selector]).decode()


def selects(selector: Requirements, labels: Labels) -> bool:
    """Whether all requirements hold for these labels; none at all select everything."""
    parsed = _parsed(labels)
    return all(_holds(requirement, parsed) for requirement in selector)


def anchors(selector: Requirements) -> tuple[str, ...]:
    """Labels, without their source, of which a set must have one to be selected; ``("",)`` where it needs none.

    Found the other way round with `anchors_of`: so a new identity is compared with few of many selectors.
    """
    for requirement in selector:
        if requirement.operator == "In":
            return tuple([f"{_wanted(requirement)[1]}={value}" for value in requirement.values])
    for requirement in selector:
        if requirement.operator == "Exists":
            return (_wanted(requirement)[1],)
    return ("",)


def anchors_of(labels: Labels) -> tuple[str, ...]:
    """Every anchor under which a selector that selects these labels may stand."""
    parsed = _parsed(labels)
    return ("", *[key for _, key, _ in parsed], *[f"{key}={value}" for _, key, value in parsed])


def exact_labels(selector: Requirements) -> Labels | None:
    """Labels, source and all, of which a set must have one to be selected; None where there are no such."""
    for requirement in selector:
        source, key = _wanted(requirement)
        if requirement.operator == "In" and source != wire.ANY:
            return tuple([f"{source}:{key}={value}" for value in requirement.values])
    return None


def _holds(requirement: Requirement, labels: tuple[tuple[str, str, str], ...]) -> bool:
    source, key = _wanted(requirement)
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
            raise ValueError(f"operator {unknown!r} of {requirement!r} is none of In, NotIn, Exists, DoesNotExist")


@lru_cache(maxsize=16384)
def _wanted(requirement: Requirement) -> tuple[str, str]:
    """Source and key; ``any`` for every source."""
    source, colon, key = requirement.key.partition(":")
    return (source or wire.ANY, key) if colon else (wire.ANY, source)


@lru_cache(maxsize=65536)
def _parsed(labels: Labels) -> tuple[tuple[str, str, str], ...]:
    found = [wire.parse(text) for text in labels]
    return tuple([(label.source, label.key, label.value) for label in found])
