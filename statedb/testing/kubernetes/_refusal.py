"""Errors of the API."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """An error of the API: its HTTP status, its reason in one word, and a message."""

    def __init__(self, status: int, reason: str, message: str, *, headers: dict[str, str] | None = None) -> None:
        """``headers`` are added to the response."""
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        """The Status object of the response."""
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
    """The error for an object that does not exist."""
    return Refusal(404, "NotFound", f'{resource} "{name}" not found')


def conflict(name: str, resource: str, why: str) -> Refusal:
    """The error for an object that is not in the expected state."""
    return Refusal(409, "Conflict", f'Operation cannot be fulfilled on {resource} "{name}": {why}')


def expired() -> Refusal:
    """The error for a version whose history is forgotten."""
    return Refusal(410, "Expired", "too old resource version")
