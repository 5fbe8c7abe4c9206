"""The description of the HTTP interface in OpenAPI 3.1, generated from the table of resources and the row types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import msgspec

from statedb import Database, __version__

from .query import Match
from .resource import Resource

_DESCRIPTIONS = {
    "index": "The name of an index; without it the primary key is meant.",
    "key": "A key: the parameter once for each field, or once with slashes between the fields.",
    "prefix": "The first fields of a key, or the beginning of a text key, or a network.",
    "from": "The first key, as `next` of the answer before.",
    "limit": "The largest number of rows.",
    "match": "How an index of networks is searched.",
    "offset": "How many rows come before the first one, in place of `from`.",
    "contains": "Only rows whose JSON has this text, in any case; `next` is where the search has not looked yet.",
    "keys": "Also `keys`: the key of each row, as texts.",
    "begins": "The beginning of a key as one text, with slashes between the fields.",
    "table": "The name of a table.",
    "cluster": "The name of a cluster.",
}
_SCHEMAS: dict[str, dict[str, Any]] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
    "offset": {"type": "integer", "minimum": 0, "maximum": 999_999_999},
    "keys": {"type": "string", "enum": ["yes", "no"]},
    "match": {"type": "string", "enum": list(get_args(Match))},
    "key": {"type": "array", "items": {"type": "string"}},
    "prefix": {"type": "array", "items": {"type": "string"}},
    "from": {"type": "array", "items": {"type": "string"}},
}
_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}


def document(db: Database, resources: Sequence[Resource]) -> dict[str, Any]:
    """The whole description. Each table has a schema ``table.NAME`` for its rows."""
    rows, components = msgspec.json.schema_components(
        [table.row_type for table in db.tables], ref_template="#/components/schemas/{name}"
    )
    tables = {f"table.{table.name}": row for table, row in zip(db.tables, rows)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "statedb agent", "version": __version__},
        "paths": {each.path: {each.method.lower(): _operation(each)} for each in resources},
        "components": {"schemas": {**components, **tables, "Error": _ERROR}},
    }


def _operation(resource: Resource) -> dict[str, Any]:
    kind = "application/jsonl" if resource.lines else "application/json"
    described = {"description": "Done.", "content": {kind: {"schema": {"type": "object"}}}}
    error = {"$ref": "#/components/schemas/Error"}
    refused = {"description": "Refused, with the reason.", "content": {"application/json": {"schema": error}}}
    in_path = [_parameter("table", "path")] if "{table}" in resource.path else []
    return {
        "summary": resource.summary,
        "parameters": [*in_path, *[_parameter(name, "query") for name in resource.parameters]],
        "responses": {"200": described, "default": refused},
    }


def _parameter(name: str, place: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "description": _DESCRIPTIONS[name],
        "schema": _SCHEMAS.get(name, {"type": "string"}),
    }
