"""The parameters of a request: text in, checked values out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, get_args

from ..errors import BadRequest
from ..wording import suggestion
from .query import Match, Query

PARAMETERS_MAX = 64
_LIMIT = re.compile(r"[1-9][0-9]{0,8}")
_OFFSET = re.compile(r"[0-9]{1,9}")


class Parameters:
    """The parameters of a request, each with all its values."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Raises BadRequest if there are more than 64."""
        self._values: dict[str, list[str]] = {}
        for count, (name, value) in enumerate(pairs):
            if count >= PARAMETERS_MAX:
                raise BadRequest(f"more than {PARAMETERS_MAX} parameters; ask for less at once")
            self._values.setdefault(name, []).append(value)

    def only(self, *names: str) -> None:
        """Raise BadRequest for any other parameter."""
        for name in self._values:
            if name not in names:
                hint = suggestion(names, name) if names else "none is known here"
                raise BadRequest(f"unknown parameter {name[:60]!r}; {hint}")

    def texts(self, name: str) -> tuple[str, ...] | None:
        """All values of a parameter; None if it is not given."""
        values = self._values.get(name)
        return None if values is None else tuple(values)

    def text(self, name: str) -> str | None:
        """The value of a parameter; None if it is not given. Raises BadRequest if it is given more than once."""
        values = self._values.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise BadRequest(f"parameter {name!r} is given {len(values)} times; give it once")
        return values[0]


def query_of(table: str, parameters: Parameters) -> Query:
    """The query in the parameters of a request. Raises BadRequest."""
    parameters.only("index", "key", "prefix", "from", "limit", "match", "offset", "contains", "keys")
    limit, offset = parameters.text("limit"), parameters.text("offset")
    keys = parameters.text("keys")
    match: Any = parameters.text("match")
    if limit is not None and not _LIMIT.fullmatch(limit):
        raise BadRequest(f"limit {limit[:60]!r} is not a whole number from 1 to 999999999")
    if offset is not None and not _OFFSET.fullmatch(offset):
        raise BadRequest(f"offset {offset[:60]!r} is not a whole number from 0 to 999999999")
    if keys not in (None, "yes", "no"):
        raise BadRequest(f"keys {keys[:60]!r} is neither yes nor no")
    if match is not None and match not in get_args(Match):
        raise BadRequest(f"match {match[:60]!r} is none; {suggestion(get_args(Match), match)}")
    return Query(
        table=table,
        index=parameters.text("index"),
        key=parameters.texts("key"),
        prefix=parameters.texts("prefix"),
        start=parameters.texts("from"),
        limit=None if limit is None else int(limit),
        match=match,
        offset=None if offset is None else int(offset),
        contains=parameters.text("contains"),
        keys=keys == "yes",
    )
