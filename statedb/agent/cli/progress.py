"""The progress of a command that takes more than a second. Shows nothing if standard error is not a terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager

_DELAY_S = 1.0
_EVERY_S = 0.25
_ERASE = "\r\x1b[K"
_WIDTH_MAX = 79


@contextmanager
def busy(text: str) -> Generator[None]:
    """Show the text and the elapsed time during the block."""
    if not sys.stderr.isatty():
        yield
        return
    over, began = threading.Event(), time.monotonic()

    def run() -> None:
        pause_s = _DELAY_S
        while not over.wait(pause_s):
            _line.show(f"{text} ... {time.monotonic() - began:.0f} s")
            pause_s = _EVERY_S

    thread = threading.Thread(target=run, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        erase()


def counted(lines: Iterable[bytes], what: str) -> Iterator[bytes]:
    """The lines. Shows their number while they are read."""
    if not sys.stderr.isatty():
        yield from lines
        return
    with shown() as show:
        for number, line in enumerate(lines, 1):
            yield line
            show(lambda: f"{number:,} {what}")  # noqa: B023 - called at once, or never


@contextmanager
def shown() -> Generator[Callable[[Callable[[], str]], None]]:
    """A function that shows a text in place of the previous one, after the first second, four times a second.

    It may be called much more often: the text is computed only when it is shown.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    due = time.monotonic() + _DELAY_S

    def show(text: Callable[[], str]) -> None:
        nonlocal due
        now = time.monotonic()
        if now >= due:
            due = now + _EVERY_S
            _line.show(text())

    try:
        yield show
    finally:
        erase()


def erase() -> None:
    """Erase the text, for example before a line of the log. May be called from any thread."""
    _line.erase()


class _ProgressLine:
    """The last line of the terminal. There is only one."""

    def __init__(self) -> None:
        self._is_shown = False

    def show(self, text: str) -> None:
        self._is_shown = True
        sys.stderr.write(_ERASE + text[:_WIDTH_MAX])
        sys.stderr.flush()

    def erase(self) -> None:
        if self._is_shown:
            self._is_shown = False
            sys.stderr.write(_ERASE)
            sys.stderr.flush()


_line = _ProgressLine()
