"""Parts that several kinds use: field names as in Kubernetes, conditions, selectors, references.

The fields are those of the Kubernetes API in Python spelling: ``spec.nodeName`` is ``spec.node_name``, and a name that
is a keyword gets a trailing ``_``. Only fields that programs commonly read are decoded; the others are ignored. An
absent or null field is empty or zero, or None if None means something other than zero.
https://kubernetes.io/docs/reference/kubernetes-api
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

Int: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""An int64, the largest integer type of the API."""
IntOrString: TypeAlias = Int | str
"""A number, a name or a percentage: ``targetPort: 80``, ``targetPort: http``, ``maxUnavailable: 25%``."""
Quantity: TypeAlias = str
"""A quantity as Kubernetes writes it: ``100m``, ``64Mi``. `quantity` converts it to a number."""
Texts: TypeAlias = tuple[str, ...]
Map: TypeAlias = Mapping[str, str]
"""A mapping of strings. Do not change it."""

_CAPITALS = {
    "ip": "IP",
    "ips": "IPs",
    "cidr": "CIDR",
    "cidrs": "CIDRs",
    "id": "ID",
    "uuid": "UUID",
    "uid": "UID",
}
"""Words that Kubernetes writes in capitals, except at the start of a name."""


def spelled(name: str) -> str:
    """The name of a field in the API.

    >>> spelled("pod_ips"), spelled("provider_id"), spelled("ip_families"), spelled("from_")
    ('podIPs', 'providerID', 'ipFamilies', 'from')
    """
    first, *others = name.rstrip("_").split("_")
    return first + "".join([_CAPITALS.get(word, word.capitalize()) for word in others])


class Part(msgspec.Struct, frozen=True, gc=False, rename=spelled):
    """A part of an object. In JSON its fields have the names of the Kubernetes API."""


class Condition(Part, frozen=True, gc=False):
    """A condition. ``status`` is ``True``, ``False`` or ``Unknown``."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: str = ""


class Conditioned(Part, frozen=True, gc=False):
    """A status with conditions."""

    conditions: tuple[Condition, ...] = ()

    def condition(self, kind: str) -> Condition | None:
        """The condition of this type, or None."""
        return next((each for each in self.conditions if each.type == kind), None)

    def holds(self, kind: str) -> bool:
        """Whether the condition of this type exists and is ``True``: ``pod.status.holds("Ready")``."""
        found = self.condition(kind)
        return found is not None and found.status == "True"


class Requirement(Part, frozen=True, gc=False):
    """An expression of a label selector. ``operator`` is In, NotIn, Exists or DoesNotExist."""

    key: str = ""
    operator: str = ""
    values: Texts = ()


class LabelSelector(Part, frozen=True, gc=False):
    """The labels that an object must have. An empty selector selects all objects."""

    match_labels: Map = {}
    match_expressions: tuple[Requirement, ...] = ()

    def selects(self, labels: tuple[tuple[str, str], ...] | Map) -> bool:
        """Whether an object with these labels is selected. ``row.labels`` can be passed directly."""
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
        case _:  # an unknown operator selects nothing
            return False


class Reference(Part, frozen=True, gc=False):
    """A reference to another object. Fields that a kind of reference does not use are empty."""

    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class TemplateMetadata(Part, frozen=True, gc=False):
    """The labels and annotations of objects that are created from a template."""

    labels: Map = {}
    annotations: Map = {}
