"""Joins Services with the backends of their slices: events of two resources become events of one feed. Pure.

An object of the feed is a Service. It has the row of the service, the rows of its backends, and for a shared service
copies of its slices, which the publisher needs. All slices are kept in packed form, and are unpacked when their service
changes. Faults of a slice belong to an object with the slice's name, which has no rows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeAlias

import msgspec

from statedb.catalog import Backend, BackendKey, Backends, EndpointSliceCopy, EndpointSliceKey, Service, ServiceKey
from statedb.catalog.wire import PartlyRead, crds, faults_of

from ..events import Bad, Delete, Event, Listed, Upsert


class ServiceJoin:
    """The join. `drain` returns the events since the last call. For one thread at a time.

    There are no events before both resources are listed. Objects that a list with ``full=False`` lacks stay as they
    were, until an event of theirs comes, or a release.
    """

    def __init__(self, feed: str, *, with_slices: bool = True) -> None:
        """``feed`` is the feed of the events, and the prefix of names. Without slices there are no backends."""
        self._feed = feed
        self._services: dict[str, Service] = {}
        self._faults: dict[str, tuple[str, ...]] = {}
        self._bad: dict[str, Bad] = {}
        self._doubtful: set[str] = set()
        self._slices: dict[str, dict[str, bytes]] = {}
        self._service_of: dict[str, str] = {}
        self._bad_slices: dict[str, Bad | Upsert] = {}
        self._doubtful_slices: set[str] = set()
        self._services_listed = False
        self._slices_listed = not with_slices
        self._doubt = self._doubt_of_slices = ""
        self._pending: list[Event] = []
        self._changed: dict[str, None] = {}

    @property
    def withheld_slices(self) -> int:
        """The number of slices with backends whose deletes are withheld."""
        return len(self._doubtful_slices & self._service_of.keys())

    @property
    def withholds_slices(self) -> bool:
        """Whether the delete of any slice is withheld, perhaps of one that cannot be read."""
        return bool(self._doubtful_slices)

    @property
    def doubts_slices(self) -> bool:
        """Whether the last list of slices was doubted, so that earlier rows may belong to slices that it lacks."""
        return bool(self._doubt_of_slices)

    def drain(self) -> list[Event]:
        """The events since the last call, in order."""
        events, self._pending = self._pending, []
        changed, self._changed = self._changed, {}
        events += [self._joined(name) for name in changed if self._is_visible(name)]
        return events

    # --- Services -----------------------------------------------------------------------------------------------------

    def list_services(self, objects: Sequence[Upsert | Bad], *, full: bool, doubt: str = "") -> None:
        """A list of all Services. With ``full=False`` missing ones may still exist, for the reason ``doubt``."""
        present = {event.object for event in objects}
        missing = {name for name in self._services if name not in present}
        self._doubtful = set() if full else missing
        for name in missing if full else ():
            self._forget(name)
        self._bad = {event.object: event for event in objects if isinstance(event, Bad)}
        for event in objects:
            if isinstance(event, Upsert):
                self._keep(event)
        self._services_listed = True
        self._doubt = "" if full else doubt
        if self._slices_listed:
            self._emit_list(objects)

    def take_service(self, event: Upsert | Bad | Delete) -> None:
        """An event of a Service."""
        name = event.object
        self._doubtful.discard(name)
        if isinstance(event, Bad):
            if self._is_visible(name) and name in self._changed:
                self._emit(self._joined(name))  # its last good value
            self._bad[name] = event
            self._emit(event)
            return
        self._bad.pop(name, None)
        if isinstance(event, Delete):
            self._forget(name)
        else:
            self._keep(event)
        if name in self._services:
            self._changed[name] = None
        else:
            self._emit(event)

    def release_services(self) -> None:
        """Believe the list: forget the Services that it lacks. The reflector deletes their rows."""
        for name in self._doubtful:
            self._forget(name)
        self._doubtful = set()
        self._doubt = ""

    def _keep(self, event: Upsert) -> None:
        self._forget(event.object)
        if event.rows:
            self._services[event.object] = event.rows[0]
        if faults := faults_of(event.rows):
            self._faults[event.object] = faults

    def _forget(self, name: str) -> None:
        self._services.pop(name, None)
        self._faults.pop(name, None)

    # --- slices -------------------------------------------------------------------------------------------------------

    def list_slices(
        self, objects: Sequence[Upsert | Bad], *, full: bool, doubt: str = "", unread: Collection[str] = ()
    ) -> None:
        """A list of all EndpointSlices; ``doubt`` as for `list_services`.

        Earlier rows may be of slices that are ``unread``: they count as slices, although nothing is known of them.
        """
        self._doubt_of_slices = "" if full else doubt
        known = self._service_of.keys() | self._bad_slices.keys() & unread
        missing = known - {event.object for event in objects}
        self._doubtful_slices = set() if full else missing
        for name in missing if full else ():
            self._drop_slice(name)
        healed = set(self._bad_slices) - self._doubtful_slices
        for event in objects:
            healed.discard(event.object)
            self._take_slice(event)
        for name in healed:
            self._heal_slice(name)
        if not self._slices_listed:
            self._slices_listed = True
            if self._services_listed:
                self._emit_list([Upsert(self._feed, name, (row,)) for name, row in self._services.items()])

    def take_slice(self, event: Upsert | Bad | Delete) -> None:
        """An event of an EndpointSlice."""
        self._doubtful_slices.discard(event.object)
        self._take_slice(event)

    def release_slices(self) -> None:
        """Believe the list: the slices that it lacks are gone."""
        for name in self._doubtful_slices:
            self._drop_slice(name)
            self._heal_slice(name)
        self._doubtful_slices = set()
        self._doubt_of_slices = ""

    def _take_slice(self, event: Upsert | Bad | Delete) -> None:
        name = event.object
        if isinstance(event, Bad):
            self._bad_slices[name] = event
            self._emit(event)
            return
        rows: tuple[Backend | EndpointSliceCopy, ...] = event.rows if isinstance(event, Upsert) else ()
        if faults := faults_of(rows):
            self._bad_slices[name] = faulty = Upsert(self._feed, name, PartlyRead.of((), faults), Backends.name)
            self._emit(faulty)
        else:
            self._heal_slice(name)
        service = self._name_of(rows[0].service) if rows else ""
        before = self._service_of.get(name)
        packed = _pack(rows)
        if before is not None and before == service and self._slices[service][name] == packed:
            return
        self._drop_slice(name)
        if rows:
            self._service_of[name] = service
            self._slices.setdefault(service, {})[name] = packed
            self._changed[service] = None

    def _drop_slice(self, name: str) -> None:
        service = self._service_of.pop(name, None)
        if service is None:
            return
        slices = self._slices[service]
        del slices[name]
        if not slices:
            del self._slices[service]
        self._changed[service] = None

    def _heal_slice(self, name: str) -> None:
        if self._bad_slices.pop(name, None) is not None:
            self._emit(Upsert(self._feed, name, ()))

    # --- both ---------------------------------------------------------------------------------------------------------

    def _is_visible(self, name: str) -> bool:
        """Whether changes of the service's slices cause an event of the service."""
        return self.is_ready and name in self._services and name not in self._bad and name not in self._doubtful

    @property
    def is_ready(self) -> bool:
        """Whether both resources were listed, so that there are events."""
        return self._services_listed and self._slices_listed

    def _joined(self, name: str) -> Upsert:
        service = self._services[name]
        slices = self._slices.get(name, {})
        unpacked = [_unpack(slices[each], service.key) for each in sorted(slices)]
        copies = [copy for _, copy in unpacked if copy is not None and service.shared]
        rows = (service, *crds.join(service, [backends for backends, _ in unpacked]), *copies)
        return Upsert(self._feed, name, PartlyRead.of(rows, self._faults.get(name, ())))

    def _emit(self, event: Event) -> None:
        if self.is_ready:
            self._pending.append(event)

    def _emit_list(self, objects: Sequence[Upsert | Bad]) -> None:
        """Emit a list of the feed: the listed services in their present form. It is doubtful if either list is."""
        doubt = self._doubt or self._doubt_of_slices
        events: list[Upsert | Bad] = [
            self._joined(each.object) if self._is_visible(each.object) else each
            for each in objects
            if isinstance(each, Upsert)
        ]
        events += [*self._bad.values(), *self._bad_slices.values()]
        # Earlier events of a service that is now bad still count, because the list does not have its rows.
        before = [event for event in self._pending if not isinstance(event, Listed) and event.object in self._bad]
        before += [self._joined(name) for name in self._changed if name in self._bad and name in self._services]
        self._changed.clear()
        self._pending = [*before, Listed(self._feed, events, not doubt, doubt)]

    def _name_of(self, service: ServiceKey) -> str:
        return f"{self._feed}/{service.namespace}/{service.name}"


