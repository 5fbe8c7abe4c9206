"""Leader election by a Lease, as client-go's: at most one of several processes leads at any moment.

Two processes never lead at once. A leader leads only for ``renew_s`` after it *began* to request its last renewal, by
its own clock. Another process takes over only ``lease_s`` after it *had seen* that renewal, by its own clock. The
second moment is later than the first, so both could lead only if one clock ran faster than the other by more than
``lease_s / renew_s``. The clocks need not agree, because no time is compared with that of another machine. A process
that was suspended finds that its time is over when it calls `Election.leads`.
https://github.com/kubernetes/client-go/blob/master/tools/leaderelection/leaderelection.go
"""

from __future__ import annotations

import logging
import math
import secrets
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from random import SystemRandom
from threading import Condition
from typing import Any, Protocol, Self

from statedb.catalog.objects import ObjectKey

from ..errors import InvalidOptions
from ..worker import Worker
from .errors import Absent, ApiError, Conflict

_chance = SystemRandom()  # the global generator belongs to the program that we run in, which may have seeded it

log = logging.getLogger("ingest")

_RESOURCE = "leases.coordination.k8s.io"


class Leases(Protocol):
    """The part of a `Writer` that an election needs."""

    def get(self, resource: str, key: ObjectKey, /) -> dict[str, Any]: ...
    def create(self, value: dict[str, Any], /) -> dict[str, Any]: ...
    def replace(self, value: dict[str, Any], /) -> dict[str, Any]: ...


def since_boot() -> float:
    """Seconds on a clock that also runs while the machine sleeps, if the system has one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Election:
    """A candidate for one Lease, on a thread of its own; a context manager. It leads while `leads` is true.

    Check `leads` before each action that only the leader may take. An action in progress is not undone when the time is
    over, so let requests take less than ``lease_s - renew_s``.
    """

    def __init__(
        self,
        writer: Leases,
        namespace: str,
        name: str,
        *,
        identity: str = "",
        lease_s: float = 15.0,
        renew_s: float = 10.0,
        retry_s: float = 2.0,
        clock: Callable[[], float] = since_boot,
    ) -> None:
        """Not yet started. ``identity`` must be different for each candidate; by default it is unique.

        ``retry_s``: how often to renew, or to check whether the leader still does. Raises InvalidOptions.
        """
        if not 0 < retry_s < renew_s < lease_s:
            raise InvalidOptions("retry_s must be below renew_s, and renew_s below lease_s, or leaders could overlap")
        self.identity = identity or f"{socket.gethostname()}-{secrets.token_hex(6)}"
        self._writer = writer
        self._key = ObjectKey("", namespace, name)
        self._lease_s, self._renew_s, self._retry_s = lease_s, renew_s, retry_s
        self._clock = clock
        self._leads_until = -math.inf
        self._seen_version, self._seen_at = "", -math.inf
        self._changed = Condition()
        self._worker = Worker(f"election {name}", self._run, self._ended)

    @property
    def leads(self) -> bool:
        """Whether this process leads now."""
        return self._clock() < self._leads_until

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it leads. False if it was stopped, or after ``timeout`` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self.leads or self._worker.stopping, timeout)
        return self.leads

    def __enter__(self) -> Self:
        """Start it."""
        self._worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it and release the Lease, so that another candidate can lead at once."""
        self._worker.stop()
        with self._changed:
            self._changed.notify_all()
        self._worker.join()

    def attempt(self) -> None:
        """Try once to become or stay the leader. Raises ApiError if the server does not answer."""
        began = self._clock()
        try:
            lease = self._writer.get(_RESOURCE, self._key)
        except Absent:
            self._write(self._writer.create, self._lease({}, {}), began)
            return
        spec, metadata = lease.get("spec") or {}, lease["metadata"]
        if metadata["resourceVersion"] != self._seen_version:
            self._seen_version, self._seen_at = metadata["resourceVersion"], self._clock()
        holder = spec.get("holderIdentity") or ""
        promised_s = max(self._lease_s, float(spec.get("leaseDurationSeconds") or 0))
        if holder in ("", self.identity) or self._clock() >= self._seen_at + promised_s:
            self._write(self._writer.replace, self._lease(metadata, spec), began)
        else:
            self._leads_until = -math.inf

    def release(self) -> None:
        """Stop leading and release the Lease. Raises ApiError; other candidates then wait until the Lease ends."""
        led, self._leads_until = self.leads, -math.inf
        if not led:
            return
        lease = self._writer.get(_RESOURCE, self._key)
        spec = lease.get("spec") or {}
        if spec.get("holderIdentity") == self.identity:
            self._writer.replace({**_named(lease["metadata"], self._key), "spec": {**spec, "holderIdentity": ""}})

    def _write(self, write: Callable[[dict[str, Any]], dict[str, Any]], lease: dict[str, Any], began: float) -> None:
        """Take the Lease by a write that fails if another candidate was faster."""
        try:
            written = write(lease)
        except Conflict:
            self._leads_until = -math.inf
            return
        self._seen_version, self._seen_at = written["metadata"]["resourceVersion"], self._clock()
        self._leads_until = began + self._renew_s
        with self._changed:
            self._changed.notify_all()

    def _lease(self, metadata: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
        """The Lease with this process as its holder. Its times are for people, and are not compared with any clock."""
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        is_ours = spec.get("holderIdentity") == self.identity
        held = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": math.ceil(self._lease_s),
            "acquireTime": spec.get("acquireTime", now) if is_ours else now,
            "renewTime": now,
            "leaseTransitions": (spec.get("leaseTransitions") or 0) + (0 if is_ours or not spec else 1),
        }
        return {**_named(metadata, self._key), "spec": held}

    def _run(self) -> None:
        while not self._worker.stopping:
            try:
                self.attempt()
            except ApiError as error:
                log.warning("election %s: %s", self._key.name, error)
            self._worker.pause(self._retry_s * (1 + _chance.random() / 5))
        try:
            self.release()
        except ApiError as error:
            log.info("election %s: the Lease was not given back: %s", self._key.name, error)

    def _ended(self, failure: Exception | None) -> None:
        self._leads_until = -math.inf
        if failure is not None:
            log.error("election %s has ended: %r", self._key.name, failure, exc_info=failure)


def _named(metadata: dict[str, Any], key: ObjectKey) -> dict[str, Any]:
    held = {**metadata, "name": key.name, "namespace": key.namespace}
    held.pop("managedFields", None)
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": held}
