"""A thread that watches the keys of a writer, so that the writer does not block on the watch."""

from __future__ import annotations

import queue
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Self

from .store import Changes, Event, Store, encode

_BATCHES_MAX = 64
_POLL_S = 1.0


class OwnKeysWatch:
    """Collects events of some prefixes during the ``with`` block. ``wake`` is set when `take` has something to return.

    It also detects a lost connection while there is nothing to write.
    """

    def __init__(self, store: Store, starts: Mapping[str, int], keys: Collection[str], wake: threading.Event) -> None:
        """``starts``: the first revision of each prefix. Those in ``keys`` are single keys."""
        self._store = store
        self._starts = {encode(prefix): revision for prefix, revision in starts.items()}
        self._keys = {encode(key) for key in keys}
        self._wake = wake
        self._batches: queue.Queue[Sequence[Event] | Exception] = queue.Queue(_BATCHES_MAX)
        self._closing = False
        self._changes: Changes | None = None
        self._thread = threading.Thread(target=self._run, name="etcd writer watch", daemon=True)

    def __enter__(self) -> Self:
        """Begin. Raises what the store raises."""
        self._changes = self._store.watch(self._starts, self._keys)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._closing = True
        if self._changes is not None:
            self._changes.close()
        self._thread.join()

    def take(self) -> Iterator[Sequence[Event]]:
        """The events since the last call, in batches of ascending revisions. Raises what ended the watch."""
        while True:
            try:
                batch = self._batches.get_nowait()
            except queue.Empty:
                return
            if isinstance(batch, Exception):
                raise batch
            yield batch

    def _run(self) -> None:
        assert self._changes is not None
        try:
            while not self._closing:
                batch = self._changes.next(_POLL_S)
                if batch is not None and batch.events:
                    self._enqueue(batch.events)
        except Exception as error:  # the writer gets it from `take`
            if not self._closing:
                self._enqueue(error)

    def _enqueue(self, batch: Sequence[Event] | Exception) -> None:
        while not self._closing:
            try:
                self._batches.put(batch, timeout=_POLL_S)
            except queue.Full:  # the writer is busy; flow control stops the server meanwhile
                continue
            self._wake.set()
            return
