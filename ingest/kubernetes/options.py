"""The options of the kubernetes backend in the configuration."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from .selection import ResourceOptions


class ApiServerOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """The address of an API server, and credentials: a ``kubeconfig`` with a ``context``; or ``server``, a URL.

    With ``server``, ``ca_file`` is the PEM file of its authority. ``token_file`` has a bearer token, so that the token
    is in no configuration and in no error message. Without any of these, the same as for kubectl is used:
    ``$KUBECONFIG``, ``~/.kube/config``, or the service account of the pod.

    ``request_timeout_s``: the longest silence in an answer, and the longest duration of a whole answer.
    ``plugin_timeout_s``: a credential plugin of a kubeconfig is killed after this time.
    """

    kubeconfig: Annotated[str, Meta(min_length=1)] | None = None
    context: Annotated[str, Meta(min_length=1)] | None = None
    server: Annotated[str, Meta(min_length=1)] | None = None
    ca_file: Annotated[str, Meta(min_length=1)] | None = None
    token_file: Annotated[str, Meta(min_length=1)] | None = None
    connect_timeout_s: Annotated[float, Meta(gt=0)] = 5.0
    request_timeout_s: Annotated[float, Meta(gt=0)] = 30.0
    plugin_timeout_s: Annotated[float, Meta(gt=0)] = 30.0


class KubernetesOptions(ApiServerOptions, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """An API server of Kubernetes, and how its objects are read.

    ``tables``: the names of the tables to fill, by default all that the backend can fill. ``resources``: any resources
    as tables of their own; Cilium's tables are then filled only if ``tables`` names them. ``endpoint_slices``: read
    CiliumEndpointSlices and not CiliumEndpoints, for clusters with Cilium's ``enable-cilium-endpoint-slice``.
    ``streaming_lists``: request lists as streams, which cost the server less memory. If the server does not offer them,
    lists are requested in pages of ``page_limit`` objects.

    ``request_timeout_s`` is the limit for a page. ``silence_s``: a watch without data for this time is replaced by
    another one; servers send a bookmark about every minute. ``watch_timeout_s``: the server is asked to end each watch
    after once to twice this time, so that watches spread over its replicas.
    """

    tables: tuple[str, ...] | None = None
    resources: Annotated[tuple[str | ResourceOptions, ...], Meta(min_length=1)] = ()
    endpoint_slices: bool = False
    streaming_lists: bool = True
    page_limit: Annotated[int, Meta(ge=1, le=100_000)] = 500
    retry_min_s: Annotated[float, Meta(gt=0)] = 0.1
    retry_max_s: Annotated[float, Meta(gt=0)] = 30.0
    silence_s: Annotated[float, Meta(gt=0)] = 150.0
    watch_timeout_s: Annotated[float, Meta(ge=1)] = 300.0
