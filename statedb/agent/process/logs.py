"""The log of an agent's process: one record per line, as text for people or as JSON for programs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from ..wording import printable

LogFormat = Literal["text", "json"]


def log_to_stderr(level: str, form: LogFormat, before_line: Callable[[], None] = lambda: None) -> None:
    """Send the records of all loggers to standard error, from this level (such as ``info``) on.

    ``before_line`` is called before each record, by the thread that logs it.
    """
    handler = _Handler(before_line)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


@contextmanager
def shown_on_stderr(level: str) -> Generator[None]:
    """During the block, also send the records of our own loggers, from this level on, to standard error as text."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter())
    loggers = [logging.getLogger(name) for name in ("statedb", "ingest")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(level.upper())
    try:
        yield
    finally:
        for logger, before in zip(loggers, levels):
            logger.removeHandler(handler)
            logger.setLevel(before)


class _Handler(logging.StreamHandler[Any]):
    def __init__(self, before_line: Callable[[], None]) -> None:
        super().__init__(sys.stderr)
        self._before_line = before_line

    def emit(self, record: logging.LogRecord) -> None:
        self._before_line()
        super().emit(record)


class TextFormatter(logging.Formatter):
    """``2026-01-02T03:04:05.678Z WARNING statedb.agent: message``, then the lines of a traceback, if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Control characters of the message become question marks, so that a message cannot forge a line."""
        line = f"{_time(record)} {record.levelname} {record.name}: {printable(record.getMessage())}"
        traceback = _traceback(self, record)
        return "\n".join([line, *map(printable, traceback.splitlines())])


class JsonFormatter(logging.Formatter):
    """One JSON object per line with ``time``, ``level``, ``logger``, ``message``, and ``traceback`` if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """JSON escapes control characters. Characters that cannot be encoded are replaced."""
        fields: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _clean(record.getMessage()),
        }
        traceback = _traceback(self, record)
        if traceback:
            fields["traceback"] = _clean(traceback)
        return msgspec.json.encode(fields).decode()


def _time(record: logging.LogRecord) -> str:
    """RFC 3339 in UTC, with milliseconds."""
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return formatter.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""


def _clean(text: str) -> str:
    """The text without lone surrogates, which UTF-8 cannot encode."""
    return text.encode(errors="replace").decode()
