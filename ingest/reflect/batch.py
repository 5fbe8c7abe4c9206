"""Events that wait to be written together. Pure: the clock comes in."""

from __future__ import annotations

from collections.abc import Callable, Collection

from ..events import Delete, Upsert


class Batch:
    """Of an object's events in one feed the last one counts. Due after ``batch_s`` seconds or ``batch_rows`` rows."""

    def __init__(self, clock: Callable[[], float], batch_s: float, batch_rows: int) -> None:
        """Empty."""
        self._clock = clock
        self._batch_s = batch_s
        self._batch_rows = batch_rows
        self._events: dict[tuple[str, str], Upsert | Delete] = {}
        self._rows = 0
        self._added = 0
        self._since: float | None = None

    def __len__(self) -> int:
        """How many events were taken in, those that later ones replaced included."""
        return self._added

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._events)

    def has(self, feed: str, name: str) -> bool:
        """Whether an event of this object waits."""
        return (feed, name) in self._events

    @property
    def due(self) -> bool:
        """Whether it must not wait for more."""
        return self._since is not None and (
            self._rows >= self._batch_rows or self._clock() - self._since >= self._batch_s
        )

    def add(self, event: Upsert | Delete) -> None:
        """Take an event in, behind all others."""
        place = (event.feed, event.object)  # several feeds may speak of one object, each for a table of its own
        self._events.pop(place, None)
        self._events[place] = event
        self._added += 1
        self._rows += len(event.rows) if isinstance(event, Upsert) else 1
        if self._since is None:
            self._since = self._clock()

    def drop_feed(self, feed: str, bad: Collection[str]) -> list[Upsert | Delete]:
        """A list of the feed has come: it is newer than what waits, which is dropped.

        What waits for an object that the list has as a ``bad`` one is returned: the list does not say it again.
        """
        dropped = [event for event in self._events.values() if event.feed == feed]
        self._events = {place: event for place, event in self._events.items() if event.feed != feed}
        return [event for event in dropped if event.object in bad]

    def take(self) -> list[Upsert | Delete]:
        """All events, in the order of their last word; then it is empty."""
        events, self._events, self._rows, self._added, self._since = self._events, {}, 0, 0, None
        return list(events.values())
