"""Waits for a condition on a table of a running agent: ``statedb wait``."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from ..client.remote import Remote
from ..errors import BadRequest, NoRow, Unreachable

CONDITIONS = ("filled", "present", "gone", "rows=N")
_ROWS = re.compile(r"rows=([0-9]{1,9})")
_POLL_S = 0.2


def wait(remote: Remote, table: str, key: tuple[str, ...], wanted: str | None, timeout_s: float) -> bool:
    """Wait until the condition is true. False after ``timeout_s`` seconds. Raises BadRequest, NotFound, Unreachable.

    ``wanted``: ``filled`` (the table has been filled once; the default without a key), ``present`` (the row exists; the
    default with a key), ``gone`` (the row does not exist, and the table is filled), ``rows=N`` (at least so many rows).
    An agent that does not answer yet is retried; Unreachable means that it never answered.
    """
    holds = _condition(wanted or ("present" if key else "filled"), key)
    path = f"/tables/{quote(table, safe='')}"
    deadline = time.monotonic() + timeout_s
    while True:
        left = deadline - time.monotonic()
        try:
            if holds(remote, path):
                return True
        except Unreachable:
            if left <= 0:
                raise
        if left <= 0:
            return False
        time.sleep(min(_POLL_S, max(0.0, left)))


def _condition(wanted: str, key: tuple[str, ...]) -> Callable[[Remote, str], bool]:
    if wanted in ("present", "gone"):
        if not key:
            raise BadRequest(f"--for {wanted} needs the key of a row")
        return (lambda remote, path: _has(remote, path, key)) if wanted == "present" else _gone(key)
    if wanted == "filled":
        return lambda remote, path: _head(remote, path)["initialized"]
    rows = _ROWS.fullmatch(wanted)
    if rows is None:
        raise BadRequest(f"--for {wanted[:60]!r} is not a condition; known are {', '.join(CONDITIONS)}")
    count = int(rows[1])
    return lambda remote, path: _head(remote, path)["total"] >= count


def _gone(key: tuple[str, ...]) -> Callable[[Remote, str], bool]:
    return lambda remote, path: _head(remote, path)["initialized"] and not _has(remote, path, key)


def _head(remote: Remote, path: str) -> dict[str, Any]:
    found: dict[str, Any] = remote.json(path, [("limit", "1")])
    return found


def _has(remote: Remote, path: str, key: tuple[str, ...]) -> bool:
    try:
        return bool(remote.json(path, [("key", each) for each in key])["rows"])
    except NoRow:
        return False
