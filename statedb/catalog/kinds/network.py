"""Services, their endpoint slices, ingresses and network policies."""

from __future__ import annotations

from msgspec import field

from statedb import Index, Table

from ..objects import ObjectHead, ObjectKey, standard
from .parts import Conditioned, Int, IntOrString, LabelSelector, Map, Part, Reference, Texts, spelled


class ServicePort(Part, frozen=True, gc=False):
    """A port of a service."""

    name: str = ""
    protocol: str = ""
    app_protocol: str = ""
    port: Int = 0
    target_port: IntOrString = 0
    node_port: Int = 0


class ServiceSpec(Part, frozen=True, gc=False):
    """The desired state of a service."""

    type: str = ""
    selector: Map = field(default_factory=dict)
    ports: tuple[ServicePort, ...] = ()
    cluster_ip: str = ""
    cluster_ips: Texts = ()
    external_ips: Texts = ()
    external_name: str = ""
    ip_families: Texts = ()
    ip_family_policy: str = ""
    session_affinity: str = ""
    external_traffic_policy: str = ""
    internal_traffic_policy: str = ""
    load_balancer_class: str = ""
    load_balancer_source_ranges: Texts = ()
    publish_not_ready_addresses: bool = False


class LoadBalancerIngress(Part, frozen=True, gc=False):
    """An address of a load balancer."""

    ip: str = ""
    hostname: str = ""


class LoadBalancerStatus(Part, frozen=True, gc=False):
    """The addresses of a load balancer."""

    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(Conditioned, frozen=True, gc=False):
    """The observed state of a service."""

    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(ObjectHead, frozen=True, gc=False):
    """A service."""

    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class Services(Table[ObjectKey, Service], name="services"):
    """Services."""

    primary, by_namespace, by_label, by_owner = standard(Service)


class EndpointConditions(Part, frozen=True, gc=False):
    """The conditions of an endpoint. None is unknown, which counts as ready, as serving and as not terminating."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class Endpoint(Part, frozen=True, gc=False):
    """One endpoint of a service."""

    addresses: Texts = ()
    conditions: EndpointConditions = EndpointConditions()
    hostname: str = ""
    node_name: str = ""
    zone: str = ""
    target_ref: Reference | None = None


class EndpointPort(Part, frozen=True, gc=False):
    """A port of all endpoints of a slice. ``port`` None means all ports."""

    name: str = ""
    protocol: str = ""
    app_protocol: str = ""
    port: Int | None = None


class EndpointSlice(ObjectHead, frozen=True, gc=False, rename=spelled):
    """A part of the endpoints of a service."""

    address_type: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()

    @property
    def service(self) -> str:
        """The name of the service, in the namespace of the slice; empty if the slice has none."""
        return self.label("kubernetes.io/service-name")


class EndpointSlices(Table[ObjectKey, EndpointSlice], name="endpointslices"):
    """Endpoint slices. The keys of ``by_service`` are (namespace, service)."""

    primary, by_namespace, by_label, by_owner = standard(EndpointSlice)
    by_service = Index[tuple[str, str], EndpointSlice](
        lambda each: ((each.key.namespace, each.service),) if each.service else ()
    )


class ServiceBackendPort(Part, frozen=True, gc=False):
    """A port of a service, by name or number."""

    name: str = ""
    number: Int = 0


class IngressServiceBackend(Part, frozen=True, gc=False):
    """A service that receives the requests of an ingress."""

    name: str = ""
    port: ServiceBackendPort = ServiceBackendPort()


class IngressBackend(Part, frozen=True, gc=False):
    """The destination of requests. ``resource`` is set if it is not a service."""

    service: IngressServiceBackend | None = None
    resource: Reference | None = None


class IngressPath(Part, frozen=True, gc=False):
    """The destination of the requests with a path."""

    path: str = ""
    path_type: str = ""
    backend: IngressBackend = IngressBackend()


class HttpRule(Part, frozen=True, gc=False):
    """The paths of a rule."""

    paths: tuple[IngressPath, ...] = ()


class IngressRule(Part, frozen=True, gc=False):
    """The paths of the requests to a host."""

    host: str = ""
    http: HttpRule = HttpRule()


class IngressTls(Part, frozen=True, gc=False):
    """The hosts that a certificate is for."""

    hosts: Texts = ()
    secret_name: str = ""


class IngressSpec(Part, frozen=True, gc=False):
    """The desired state of an ingress."""

    ingress_class_name: str = ""
    default_backend: IngressBackend | None = None
    rules: tuple[IngressRule, ...] = ()
    tls: tuple[IngressTls, ...] = ()


class IngressStatus(Part, frozen=True, gc=False):
    """The observed state of an ingress."""

    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Ingress(ObjectHead, frozen=True, gc=False):
    """An ingress."""

    spec: IngressSpec = IngressSpec()
    status: IngressStatus = IngressStatus()


class Ingresses(Table[ObjectKey, Ingress], name="ingresses"):
    """Ingresses."""

    primary, by_namespace, by_label, by_owner = standard(Ingress)


class IPBlock(Part, frozen=True, gc=False):
    """A network, except some of its subnets."""

    cidr: str = ""
    except_: Texts = ()


class PolicyPeer(Part, frozen=True, gc=False):
    """The peers that a rule allows: pods, optionally of other namespaces, or addresses."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    ip_block: IPBlock | None = None


class PolicyPort(Part, frozen=True, gc=False):
    """A port that a rule allows; a range up to ``end_port`` if that is set. ``port`` None means all ports."""

    protocol: str = ""
    port: IntOrString | None = None
    end_port: Int | None = None


class IngressPolicyRule(Part, frozen=True, gc=False):
    """Allowed incoming connections. An empty field allows all."""

    from_: tuple[PolicyPeer, ...] = ()
    ports: tuple[PolicyPort, ...] = ()


class EgressPolicyRule(Part, frozen=True, gc=False):
    """Allowed outgoing connections. An empty field allows all."""

    to: tuple[PolicyPeer, ...] = ()
    ports: tuple[PolicyPort, ...] = ()


class NetworkPolicySpec(Part, frozen=True, gc=False):
    """The desired state of a network policy."""

    pod_selector: LabelSelector = LabelSelector()
    policy_types: Texts = ()
    ingress: tuple[IngressPolicyRule, ...] = ()
    egress: tuple[EgressPolicyRule, ...] = ()


class NetworkPolicy(ObjectHead, frozen=True, gc=False):
    """A network policy."""

    spec: NetworkPolicySpec = NetworkPolicySpec()


class NetworkPolicies(Table[ObjectKey, NetworkPolicy], name="networkpolicies"):
    """Network policies."""

    primary, by_namespace, by_label, by_owner = standard(NetworkPolicy)
