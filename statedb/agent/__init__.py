"""The agent: a program that fills the tables of a configuration, runs consumers on them, and serves them over HTTP.

    cli/        the command line
    demo/       `statedb demo`
    process/    life cycle, configuration, kinds of consumers, comparison of two configurations
    http/       the server: resources, queries, change streams, the web page
    metrics/    metrics for Prometheus
    client/     requests to an agent elsewhere, and replicas of its tables

Programs import from this package: ``from statedb.agent import Agent, load_config``. Names are loaded at their first
use, because the command line is inside this package and must start without importing every source.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client.connection import Cancellation
    from .client.credentials import Credentials
    from .client.remote import Remote, RemoteBatch, RemoteChange, RemoteTable
    from .client.replica import Link, Links, Replica, ReplicaOptions
    from .errors import AgentError, BadRequest, ConfigError, Denied, NoRow, NotFound, StartError, Unreachable
    from .process.agent import Agent
    from .process.comparison import Comparison, Difference, compare
    from .process.config import Config, load_config, parse_config

__all__ = [
    "Agent",
    "AgentError",
    "BadRequest",
    "Cancellation",
    "Comparison",
    "Config",
    "ConfigError",
    "Credentials",
    "Denied",
    "Difference",
    "Link",
    "Links",
    "NoRow",
    "NotFound",
    "Remote",
    "RemoteBatch",
    "RemoteChange",
    "RemoteTable",
    "Replica",
    "ReplicaOptions",
    "StartError",
    "Unreachable",
    "compare",
    "load_config",
    "parse_config",
]

_MODULES = (
    "client.connection",
    "client.credentials",
    "client.remote",
    "client.replica",
    "errors",
    "process.agent",
    "process.comparison",
    "process.config",
)


def __getattr__(name: str) -> Any:
    """Import the module that defines a public name, at its first use (PEP 562)."""
    if name in __all__:
        for module in _MODULES:
            found = vars(import_module(f".{module}", __name__)).get(name)
            if getattr(found, "__module__", None) == f"{__name__}.{module}":
                globals()[name] = found
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
