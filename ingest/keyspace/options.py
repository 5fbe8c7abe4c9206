"""The options that all backends for etcd have in common."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from ..kubernetes.options import ApiServerOptions


class TlsOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """PEM files. ``ca_file`` alone checks the server; with ``cert_file`` and ``key_file`` we show a certificate too."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


class ServiceResolverOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """Resolves names that end in ``.svc`` or ``.svc.cluster.local``, in place of the machine's resolver.

    An API server knows the addresses of a Service's pods, so neither DNS nor the cluster's datapath is needed.
    """

    kubernetes: ApiServerOptions


class EtcdServers(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """An etcd and how to connect to it.

    ``endpoints``: ``http://host:port`` or ``https://host:port``. The password is in a file of its own, so that it is in
    no configuration and in no error message.

    ``host_aliases``: addresses for names in ``endpoints``, which are then not resolved. Certificates are still checked
    against the name.
    """

    endpoints: Annotated[tuple[str, ...], Meta(min_length=1)]
    tls: TlsOptions | None = None
    username: str | None = None
    password_file: str | None = None
    host_aliases: dict[str, tuple[str, ...]] = {}
    service_resolver: ServiceResolverOptions | None = None
    request_timeout_s: Annotated[float, Meta(gt=0)] = 30.0
    keepalive_s: Annotated[float, Meta(ge=5)] = 10.0
    keepalive_timeout_s: Annotated[float, Meta(gt=0)] = 3.0


class EtcdReading(EtcdServers, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """An etcd that a source reads.

    ``lease_time_s``: for how long missing keys do not count as deleted after an etcd was replaced or emptied; its
    writers may take that long to return.
    """

    page_limit: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    lease_time_s: Annotated[float, Meta(ge=0)] = 900.0
    retry_min_s: Annotated[float, Meta(gt=0)] = 0.05
    retry_max_s: Annotated[float, Meta(gt=0)] = 30.0


class EtcdOptions(EtcdReading, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """An etcd with keys of Cilium.

    ``tables``: the names of the tables to fill, by default all that the backend can fill.
    """

    tables: tuple[str, ...] | None = None