_Rest: TypeAlias = tuple[tuple[str, ...], bool, bool, bool, str, str, tuple[str, ...], str, str]
"""The fields of a backend after its key, in their order."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[list[tuple[str, int, str, _Rest]], tuple[str, bytes] | None]).decode


def _pack(rows: Sequence[Backend | EndpointSliceCopy]) -> bytes:
    """The rows of one slice, without the service. Packed, they take a seventh of the memory of rows."""
    backends = [
        (r.key.ip, r.key.port, r.key.protocol, msgspec.structs.astuple(r)[1:]) for r in rows if isinstance(r, Backend)
    ]
    copy = next(((r.key.name, r.message) for r in rows if isinstance(r, EndpointSliceCopy)), None)
    return _encode((backends, copy))


def _unpack(packed: bytes, of: ServiceKey) -> tuple[tuple[Backend, ...], EndpointSliceCopy | None]:
    key = (of.cluster, of.namespace, of.name)
    rows, copy = _decode(packed)
    backends = tuple([Backend(BackendKey(*key, ip, port, protocol), *rest) for ip, port, protocol, rest in rows])
    if copy is None:
        return backends, None
    name, message = copy
    return backends, EndpointSliceCopy(EndpointSliceKey(of.cluster, of.namespace, name), of, message)
