"""What the fields of several kinds are made of: names as Kubernetes spells them, conditions, selectors, references.

A field here is the field of the Kubernetes API in Python's spelling: ``spec.nodeName`` is ``spec.node_name``, a name
that is a keyword ends with ``_``. Rows hold the fields that programs read; all others are passed over. Absent fields,
and those that are null, are empty or zero, or None where that is something else than zero.
https://kubernetes.io/docs/reference/kubernetes-api
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

Int: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""An int64, the largest number of the API."""
IntOrString: TypeAlias = Int | str
"""A number, or a name or a percentage: ``targetPort: 80``, ``targetPort: http``, ``maxUnavailable: 25%``."""
Quantity: TypeAlias = str
"""An amount as Kubernetes writes it: ``100m``, ``64Mi``. `quantity` makes a number of it."""
Texts: TypeAlias = tuple[str, ...]
Map: TypeAlias = Mapping[str, str]
"""Texts by name. It is for reading only."""

_CAPITALS = {
    "ip": "IP",
    "ips": "IPs",
    "cidr": "CIDR",
    "cidrs": "CIDRs",
    "id": "ID",
    "uuid": "UUID",
    "uid": "UID",
}
"""Words that Kubernetes writes in capitals, except at the beginning of a name."""


def spelled(name: str) -> str:
    """The name of a field in the API.

    >>> spelled("pod_ips"), spelled("provider_id"), spelled("ip_families"), spelled("from_")
    ('podIPs', 'providerID', 'ipFamilies', 'from')
    """
    first, *others = name.rstrip("_").split("_")
    return first + "".join([_CAPITALS.get(word, word.capitalize()) for word in others])


class Part(msgspec.Struct, frozen=True, gc=False, rename=spelled):
    """A part of an object. Its fields are spelled in JSON as Kubernetes spells them."""


class Condition(Part, frozen=True, gc=False):
    """One condition. ``status`` is ``True``, ``False`` or ``Unknown``."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: str = ""


class Conditioned(Part, frozen=True, gc=False):
    """A status with conditions."""

    conditions: tuple[Condition, ...] = ()

    def condition(self, kind: str) -> Condition | None:
        """The condition of this type; None where there is none."""
        return next((each for each in self.conditions if each.type == kind), None)

    def holds(self, kind: str) -> bool:
        """Whether the condition of this type is there and ``True``: ``pod.status.holds("Ready")``."""
        found = self.condition(kind)
        return found is not None and found.status == "True"


class Requirement(Part, frozen=True, gc=False):
    """An expression of a label selector. ``operator`` is In, NotIn, Exists or DoesNotExist."""

    key: str = ""
    operator: str = ""
    values: Texts = ()


class LabelSelector(Part, frozen=True, gc=False):
    """Which labels an object must have. An empty one selects all objects."""

    match_labels: Map = {}
    match_expressions: tuple[Requirement, ...] = ()

    def selects(self, labels: tuple[tuple[str, str], ...] | Map) -> bool:
        """Whether an object with these labels is selected; ``row.labels`` can be given as they are."""
        held = dict(labels)
        return all(held.get(name) == value for name, value in self.match_labels.items()) and all(
            _meets(held, each) for each in self.match_expressions
        )


def _meets(labels: dict[str, str], requirement: Requirement) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case _:  # what this version does not know selects nothing
            return False


class Reference(Part, frozen=True, gc=False):
    """Another object. Fields that a kind of reference does not have are empty."""

    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class TemplateMetadata(Part, frozen=True, gc=False):
    """Labels and annotations of objects to be made."""

    labels: Map = {}
    annotations: Map = {}
