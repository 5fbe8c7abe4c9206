"""Builds requests for resources. Group, version and plural are found by discovery if they are not given."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager

import msgspec

from .discovery import Discovery
from .errors import Invalid, Missing
from .request import Request
from .resource_spec import Resource

_METADATA = "application/json;as=PartialObjectMetadata{list};g=meta.k8s.io;v=v1"


class Locator:
    """Where resources are served. A result is kept until the server no longer serves it. For any thread."""

    def __init__(self, discovery: Discovery) -> None:
        """Nothing is found yet."""
        self._discovery = discovery
        self._lock = threading.Lock()
        self._found: dict[str, Resource] = {}
        self._full_names: dict[str, str] = {}

    @contextmanager
    def request(
        self, verb: str, resource: Resource, parameters: Mapping[str, str], *, by_label: bool = True
    ) -> Generator[Request, None, None]:
        """A context manager with a request to list or watch a resource in its scope.

        Without ``by_label`` the label selector is left out, so that a list limited to one object costs the server one
        object. Raises Missing, Invalid, and other ApiErrors of discovery.
        """
        found = self._locate(resource)
        scope = found.scope
        selectors = {"fieldSelector": scope.fields, "labelSelector": scope.labels if by_label else ""}
        given = {name: text for name, text in selectors.items() if text}
        accept = _METADATA.format(list="List" if verb == "list" else "") if scope.metadata_only else ""
        try:
            yield Request(verb, found.name, found.path, {**parameters, **given}, accept)
        except Missing:
            with self._lock:
                self._found.pop(resource.feed, None)
            raise

    def _locate(self, resource: Resource) -> Resource:
        if resource.version:
            return resource
        with self._lock:
            found = self._found.get(resource.feed)
            full_name = self._full_names.get(resource.feed, resource.name)
        return found or self._look_up(resource, full_name)

    def _look_up(self, resource: Resource, name: str) -> Resource:
        """Look up a name. It may later mean another version of the same resource, but never another resource."""
        kind = self._discovery.find(name)
        if resource.scope.namespace and not kind.namespaced:
            raise Invalid(f"find {name}: {kind.name} are not in namespaces; leave namespaces out")
        found = msgspec.structs.replace(resource, group=kind.group, version=kind.version, plural=kind.plural)
        with self._lock:
            self._found[resource.feed] = found
            self._full_names[resource.feed] = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
        return found
