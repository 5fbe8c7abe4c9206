"""Objects into a real API server, whether they are there already or not."""

from __future__ import annotations

from ..apiserver.rest import Refused
from ..apiserver.server import ApiServer
from .kube_fake import PATHS
from .kube_rig import Object


def collection(value: Object) -> str:
    """Where objects of its kind and namespace are."""
    head, _, plural = PATHS[value["kind"]].rpartition("/")
    namespace = value["metadata"].get("namespace")
    return f"{head}/namespaces/{namespace}/{plural}" if namespace else f"{head}/{plural}"


def put(server: ApiServer, value: Object) -> None:
    """Create or replace."""
    rest, path = server.rest(), collection(value)
    one = f"{path}/{value['metadata']['name']}"
    try:
        held = rest.get(one)
    except Refused:
        rest.create(path, value)
        return
    changed = {**value, "metadata": {**value["metadata"], "resourceVersion": held["metadata"]["resourceVersion"]}}
    if value["kind"] == "Service":  # most of its spec is filled in by the server, and is not to be taken away
        changed["spec"] = {**held["spec"], **value["spec"]}
    rest.replace(one, changed)


def remove(server: ApiServer, value: Object) -> None:
    """Delete."""
    server.rest().delete(f"{collection(value)}/{value['metadata']['name']}")
