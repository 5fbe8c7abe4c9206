"""Which resources are served: the commonest built-in ones, and those of CustomResourceDefinitions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """A resource in one version. ``group`` is empty for the core.

    ``has_status``: its status is written apart. ``counts_generations``: each change of what is wanted has a number.
    """

    group: str = ""
    version: str = "v1"
    plural: str
    kind: str
    singular: str = ""
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    has_status: bool = False
    counts_generations: bool = False
    is_custom: bool = False

    @property
    def api_version(self) -> str:
        """As objects write it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def root(self) -> str:
        """The path of its group and version."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"

    @property
    def store(self) -> tuple[str, str]:
        """What all versions of it have in common: they show the same objects."""
        return self.group, self.plural

    @property
    def name(self) -> str:
        """As messages write it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


def _built_in() -> Iterable[Resource]:
    core = [
        ("pods", "Pod", ("po",), True, True),
        ("configmaps", "ConfigMap", ("cm",), True, False),
        ("secrets", "Secret", (), True, False),
        ("services", "Service", ("svc",), True, True),
        ("serviceaccounts", "ServiceAccount", ("sa",), True, False),
        ("endpoints", "Endpoints", ("ep",), True, False),
        ("persistentvolumeclaims", "PersistentVolumeClaim", ("pvc",), True, True),
        ("nodes", "Node", ("no",), False, True),
        ("namespaces", "Namespace", ("ns",), False, True),
    ]
    for plural, kind, short, namespaced, status in core:
        yield Resource(
            plural=plural,
            kind=kind,
            singular=kind.lower(),
            short_names=short,
            namespaced=namespaced,
            has_status=status,
        )
    others = [
        ("apps", "deployments", "Deployment", ("deploy",)),
        ("apps", "replicasets", "ReplicaSet", ("rs",)),
        ("apps", "statefulsets", "StatefulSet", ("sts",)),
        ("apps", "daemonsets", "DaemonSet", ("ds",)),
        ("batch", "jobs", "Job", ()),
        ("batch", "cronjobs", "CronJob", ("cj",)),
        ("networking.k8s.io", "ingresses", "Ingress", ("ing",)),
        ("policy", "poddisruptionbudgets", "PodDisruptionBudget", ("pdb",)),
    ]
    for group, plural, kind, short in others:
        yield Resource(
            group=group,
            plural=plural,
            kind=kind,
            singular=kind.lower(),
            short_names=short,
            has_status=True,
            counts_generations=True,
        )
    yield Resource(group="events.k8s.io", plural="events", kind="Event", singular="event", short_names=("ev",))
    yield Resource(group="coordination.k8s.io", plural="leases", kind="Lease", singular="lease")
    yield Resource(group="discovery.k8s.io", plural="endpointslices", kind="EndpointSlice", singular="endpointslice")
    yield Resource(
        group="apiextensions.k8s.io",
        plural="customresourcedefinitions",
        kind="CustomResourceDefinition",
        singular="customresourcedefinition",
        short_names=("crd", "crds"),
        namespaced=False,
        has_status=True,
        counts_generations=True,
    )


BUILT_IN = tuple(_built_in())


def of_definition(definition: dict[str, Any]) -> list[Resource]:
    """The resources of a CustomResourceDefinition, one for each version that it serves."""
    spec = definition["spec"]
    names = spec["names"]
    return [
        Resource(
            group=spec["group"],
            version=version["name"],
            plural=names["plural"],
            kind=names["kind"],
            singular=names.get("singular", names["kind"].lower()),
            short_names=tuple(names.get("shortNames", ())),
            namespaced=spec["scope"] == "Namespaced",
            has_status="status" in version.get("subresources", {}),
            counts_generations=True,
            is_custom=True,
        )
        for version in spec["versions"]
        if version["served"]
    ]


def groups(resources: Iterable[Resource]) -> dict[str, dict[str, list[Resource]]]:
    """By group and version, the core first."""
    found: dict[str, dict[str, list[Resource]]] = {"": {}}
    for each in resources:
        found.setdefault(each.group, {}).setdefault(each.version, []).append(each)
    return found
