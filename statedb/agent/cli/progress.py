"""What a terminal shows while a command works for over a second. Nothing where standard error is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

_EVERY_S = 0.25


def busy(text: str) -> AbstractContextManager[object]:
    """Show the text, and that it goes on, while the block runs."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console  # start-up time

    return Console(stderr=True).status(text)


def counted(lines: Iterable[bytes], what: str) -> Iterator[bytes]:
    """The lines, with their number shown meanwhile."""
    if not sys.stderr.isatty():
        yield from lines
        return
    with _line() as show:
        for number, line in enumerate(lines, 1):
            yield line
            show(number, what)


class _ProgressLine:
    """One line of a terminal that is written anew a few times a second."""

    def __init__(self) -> None:
        self._next = time.monotonic() + 1.0

    def __call__(self, number: int, what: str) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _EVERY_S
            sys.stderr.write(f"\r\x1b[K{number:,} {what}")
            sys.stderr.flush()

    def clear(self) -> None:
        sys.stderr.write("\r\x1b[K")


@contextmanager
def _line() -> Generator[_ProgressLine]:
    line = _ProgressLine()
    try:
        yield line
    finally:
        line.clear()
