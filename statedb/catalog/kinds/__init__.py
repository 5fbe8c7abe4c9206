"""Typed rows for the common resources of Kubernetes, each with a table and indexes::

    source = kubernetes.resources(db, kinds.Pods, kinds.Deployments)
    for pod in db.snapshot()[kinds.Pods.by_node]["node-1"]:
        print(pod.key.name, pod.status.phase, pod.status.holds("Ready"))

A row has the fields of `ObjectHead`, then those of the Kubernetes API in Python spelling: ``spec.nodeName`` is
``spec.node_name``. Every table has the indexes by_namespace, by_label and by_owner. Do not change the mappings in rows.
Rows do not have all fields of the API; an `Object` has them, for any resource.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from statedb import Table

from .cluster import (
    CustomResourceDefinition,
    CustomResourceDefinitions,
    Event,
    Events,
    Lease,
    Leases,
    Namespace,
    Namespaces,
    Node,
    Nodes,
)
from .network import (
    EndpointSlice,
    EndpointSlices,
    Ingress,
    Ingresses,
    NetworkPolicies,
    NetworkPolicy,
    Service,
    Services,
)
from .parts import Condition, LabelSelector
from .pods import Container, ContainerStatus, Pod, Pods
from .quantities import quantity
from .settings import ConfigMap, ConfigMaps, Secret, Secrets, ServiceAccount, ServiceAccounts
from .storage import PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaims, PersistentVolumes
from .workloads import (
    CronJob,
    CronJobs,
    DaemonSet,
    DaemonSets,
    Deployment,
    Deployments,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalers,
    Job,
    Jobs,
    ReplicaSet,
    ReplicaSets,
    StatefulSet,
    StatefulSets,
)


class Kind(msgspec.Struct, frozen=True):
    """A resource and its table. The table is named by the plural; ``short`` is the short name of kubectl, or empty."""

    table: type[Table[Any, Any]]  # Any: of every kind
    version: str
    group: str = ""
    short: str = ""

    @property
    def resource(self) -> str:
        """The name of the resource with its version, as kubectl writes it: ``pods.v1``, ``deployments.v1.apps``."""
        return ".".join(filter(None, (self.table.name, self.version, self.group)))

    def table_named(self, name: str) -> type[Table[Any, Any]]:
        """The table with this name. The same name always gives the same class. Raises InvalidTable."""
        return self.table if name == self.table.name else _named(self, name)

    @property
    def names(self) -> frozenset[str]:
        """All names by which kubectl knows the resource, in lower case."""
        plural = self.table.name
        short = {plural, self.table.row_type.__name__.lower(), self.short} - {""}
        endings = ("", f".{self.group}", f".{self.version}.{self.group}") if self.group else ("", f".{self.version}")
        return frozenset({name + ending for name in short for ending in endings})


@cache
def _named(kind: Kind, name: str) -> type[Table[Any, Any]]:
    return kind.table.named(name)


KINDS: tuple[Kind, ...] = (
    Kind(Pods, "v1", short="po"),
    Kind(Services, "v1", short="svc"),
    Kind(EndpointSlices, "v1", "discovery.k8s.io"),
    Kind(Nodes, "v1", short="no"),
    Kind(Namespaces, "v1", short="ns"),
    Kind(ConfigMaps, "v1", short="cm"),
    Kind(Secrets, "v1"),
    Kind(ServiceAccounts, "v1", short="sa"),
    Kind(PersistentVolumeClaims, "v1", short="pvc"),
    Kind(PersistentVolumes, "v1", short="pv"),
    Kind(Events, "v1", short="ev"),
    Kind(Deployments, "v1", "apps", "deploy"),
    Kind(ReplicaSets, "v1", "apps", "rs"),
    Kind(StatefulSets, "v1", "apps", "sts"),
    Kind(DaemonSets, "v1", "apps", "ds"),
    Kind(Jobs, "v1", "batch"),
    Kind(CronJobs, "v1", "batch", "cj"),
    Kind(Ingresses, "v1", "networking.k8s.io", "ing"),
    Kind(NetworkPolicies, "v1", "networking.k8s.io", "netpol"),
    Kind(Leases, "v1", "coordination.k8s.io"),
    Kind(HorizontalPodAutoscalers, "v2", "autoscaling", "hpa"),
    Kind(CustomResourceDefinitions, "v1", "apiextensions.k8s.io", "crd"),
)
"""All resources with typed rows."""

_BY_NAME = {name: kind for kind in KINDS for name in kind.names}
_BY_ROW = {kind.table.row_type: kind for kind in KINDS}


def kind_named(resource: str) -> Kind | None:
    """The kind with this resource name, in any form that kubectl accepts; None if it is not in `KINDS`.

    >>> kind_named("deploy.apps").table.name, kind_named("widgets")
    ('deployments', None)
    """
    return _BY_NAME.get(resource.lower())


def known() -> str:
    """The names of all resources with typed rows, for messages."""
    return ", ".join(sorted([kind.table.name for kind in KINDS]))


def kind_of(table: type[Table[Any, Any]]) -> Kind | None:
    """The kind whose rows a table has, also for a renamed table (`Table.named`); None if it is not in `KINDS`."""
    return _BY_ROW.get(table.row_type)


__all__ = [
    "KINDS",
    "Condition",
    "ConfigMap",
    "ConfigMaps",
    "Container",
    "ContainerStatus",
    "CronJob",
    "CronJobs",
    "CustomResourceDefinition",
    "CustomResourceDefinitions",
    "DaemonSet",
    "DaemonSets",
    "Deployment",
    "Deployments",
    "EndpointSlice",
    "EndpointSlices",
    "Event",
    "Events",
    "HorizontalPodAutoscaler",
    "HorizontalPodAutoscalers",
    "Ingress",
    "Ingresses",
    "Job",
    "Jobs",
    "Kind",
    "LabelSelector",
    "Lease",
    "Leases",
    "Namespace",
    "Namespaces",
    "NetworkPolicies",
    "NetworkPolicy",
    "Node",
    "Nodes",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "PersistentVolumeClaims",
    "PersistentVolumes",
    "Pod",
    "Pods",
    "ReplicaSet",
    "ReplicaSets",
    "Secret",
    "Secrets",
    "Service",
    "ServiceAccount",
    "ServiceAccounts",
    "Services",
    "StatefulSet",
    "StatefulSets",
    "kind_named",
    "kind_of",
    "known",
    "quantity",
]
