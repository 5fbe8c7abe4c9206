"""What the server was asked to do wrong. For one thread at a time: hold the lock of the store."""

from __future__ import annotations

from typing import Any

import msgspec

from ._refusal import Refusal


class Fault(msgspec.Struct):
    """An error in place of an answer, so many times."""

    verb: str
    resource: str
    status: int
    times: int
    retry_after_s: int | None


class Faults:
    """Faults that wait for their requests."""

    def __init__(self) -> None:
        """None."""
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Have it happen."""
        self._waiting.append(fault)

    def check(self, verb: str, resource: str) -> None:
        """Raises the Refusal that is due for such a request."""
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
