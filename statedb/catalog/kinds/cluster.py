"""Nodes, namespaces, leases, events and definitions of custom resources."""

from __future__ import annotations

from collections.abc import Mapping

from statedb import Index, Table

from ..objects import ObjectHead, ObjectKey, standard
from .parts import Conditioned, Int, Part, Quantity, Reference, Texts, spelled


class Taint(Part, frozen=True, gc=False):
    """A taint of a node. It keeps pods away that do not tolerate it."""

    key: str = ""
    value: str = ""
    effect: str = ""


class NodeSpec(Part, frozen=True, gc=False):
    """The desired state of a node."""

    provider_id: str = ""
    pod_cidr: str = ""
    pod_cidrs: Texts = ()
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False


class NodeAddress(Part, frozen=True, gc=False):
    """An address or name of a node."""

    type: str = ""
    address: str = ""


class NodeInfo(Part, frozen=True, gc=False):
    """The versions and ids of a node's machine, operating system and kubelet."""

    architecture: str = ""
    operating_system: str = ""
    os_image: str = ""
    kernel_version: str = ""
    kubelet_version: str = ""
    container_runtime_version: str = ""
    machine_id: str = ""
    boot_id: str = ""
    system_uuid: str = ""


class NodeStatus(Conditioned, frozen=True, gc=False):
    """The observed state of a node."""

    addresses: tuple[NodeAddress, ...] = ()
    capacity: Mapping[str, Quantity] = {}
    allocatable: Mapping[str, Quantity] = {}
    node_info: NodeInfo = NodeInfo()


class Node(ObjectHead, frozen=True, gc=False):
    """A node."""

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class Nodes(Table[ObjectKey, Node], name="nodes"):
    """Nodes."""

    primary, by_namespace, by_label, by_owner = standard(Node)


class NamespaceSpec(Part, frozen=True, gc=False):
    """The finalizers that must be removed before the namespace is deleted."""

    finalizers: Texts = ()


class NamespaceStatus(Conditioned, frozen=True, gc=False):
    """The observed state of a namespace. ``phase`` is Active or Terminating."""

    phase: str = ""


class Namespace(ObjectHead, frozen=True, gc=False):
    """A namespace. The ``namespace`` of its key is empty, as for every cluster-scoped object."""

    spec: NamespaceSpec = NamespaceSpec()
    status: NamespaceStatus = NamespaceStatus()


class Namespaces(Table[ObjectKey, Namespace], name="namespaces"):
    """Namespaces."""

    primary, by_namespace, by_label, by_owner = standard(Namespace)


class LeaseSpec(Part, frozen=True, gc=False):
    """The holder of a lease and its times."""

    holder_identity: str = ""
    lease_duration_seconds: Int | None = None
    acquire_time: str = ""
    renew_time: str = ""
    lease_transitions: Int = 0


class Lease(ObjectHead, frozen=True, gc=False):
    """A lease."""

    spec: LeaseSpec = LeaseSpec()


class Leases(Table[ObjectKey, Lease], name="leases"):
    """Leases."""

    primary, by_namespace, by_label, by_owner = standard(Lease)


class EventSource(Part, frozen=True, gc=False):
    """The program that reported an event, in the older form of events."""

    component: str = ""
    host: str = ""


class EventSeries(Part, frozen=True, gc=False):
    """How often an event was repeated."""

    count: Int = 0
    last_observed_time: str = ""


class Event(ObjectHead, frozen=True, gc=False, rename=spelled):
    """An event of the core group. A program sets either ``count`` and the first two times, or the fields from
    ``event_time`` on.
    """

    type: str = ""
    reason: str = ""
    message: str = ""
    involved_object: Reference = Reference()
    source: EventSource = EventSource()
    count: Int = 0
    first_timestamp: str = ""
    last_timestamp: str = ""
    event_time: str = ""
    series: EventSeries | None = None
    action: str = ""
    reporting_component: str = ""
    reporting_instance: str = ""


class Events(Table[ObjectKey, Event], name="events"):
    """Events. The keys of ``by_object`` are (kind, namespace, name) of the object that an event is about."""

    primary, by_namespace, by_label, by_owner = standard(Event)
    by_object = Index[tuple[str, str, str], Event](
        lambda each: ((each.involved_object.kind, each.involved_object.namespace, each.involved_object.name),)
    )


class CustomResourceNames(Part, frozen=True, gc=False):
    """The names of a custom resource."""

    plural: str = ""
    singular: str = ""
    kind: str = ""
    list_kind: str = ""
    short_names: Texts = ()
    categories: Texts = ()


class CustomResourceVersion(Part, frozen=True, gc=False):
    """A version of a custom resource, without its schema."""

    name: str = ""
    served: bool = False
    storage: bool = False
    deprecated: bool = False


class CustomResourceDefinitionSpec(Part, frozen=True, gc=False):
    """The desired state of a definition."""

    group: str = ""
    scope: str = ""
    names: CustomResourceNames = CustomResourceNames()
    versions: tuple[CustomResourceVersion, ...] = ()


class CustomResourceDefinitionStatus(Conditioned, frozen=True, gc=False):
    """The observed state of a definition."""

    accepted_names: CustomResourceNames = CustomResourceNames()
    stored_versions: Texts = ()


class CustomResourceDefinition(ObjectHead, frozen=True, gc=False):
    """The definition of a custom resource."""

    spec: CustomResourceDefinitionSpec = CustomResourceDefinitionSpec()
    status: CustomResourceDefinitionStatus = CustomResourceDefinitionStatus()


class CustomResourceDefinitions(Table[ObjectKey, CustomResourceDefinition], name="customresourcedefinitions"):
    """Definitions of custom resources."""

    primary, by_namespace, by_label, by_owner = standard(CustomResourceDefinition)
