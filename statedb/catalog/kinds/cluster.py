"""Nodes, namespaces, leases, events and the definitions of custom resources."""

from __future__ import annotations

from collections.abc import Mapping

from statedb import Index, Table

from ..objects import ObjectHead, ObjectKey, standard
from .parts import Conditioned, Int, Part, Quantity, Reference, Texts, spelled


class Taint(Part, frozen=True, gc=False):
    """What keeps pods away."""

    key: str = ""
    value: str = ""
    effect: str = ""


class NodeSpec(Part, frozen=True, gc=False):
    """What a node shall be."""

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
    """What runs on a node."""

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
    """What a node is."""

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
    """What holds a namespace while it ends."""

    finalizers: Texts = ()


class NamespaceStatus(Conditioned, frozen=True, gc=False):
    """``phase`` is Active or Terminating."""

    phase: str = ""


class Namespace(ObjectHead, frozen=True, gc=False):
    """A namespace. Its key has an empty ``namespace``, as that of every object of the whole cluster."""

    spec: NamespaceSpec = NamespaceSpec()
    status: NamespaceStatus = NamespaceStatus()


class Namespaces(Table[ObjectKey, Namespace], name="namespaces"):
    """Namespaces."""

    primary, by_namespace, by_label, by_owner = standard(Namespace)


class LeaseSpec(Part, frozen=True, gc=False):
    """Who holds a lease, and since when."""

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
    """Who reported an event, in its older form."""

    component: str = ""
    host: str = ""


class EventSeries(Part, frozen=True, gc=False):
    """How often an event came again."""

    count: Int = 0
    last_observed_time: str = ""


class Event(ObjectHead, frozen=True, gc=False, rename=spelled):
    """An event (of the core group). Programs fill either ``count`` and the first two times, or the last fields."""

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
    """Events; ``by_object`` has the keys (kind, namespace, name) of what they are about."""

    primary, by_namespace, by_label, by_owner = standard(Event)
    by_object = Index[tuple[str, str, str], Event](
        lambda each: ((each.involved_object.kind, each.involved_object.namespace, each.involved_object.name),)
    )


class CustomResourceNames(Part, frozen=True, gc=False):
    """How a resource is called."""

    plural: str = ""
    singular: str = ""
    kind: str = ""
    list_kind: str = ""
    short_names: Texts = ()
    categories: Texts = ()


class CustomResourceVersion(Part, frozen=True, gc=False):
    """A version of a resource, without its schema."""

    name: str = ""
    served: bool = False
    storage: bool = False
    deprecated: bool = False


class CustomResourceDefinitionSpec(Part, frozen=True, gc=False):
    """What a definition defines."""

    group: str = ""
    scope: str = ""
    names: CustomResourceNames = CustomResourceNames()
    versions: tuple[CustomResourceVersion, ...] = ()


class CustomResourceDefinitionStatus(Conditioned, frozen=True, gc=False):
    """What a definition has reached."""

    accepted_names: CustomResourceNames = CustomResourceNames()
    stored_versions: Texts = ()


class CustomResourceDefinition(ObjectHead, frozen=True, gc=False):
    """The definition of a custom resource."""

    spec: CustomResourceDefinitionSpec = CustomResourceDefinitionSpec()
    status: CustomResourceDefinitionStatus = CustomResourceDefinitionStatus()


class CustomResourceDefinitions(Table[ObjectKey, CustomResourceDefinition], name="customresourcedefinitions"):
    """Definitions of custom resources."""

    primary, by_namespace, by_label, by_owner = standard(CustomResourceDefinition)
