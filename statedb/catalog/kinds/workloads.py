"""Workloads, which create pods: deployments, replica sets, stateful sets, daemon sets, jobs, cron jobs; and
autoscalers.
"""

from __future__ import annotations

from statedb import Table

from ..objects import ObjectHead, ObjectKey, standard
from .parts import Conditioned, Int, IntOrString, LabelSelector, Part, Reference, TemplateMetadata
from .pods import PodTemplate
from .storage import ClaimTemplate


class RollingUpdate(Part, frozen=True, gc=False):
    """How many pods are replaced at once."""

    max_unavailable: IntOrString | None = None
    max_surge: IntOrString | None = None


class Strategy(Part, frozen=True, gc=False):
    """How pods are replaced by new ones."""

    type: str = ""
    rolling_update: RollingUpdate | None = None


class DeploymentSpec(Part, frozen=True, gc=False):
    """The desired state of a deployment."""

    replicas: Int | None = None
    selector: LabelSelector = LabelSelector()
    template: PodTemplate = PodTemplate()
    strategy: Strategy = Strategy()
    min_ready_seconds: Int = 0
    revision_history_limit: Int | None = None
    progress_deadline_seconds: Int | None = None
    paused: bool = False


class DeploymentStatus(Conditioned, frozen=True, gc=False):
    """The observed state of a deployment."""

    observed_generation: Int = 0
    replicas: Int = 0
    updated_replicas: Int = 0
    ready_replicas: Int = 0
    available_replicas: Int = 0
    unavailable_replicas: Int = 0


class Deployment(ObjectHead, frozen=True, gc=False):
    """A deployment."""

    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()


class Deployments(Table[ObjectKey, Deployment], name="deployments"):
    """Deployments."""

    primary, by_namespace, by_label, by_owner = standard(Deployment)


class ReplicaSetSpec(Part, frozen=True, gc=False):
    """The desired state of a replica set."""

    replicas: Int | None = None
    selector: LabelSelector = LabelSelector()
    template: PodTemplate = PodTemplate()
    min_ready_seconds: Int = 0


class ReplicaSetStatus(Conditioned, frozen=True, gc=False):
    """The observed state of a replica set."""

    observed_generation: Int = 0
    replicas: Int = 0
    fully_labeled_replicas: Int = 0
    ready_replicas: Int = 0
    available_replicas: Int = 0


class ReplicaSet(ObjectHead, frozen=True, gc=False):
    """A replica set."""

    spec: ReplicaSetSpec = ReplicaSetSpec()
    status: ReplicaSetStatus = ReplicaSetStatus()


class ReplicaSets(Table[ObjectKey, ReplicaSet], name="replicasets"):
    """Replica sets."""

    primary, by_namespace, by_label, by_owner = standard(ReplicaSet)


class OrdinalUpdate(Part, frozen=True, gc=False):
    """Which pods of a stateful set are replaced: those with an ordinal of at least ``partition``."""

    partition: Int | None = None
    max_unavailable: IntOrString | None = None


class OrdinalStrategy(Part, frozen=True, gc=False):
    """How the pods of a stateful set are replaced by new ones."""

    type: str = ""
    rolling_update: OrdinalUpdate | None = None


class StatefulSetSpec(Part, frozen=True, gc=False):
    """The desired state of a stateful set."""

    replicas: Int | None = None
    service_name: str = ""
    pod_management_policy: str = ""
    selector: LabelSelector = LabelSelector()
    template: PodTemplate = PodTemplate()
    volume_claim_templates: tuple[ClaimTemplate, ...] = ()
    update_strategy: OrdinalStrategy = OrdinalStrategy()
    min_ready_seconds: Int = 0


class StatefulSetStatus(Conditioned, frozen=True, gc=False):
    """The observed state of a stateful set."""

    observed_generation: Int = 0
    replicas: Int = 0
    ready_replicas: Int = 0
    current_replicas: Int = 0
    updated_replicas: Int = 0
    available_replicas: Int = 0
    current_revision: str = ""
    update_revision: str = ""


class StatefulSet(ObjectHead, frozen=True, gc=False):
    """A stateful set."""

    spec: StatefulSetSpec = StatefulSetSpec()
    status: StatefulSetStatus = StatefulSetStatus()


class StatefulSets(Table[ObjectKey, StatefulSet], name="statefulsets"):
    """Stateful sets."""

    primary, by_namespace, by_label, by_owner = standard(StatefulSet)


