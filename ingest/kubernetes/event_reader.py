"""Decodes the objects of one resource to events. Pure, except that it keeps the time of decoding."""

from __future__ import annotations

from statedb.catalog.wire import WireError

from ..events import Bad, Delete, Upsert, excerpt
from .decoding import Decoding
from .resource_spec import Resource
from .stream import Item

_EXCERPT = 1024


class EventReader:
    """Turns the objects of one resource into events of one feed."""

    def __init__(self, resource: Resource, feed: str) -> None:
        """``feed`` is the feed of the events."""
        self.decoding = Decoding()
        """What the decode function is doing."""
        self._resource = resource
        self._feed = feed

    def event(self, item: Item) -> Upsert | Bad | Delete:
        """The event of an item."""
        name = self._resource.object_name(item.namespace, item.name)
        if item.type == "DELETED":
            return Delete(self._feed, name)
        self.decoding.begin(name)
        try:
            return Upsert(self._feed, name, self._resource.decode(item.value), self._resource.tables[0].name)
        except WireError as error:
            shown = excerpt(bytes(item.value)[:_EXCERPT])
            return Bad(self._feed, name, str(error), shown, self._resource.tables[0].name)
        finally:
            self.decoding.end()

    def unnamed(self, count: int) -> Bad:
        """The objects of a list that have no readable name, as one rejected object."""
        name = self._resource.object_name("", "?")
        return Bad(
            self._feed, name, f"{count} objects without metadata that can be read", "", self._resource.tables[0].name
        )
