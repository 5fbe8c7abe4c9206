"""The options of the kubernetes backend, as they stand in the configuration."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from .selection import ResourceOptions


class ApiServerOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """Where an API server is and who we are: ``kubeconfig`` and a ``context`` of it; or ``server``, a URL.

    With ``server`` go the PEM file ``ca_file`` that signs its certificate and ``token_file``, a bearer token in a file
    of its own so that no configuration and no error message can carry it. With none of these, what kubectl would use:
    ``$KUBECONFIG``, ``~/.kube/config``, else the service account of the pod that we run in.

    ``request_timeout_s``: for how long an answer may be silent, and how long all of it may take. ``plugin_timeout_s``:
    how long a credential plugin of a kubeconfig may take; then it is killed.
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

    ``tables``: which tables to fill, by name; all that the backend carries if not given. ``resources``: any resources
    as tables of their own; then Cilium's tables are filled only where ``tables`` names them. ``endpoint_slices``: read
    CiliumEndpointSlices and not CiliumEndpoints, for clusters with Cilium's ``enable-cilium-endpoint-slice``.
    ``streaming_lists``: ask for lists as streams, which cost the server less memory; servers that do not offer them are
    found out, and asked for pages of ``page_limit`` objects.

    ``request_timeout_s`` bounds a page. ``silence_s``: a watch that says nothing for so long is given up and taken up
    anew: servers send a bookmark about every minute. ``watch_timeout_s``: the server is asked to end each watch after
    one to two times that, so that watches spread over its replicas.
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