class DaemonSetSpec(Part, frozen=True, gc=False):
    """The desired state of a daemon set."""

    selector: LabelSelector = LabelSelector()
    template: PodTemplate = PodTemplate()
    update_strategy: Strategy = Strategy()
    min_ready_seconds: Int = 0


class DaemonSetStatus(Conditioned, frozen=True, gc=False):
    """The observed state of a daemon set."""

    observed_generation: Int = 0
    current_number_scheduled: Int = 0
    desired_number_scheduled: Int = 0
    updated_number_scheduled: Int = 0
    number_ready: Int = 0
    number_available: Int = 0
    number_unavailable: Int = 0
    number_misscheduled: Int = 0


class DaemonSet(ObjectHead, frozen=True, gc=False):
    """A daemon set."""

    spec: DaemonSetSpec = DaemonSetSpec()
    status: DaemonSetStatus = DaemonSetStatus()


class DaemonSets(Table[ObjectKey, DaemonSet], name="daemonsets"):
    """Daemon sets."""

    primary, by_namespace, by_label, by_owner = standard(DaemonSet)


class JobSpec(Part, frozen=True, gc=False):
    """The desired state of a job."""

    parallelism: Int | None = None
    completions: Int | None = None
    completion_mode: str = ""
    active_deadline_seconds: Int | None = None
    backoff_limit: Int | None = None
    ttl_seconds_after_finished: Int | None = None
    suspend: bool = False
    selector: LabelSelector = LabelSelector()
    template: PodTemplate = PodTemplate()


class JobStatus(Conditioned, frozen=True, gc=False):
    """The observed state of a job."""

    start_time: str = ""
    completion_time: str = ""
    active: Int = 0
    ready: Int = 0
    succeeded: Int = 0
    failed: Int = 0
    completed_indexes: str = ""


class Job(ObjectHead, frozen=True, gc=False):
    """A job."""

    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()


class Jobs(Table[ObjectKey, Job], name="jobs"):
    """Jobs."""

    primary, by_namespace, by_label, by_owner = standard(Job)


class JobTemplate(Part, frozen=True, gc=False):
    """A template for jobs."""

    metadata: TemplateMetadata = TemplateMetadata()
    spec: JobSpec = JobSpec()


class CronJobSpec(Part, frozen=True, gc=False):
    """The desired state of a cron job."""

    schedule: str = ""
    time_zone: str = ""
    concurrency_policy: str = ""
    suspend: bool = False
    starting_deadline_seconds: Int | None = None
    successful_jobs_history_limit: Int | None = None
    failed_jobs_history_limit: Int | None = None
    job_template: JobTemplate = JobTemplate()


class CronJobStatus(Part, frozen=True, gc=False):
    """The observed state of a cron job."""

    active: tuple[Reference, ...] = ()
    last_schedule_time: str = ""
    last_successful_time: str = ""


class CronJob(ObjectHead, frozen=True, gc=False):
    """A cron job."""

    spec: CronJobSpec = CronJobSpec()
    status: CronJobStatus = CronJobStatus()


class CronJobs(Table[ObjectKey, CronJob], name="cronjobs"):
    """Cron jobs."""

    primary, by_namespace, by_label, by_owner = standard(CronJob)


class HorizontalPodAutoscalerSpec(Part, frozen=True, gc=False):
    """The desired state of an autoscaler."""

    scale_target_ref: Reference = Reference()
    min_replicas: Int | None = None
    max_replicas: Int = 0


class HorizontalPodAutoscalerStatus(Conditioned, frozen=True, gc=False):
    """The observed state of an autoscaler."""

    observed_generation: Int | None = None
    current_replicas: Int = 0
    desired_replicas: Int = 0
    last_scale_time: str = ""


class HorizontalPodAutoscaler(ObjectHead, frozen=True, gc=False):
    """An autoscaler."""

    spec: HorizontalPodAutoscalerSpec = HorizontalPodAutoscalerSpec()
    status: HorizontalPodAutoscalerStatus = HorizontalPodAutoscalerStatus()


class HorizontalPodAutoscalers(Table[ObjectKey, HorizontalPodAutoscaler], name="horizontalpodautoscalers"):
    """Autoscalers."""

    primary, by_namespace, by_label, by_owner = standard(HorizontalPodAutoscaler)
