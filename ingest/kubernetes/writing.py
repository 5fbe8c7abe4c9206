"""Writing to an API server: for operators, and whoever else changes objects. Knows no tables.

Every method is one request, or a few, on the thread that calls it; nothing is retried but conflicts of a finalizer. Let
`consumers.reconcile` call them: it retries what raises. https://kubernetes.io/docs/reference/using-api/server-side-apply
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, Self, TypeAlias
from urllib.parse import quote

import msgspec

from statedb.catalog.objects import Object, ObjectKey

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
    """Changes objects of one API server. For any threads; a context manager that closes it.

    A resource is named as by kubectl, an object by its `ObjectKey` or a row of a table; the key's cluster does not
    count. All methods raise the ApiError that says why: `Conflict` where somebody else was faster or owns a field,
    `Absent` for an object that is not there, `Forbidden`, `Unavailable`.
    """

    def __init__(self, api: Api, manager: str) -> None:
        """``manager`` is the name by which the server remembers who set which field."""
        self.manager = manager
        self._api = api
        self._discovery = Discovery(api)
        self._lock = threading.Lock()
        self._kinds: dict[str, Kind] = {}

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Cut off what is under way, and let nothing begin. From any thread, more than once."""
        self._api.close()
        self._api.clear()

    # --- whole objects ------------------------------------------------------------------------------------------------

    def get(self, resource: str, key: ObjectKey | Object) -> Json:
        """An object as the server has it now."""
        return self._call("get", resource, key)

    def create(self, value: Json) -> Json:
        """Add an object; gives it as stored. Raises Conflict if it is there."""
        return self._call("create", _name_of(value), None, "POST", value, _JSON, namespace=_key_of(value).namespace)

    def replace(self, value: Json, *, subresource: Subresource = "") -> Json:
        """Overwrite an object. Raises Conflict if it has changed since the ``resourceVersion`` that it names."""
        return self._call("update", _name_of(value), _key_of(value), "PUT", value, _JSON, subresource=subresource)

    def apply(self, value: Json, *, force: bool = True, subresource: Subresource = "") -> Json:
        """Make the server have these fields, whoever else sets others; create the object where it is not there.

        Fields of an earlier apply that are left out now are removed. Without ``force`` a field that another manager
        set to another value raises Conflict.
        """
        parameters = {"fieldManager": self.manager, "force": "true" if force else "false"}
        name, key = _name_of(value), _key_of(value)
        return self._call("apply", name, key, "PATCH", value, _APPLY, parameters, subresource=subresource)

    def delete(self, resource: str, key: ObjectKey | Object) -> None:
        """Remove an object; one that is not there is removed. A row is removed only if it is the same object still."""
        preconditions = {"preconditions": {"uid": key.uid}} if isinstance(key, Object) else {}
        try:
            self._call("delete", resource, key, "DELETE", preconditions, _JSON)
        except Absent:
            pass

    # --- parts --------------------------------------------------------------------------------------------------------

    def patch(self, resource: str, key: ObjectKey | Object, fields: Json, *, subresource: Subresource = "") -> Json:
        """Set these fields, and remove those that are None (RFC 7386). With ``metadata.resourceVersion`` only then."""
        parameters = {"fieldManager": self.manager}
        return self._call("patch", resource, key, "PATCH", fields, _MERGE, parameters, subresource=subresource)

    def set_status(self, resource: str, key: ObjectKey | Object, status: Json) -> Json:
        """Set these fields of the status."""
        return self.patch(resource, key, {"status": status}, subresource="status")

    def add_finalizer(self, resource: str, key: ObjectKey | Object, finalizer: str) -> None:
        """Keep the object from going until `remove_finalizer`. Nothing is written where it has it, or is going."""

        def changed(metadata: Json) -> list[str] | None:
            held = metadata.get("finalizers", [])
            return None if finalizer in held or metadata.get("deletionTimestamp") else [*held, finalizer]

        self._change_finalizers(resource, key, changed)

    def remove_finalizer(self, resource: str, key: ObjectKey | Object, finalizer: str) -> None:
        """Let the object go, as far as this finalizer is concerned. One that is gone already may go."""

        def changed(metadata: Json) -> list[str] | None:
            held = metadata.get("finalizers", [])
            return [each for each in held if each != finalizer] if finalizer in held else None

        try:
            self._change_finalizers(resource, key, changed)
        except Absent:
            pass

    def owner(self, resource: str, row: Object) -> Json:
        """An owner reference to a row, for ``metadata.ownerReferences`` of its children: they go when it goes."""
        kind = self._kind(resource)
        return {**_reference(kind, row), "controller": True, "blockOwnerDeletion": True}

    def event(
        self, resource: str, row: Object, reason: str, message: str, *, type_: Literal["Normal", "Warning"] = "Normal"
    ) -> None:
        """Tell something about an object in an Event, as ``kubectl describe`` shows it."""
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
        self, resource: str, key: ObjectKey | Object, changed: Callable[[Json], list[str] | None]
    ) -> None:
        """Write what ``changed`` makes of the metadata, unless it gives None. Others may change the list meanwhile."""
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
        key: ObjectKey | Object | None,
        method: str = "GET",
        body: Json | None = None,
        content_type: str = "",
        parameters: Mapping[str, str] = {},
        *,
        namespace: str = "",
        subresource: Subresource = "",
    ) -> Json:
        kind = self._kind(resource)
        key = key.key if isinstance(key, Object) else key
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


def _reference(kind: Kind, row: Object) -> Json:
    version = f"{kind.group}/{kind.version}" if kind.group else kind.version
    return {"apiVersion": version, "kind": kind.kind, "name": row.key.name, "uid": row.uid}


def _name_of(value: Json) -> str:
    """The name of an object's resource: its kind, version and group. Raises InvalidOptions."""
    if not isinstance(value.get("apiVersion"), str) or not isinstance(value.get("kind"), str):
        raise InvalidOptions("an object to be written names its apiVersion and kind")
    group, _, version = value["apiVersion"].rpartition("/")
    return f"{value['kind']}.{version}.{group}"


def _key_of(value: Json) -> ObjectKey:
    metadata = value.get("metadata") or {}
    return ObjectKey("", metadata.get("namespace", ""), metadata.get("name", ""))


def connected(options: ApiServerOptions, manager: str) -> Writer:
    """A writer for the server and the user of these options. Raises Unauthorized naming what is wrong with them."""
    return Writer(Api(options), manager)
