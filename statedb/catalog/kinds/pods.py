"""Pods and pod templates."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import field

from statedb import Index, Table

from ..objects import ObjectHead, ObjectKey, standard
from .parts import Conditioned, Int, IntOrString, Map, Part, Quantity, TemplateMetadata, Texts


class ContainerPort(Part, frozen=True, gc=False):
    """A port that a container listens on."""

    name: str = ""
    container_port: Int = 0
    host_port: Int = 0
    protocol: str = ""


class EnvVar(Part, frozen=True, gc=False):
    """An environment variable. ``value`` is empty if it comes from another object."""

    name: str = ""
    value: str = ""


class Resources(Part, frozen=True, gc=False):
    """The requested amounts and the limits: ``{"cpu": "100m"}``."""

    requests: Mapping[str, Quantity] = field(default_factory=dict)
    limits: Mapping[str, Quantity] = field(default_factory=dict)


class VolumeMount(Part, frozen=True, gc=False):
    """Where a volume is mounted in a container."""

    name: str = ""
    mount_path: str = ""
    sub_path: str = ""
    read_only: bool = False


class HttpGet(Part, frozen=True, gc=False):
    """A probe by an HTTP request."""

    path: str = ""
    port: IntOrString = 0
    scheme: str = ""


class Probe(Part, frozen=True, gc=False):
    """A probe of a container."""

    http_get: HttpGet | None = None
    period_seconds: Int = 0
    failure_threshold: Int = 0


class Container(Part, frozen=True, gc=False):
    """A container of a pod."""

    name: str = ""
    image: str = ""
    image_pull_policy: str = ""
    command: Texts = ()
    args: Texts = ()
    ports: tuple[ContainerPort, ...] = ()
    env: tuple[EnvVar, ...] = ()
    resources: Resources = Resources()
    volume_mounts: tuple[VolumeMount, ...] = ()
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None


class ByName(Part, frozen=True, gc=False):
    """A reference to an object by its name."""

    name: str = ""


class SecretVolume(Part, frozen=True, gc=False):
    """A Secret, mounted as files."""

    secret_name: str = ""


class ClaimVolume(Part, frozen=True, gc=False):
    """A PersistentVolumeClaim, mounted as a volume."""

    claim_name: str = ""
    read_only: bool = False


class HostPath(Part, frozen=True, gc=False):
    """A path on the node."""

    path: str = ""
    type: str = ""


class Volume(Part, frozen=True, gc=False):
    """A volume of a pod. The fields after ``name`` are None for a volume of another type."""

    name: str = ""
    config_map: ByName | None = None
    secret: SecretVolume | None = None
    persistent_volume_claim: ClaimVolume | None = None
    host_path: HostPath | None = None


class Toleration(Part, frozen=True, gc=False):
    """A toleration of taints."""

    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""
    toleration_seconds: Int | None = None


class PodSpec(Part, frozen=True, gc=False):
    """The desired state of a pod."""

    node_name: str = ""
    node_selector: Map = field(default_factory=dict)
    service_account_name: str = ""
    restart_policy: str = ""
    host_network: bool = False
    hostname: str = ""
    subdomain: str = ""
    scheduler_name: str = ""
    priority_class_name: str = ""
    priority: Int | None = None
    termination_grace_period_seconds: Int | None = None
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    image_pull_secrets: tuple[ByName, ...] = ()


class PodIP(Part, frozen=True, gc=False):
    """An address of a pod."""

    ip: str = ""


class Waiting(Part, frozen=True, gc=False):
    """Why a container is not running yet."""

    reason: str = ""
    message: str = ""


class Running(Part, frozen=True, gc=False):
    """When a container started."""

    started_at: str = ""


class Terminated(Part, frozen=True, gc=False):
    """How a container ended."""

    exit_code: Int = 0
    signal: Int = 0
    reason: str = ""
    message: str = ""
    started_at: str = ""
    finished_at: str = ""


class ContainerState(Part, frozen=True, gc=False):
    """The state of a container. At most one field is set; none is set if the state is unknown."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(Part, frozen=True, gc=False):
    """The observed state of a container."""

    name: str = ""
    image: str = ""
    image_id: str = ""
    container_id: str = ""
    ready: bool = False
    started: bool | None = None
    restart_count: Int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class PodStatus(Conditioned, frozen=True, gc=False):
    """The observed state of a pod."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    pod_ip: str = ""
    pod_ips: tuple[PodIP, ...] = ()
    host_ip: str = ""
    qos_class: str = ""
    nominated_node_name: str = ""
    start_time: str = ""
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()


class PodTemplate(Part, frozen=True, gc=False):
    """A template for pods."""

    metadata: TemplateMetadata = TemplateMetadata()
    spec: PodSpec = PodSpec()


class Pod(ObjectHead, frozen=True, gc=False):
    """A pod."""

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class Pods(Table[ObjectKey, Pod], name="pods"):
    """Pods. ``by_node`` has the pods that are bound to a node."""

    primary, by_namespace, by_label, by_owner = standard(Pod)
    by_node = Index[str, Pod](lambda pod: (pod.spec.node_name,) if pod.spec.node_name else ())
