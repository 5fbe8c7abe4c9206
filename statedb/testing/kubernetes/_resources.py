"""The resources that are served: the most common built-in ones, and those of CustomResourceDefinitions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """A resource in one version. ``group`` is empty for the core group.

    ``has_status``: it has a status subresource. ``counts_generations``: each change of its desired state has a
    generation.
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
        """Its apiVersion, as in objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def root(self) -> str:
        """The path of its group and version."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"

    @property
    def store(self) -> tuple[str, str]:
        """The identity of its storage. All versions of a resource share it, because they return the same objects."""
        return self.group, self.plural

    @property
    def name(self) -> str:
        """Its name in messages."""
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
    """The resources by group and version, the core group first."""
    found: dict[str, dict[str, list[Resource]]] = {"": {}}
    for each in resources:
        found.setdefault(each.group, {}).setdefault(each.version, []).append(each)
    return found
