"""The resources of the server: one entry for each path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

from .parameters import Parameters
from .resources import Reply, Resources

Kind: TypeAlias = Literal["probe", "query", "stream", "page"]
Respond: TypeAlias = Callable[[Resources, dict[str, str], Parameters], Reply]
"""(resources, parts of the path, parameters) -> reply"""


class Resource(msgspec.Struct, frozen=True):
    """A path, what it returns, and the parameters that it accepts. Streams have no ``respond``."""

    path: str
    summary: str
    kind: Kind
    respond: Respond | None
    parameters: tuple[str, ...] = ()
    method: str = "GET"
    lines: bool = False


RESOURCES = (
    Resource("/tables", "All tables.", "query", lambda resources, _, given: resources.tables(given)),
    Resource(
        "/tables/{table}",
        "Rows of a table: all, or from a key on, or of a key or a prefix of an index.",
        "query",
        lambda resources, path, given: resources.rows(path["table"], given),
        ("index", "key", "prefix", "from", "limit", "match", "offset", "contains", "keys"),
    ),
    Resource(
        "/keys/{table}",
        "Keys of an index that begin with a text, for completion in shells.",
        "query",
        lambda resources, path, given: resources.keys(path["table"], given),
        ("index", "begins"),
    ),
    Resource(
        "/references/{table}",
        "The rows that refer to a row, and those that it refers to.",
        "query",
        lambda resources, path, given: resources.references(path["table"], given),
        ("key",),
    ),
    Resource("/live", "What the web page follows: figures, and changes of all tables.", "page", None, lines=True),
    Resource(
        "/changes/{table}", "All rows of a table, or one row; then each change.", "stream", None, ("key",), lines=True
    ),
    Resource(
        "/consumers",
        "All consumers, with their health.",
        "query",
        lambda resources, _, given: resources.consumers(given),
    ),
    Resource(
        "/dump", "All rows at one instant.", "query", lambda resources, _, given: resources.dump(given), lines=True
    ),
    Resource("/healthz", "Whether every part works.", "probe", lambda resources, _, given: resources.health(given)),
    Resource("/livez", "The same as /healthz.", "probe", lambda resources, _, given: resources.health(given)),
    Resource("/readyz", "Whether the agent is ready now.", "probe", lambda resources, _, given: resources.ready(given)),
    Resource(
        "/sources/accept",
        "Carry out the deletes that sources withhold.",
        "query",
        lambda resources, _, given: resources.accept(given),
        ("table", "cluster"),
        "POST",
    ),
)
"""`/openapi.json` is generated from these."""
