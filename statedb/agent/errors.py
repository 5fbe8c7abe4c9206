"""Errors of the agent that its user can act on. Each message names the thing and the remedy, on one line."""

from __future__ import annotations

from collections.abc import Sequence


class AgentError(Exception):
    """Base class of the errors that the agent reports to its user."""


class BadRequest(AgentError):
    """The request is malformed."""


class NotFound(AgentError):
    """The table, index or row does not exist."""


class NoRow(NotFound):
    """The table exists, but the row does not."""


class Denied(AgentError):
    """Credentials are missing, wrong or not sufficient; or the agent's certificate cannot be trusted."""


class Overloaded(AgentError):
    """The agent has reached a limit. A later request may succeed."""


class StartError(AgentError):
    """The agent cannot start, for example because its address is in use or a backend cannot be opened."""


class Unreachable(AgentError):
    """No agent answers at this address, or the connection broke."""


class ConfigError(AgentError, ValueError):
    """A configuration is wrong. ``problems`` has every mistake that was found, one line each; str() joins them."""

    def __init__(self, problems: Sequence[str]) -> None:
        """``problems`` has at least one line."""
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)
