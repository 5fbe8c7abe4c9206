"""Writes to an API server, for operators and other programs that change objects. Knows no tables.

Each method sends one or a few requests on the calling thread. Only conflicts of finalizers are retried. Call the
methods from operations of `consumers.reconcile`, which retries operations that raise.
https://kubernetes.io/docs/reference/using-api/server-side-apply
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, Self, TypeAlias
from urllib.parse import quote

import msgspec

from statedb.catalog.objects import ObjectHead, ObjectKey

from ..errors import InvalidOptions
from .api import Api
from .discovery import Discovery, Kind
from .errors import Absent, Conflict, Missing
from .options import ApiServerOptions
from .request import Request

Json: TypeAlias = dict[str, Any]
"""An object (Any: JSON)."""
Subresource: TypeAlias = Literal["", "status", "scale"]

_BYTES_MAX = 64 << 20
_TRIES = 5
_JSON, _MERGE, _APPLY = "application/json", "application/merge-patch+json", "application/apply-patch+yaml"


class Writer:
    """Changes objects of one API server. For any thread. As a context manager it closes itself.

    Resources are named as for kubectl. Objects are named by an `ObjectKey` or a row of a table; the cluster in the key
    is ignored. All methods raise an ApiError: `Conflict` if the object was changed by somebody else or a field belongs
    to another manager, `Absent` if the object does not exist, `Forbidden`, `Unavailable`.
    """

    def __init__(self, api: Api, manager: str) -> None:
        """``manager`` is the field manager of all changes."""
        self.manager = manager
        self._api = api
        self._discovery = Discovery(api)
        self._lock = threading.Lock()
        self._kinds: dict[str, Kind] = {}

    def __enter__(self) -> Self:
        """Returns the writer."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Cancel requests in progress, and allow no new ones. May be called from any thread and repeatedly."""
        self._api.close()
        self._api.clear()

    # --- whole objects ------------------------------------------------------------------------------------------------

    def get(self, resource: str, key: ObjectKey | ObjectHead) -> Json:
        """The present state of an object."""
        return self._call("get", resource, key)

    def create(self, value: Json) -> Json:
        """Create an object. Returns it as stored. Raises Conflict if it exists."""
        return self._call("create", _name_of(value), None, "POST", value, _JSON, namespace=_key_of(value).namespace)

    def replace(self, value: Json, *, subresource: Subresource = "") -> Json:
        """Replace an object. Raises Conflict if it has changed since the ``resourceVersion`` in ``value``."""
        return self._call("update", _name_of(value), _key_of(value), "PUT", value, _JSON, subresource=subresource)

    def apply(self, value: Json, *, force: bool = True, subresource: Subresource = "") -> Json:
        """Server-side apply: set these fields and leave those of other managers alone; create the object if necessary.

        Fields of an earlier apply that are missing now are removed. Without ``force``, a field that another manager has
        set to another value raises Conflict.
        """
        parameters = {"fieldManager": self.manager, "force": "true" if force else "false"}
        name, key = _name_of(value), _key_of(value)
        return self._call("apply", name, key, "PATCH", value, _APPLY, parameters, subresource=subresource)

    def delete(self, resource: str, key: ObjectKey | ObjectHead) -> None:
        """Delete an object; a missing one is no error. With a row, only the object with the same UID is deleted."""
        preconditions = {"preconditions": {"uid": key.uid}} if isinstance(key, ObjectHead) else {}
        try:
            self._call("delete", resource, key, "DELETE", preconditions, _JSON)
        except Absent:
            pass

    # --- parts --------------------------------------------------------------------------------------------------------

    def patch(self, resource: str, key: ObjectKey | ObjectHead, fields: Json, *, subresource: Subresource = "") -> Json:
        """Set these fields, and remove those that are None (RFC 7386).

        If ``fields`` have a ``metadata.resourceVersion`` that is not the present one, Conflict is raised.
        """
        parameters = {"fieldManager": self.manager}
        return self._call("patch", resource, key, "PATCH", fields, _MERGE, parameters, subresource=subresource)

    def set_status(self, resource: str, key: ObjectKey | ObjectHead, status: Json) -> Json:
        """Set these fields of the status."""
        return self.patch(resource, key, {"status": status}, subresource="status")

    def add_finalizer(self, resource: str, key: ObjectKey | ObjectHead, finalizer: str) -> None:
        """Prevent the removal of the object until `remove_finalizer`. No write if it has it or is being deleted."""

        def changed(metadata: Json) -> list[str] | None:
            held = metadata.get("finalizers", [])
            return None if finalizer in held or metadata.get("deletionTimestamp") else [*held, finalizer]

        self._change_finalizers(resource, key, changed)

    def remove_finalizer(self, resource: str, key: ObjectKey | ObjectHead, finalizer: str) -> None:
        """Remove a finalizer of the object. A missing object is no error."""

        def changed(metadata: Json) -> list[str] | None:
            held = metadata.get("finalizers", [])
            return [each for each in held if each != finalizer] if finalizer in held else None

        try:
            self._change_finalizers(resource, key, changed)
        except Absent:
            pass

    def owner(self, resource: str, row: ObjectHead) -> Json:
        """An owner reference to a row, for ``metadata.ownerReferences`` of children that are to be deleted with it."""
        kind = self._kind(resource)
        return {**_reference(kind, row), "controller": True, "blockOwnerDeletion": True}

    def event(
        self,
        resource: str,
        row: ObjectHead,
        reason: str,
        message: str,
        *,
        type_: Literal["Normal", "Warning"] = "Normal",
    ) -> None:
        """Create an Event about an object, which ``kubectl describe`` shows."""
        now = datetime.now(UTC)
        namespace = row.key.namespace or "default"
        about = {**_reference(self._kind(resource), row), "namespace": row.key.namespace}
        self.create(
            {
                "apiVersion": "events.k8s.io/v1",
                "kind": "Event",
                "metadata": {"name": f"{row.key.name}.{secrets.token_hex(8)}", "namespace": namespace},
                "eventTime": now.isoformat(timespec="microseconds").replace("+00:00", "Z"),
                "reportingController": self.manager,
                "reportingInstance": self.manager,
                "action": reason,
                "reason": reason,
                "note": message[:1024],
                "type": type_,
                "regarding": about,
            }
        )

    # --- requests -----------------------------------------------------------------------------------------------------

    def _change_finalizers(
        self, resource: str, key: ObjectKey | ObjectHead, changed: Callable[[Json], list[str] | None]
    ) -> None:
        """Write the finalizers that ``changed`` returns, unless that is None. Retries if others change the list."""
        for left in reversed(range(_TRIES)):
            metadata = self.get(resource, key)["metadata"]
            finalizers = changed(metadata)
            if finalizers is None:
                return
            version = metadata["resourceVersion"]
            try:
                self.patch(resource, key, {"metadata": {"finalizers": finalizers, "resourceVersion": version}})
                return
            except Conflict:
                if not left:
                    raise

    def _call(
        self,
        verb: str,
        resource: str,
        key: ObjectKey | ObjectHead | None,
        method: str = "GET",
        body: Json | None = None,
        content_type: str = "",
        parameters: Mapping[str, str] = {},
        *,
        namespace: str = "",
        subresource: Subresource = "",
    ) -> Json:
        kind = self._kind(resource)
        key = key.key if isinstance(key, ObjectHead) else key
        namespace, name = (key.namespace, key.name) if key is not None else (namespace, "")
        parts = [kind.path, *(["namespaces", quote(namespace, safe="")] if kind.namespaced else []), kind.plural]
        path = "/".join([*parts, *([quote(name, safe="")] if name else []), *([subresource] if subresource else [])])
        sent = b"" if body is None else msgspec.json.encode(body)
        request = Request(verb, kind.name, path, parameters, "", method, sent, content_type, name)
        try:
            answer: Json = self._api.document(request, dict[str, Any], bytes_max=_BYTES_MAX)
        except Missing:
            with self._lock:
                self._kinds.pop(resource, None)
            raise
        return answer

    def _kind(self, resource: str) -> Kind:
        with self._lock:
            found = self._kinds.get(resource)
        if found is None:
            found = self._discovery.find(resource, to_watch=False)
            with self._lock:
                self._kinds[resource] = found
        return found


def _reference(kind: Kind, row: ObjectHead) -> Json:
    version = f"{kind.group}/{kind.version}" if kind.group else kind.version
    return {"apiVersion": version, "kind": kind.kind, "name": row.key.name, "uid": row.uid}


def _name_of(value: Json) -> str:
    """The resource of an object as a name: kind, version and group. Raises InvalidOptions."""
    if not isinstance(value.get("apiVersion"), str) or not isinstance(value.get("kind"), str):
        raise InvalidOptions("an object to be written names its apiVersion and kind")
    group, _, version = value["apiVersion"].rpartition("/")
    return f"{value['kind']}.{version}.{group}"


def _key_of(value: Json) -> ObjectKey:
    metadata = value.get("metadata") or {}
    return ObjectKey("", metadata.get("namespace", ""), metadata.get("name", ""))


def connected(options: ApiServerOptions, manager: str) -> Writer:
    """A writer for the server and the credentials of these options. Raises Unauthorized if they are invalid."""
    return Writer(Api(options), manager)
