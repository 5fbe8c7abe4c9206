"""Events that are written together. Pure: the clock is an argument."""

from __future__ import annotations

from collections.abc import Callable, Collection

from ..events import Delete, Upsert


class Batch:
    """Keeps the last event of each object in a feed. It is due after ``batch_s`` seconds or ``batch_rows`` rows."""

    def __init__(self, clock: Callable[[], float], batch_s: float, batch_rows: int) -> None:
        """An empty batch."""
        self._clock = clock
        self._batch_s = batch_s
        self._batch_rows = batch_rows
        self._events: dict[tuple[str, str], Upsert | Delete] = {}
        self._rows = 0
        self._added = 0
        self._since: float | None = None

    def __len__(self) -> int:
        """The number of events that were added, including those that were replaced since."""
        return self._added

    def __bool__(self) -> bool:
        """Whether it has any events."""
        return bool(self._events)

    def has(self, feed: str, name: str) -> bool:
        """Whether it has an event of this object."""
        return (feed, name) in self._events

    @property
    def due(self) -> bool:
        """Whether it must be written now."""
        return self._since is not None and (
            self._rows >= self._batch_rows or self._clock() - self._since >= self._batch_s
        )

    def add(self, event: Upsert | Delete) -> None:
        """Add an event at the end."""
        place = (event.feed, event.object)  # several feeds may have events of one object, each for a table of its own
        self._events.pop(place, None)
        self._events[place] = event
        self._added += 1
        self._rows += len(event.rows) if isinstance(event, Upsert) else 1
        if self._since is None:
            self._since = self._clock()

    def drop_feed(self, feed: str, bad: Collection[str]) -> list[Upsert | Delete]:
        """Drop the events of a feed, because a newer list of it has come.

        Events of objects that are ``bad`` in the list are returned, because the list does not have their rows.
        """
        dropped = [event for event in self._events.values() if event.feed == feed]
        self._events = {place: event for place, event in self._events.items() if event.feed != feed}
        return [event for event in dropped if event.object in bad]

    def take(self) -> list[Upsert | Delete]:
        """Remove and return all events, in the order in which they were added last."""
        events, self._events, self._rows, self._added, self._since = self._events, {}, 0, 0, None
        return list(events.values())
