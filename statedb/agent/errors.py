"""What a request to an agent can be refused for; every message names the thing and the remedy, on one line."""

from __future__ import annotations


class AgentError(Exception):
    """Base of all errors of the agent that are told to its user."""


class BadRequest(AgentError):
    """The request cannot be understood."""


class NotFound(AgentError):
    """There is no such table, index or row."""


class NoRow(NotFound):
    """The table is there, the row is not."""


class StartError(AgentError):
    """The agent cannot be started: its address is taken, a backend cannot be opened."""


class Unreachable(AgentError):
    """No agent answers at this address, or it went away."""
