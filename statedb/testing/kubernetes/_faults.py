"""Faults that a test has requested. For one thread at a time: hold the lock of the store."""

from __future__ import annotations

from typing import Any

import msgspec

from ._refusal import Refusal


class Fault(msgspec.Struct):
    """An error response for the next ``times`` matching requests."""

    verb: str
    resource: str
    status: int
    times: int
    retry_after_s: int | None


class Faults:
    """The faults that are still to occur."""

    def __init__(self) -> None:
        """No faults."""
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Make the next matching requests fail."""
        self._waiting.append(fault)

    def check(self, verb: str, resource: str) -> None:
        """Raise the Refusal that is due for such a request, if there is one."""
        for fault in self._waiting:
            if fault.verb in ("", verb) and fault.resource in ("", resource):
                fault.times -= 1
                if fault.times <= 0:
                    self._waiting.remove(fault)
                headers = {} if fault.retry_after_s is None else {"Retry-After": str(fault.retry_after_s)}
                raise Refusal(
                    fault.status, _REASONS.get(fault.status, "InternalError"), "made to fail", headers=headers
                )


_REASONS: dict[int, Any] = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    503: "ServiceUnavailable",
    504: "Timeout",
}
