"""The options of the publisher, as in the configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from ..options import WriterOptions

ServiceForm = Literal["services", "services-and-endpointslices", "endpointslices-only"]


class UsersOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """Who may read the published keys. The etcd identifies its users by the names (CN) in their certificates.

    ``remotes`` are the names in the certificates of other clusters. ``users_file`` has more of them, in the format of
    Cilium's ConfigMap ``clustermesh-remote-users``: ``users: [{name: remote-cluster2, role: remote}]``. Changes of the
    file take effect while it runs.
    """

    remotes: tuple[Annotated[str, Meta(min_length=1)], ...] = ("remote",)
    users_file: Annotated[str, Meta(min_length=1)] | None = None


class PublisherOptions(WriterOptions, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """What is published, and the options of the writer.

    ``export``: complete services, endpoint slices, or both, as Cilium does since 1.20. ``default_global_namespace``:
    whether a namespace without the annotation ``clustermesh.cilium.io/global`` is shared. ``max_connected_clusters`` is
    the same for all clusters of a mesh. ``users``: create users and roles, and enable authentication; without it the
    authentication of the etcd is not changed. ``take_over``: take over an etcd that has the config of another cluster,
    and delete the keys of that cluster. Without it nothing is written to such an etcd.
    """

    export: ServiceForm = "services-and-endpointslices"
    default_global_namespace: bool = True
    max_connected_clusters: Literal[255, 511] = 255
    users: UsersOptions | None = None
    take_over: bool = False
