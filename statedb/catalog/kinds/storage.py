"""Persistent volumes and persistent volume claims."""

from __future__ import annotations

from collections.abc import Mapping

from statedb import Table

from ..objects import ObjectHead, ObjectKey, standard
from .parts import Conditioned, Part, Quantity, Reference, TemplateMetadata, Texts
from .pods import Resources


class PersistentVolumeClaimSpec(Part, frozen=True, gc=False):
    """The desired state of a claim. ``storage_class_name`` None means the default class; empty means no class."""

    access_modes: Texts = ()
    resources: Resources = Resources()
    storage_class_name: str | None = None
    volume_mode: str = ""
    volume_name: str = ""


class PersistentVolumeClaimStatus(Conditioned, frozen=True, gc=False):
    """The observed state of a claim."""

    phase: str = ""
    access_modes: Texts = ()
    capacity: Mapping[str, Quantity] = {}


class ClaimTemplate(Part, frozen=True, gc=False):
    """A template for claims."""

    metadata: TemplateMetadata = TemplateMetadata()
    spec: PersistentVolumeClaimSpec = PersistentVolumeClaimSpec()


class PersistentVolumeClaim(ObjectHead, frozen=True, gc=False):
    """A claim of a volume."""

    spec: PersistentVolumeClaimSpec = PersistentVolumeClaimSpec()
    status: PersistentVolumeClaimStatus = PersistentVolumeClaimStatus()


class PersistentVolumeClaims(Table[ObjectKey, PersistentVolumeClaim], name="persistentvolumeclaims"):
    """Claims of volumes."""

    primary, by_namespace, by_label, by_owner = standard(PersistentVolumeClaim)


class CsiVolume(Part, frozen=True, gc=False):
    """A volume of a CSI driver."""

    driver: str = ""
    volume_handle: str = ""


class PersistentVolumeSpec(Part, frozen=True, gc=False):
    """The desired state of a volume. ``csi`` is None for a volume of another type."""

    capacity: Mapping[str, Quantity] = {}
    access_modes: Texts = ()
    claim_ref: Reference | None = None
    persistent_volume_reclaim_policy: str = ""
    storage_class_name: str = ""
    volume_mode: str = ""
    csi: CsiVolume | None = None


class PersistentVolumeStatus(Part, frozen=True, gc=False):
    """The observed state of a volume."""

    phase: str = ""
    reason: str = ""
    message: str = ""


class PersistentVolume(ObjectHead, frozen=True, gc=False):
    """A volume."""

    spec: PersistentVolumeSpec = PersistentVolumeSpec()
    status: PersistentVolumeStatus = PersistentVolumeStatus()


class PersistentVolumes(Table[ObjectKey, PersistentVolume], name="persistentvolumes"):
    """Volumes."""

    primary, by_namespace, by_label, by_owner = standard(PersistentVolume)
