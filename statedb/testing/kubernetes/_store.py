"""The objects of the API server and their history. Knows no HTTP. For one thread at a time: hold ``lock``."""

from __future__ import annotations

import copy
import re
import secrets
import threading
import uuid
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from . import _changing as changing
from ._refusal import Refusal, conflict, expired, not_found
from ._resources import BUILT_IN, Resource, of_definition
from ._selectors import Matches

Json = dict[str, Any]
Key = tuple[str, str]
Change = Literal["ADDED", "MODIFIED", "DELETED"]

_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_KEPT = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "namespace",
    "name",
)
_CRDS = ("apiextensions.k8s.io", "customresourcedefinitions")


class Event(NamedTuple):
    """A change of one object: its state afterwards, or its last state if deleted, and its state before."""

    version: int
    store: tuple[str, str]
    kind: Change
    value: Json
    before: Json | None


class Stored(NamedTuple):
    """An object and the owners of its fields."""

    value: Json
    owners: changing.Owners


class Store:
    """All objects. Returned values are shared: do not change them."""

    def __init__(self) -> None:
        """Only the namespaces of a new cluster."""
        self.lock = threading.Condition()
        self.version = 1
        self.forgotten = 0
        """Changes up to this version are forgotten."""
        self.history: list[Event] = []
        self.resources: dict[tuple[str, str], Resource] = {}
        """The served resources by root and plural."""
        self._objects: dict[tuple[str, str], dict[Key, Stored]] = {}
        self._pages: dict[tuple[tuple[str, str], int], list[Json]] = {}
        for resource in BUILT_IN:
            self._serve(resource)
        with self.lock:
            self._create_namespaces()

    def _create_namespaces(self) -> None:
        namespaces = self.resources["/api/v1", "namespaces"]
        for name in _NAMESPACES:
            self.create(namespaces, "", {"metadata": {"name": name}}, "server")

    def _serve(self, resource: Resource) -> None:
        self.resources[resource.root, resource.plural] = resource
        self._objects.setdefault(resource.store, {})

    # --- reading ------------------------------------------------------------------------------------------------------

    def resource_of(self, value: Json) -> Resource:
        """The resource of an object by its apiVersion and kind. Raises Refusal."""
        for each in self.resources.values():
            if (each.api_version, each.kind) == (value.get("apiVersion"), value.get("kind")):
                return each
        raise Refusal(404, "NotFound", f"{value.get('kind')} of {value.get('apiVersion')} is not served")

    def resource_named(self, name: str) -> Resource:
        """The resource with a plural, with or without its group. Raises Refusal."""
        for each in self.resources.values():
            if name in (each.plural, each.name):
                return each
        raise Refusal(404, "NotFound", f"{name} is not served")

    def get(self, resource: Resource, namespace: str, name: str) -> Json:
        """One object. Raises Refusal."""
        return shown(self._stored(resource, namespace, name).value, resource)

    def select(self, resource: Resource, namespace: str, matches: Matches) -> list[Json]:
        """The matching objects of a namespace, or of all if it is empty, in key order."""
        held = self._objects[resource.store]
        values = [held[key].value for key in sorted(held) if not namespace or key[0] == namespace]
        return [shown(value, resource) for value in values if matches(value)]

    def _stored(self, resource: Resource, namespace: str, name: str) -> Stored:
        found = self._objects[resource.store].get((namespace, name))
        if found is None:
            raise not_found(name, resource.name)
        return found

    def keep_page(self, resource: Resource, version: int, values: list[Json]) -> None:
        """Keep a list at this version, for the requests of its next pages."""
        self._pages[resource.store, version] = values

    def page(self, resource: Resource, version: int) -> list[Json]:
        """The list at a version. Raises Refusal if it is forgotten."""
        values = self._pages.get((resource.store, version))
        if values is None:
            raise expired()
        return values

    # --- writing ------------------------------------------------------------------------------------------------------

    def create(self, resource: Resource, namespace: str, value: Json, manager: str) -> Json:
        """Create an object. Raises Refusal if it exists, has no name, or its namespace does not exist."""
        value = self._validated(resource, namespace, value)
        metadata = value["metadata"]
        if not metadata.get("name"):
            metadata["name"] = metadata["generateName"] + "".join([secrets.choice(_LETTERS) for _ in range(5)])
        key = (namespace, metadata["name"])
        if resource.namespaced and ("", namespace) not in self._objects["", "namespaces"]:
            raise not_found(namespace, "namespaces")
        if key in self._objects[resource.store]:
            raise Refusal(409, "AlreadyExists", f'{resource.name} "{key[1]}" already exists')
        if resource.has_status and resource.store != _CRDS:
            value.pop("status", None)
        owners = changing.written({}, {}, value, manager)
        return self._add(resource, key, value, owners)

    def _add(self, resource: Resource, key: Key, value: Json, owners: changing.Owners) -> Json:
        metadata = value["metadata"]
        for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "resourceVersion"):
            metadata.pop(name, None)
        metadata |= {"name": key[1], "uid": str(uuid.uuid4()), "creationTimestamp": _now()}
        if key[0]:
            metadata["namespace"] = key[0]
        if resource.counts_generations:
            metadata["generation"] = 1
        if resource.store == ("", "namespaces"):
            metadata.setdefault("labels", {})["kubernetes.io/metadata.name"] = key[1]
            value["spec"] = {"finalizers": ["kubernetes"]}
            value["status"] = {"phase": "Active"}
        self._put(resource, key, Stored(value, owners), None)
        if resource.store == _CRDS:
            self._define(key, value)
        return shown(self._objects[resource.store][key].value, resource)

    def _define(self, key: Key, definition: Json) -> None:
        for each in of_definition(definition):
            self._serve(each)
        names, condition = definition["spec"]["names"], {"status": "True", "lastTransitionTime": _now()}
        conditions = [{"type": kind, **condition} for kind in ("NamesAccepted", "Established")]
        stored = self._objects[_CRDS][key]
        status = {"conditions": conditions, "acceptedNames": names, "storedVersions": []}
        self._put(self.resource_named(_CRDS[1]), key, Stored({**stored.value, "status": status}, stored.owners), stored)

    def replace(self, resource: Resource, namespace: str, name: str, value: Json, manager: str, part: str = "") -> Json:
        """Overwrite an object, or only its status if that is the ``part``. Raises Refusal."""
        stored = self._stored(resource, namespace, name)
        value = self._validated(resource, namespace, {**value, "metadata": {**value.get("metadata", {}), "name": name}})
        self._check_version(resource, stored, value["metadata"].get("resourceVersion"))
        merged = _with_part(resource, stored.value, value, part)
        return self._change(resource, (namespace, name), stored, merged, manager)

    def patch(
        self, resource: Resource, namespace: str, name: str, patch: Json | list[Json], manager: str, part: str = ""
    ) -> Json:
        """Change an object by a merge patch, or by a JSON patch, which is a list. Raises Refusal."""
        stored = self._stored(resource, namespace, name)
        before = shown(stored.value, resource)
        value = changing.patched(before, patch) if isinstance(patch, list) else changing.merged(before, patch)
        return self.replace(resource, namespace, name, value, manager, part)

    def apply(
        self, resource: Resource, namespace: str, name: str, wanted: Json, manager: str, part: str = "", *, force: bool
    ) -> tuple[Json, bool]:
        """Server-side apply. Also returns whether the object is new. Raises Refusal."""
        wanted = self._validated(
            resource, namespace, {**wanted, "metadata": {**wanted.get("metadata", {}), "name": name}}
        )
        stored = self._objects[resource.store].get((namespace, name))
        if stored is None:
            if part:
                raise not_found(name, resource.name)
            if resource.namespaced and ("", namespace) not in self._objects["", "namespaces"]:
                raise not_found(namespace, "namespaces")
            empty = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {}}
            value, owners = changing.applied(empty, {}, wanted, manager, force=force)
            return self._add(resource, (namespace, name), value, owners), True
        if "resourceVersion" in wanted["metadata"]:
            self._check_version(resource, stored, wanted["metadata"]["resourceVersion"])
        if resource.has_status:
            heads = ("apiVersion", "kind", "metadata")
            wanted = {name: each for name, each in wanted.items() if name in heads or (name == "status") == bool(part)}
        me = f"{manager}/{part}" if part else manager
        value, owners = changing.applied(stored.value, stored.owners, wanted, me, force=force)
        value = _with_part(resource, stored.value, value, part)
        return self._settle(resource, (namespace, name), stored, value, owners), False

    def delete(self, resource: Resource, namespace: str, name: str, options: Json) -> tuple[Json, bool]:
        """Delete an object, or mark it if it has finalizers. Also returns whether it is gone. Raises Refusal."""
        stored = self._stored(resource, namespace, name)
        metadata = stored.value["metadata"]
        wanted = options.get("preconditions") or {}
        for field, what in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
            if wanted.get(field) not in (None, metadata[field]):
                why = f"Precondition failed: {what} in precondition: {wanted[field]}, {what} in object meta: "
                raise conflict(name, resource.name, why + metadata[field])
        if not metadata.get("finalizers"):
            return self._remove(resource, (namespace, name), stored), True
        if "deletionTimestamp" not in metadata:
            value = copy.deepcopy(stored.value)
            value["metadata"] |= {"deletionTimestamp": _now(), "deletionGracePeriodSeconds": 0}
            if "generation" in metadata:
                value["metadata"]["generation"] += 1
            self._put(resource, (namespace, name), Stored(value, stored.owners), stored)
        return self.get(resource, namespace, name), False

    # --- steps --------------------------------------------------------------------------------------------------------

    def _validated(self, resource: Resource, namespace: str, value: Json) -> Json:
        """A validated copy of an object from a request. Raises Refusal."""
        value = copy.deepcopy(value)
        metadata = value.setdefault("metadata", {})
        for field, expected in (("apiVersion", resource.api_version), ("kind", resource.kind)):
            if value.setdefault(field, expected) != expected:
                raise Refusal(400, "BadRequest", f"{field} {value[field]!r} is not that of this resource: {expected!r}")
        if metadata.get("namespace", namespace) != namespace:
            why = "the namespace of the provided object does not match the namespace sent on the request"
            raise Refusal(400, "BadRequest", why)
        name = metadata.get("name", "")
        if not name and not metadata.get("generateName"):
            raise Refusal(422, "Invalid", f"{resource.kind} is invalid: metadata.name: Required value")
        if name and not _NAME.fullmatch(name):
            raise Refusal(422, "Invalid", f'{resource.kind} "{name}" is invalid: metadata.name: Invalid value')
        return value

    def _check_version(self, resource: Resource, stored: Stored, version: object) -> None:
        metadata = stored.value["metadata"]
        if version not in (None, "", metadata["resourceVersion"]):
            why = "the object has been modified; please apply your changes to the latest version and try again"
            raise conflict(metadata["name"], resource.name, why)

    def _change(self, resource: Resource, key: Key, stored: Stored, value: Json, manager: str) -> Json:
        owners = changing.written(stored.owners, stored.value, value, manager)
        return self._settle(resource, key, stored, value, owners)

    def _settle(self, resource: Resource, key: Key, stored: Stored, value: Json, owners: changing.Owners) -> Json:
        """Store the new state of an object.

        Does nothing if it has not changed. Removes the object if it is being deleted and has no more finalizers.
        """
        before = stored.value
        value["metadata"] = _metadata(before["metadata"], value["metadata"])
        if value == before:
            self._objects[resource.store][key] = Stored(before, owners)
            return shown(before, resource)
        if resource.counts_generations and _wanted(value) != _wanted(before):
            value["metadata"]["generation"] += 1
        if "deletionTimestamp" in value["metadata"] and not value["metadata"].get("finalizers"):
            return self._remove(resource, key, Stored(value, owners))
        self._put(resource, key, Stored(value, owners), stored)
        if resource.store == _CRDS:
            for each in of_definition(value):
                self._serve(each)
        return shown(value, resource)

    def _put(self, resource: Resource, key: Key, stored: Stored, before: Stored | None) -> None:
        self.version += 1
        value = {**stored.value, "metadata": {**stored.value["metadata"], "resourceVersion": str(self.version)}}
        stored.value.update(value)
        self._objects[resource.store][key] = Stored(stored.value, stored.owners)
        kind: Change = "ADDED" if before is None else "MODIFIED"
        self._record_event(resource, kind, stored.value, before.value if before else None)

    def _remove(self, resource: Resource, key: Key, stored: Stored) -> Json:
        before = self._objects[resource.store].pop(key)
        self.version += 1
        value = {**stored.value, "metadata": {**stored.value["metadata"], "resourceVersion": str(self.version)}}
        self._record_event(resource, "DELETED", value, before.value)
        if resource.store == _CRDS:
            for each in of_definition(before.value):
                self.resources.pop((each.root, each.plural), None)
                for gone in list(self._objects.get(each.store, {})):
                    self._remove(each, gone, self._objects[each.store][gone])
        return shown(value, resource)

    def _record_event(self, resource: Resource, kind: Change, value: Json, before: Json | None) -> None:
        self.history.append(Event(self.version, resource.store, kind, value, before))
        self.lock.notify_all()

    def events(self, resource: Resource, after: int) -> list[Event]:
        """The changes of a resource after a version. Raises Refusal if they are forgotten."""
        if after < self.forgotten:
            raise expired()
        found: list[Event] = []
        for event in reversed(self.history):
            if event.version <= after:
                break
            if event.store == resource.store:
                found.append(event)
        return found[::-1]

    def forget(self) -> None:
        """Forget the history: watches from an older version get 410."""
        self.version += 1
        self.forgotten = self.version
        self.history.clear()
        self._pages.clear()


def shown(value: Json, resource: Resource) -> Json:
    """An object as this version of its resource returns it."""
    return {**value, "apiVersion": resource.api_version, "kind": resource.kind}


def _with_part(resource: Resource, stored: Json, value: Json, part: str) -> Json:
    """The parts of an object that a request may change.

    Its status, or everything else if the resource has a status subresource.
    """
    if part == "status":
        return {**stored, "metadata": dict(stored["metadata"]), "status": value.get("status", {})}
    if not resource.has_status:
        return value
    kept = {name: each for name, each in value.items() if name != "status"}
    return {**kept, "status": stored["status"]} if "status" in stored else kept


def _metadata(before: Json, after: Json) -> Json:
    """The metadata of a request without the fields that only the server sets."""
    result = {name: each for name, each in after.items() if name not in _KEPT and name != "managedFields"}
    return {
        **result,
        **{name: before[name] for name in _KEPT if name in before},
        "resourceVersion": before["resourceVersion"],
    }


def _wanted(value: Json) -> Json:
    """The desired state of an object, which generations count."""
    return {name: each for name, each in value.items() if name not in ("metadata", "status")}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
