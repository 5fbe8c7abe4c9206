"""The options of the publisher, as they stand in a configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from ..options import WriterOptions

ServiceForm = Literal["services", "services-and-endpointslices", "endpointslices-only"]


class UsersOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """Who may read what is published: the etcd knows its users by the names (CN) in their certificates.

    ``remotes`` are the names that other clusters show. ``users_file`` has more of them, as Cilium's ConfigMap
    ``clustermesh-remote-users`` has: ``users: [{name: remote-cluster2, role: remote}]``; it is read again and again.
    """

    remotes: tuple[Annotated[str, Meta(min_length=1)], ...] = ("remote",)
    users_file: Annotated[str, Meta(min_length=1)] | None = None


class PublisherOptions(WriterOptions, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """What is published, beside how the etcd is written.

    ``export``: services whole, as endpoint slices, or both as Cilium does since 1.20. ``default_global_namespace``:
    whether a namespace without the annotation ``clustermesh.cilium.io/global`` is shared. ``max_connected_clusters`` is
    the same in a whole mesh. ``users``: make users and roles, and let the etcd ask for them; it is left as it is if not
    given. ``take_over``: an etcd in which another cluster has its config becomes ours, and what that cluster has there
    is deleted; else nothing is written.
    """

    export: ServiceForm = "services-and-endpointslices"
    default_global_namespace: bool = True
    max_connected_clusters: Literal[255, 511] = 255
    users: UsersOptions | None = None
    take_over: bool = False
