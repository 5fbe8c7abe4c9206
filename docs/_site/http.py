"""The HTTP interface, from the description that an agent serves at ``/openapi.json``."""

from __future__ import annotations

import logging
from typing import Any

from statedb.agent import Agent, Remote, parse_config


def markdown() -> str:
    """A section for each resource."""
    text = "ingest: {manifests: {directory: .}}\nhttp: {listen: '127.0.0.1:0'}\nlog-level: error\n"
    logging.disable(logging.WARNING)  # what the agent says of itself is no warning of the build
    try:
        with Agent(parse_config(text)) as agent:
            document = Remote(agent.address).json("/openapi.json")
    finally:
        logging.disable(logging.NOTSET)
    lines: list[str] = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            lines += _section(path, method, operation)
    return "\n".join(lines)


def _section(path: str, method: str, operation: Any) -> list[str]:
    lines = [f"## `{method.upper()} {path}`", "", operation.get("summary", ""), ""]
    parameters = operation.get("parameters") or []
    if parameters:
        lines += ["| parameter | in | type | meaning |", "|---|---|---|---|"]
        lines += [
            f"| `{each['name']}` | {each['in']} | {_type(each['schema'])} | {each['description']} |"
            for each in parameters
        ]
        lines.append("")
    return lines


def _type(schema: Any) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"{_type(schema['items'])}, repeated"
    least, most = schema.get("minimum"), schema.get("maximum")
    return f"{schema.get('type', 'any')}{f', {least} to {most}' if most is not None else ''}"
