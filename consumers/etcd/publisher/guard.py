"""Who else writes the key in which the cluster says who it is (clustercfg/enforce.go of cilium/cilium)."""

from __future__ import annotations

import threading
from typing import Self

from consumers.running.steps import bell
from statedb import Watch

from .store import Changes, KvStore


class Guard:
    """Follows one key on a thread of its own, while the block runs. `bell` trips when there is something to take.

    It also notices a connection that is lost while nothing is to be written.
    """

    def __init__(self, store: KvStore, key: str, value: bytes) -> None:
        """``value`` is what the key should have."""
        self._store = store
        self._key = key.encode()
        self._value = value
        self._lock = threading.Lock()
        self._failure: Exception | None = None
        self._tampered = False
        self._over = False
        self._changes: Changes | None = None
        self._thread = threading.Thread(target=self._run, name="publisher guard", daemon=True)
        self.bell: Watch = bell()

    def __enter__(self) -> Self:
        """Begin. Raises what the store raises."""
        revision = self._store.get(self._key).header.revision
        self._changes = self._store.watch({self._key: revision + 1}, (self._key,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._over = True
        if self._changes is not None:
            self._changes.close()
        self._thread.join()

    def take(self) -> bool:
        """Whether somebody has written something else; once for each time."""
        with self._lock:
            tampered, self._tampered = self._tampered, False
            if self.bell.tripped:
                self.bell = bell()
        return tampered

    def check(self) -> None:
        """Raises what ended it: the connection is lost."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        assert self._changes is not None
        try:
            while not self._over:
                batch = self._changes.next(1.0)
                if batch is not None and any(event.kv.value != self._value for event in batch.events):
                    self._tell(tampered=True)
        except Exception as error:
            if not self._over:
                self._failure = error
                self._tell(tampered=False)

    def _tell(self, *, tampered: bool) -> None:
        with self._lock:
            self._tampered = self._tampered or tampered
            bell = self.bell
        bell.trip()
