"""Objects and Cilium's own CRDs at the API server of the tests."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterable
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import yaml

from ..apiserver.rest import Refused, eventually
from ..apiserver.server import ApiServer
from ..ingest.kube_real import collection, put, remove
from . import binary
from .objects import Object

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_NEEDED = ("ciliumnodes", "ciliumidentities", "ciliumendpoints", "ciliumendpointslices")
_NEEDED_TOO = ("ciliumnetworkpolicies", "ciliumclusterwidenetworkpolicies")
"""Our source reads them as well."""


def install_crds(server: ApiServer) -> None:
    """Those that the programs need; served when this returns."""
    admin = server.rest()
    crds = [yaml.safe_load((binary.crds() / f"{plural}.yaml").read_text()) for plural in (*_NEEDED, *_NEEDED_TOO)]
    for crd in crds:
        admin.create(_CRDS, crd)
    for crd in crds:
        for version in crd["spec"]["versions"]:
            if version["served"]:
                path = f"/apis/{crd['spec']['group']}/{version['name']}/{crd['spec']['names']['plural']}"
                eventually(lambda path=path: admin.watch(path, resourceVersion="0").close(), unless=Refused)


def create_all(server: ApiServer, objects: Iterable[Object]) -> None:
    """Create many, over one connection."""
    place = urlsplit(server.url)
    trust = ssl.create_default_context(cafile=str(server.ca))
    headers = {"Authorization": f"Bearer {server.token()}", "Content-Type": "application/json"}
    with closing(
        http.client.HTTPSConnection(place.hostname or "", place.port, timeout=60, context=trust)
    ) as connection:
        for each in objects:
            connection.request("POST", collection(each), json.dumps(each), headers)
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status == 201, f"{each['metadata']}: {said!r}"


def put_all(server: ApiServer, objects: Iterable[Object]) -> None:
    """Create or replace them, in their order."""
    for each in objects:
        if each["kind"] == "Namespace" and _is_there(server, each):
            continue
        put(server, each)


def remove_all(server: ApiServer, objects: Iterable[Object]) -> None:
    """Delete those that are there, but no namespaces."""
    for each in objects:
        if each["kind"] != "Namespace":
            try:
                remove(server, each)
            except Refused as error:
                if error.status != 404:
                    raise


def _is_there(server: ApiServer, namespace: Any) -> bool:
    try:
        server.rest().get(f"/api/v1/namespaces/{namespace['metadata']['name']}")
    except Refused:
        return False
    return True
