"""The Chromium that is installed, driven by Playwright, which brings none of its own here."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

PLACE = "STATEDB_CHROMIUM"
"""The path of the program; or ``required``, so that tests fail where it is missing."""
_NAMES = ("chromium", "chromium-browser", "google-chrome")


class NoChromium(Exception):
    """There is none; the message says what to do."""


def find() -> str:
    """The path of the program. Raises NoChromium."""
    named = os.environ.get(PLACE, "")
    for name in (named, *_NAMES):
        if name and (path := shutil.which(name)):
            return path
    raise NoChromium(f"no Chromium; install it ('apt-get install chromium'), or name one with {PLACE}")


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser. Playwright keeps an event loop running in this thread: use it for one module of tests, no longer."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=find(), args=["--no-sandbox"])
        try:
            yield chromium
        finally:
            chromium.close()
