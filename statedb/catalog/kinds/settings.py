"""Config maps, secrets and service accounts."""

from __future__ import annotations

from msgspec import field

from statedb import Table

from ..objects import ObjectHead, ObjectKey, standard
from .parts import Map, Reference, spelled
from .pods import ByName


class ConfigMap(ObjectHead, frozen=True, gc=False, rename=spelled):
    """A config map. The values of ``binary_data`` are base64."""

    data: Map = field(default_factory=dict)
    binary_data: Map = field(default_factory=dict)
    immutable: bool = False


class ConfigMaps(Table[ObjectKey, ConfigMap], name="configmaps"):
    """Config maps."""

    primary, by_namespace, by_label, by_owner = standard(ConfigMap)


class Secret(ObjectHead, frozen=True, gc=False):
    """A secret. The values of ``data`` are base64."""

    type: str = ""
    data: Map = field(default_factory=dict)
    immutable: bool = False


class Secrets(Table[ObjectKey, Secret], name="secrets"):
    """Secrets."""

    primary, by_namespace, by_label, by_owner = standard(Secret)


class ServiceAccount(ObjectHead, frozen=True, gc=False, rename=spelled):
    """A service account."""

    secrets: tuple[Reference, ...] = ()
    image_pull_secrets: tuple[ByName, ...] = ()
    automount_service_account_token: bool | None = None


class ServiceAccounts(Table[ObjectKey, ServiceAccount], name="serviceaccounts"):
    """Service accounts."""

    primary, by_namespace, by_label, by_owner = standard(ServiceAccount)
