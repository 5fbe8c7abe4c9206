"""Leader election in an etcd: the leader is the process that created a key, under a lease that it keeps alive.

    campaign: create the key ──exists already──▶ check again soon
        │ created                                    ▲
        ▼                                            │
    lead: renew the lease, three times per TTL ──────┘ it has ended

A leader that hung may not know that it was replaced. So every transaction of a leader is fenced: etcd refuses it unless
the key still has this leader's value (Burrows, "The Chubby lock service", OSDI 2006, section 2.4).
"""

from __future__ import annotations

import threading
from typing import Self

from .store import Store, encode

_POLL_S = 0.5


class Election:
    """Campaigns on a thread of its own during the ``with`` block. ``wake`` is set when the outcome changes."""

    def __init__(self, store: Store, key: str, identity: str, time_s: int, wake: threading.Event) -> None:
        """``identity`` is unique to this process. A leader that is silent for ``time_s`` seconds is replaced."""
        self._store = store
        self._key = encode(key)
        self._identity = identity.encode()
        self._time_s = time_s
        self._wake = wake
        self._stop = threading.Event()
        self._lease = 0
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="etcd writer election", daemon=True)
        self.leads = False
        """Whether this process is the leader, as far as it knows."""
        self.term = 0
        """How often it has become the leader. Another process may have led between two terms."""
        self.leader = ""
        """The identity of the last known leader."""

    @property
    def fence(self) -> tuple[bytes, bytes]:
        """The election key and the value that it has while this process leads."""
        return self._key, self._identity

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End. Unless `resign` was called, the lease expires by itself."""
        self._stop.set()
        self._thread.join()

    def resign(self) -> None:
        """Revoke the lease, so that another process can lead at once. Raises what the store raises."""
        self._stop.set()
        if self._lease:
            self._store.revoke(self._lease)

    def depose(self) -> None:
        """Stop leading: the etcd refused a transaction because another process leads."""
        self.leads = False

    def check(self) -> None:
        """Raise the exception that ended the thread, if there is one: the connection is lost."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._set_leads(self._is_leader())
                self._stop.wait(min(_POLL_S, self._time_s / 3))
        except Exception as error:  # the writer gets it from `check`
            self._failure = error
            self.leads = False
            self._wake.set()

    def _is_leader(self) -> bool:
        if self._lease and not self._store.renew_all([self._lease]).get(self._lease):
            self._lease = 0
        kv = self._store.get(self._key).kv
        if kv is None:
            self.leads = False  # another process may have led since the last look, and ended
            if not self._lease:
                self._lease = self._store.grant(self._time_s)
            created = self._store.create(self._key, self._identity, self._lease)
            self.leader = self._identity.decode() if created else ""
            return created
        self.leader = kv.value.decode("utf-8", "replace")
        if kv.value != self._identity:
            return False
        self._lease = kv.lease  # perhaps of an earlier connection of this process
        return True

    def _set_leads(self, leads: bool) -> None:
        if leads != self.leads:
            self.term += leads  # before the next line: who sees that this process leads must see the new term
            self.leads = leads
            self._wake.set()
