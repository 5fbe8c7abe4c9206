"""The options of every backend that reads an etcd, as they stand in the configuration."""

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
    """Who is asked for names that end in ``.svc`` or ``.svc.cluster.local``, in place of the machine's resolver.

    An API server says where the pods of a Service are: no DNS and no datapath of a cluster is needed to reach them.
    """

    kubernetes: ApiServerOptions


class EtcdServers(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """An etcd, and how to connect to it.

    ``endpoints``: ``http://host:port`` or ``https://host:port``. The password stands in a file of its own, so that no
    configuration and no error message can carry it.

    ``host_aliases``: the addresses of a name in ``endpoints``, for which nobody is asked then; certificates remain the
    name's.
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

    ``lease_time_s``: for how long after a replaced or emptied etcd came back its silence about an object does not count
    as a deletion (the writers need that long to return).
    """

    page_limit: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    lease_time_s: Annotated[float, Meta(ge=0)] = 900.0
    retry_min_s: Annotated[float, Meta(gt=0)] = 0.05
    retry_max_s: Annotated[float, Meta(gt=0)] = 30.0


class EtcdOptions(EtcdReading, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """An etcd with keys of Cilium.

    ``tables``: which tables to fill, by name; all that the backend carries if not given.
    """

    tables: tuple[str, ...] | None = None
