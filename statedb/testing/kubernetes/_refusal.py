"""What the API says where it does not do what it was asked for."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """An error of the API: the status of HTTP, its reason in a word, and a message."""

    def __init__(self, status: int, reason: str, message: str, *, headers: dict[str, str] | None = None) -> None:
        """``headers`` go with the answer."""
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        """The Status that is answered."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            "code": self.status,
        }


def not_found(name: str, resource: str) -> Refusal:
    """There is no such object."""
    return Refusal(404, "NotFound", f'{resource} "{name}" not found')


def conflict(name: str, resource: str, why: str) -> Refusal:
    """It is not as the request supposes."""
    return Refusal(409, "Conflict", f'Operation cannot be fulfilled on {resource} "{name}": {why}')


def expired() -> Refusal:
    """History that was asked for is forgotten."""
    return Refusal(410, "Expired", "too old resource version")
