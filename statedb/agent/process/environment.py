"""Environment variables in a configuration: ``${NAME}`` and ``${NAME:-default}`` in any value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .strict import Problems, field_path

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^{}]*))?\}")
_WHOLE_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")


def expanded(value: Any, variables: Mapping[str, str], problems: Problems, path: str = "") -> Any:
    """The value with each variable replaced, in lists and mappings too. Names of fields are left alone.

    A value that consists of one variable becomes a number if it looks like one. The content of a variable is never
    parsed as YAML. A variable that is not set and has no default is a problem, and is left in place.
    """
    if isinstance(value, dict):
        return {name: expanded(each, variables, problems, field_path(path, str(name))) for name, each in value.items()}
    if isinstance(value, list):
        return [expanded(each, variables, problems, f"{path}[{place}]") for place, each in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value
    text = _VARIABLE.sub(lambda match: _replaced(match, variables, problems, path), value)
    return int(text) if _VARIABLE.fullmatch(value) and _WHOLE_NUMBER.fullmatch(text) else text


def _replaced(match: re.Match[str], variables: Mapping[str, str], problems: Problems, path: str) -> str:
    found = variables.get(match["name"], match["default"])
    if found is None:
        name = match["name"]
        problems.add(path, f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}")
        return match[0]
    return found
